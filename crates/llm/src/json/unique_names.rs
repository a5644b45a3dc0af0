//! No name twice in any object of a value.
//!
//! Parsers differ in which of two members they take, so a body with two is judged as one thing and
//! served as another. Names are compared decoded. There is no hash table, whose collisions a caller
//! could bring about: few names are compared with each other, many are sorted, so the time is that
//! of a sort whatever is sent.

use std::borrow::Cow;

use super::JsonError;
use super::lexer::Text;
use super::tokens::{Token, Tokens};

/// Up to so many names of an object are compared one by one as they come.
const FEW: usize = 12;
/// Members that one object inside a value may have. A large JSON schema has some hundreds.
const MAX_MEMBERS: usize = 10_000;
/// Bytes that a name inside a value may have: the arguments of tools have names like file paths.
const MAX_NAME_BYTES: usize = 1_024;

/// The names of the objects that are open, the innermost last.
#[derive(Default)]
pub(super) struct UniqueNames<'a> {
    names: Vec<(Cow<'a, str>, usize)>,
    /// Of each open object, where its names begin.
    starts: Vec<usize>,
}

impl<'a> UniqueNames<'a> {
    /// Reads on to the end of the value whose first token was `first`, and tells `watch` each name:
    /// the brackets that are open around it, and the name that its object, or the list with it, is
    /// the value of.
    pub(super) fn read_rest_of(
        &mut self,
        first: Token<'a>,
        tokens: &mut Tokens<'a>,
        mut watch: impl FnMut(u32, Option<&str>, Text<'a>),
    ) -> Result<(), JsonError> {
        if !matches!(first, Token::ObjectStart | Token::ArrayStart) {
            return Ok(());
        }
        let outside = tokens.depth().saturating_sub(1);
        self.names.clear();
        self.starts.clear();
        if first == Token::ObjectStart {
            self.starts.push(0);
        }
        while tokens.depth() > outside {
            match tokens.read()? {
                Some(Token::Key(name)) => {
                    watch(tokens.depth(), self.parent(), name);
                    self.add(name, tokens.token_start())?;
                }
                Some(Token::ObjectStart) => self.starts.push(self.names.len()),
                Some(Token::ObjectEnd) => self.close()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, name: Text<'a>, at: usize) -> Result<(), JsonError> {
        let name = name.decode();
        if name.len() > MAX_NAME_BYTES {
            return Err(JsonError::NameTooLong { at });
        }
        let siblings = self.siblings();
        if siblings.len() >= MAX_MEMBERS {
            return Err(JsonError::TooManyMembers);
        }
        if siblings.len() < FEW && siblings.iter().any(|(sibling, _)| *sibling == name) {
            return Err(JsonError::DuplicateMember { at });
        }
        self.names.push((name, at));
        Ok(())
    }

    fn close(&mut self) -> Result<(), JsonError> {
        let start = self.starts.pop().unwrap_or(0);
        if let Some(names) = self.names.get_mut(start..)
            && names.len() > FEW
        {
            names.sort_unstable();
            let twice = names.array_windows().find(|[(a, _), (b, _)]| a == b);
            if let Some([(_, one), (_, other)]) = twice {
                return Err(JsonError::DuplicateMember {
                    at: *one.max(other),
                });
            }
        }
        self.names.truncate(start);
        Ok(())
    }

    /// `None`: the member's own value, or a list that is it.
    fn parent(&self) -> Option<&str> {
        let before = self.starts.last()?.checked_sub(1)?;
        self.names.get(before).map(|(name, _)| &**name)
    }

    fn siblings(&self) -> &[(Cow<'a, str>, usize)] {
        let start = self.starts.last().copied().unwrap_or(0);
        self.names.get(start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{JsonError, strict_members};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn check(text: &str) -> Result<usize, JsonError> {
        strict_members(text).try_fold(0, |count, member| member.map(|_| count + 1))
    }

    #[test]
    fn a_name_twice_in_an_object_at_any_depth_is_refused() {
        for text in [
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"\u0062":2}]}"#,
            r#"{"a":[[{"x":{"c":1,"d":{"c":1},"c":2}}]]}"#,
            r#"{"ok":{"b":1},"a":{"b":{"b":1},"b":2}}"#,
        ] {
            assert!(
                matches!(check(text), Err(JsonError::DuplicateMember { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn the_same_name_in_different_objects_is_nothing() {
        for text in [
            r#"{"a":{"b":{"b":{"b":1}}},"b":[{"b":1},{"b":2}]}"#,
            r#"{"a":[{"x":1},{"x":1},[{"x":1}]],"x":{"a":1}}"#,
            r#"{"a":{"b":1,"B":2,"b ":3}}"#,
        ] {
            assert!(check(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn many_names_are_checked_as_well_as_few() {
        let object = |count: usize, last: &str| {
            let names: Vec<String> = (0..count)
                .map(|n| format!("\"k{n}\":{{\"k1\":0}}"))
                .collect();
            format!("{{\"a\":{{{},\"{last}\":0}}}}", names.join(","))
        };
        for count in [2, 11, 12, 13, 14, 500, 9_999] {
            assert_eq!(check(&object(count, "new")), Ok(1), "{count}");
            for last in ["k0", "k1"] {
                assert!(
                    matches!(
                        check(&object(count, last)),
                        Err(JsonError::DuplicateMember { .. })
                    ),
                    "{count} {last}"
                );
            }
        }
        assert_eq!(
            check(&object(10_000, "new")),
            Err(JsonError::TooManyMembers)
        );
    }

    #[test]
    fn names_are_told_with_what_stands_around_them() {
        let mut members = strict_members(
            r#"{"tools":[{"type":"x","f":{"model":1},"l":[[{"\u0061":1}]],"z":2}],"n":{"o":1}}"#,
        );
        let mut told = Vec::new();
        while let Some(member) = members.next_watching(|inside| {
            let parent = inside.parent.unwrap_or("-");
            let name = inside.name.decode();
            told.push(format!(
                "{} {} {parent} {name}",
                inside.member, inside.depth
            ));
        }) {
            member.unwrap();
        }
        let expected = [
            "tools 3 - type",
            "tools 3 - f",
            "tools 4 f model",
            "tools 3 - l",
            "tools 6 l a",
            "tools 3 - z",
            "n 2 - o",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_name_inside_a_value_may_be_long_but_not_endless() {
        let name = "k".repeat(1_024);
        assert_eq!(check(&format!("{{\"a\":{{\"{name}\":0}}}}")), Ok(1));
        assert!(matches!(
            check(&format!("{{\"a\":{{\"{name}k\":0}}}}")),
            Err(JsonError::NameTooLong { .. })
        ));
    }
}
