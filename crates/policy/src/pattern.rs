//! Patterns that administrators write, matched in linear time against the whole of a text, or found
//! anywhere in it.

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

/// Most bytes of a compiled pattern; a pattern that needs more is a mistake or an attack.
const SIZE_LIMIT: usize = 256 * 1024;
/// Most of one that is searched for: a search takes time by both, the text and the pattern.
const SEARCHED_SIZE_LIMIT: usize = 32 * 1024;

/// A compiled pattern. Two are equal when they are written alike.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    case: Case,
    reach: Reach,
    compiled: Regex,
}

/// How much of a text must match?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Whole,
    Anywhere,
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
        // On its own first: `a)|(.*` is no pattern, but between anchors it would be one that
        // matches everything.
        build(text, case, SIZE_LIMIT)?;
        Ok(Self {
            text: text.to_owned(),
            case,
            reach: Reach::Whole,
            compiled: build(&format!(r"\A(?:{text})\z"), case, SIZE_LIMIT)?,
        })
    }

    /// Compiles a pattern that may stand anywhere in a text. Empty, it is everywhere. It is ASCII, and
    /// cannot say otherwise.
    pub fn anywhere(text: &str) -> Result<Self, PatternError> {
        if turns_unicode_on(text) {
            let message = "the flag `u` is not available: patterns are ASCII";
            return Err(PatternError(message.into()));
        }
        Ok(Self {
            text: text.to_owned(),
            case: Case::Sensitive,
            reach: Reach::Anywhere,
            compiled: build(text, Case::Sensitive, SEARCHED_SIZE_LIMIT)?,
        })
    }

    /// Does it match?
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
        (&self.text, self.case, self.reach) == (&other.text, other.case, other.reach)
    }
}

impl Eq for Pattern {}

fn build(pattern: &str, case: Case, size_limit: usize) -> Result<Regex, PatternError> {
    let syntax = syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(case == Case::Insensitive);
    Regex::builder()
        .syntax(syntax)
        .configure(Regex::config().nfa_size_limit(Some(size_limit)))
        .build(pattern)
        .map_err(|error| PatternError(error.to_string()))
}

/// Has it a group `(?u)`, `(?iu:…)`, …? What such a pattern means depends on tables that the filter does
/// not have.
fn turns_unicode_on(text: &str) -> bool {
    text.split("(?").skip(1).any(|group| {
        let flags = group.split([':', ')']).next().unwrap_or_default();
        flags.contains('u') && flags.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')
    })
}

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
