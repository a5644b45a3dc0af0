//! Header fields that every request must carry.
//!
//! | written | asks for |
//! |---|---|
//! | `x-tenant` | the field, with more than white space in it |
//! | `x-env: prod\|dev-[0-9]+` | the field, and that each of its values matches the whole pattern |
//!
//! Names are compared without regard to case, values with it.

use crate::pattern::{Case, Pattern, PatternError};

/// Longest name, bytes.
const MAX_NAME: usize = 64;

/// A field that must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredHeader {
    name: String,
    pattern: Option<Pattern>,
}

/// Why a text asks for no header. The message follows the text or its place in a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequiredHeaderError {
    /// Not the name of a field (RFC 9110 section 5.1).
    #[error(
        "must begin with a header name: 1 to {MAX_NAME} letters, digits or !#$%&'*+-.^_`|~; a \
         pattern may follow behind a colon"
    )]
    Name,
    /// Not a pattern.
    #[error("has no usable pattern behind the colon: {0}")]
    Pattern(#[from] PatternError),
}

/// What is wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The field is absent or empty.
    Missing,
    /// A value does not match.
    Mismatch,
}

impl RequiredHeader {
    /// Reads `name` or `name: pattern`.
    pub fn parse(text: &str) -> Result<Self, RequiredHeaderError> {
        let (name, pattern) = match text.split_once(':') {
            Some((name, pattern)) => (name.trim(), Some(pattern.trim())),
            None => (text.trim(), None),
        };
        let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(is_token);
        if !is_name {
            return Err(RequiredHeaderError::Name);
        }
        let pattern = pattern.map(|pattern| Pattern::compile(pattern, Case::Sensitive));
        Ok(Self {
            name: name.to_ascii_lowercase(),
            pattern: pattern.transpose()?,
        })
    }

    /// Its name, lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Judges the values that a request gives the field.
    pub fn judge<'a>(&self, values: impl Iterator<Item = &'a [u8]>) -> Result<(), Fault> {
        let mut values = values.map(<[u8]>::trim_ascii).peekable();
        if values.peek().is_none() {
            return Err(Fault::Missing);
        }
        // A second value must not slip in behind a first one that is right.
        for value in values {
            if value.is_empty() {
                return Err(Fault::Missing);
            }
            if self.pattern.as_ref().is_some_and(|p| !p.matches(value)) {
                return Err(Fault::Mismatch);
            }
        }
        Ok(())
    }
}

/// In the form that [`RequiredHeader::parse`] reads.
impl core::fmt::Display for RequiredHeader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match &self.pattern {
            Some(pattern) => write!(f, "{}: {}", self.name, pattern.as_str()),
            None => f.write_str(&self.name),
        }
    }
}

/// A character of a field name (RFC 9110 section 5.6.2, `tchar`).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn judged(text: &str, values: &[&str]) -> Result<(), Fault> {
        let header = RequiredHeader::parse(text).unwrap();
        header.judge(values.iter().map(|value| value.as_bytes()))
    }

    #[test]
    fn a_field_must_be_there_with_something_in_it() {
        assert_eq!(judged("x-tenant", &["a"]), Ok(()));
        assert_eq!(judged("x-tenant", &["a", "b"]), Ok(()));
        for values in [&[][..], &[""], &[" \t "], &["a", ""]] {
            assert_eq!(
                judged("x-tenant", values),
                Err(Fault::Missing),
                "{values:?}"
            );
        }
    }

    #[test]
    fn every_value_must_match_the_whole_pattern() {
        let text = "x-env: prod|dev";
        assert_eq!(judged(text, &["prod"]), Ok(()));
        assert_eq!(judged(text, &[" dev "]), Ok(()));
        assert_eq!(judged(text, &[]), Err(Fault::Missing));
        for values in [&["prod2"][..], &["PROD"], &["prod", "test"], &["prod,dev"]] {
            assert_eq!(judged(text, values), Err(Fault::Mismatch), "{values:?}");
        }
    }

    #[test]
    fn what_was_written_comes_back_in_one_form() {
        for (text, form) in [
            ("X-Tenant", "x-tenant"),
            (" x-a ", "x-a"),
            ("X-Env:prod", "x-env: prod"),
            ("x-url:  https?://.*", "x-url: https?://.*"),
        ] {
            let header = RequiredHeader::parse(text).unwrap();
            assert_eq!(header.to_string(), form);
            assert_eq!(RequiredHeader::parse(form).unwrap(), header);
        }
    }

    #[test]
    fn what_asks_for_no_header_is_refused() {
        let long = "a".repeat(65);
        for text in ["", ":", "x y", "é", "x-\na", &long, ": prod"] {
            assert_eq!(
                RequiredHeader::parse(text),
                Err(RequiredHeaderError::Name),
                "{text}"
            );
        }
        for text in ["x-a:", "x-a: (", "x-a: a)|(.*"] {
            assert!(
                matches!(
                    RequiredHeader::parse(text),
                    Err(RequiredHeaderError::Pattern(_))
                ),
                "{text}"
            );
        }
    }
}
