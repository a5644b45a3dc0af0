//! Limits on what is asked for, whoever asks or for one key: of a model, of a provider, of a model at a
//! provider, of everything.
//!
//! Names are exact. A model that is asked for under another name than the catalogue's has no price, and is
//! refused for that.

use crate::limit::Limit;

/// Limits of a model, a provider, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelLimits {
    /// Identifier in the API.
    pub id: String,
    /// The model, without a provider's name; `None`: every model.
    pub model: Option<String>,
    /// The provider; `None`: every provider.
    pub provider: Option<String>,
    /// Budgets and rate limits of what this is about.
    pub limits: Vec<Limit>,
}

impl ModelLimits {
    /// Are these limits of a provider as a whole?
    pub const fn is_of_provider(&self) -> bool {
        self.model.is_none() && self.provider.is_some()
    }

    fn name(&self) -> (Option<&str>, Option<&str>) {
        (self.model.as_deref(), self.provider.as_deref())
    }
}

/// All of one scope, so that those that apply are found without looking at the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelLimitsTable(Vec<ModelLimits>);

impl ModelLimitsTable {
    /// A table of these.
    pub fn new(mut entries: Vec<ModelLimits>) -> Self {
        entries.sort_by(|a, b| a.name().cmp(&b.name()));
        Self(entries)
    }

    /// All of them.
    pub fn entries(&self) -> &[ModelLimits] {
        &self.0
    }

    /// Those that a request for this model of this provider must pass, widest first.
    pub fn of<'a>(&'a self, provider: &str, model: &str) -> impl Iterator<Item = &'a ModelLimits> {
        [
            (None, None),
            (None, Some(provider)),
            (Some(model), None),
            (Some(model), Some(provider)),
        ]
        .into_iter()
        .flat_map(|name| {
            let first = self.0.partition_point(|entry| entry.name() < name);
            let end = self.0.partition_point(|entry| entry.name() <= name);
            self.0.get(first..end).unwrap_or_default()
        })
        .collect::<Vec<_>>()
        .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn what_applies_is_found_by_exact_names() {
        let entry = |id: &str, model: Option<&str>, provider: Option<&str>| ModelLimits {
            id: id.into(),
            model: model.map(Into::into),
            provider: provider.map(Into::into),
            limits: Vec::new(),
        };
        let table = ModelLimitsTable::new(vec![
            entry("both", Some("gpt-4o"), Some("openai")),
            entry("model", Some("gpt-4o"), None),
            entry("elsewhere", Some("gpt-4o"), Some("azure")),
            entry("provider", None, Some("openai")),
            entry("all", None, None),
            entry("longer", Some("gpt-4o-mini"), None),
        ]);
        let of = |provider: &str, model: &str| -> Vec<String> {
            table
                .of(provider, model)
                .map(|found| found.id.clone())
                .collect()
        };
        assert_eq!(of("openai", "gpt-4o"), ["all", "provider", "model", "both"]);
        assert_eq!(of("azure", "gpt-4o"), ["all", "model", "elsewhere"]);
        assert_eq!(of("openai", "GPT-4o"), ["all", "provider"]);
        assert_eq!(of("x", "y"), ["all"]);
        assert_eq!(ModelLimitsTable::default().of("x", "y").count(), 0);
    }
}
