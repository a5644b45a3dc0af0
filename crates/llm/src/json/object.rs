//! The members of one object, each with the place of its value in the text, so that a body can be
//! changed by splicing and everything else in it stays byte for byte what the caller sent.

use std::borrow::Cow;
use std::ops::Range;

use super::JsonError;
use super::lexer::Text;
use super::tokens::{Token, Tokens};
use super::unique_names::UniqueNames;

/// Members that one object read by [`members`] may have. OpenAI's largest request has about 40;
/// the limit keeps the search for duplicates short whatever is sent.
pub const MAX_MEMBERS: usize = 256;

/// Bytes that the name of such a member may have. Without it, names of megabytes that differ at
/// their ends would make that search slow.
pub const MAX_NAME_BYTES: usize = 128;

/// What kind of value it is, with the value where that is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// An object.
    Object,
    /// An array.
    Array,
    /// A string.
    String(Text<'a>),
    /// A number, as written.
    Number(&'a str),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`.
    Null,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Its kind.
    pub kind: Kind<'a>,
    /// The value as written.
    pub raw: &'a str,
    /// Its place in the text that [`members`] was first called on.
    pub span: Range<usize>,
}

impl<'a> Value<'a> {
    /// The members of this value, or the error that it is no object. Spans stay relative to the
    /// outermost text.
    pub fn members(&self) -> Members<'a> {
        Members {
            base: self.span.start,
            ..members(self.raw)
        }
    }

    /// The number, if it is written as plain digits and fits. `1.0` and `1e3` are not read: two
    /// parsers may differ about them.
    pub fn as_u64(&self) -> Option<u64> {
        match self.kind {
            Kind::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name, escapes decoded: `\u006dodel` is `model`.
    pub key: Cow<'a, str>,
    /// Its value.
    pub value: Value<'a>,
    /// From its name to the end of its value, in the text that [`members`] was first called on.
    pub span: Range<usize>,
}

/// A name inside the value of a member, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Inside<'n, 'a> {
    /// The member.
    pub member: &'n str,
    /// Brackets open around the name, those of the object with the member included.
    pub depth: u32,
    /// The name whose value is the object with this name, or a list of such objects. `None`: that is
    /// the member itself.
    pub parent: Option<&'n str>,
    /// The name.
    pub name: Text<'a>,
}

/// Reads the members of the object that `text` is. The text is only known to be valid JSON once the
/// iterator has run dry without an error. A name that occurs twice is an error; names inside the
/// members' values are not looked at.
pub fn members(text: &str) -> Members<'_> {
    Members {
        tokens: Tokens::new(text),
        text,
        base: 0,
        names: Vec::new(),
        inside: None,
        stage: Stage::Before,
    }
}

/// As [`members`], and a name that occurs twice in any object, at whatever depth, is an error too.
pub fn strict_members(text: &str) -> Members<'_> {
    Members {
        inside: Some(UniqueNames::default()),
        ..members(text)
    }
}

enum Stage {
    Before,
    Inside,
    Over,
}

/// See [`members`] and [`strict_members`].
pub struct Members<'a> {
    tokens: Tokens<'a>,
    text: &'a str,
    base: usize,
    names: Vec<Cow<'a, str>>,
    /// The names inside a member's value, where they are looked at.
    inside: Option<UniqueNames<'a>>,
    stage: Stage,
}

impl<'a> Members<'a> {
    /// The next member. `watch` is told every name inside its value; only [`strict_members`] tell.
    pub fn next_watching(
        &mut self,
        watch: impl FnMut(Inside<'_, 'a>),
    ) -> Option<Result<Member<'a>, JsonError>> {
        if matches!(self.stage, Stage::Over) {
            return None;
        }
        let item = self.read(watch).transpose();
        if !matches!(item, Some(Ok(_))) {
            self.stage = Stage::Over;
        }
        item
    }

    fn read(
        &mut self,
        mut watch: impl FnMut(Inside<'_, 'a>),
    ) -> Result<Option<Member<'a>>, JsonError> {
        if matches!(self.stage, Stage::Before) {
            if self.tokens.read()? != Some(Token::ObjectStart) {
                return Err(JsonError::NotAnObject);
            }
            self.stage = Stage::Inside;
        }
        let Some(Token::Key(name)) = self.tokens.read()? else {
            // The object's end; what follows it must be the document's.
            self.tokens.read()?;
            return Ok(None);
        };
        let start = self.base.saturating_add(self.tokens.token_start());
        let key = self.remember(name.decode())?;
        let value = self.value(|depth, parent, name| {
            watch(Inside {
                member: &key,
                depth,
                parent,
                name,
            });
        })?;
        let span = start..value.span.end;
        Ok(Some(Member { key, value, span }))
    }

    fn remember(&mut self, name: Cow<'a, str>) -> Result<Cow<'a, str>, JsonError> {
        let at = self.base.saturating_add(self.tokens.token_start());
        if name.len() > MAX_NAME_BYTES {
            return Err(JsonError::NameTooLong { at });
        }
        if self.names.contains(&name) {
            return Err(JsonError::DuplicateMember { at });
        }
        if self.names.len() == MAX_MEMBERS {
            return Err(JsonError::TooManyMembers);
        }
        self.names.push(name.clone());
        Ok(name)
    }

    fn value(
        &mut self,
        watch: impl FnMut(u32, Option<&str>, Text<'a>),
    ) -> Result<Value<'a>, JsonError> {
        let Some(token) = self.tokens.read()? else {
            return Err(JsonError::Syntax {
                at: self.tokens.offset(),
                expected: "a value",
            });
        };
        let start = self.tokens.token_start();
        match &mut self.inside {
            Some(names) => names.read_rest_of(token, &mut self.tokens, watch)?,
            None => self.tokens.skip_rest_of(token)?,
        }
        let end = self.tokens.offset();
        let kind = match token {
            Token::ArrayStart => Kind::Array,
            Token::String(text) => Kind::String(text),
            Token::Number(number) => Kind::Number(number),
            Token::Boolean(value) => Kind::Boolean(value),
            Token::Null => Kind::Null,
            Token::ObjectStart | Token::ObjectEnd | Token::ArrayEnd | Token::Key(_) => Kind::Object,
        };
        let raw = self.text.get(start..end).unwrap_or_default();
        Ok(Value {
            kind,
            raw,
            span: self.base.saturating_add(start)..self.base.saturating_add(end),
        })
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_watching(|_| {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn names(text: &str) -> Result<Vec<String>, JsonError> {
        members(text)
            .map(|member| Ok(member?.key.into_owned()))
            .collect()
    }

    #[test]
    fn members_come_with_the_place_of_their_value() {
        let text = r#" { "a" : [1, {"b":2}] , "c":"d" } "#;
        let found: Vec<_> = members(text).collect::<Result<_, _>>().unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].key, "a");
        assert_eq!(found[0].value.kind, Kind::Array);
        assert_eq!(found[0].value.raw, r#"[1, {"b":2}]"#);
        assert_eq!(text.get(found[1].value.span.clone()), Some(r#""d""#));
    }

    #[test]
    fn spans_of_inner_members_are_places_in_the_outer_text() {
        let text = r#"{"x":{"y":{"z":42}}}"#;
        let x = members(text).next().unwrap().unwrap();
        let y = x.value.members().next().unwrap().unwrap();
        let z = y.value.members().next().unwrap().unwrap();
        assert_eq!(text.get(z.value.span.clone()), Some("42"));
        assert_eq!(z.value.as_u64(), Some(42));
    }

    #[test]
    fn a_name_that_occurs_twice_is_refused_also_in_disguise() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"model":1,"\u006dodel":2}"#,
            r#"{"a":1,"b":[],"\u0061":2}"#,
        ] {
            assert!(
                matches!(names(text), Err(JsonError::DuplicateMember { .. })),
                "{text}"
            );
        }
        assert!(names(r#"{"a":{"a":1},"b":[{"a":2}]}"#).is_ok());
    }

    #[test]
    fn errors_after_the_last_member_are_seen() {
        for text in [r#"{"a":1"#, r#"{"a":1} {"#, r#"{"a":1},"#, r#"{"a":1}]"#] {
            assert!(names(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for text in ["[]", "1", "\"a\"", "null", "[{\"model\":\"x\"}]"] {
            assert_eq!(names(text), Err(JsonError::NotAnObject), "{text}");
        }
    }

    #[test]
    fn a_million_members_end_at_the_limit() {
        let many: Vec<String> = (0..257).map(|n| format!("\"k{n}\":0")).collect();
        assert_eq!(
            names(&format!("{{{}}}", many.join(","))),
            Err(JsonError::TooManyMembers)
        );
        assert_eq!(
            names(&format!("{{{}}}", many[..256].join(","))).map(|n| n.len()),
            Ok(256)
        );
    }

    #[test]
    fn a_name_beyond_the_limit_is_refused() {
        let name = "k".repeat(128);
        assert!(names(&format!("{{\"{name}\":0}}")).is_ok());
        let longer = names(&format!("{{\"{name}k\":0}}"));
        assert_eq!(longer, Err(JsonError::NameTooLong { at: 1 }));
    }

    #[test]
    fn only_plain_digits_are_an_integer() {
        let number = |text: &str| {
            members(&format!("{{\"n\":{text}}}"))
                .next()
                .unwrap()
                .unwrap()
                .value
                .as_u64()
        };
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        for other in [
            "18446744073709551616",
            "-1",
            "1.0",
            "1e3",
            "\"1\"",
            "null",
            "true",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
