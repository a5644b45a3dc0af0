//! Names that callers may use for a provider's models.

use std::collections::BTreeMap;
use std::fmt;

use reeve_llm::is_model_name;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Most of one provider: all of them are with every Envoy.
const MAX: usize = 200;

/// What callers say, and what the provider says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Aliases(pub BTreeMap<String, String>);

/// Why aliases are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    #[error("must be at most {MAX}")]
    TooMany,
    #[error(
        "has an entry that is no model name: write 1 to 160 letters, digits or `._:/@+-` on both sides"
    )]
    NoName,
    #[error("has `{0}` as a name for itself: leave it out")]
    Itself(String),
}

impl Aliases {
    /// Whether each is a name for another.
    pub fn check(&self) -> Result<(), AliasError> {
        if self.0.len() > MAX {
            return Err(AliasError::TooMany);
        }
        for (alias, model) in &self.0 {
            if !is_model_name(alias) || !is_model_name(model) {
                return Err(AliasError::NoName);
            }
            if alias == model {
                return Err(AliasError::Itself(alias.clone()));
            }
        }
        Ok(())
    }
}

/// An object that has no name twice.
impl<'de> Deserialize<'de> for Aliases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Aliases;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of model names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Aliases, A::Error> {
                let mut aliases = BTreeMap::new();
                while let Some((alias, model)) = map.next_entry::<String, String>()? {
                    if aliases.insert(alias.clone(), model).is_some() {
                        return Err(A::Error::custom(format_args!("duplicate field `{alias}`")));
                    }
                }
                Ok(Aliases(aliases))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}
