//! Patterns that administrators write, matched in linear time against the whole of a text.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

/// Most bytes of a compiled pattern; a pattern that needs more is a mistake or an attack.
const SIZE_LIMIT: usize = 256 * 1024;

/// A compiled pattern. Two are equal when they are written alike.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    case: Case,
    compiled: Regex,
}

/// Does the case of letters matter?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// `a` is not `A`.
    Sensitive,
    /// `a` is `A`.
    Insensitive,
}

/// Why a pattern is refused: what its compiler says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl Pattern {
    /// Compiles a pattern. It is ASCII: Unicode classes are refused, so that their tables stay out of
    /// the filter.
    pub fn compile(text: &str, case: Case) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError("the pattern is empty".into()));
        }
        let compile = |pattern: &str| {
            Regex::builder()
                .syntax(
                    syntax::Config::new()
                        .unicode(false)
                        .utf8(false)
                        .case_insensitive(case == Case::Insensitive),
                )
                .configure(Regex::config().nfa_size_limit(Some(SIZE_LIMIT)))
                .build(pattern)
                .map_err(|error| PatternError(error.to_string()))
        };
        // On its own first: `a)|(.*` is no pattern, but between anchors it would be one that
        // matches everything.
        compile(text)?;
        Ok(Self {
            text: text.to_owned(),
            case,
            compiled: compile(&format!(r"\A(?:{text})\z"))?,
        })
    }

    /// Does it match all of `bytes`?
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.compiled.is_match(bytes)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.case == other.case
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_whole_text_must_match() {
        let pattern = Pattern::compile("prod|dev-[0-9]+", Case::Sensitive).unwrap();
        for (text, matches) in [
            ("prod", true),
            ("dev-12", true),
            ("prod2", false),
            ("my-prod", false),
            ("PROD", false),
            ("prod\n", false),
            ("", false),
        ] {
            assert_eq!(pattern.matches(text.as_bytes()), matches, "{text:?}");
        }
        assert!(!pattern.matches(b"prod\xff"));
    }

    #[test]
    fn case_matters_only_where_it_was_asked_for() {
        let pattern = Pattern::compile("gpt-.*", Case::Insensitive).unwrap();
        assert!(pattern.matches(b"GPT-4"));
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_refused() {
        for text in ["", "(", "*", "(a{1000}){1000}", r"a)|(.*", r"\p{Greek}"] {
            assert!(Pattern::compile(text, Case::Sensitive).is_err(), "{text}");
        }
    }
}
