//! Prices of one's own: what was agreed with a provider, or is passed on to a customer.
//!
//! An override holds for some keys, providers and models; of those that hold for a request the most
//! specific counts: one for its key before one for all, then one for its provider, then an exact name
//! before a beginning, then the longer beginning. It stands in the place of the whole price list.

use std::rc::Rc;

use crate::price_list::PriceList;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceOverride {
    /// The virtual key that it holds for; `None`: every one.
    pub virtual_key_id: Option<String>,
    /// The provider that it holds for; `None`: every one.
    pub provider: Option<String>,
    /// The models that it holds for.
    pub models: Models,
    /// What they cost.
    pub price: Rc<PriceList>,
}

/// Models by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Models {
    /// Those whose names begin so.
    Beginning(String),
    /// The one of this name.
    Exact(String),
}

impl Models {
    /// `gpt-4o`, `gpt-4*` or `*`. `None`: a star stands elsewhere than at the end, or nothing there.
    pub fn parse(pattern: &str) -> Option<Self> {
        match pattern.split_once('*') {
            None if pattern.is_empty() => None,
            None => Some(Self::Exact(pattern.to_owned())),
            Some((beginning, "")) => Some(Self::Beginning(beginning.to_owned())),
            Some(_) => None,
        }
    }

    /// As it is written.
    pub fn pattern(&self) -> String {
        match self {
            Self::Exact(name) => name.clone(),
            Self::Beginning(beginning) => format!("{beginning}*"),
        }
    }

    fn has(&self, model: &str) -> bool {
        match self {
            Self::Exact(name) => name == model,
            Self::Beginning(beginning) => model.starts_with(beginning.as_str()),
        }
    }

    /// A greater one is more specific.
    fn rank(&self) -> (bool, usize) {
        match self {
            Self::Exact(name) => (true, name.len()),
            Self::Beginning(beginning) => (false, beginning.len()),
        }
    }
}

/// The override that counts.
pub fn most_specific<'a>(
    overrides: &'a [PriceOverride],
    virtual_key_id: Option<&str>,
    provider: &str,
    model: &str,
) -> Option<&'a PriceOverride> {
    let holds = |own: &&PriceOverride| {
        own.virtual_key_id
            .as_deref()
            .is_none_or(|id| Some(id) == virtual_key_id)
            && own.provider.as_deref().is_none_or(|name| name == provider)
            && own.models.has(model)
    };
    overrides.iter().filter(holds).max_by_key(|own| {
        let key = own.virtual_key_id.is_some();
        (key, own.provider.is_some(), own.models.rank())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Price;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn own(key: Option<&str>, provider: Option<&str>, pattern: &str, price: i64) -> PriceOverride {
        PriceOverride {
            virtual_key_id: key.map(Into::into),
            provider: provider.map(Into::into),
            models: Models::parse(pattern).unwrap(),
            price: Rc::new(Price::uniform(price, price).into()),
        }
    }

    #[test]
    fn the_most_specific_counts_in_whatever_order_they_stand() {
        let mut all = vec![
            own(None, None, "*", 1),
            own(None, None, "gpt-*", 2),
            own(None, None, "gpt-4o*", 3),
            own(None, None, "gpt-4o", 4),
            own(None, Some("openai"), "*", 5),
            own(Some("k"), None, "*", 6),
            own(Some("k"), Some("openai"), "*", 7),
        ];
        for _ in 0..all.len() {
            all.rotate_left(1);
            let price = |key, provider, model| {
                most_specific(&all, key, provider, model).map(|own| own.price.standard.input)
            };
            assert_eq!(price(None, "azure", "o3"), Some(1));
            assert_eq!(price(None, "azure", "gpt-3"), Some(2));
            assert_eq!(price(Some("other"), "azure", "gpt-4o-mini"), Some(3));
            assert_eq!(price(None, "azure", "gpt-4o"), Some(4));
            assert_eq!(price(None, "openai", "gpt-4o"), Some(5));
            assert_eq!(price(Some("k"), "azure", "gpt-4o"), Some(6));
            assert_eq!(price(Some("k"), "openai", "gpt-4o"), Some(7));
        }
        assert_eq!(most_specific(&[], None, "openai", "gpt-4o"), None);
    }

    #[test]
    fn a_star_stands_at_the_end_or_nowhere() {
        for pattern in ["", "*a", "a*b", "a**"] {
            assert_eq!(Models::parse(pattern), None, "{pattern}");
        }
        for pattern in ["*", "a", "a*"] {
            assert_eq!(Models::parse(pattern).unwrap().pattern(), pattern);
        }
    }
}
