//! Which models of a provider a key may use.
//!
//! | `allowed_models` | admits |
//! |---|---|
//! | `[]` or absent | what the catalogue lists for the provider |
//! | `["*"]` | any name at all |
//! | `["gpt-4o"]` | exactly that name |
//! | `["regex:gpt-4.*"]` | names that the whole pattern matches, case-insensitively, in linear time |
//!
//! `blacklisted_models` is written in the same way and wins. A name may be written with its provider
//! (`openai/gpt-4o`).

use crate::pattern::{Case, Pattern};

const REGEX_PREFIX: &str = "regex:";

/// A list of model names as an administrator wrote it, checked and compiled.
#[derive(Debug, Clone, Default)]
pub struct ModelList {
    any: bool,
    names: Vec<String>,
    patterns: Vec<Pattern>,
}

/// Why a list of model names is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelListError {
    /// An empty name.
    #[error("entry {index} is empty: write a model name, `*` or `regex:…`")]
    Empty {
        /// Position in the list, from 0.
        index: usize,
    },
    /// `*` among other entries.
    #[error("`*` admits every model: it must stand alone")]
    StarAmongOthers,
    /// The same entry twice.
    #[error("entry {index} stands in the list twice")]
    Duplicate {
        /// Position of the second one, from 0.
        index: usize,
    },
    /// A pattern that cannot be used.
    #[error("entry {index} is not a usable pattern: {reason}")]
    Pattern {
        /// Position in the list, from 0.
        index: usize,
        /// What the compiler says, or `…` when it is too large.
        reason: String,
    },
}

impl ModelList {
    /// Checks and compiles a list for `provider`, whose name is dropped from the front of entries.
    pub fn compile(entries: &[String], provider: &str) -> Result<Self, ModelListError> {
        let mut list = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            if entries.iter().take(index).any(|earlier| earlier == entry) {
                return Err(ModelListError::Duplicate { index });
            }
            if entry == "*" {
                if entries.len() > 1 {
                    return Err(ModelListError::StarAmongOthers);
                }
                list.any = true;
            } else if let Some(pattern) = entry.strip_prefix(REGEX_PREFIX) {
                let compiled = Pattern::compile(pattern, Case::Insensitive);
                list.patterns
                    .push(compiled.map_err(|error| ModelListError::Pattern {
                        index,
                        reason: error.to_string(),
                    })?);
            } else {
                let name = entry
                    .strip_prefix(provider)
                    .and_then(|rest| rest.strip_prefix('/'))
                    .unwrap_or(entry);
                if name.is_empty() {
                    return Err(ModelListError::Empty { index });
                }
                list.names.push(name.to_owned());
            }
        }
        Ok(list)
    }

    /// Nothing was written.
    pub fn is_empty(&self) -> bool {
        !self.any && self.names.is_empty() && self.patterns.is_empty()
    }

    /// It is `*`.
    pub const fn is_any(&self) -> bool {
        self.any
    }

    /// The list names this model, by name, pattern or `*`.
    pub fn names(&self, model: &str) -> bool {
        self.any
            || self.names.iter().any(|name| name == model)
            || self
                .patterns
                .iter()
                .any(|pattern| pattern.matches(model.as_bytes()))
    }

    /// The models that the list names outright, without `*` and patterns.
    pub fn exact_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }
}

/// May a key with these lists use a model? `names` are what the caller and what the provider calls it: either
/// admits it, either blocks it. `in_catalogue`: the catalogue lists it for the provider.
pub fn admits(
    allowed: &ModelList,
    blacklisted: &ModelList,
    names: [&str; 2],
    in_catalogue: bool,
) -> bool {
    let named_by = |list: &ModelList| names.iter().any(|name| list.names(name));
    if named_by(blacklisted) {
        return false;
    }
    if allowed.is_empty() {
        in_catalogue
    } else {
        named_by(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn list(entries: &[&str]) -> ModelList {
        ModelList::compile(&owned(entries), "openai").unwrap()
    }

    fn admits(allowed: &ModelList, blacklisted: &ModelList, model: &str, listed: bool) -> bool {
        super::admits(allowed, blacklisted, [model, model], listed)
    }

    #[test]
    fn an_alias_is_admitted_and_blocked_by_either_of_its_names() {
        let of_alias = |allowed: &[&str], blacklisted: &[&str]| {
            super::admits(
                &list(allowed),
                &list(blacklisted),
                ["fast", "gpt-4o-mini"],
                true,
            )
        };
        assert!(of_alias(&["fast"], &[]));
        assert!(of_alias(&["gpt-4o-mini"], &[]));
        assert!(of_alias(&[], &[]));
        assert!(!of_alias(&["gpt-4o"], &[]));
        assert!(!of_alias(&["*"], &["fast"]));
        assert!(!of_alias(&["fast"], &["regex:gpt-4o.*"]));
    }

    fn owned(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|&entry| entry.to_owned()).collect()
    }

    #[test]
    fn an_empty_list_admits_what_the_catalogue_lists() {
        assert!(admits(&list(&[]), &list(&[]), "gpt-4o", true));
        assert!(!admits(&list(&[]), &list(&[]), "gpt-unheard-of", false));
    }

    #[test]
    fn a_star_admits_any_name_at_all() {
        assert!(admits(&list(&["*"]), &list(&[]), "gpt-unheard-of", false));
    }

    #[test]
    fn names_are_exact() {
        let allowed = list(&["gpt-4o", "openai/o3"]);
        for (model, admitted) in [
            ("gpt-4o", true),
            ("o3", true),
            ("gpt-4o-mini", false),
            ("GPT-4o", false),
            ("gpt-4o ", false),
            ("openai/gpt-4o", false),
        ] {
            assert_eq!(
                admits(&allowed, &list(&[]), model, true),
                admitted,
                "{model}"
            );
        }
    }

    #[test]
    fn a_pattern_must_match_the_whole_name() {
        let allowed = list(&["regex:gpt-4.*|o3"]);
        for (model, admitted) in [
            ("gpt-4o", true),
            ("GPT-4O", true),
            ("o3", true),
            ("o3-mini", false),
            ("my-o3", false),
        ] {
            assert_eq!(
                admits(&allowed, &list(&[]), model, false),
                admitted,
                "{model}"
            );
        }
    }

    #[test]
    fn the_blacklist_wins() {
        assert!(!admits(&list(&["*"]), &list(&["gpt-4o"]), "gpt-4o", true));
        assert!(!admits(&list(&["gpt-4o"]), &list(&["*"]), "gpt-4o", true));
        assert!(!admits(
            &list(&["*"]),
            &list(&["regex:gpt-.*"]),
            "gpt-5",
            true
        ));
    }

    #[test]
    fn a_list_that_cannot_mean_what_it_says_is_refused() {
        let refused = |entries: &[&str]| ModelList::compile(&owned(entries), "openai").unwrap_err();
        assert_eq!(refused(&["*", "gpt-4o"]), ModelListError::StarAmongOthers);
        assert_eq!(
            refused(&["gpt-4o", "gpt-4o"]),
            ModelListError::Duplicate { index: 1 }
        );
        assert_eq!(refused(&["gpt-4o", ""]), ModelListError::Empty { index: 1 });
        assert_eq!(refused(&["openai/"]), ModelListError::Empty { index: 0 });
        for pattern in [
            "regex:",
            "regex:(",
            "regex:*",
            "regex:(a{1000}){1000}",
            r"regex:a)|(.*",
        ] {
            assert!(matches!(
                refused(&[pattern]),
                ModelListError::Pattern { index: 0, .. }
            ));
        }
    }
}
