//! Pricing overrides: prices of the administrators' own, for some keys, providers and models.
//!
//! Of those that hold for a request the most specific counts
//! ([`reeve_policy::price_override::most_specific`]), and stands in the place of all prices of the model.
//!
//! Invariant: no two hold for the same key, provider and pattern.

pub mod routes;
pub mod store;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use reeve_policy::price::Price;
use reeve_policy::price_list::PriceList;
use reeve_policy::price_override::{Models, PriceOverride};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::field::Field;
use crate::http::number::Number;
use crate::invalid::Invalid;
use crate::models::price_of;
use crate::name;
use crate::random::Ids;

/// Longest pattern, characters.
const MAX_PATTERN: usize = 256;
/// Most overrides there can be: every request looks through them.
pub const MOST: i64 = 256;

/// An override as configured. Prices are nano-dollars per million tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PricingOverride {
    /// UUIDv7.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The virtual key that it holds for; none: every one.
    pub virtual_key_id: Option<String>,
    /// The provider that it holds for; none: every one.
    pub provider: Option<String>,
    /// The models that it holds for.
    pub models: Models,
    /// Input of every kind that has no price of its own.
    pub input: i64,
    /// Output of every kind.
    pub output: i64,
    /// Input read from the provider's cache; none: as other input.
    pub cache_read: Option<i64>,
    /// Input written to the provider's cache; none: as other input.
    pub cache_write: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the Unix epoch; the version of its prices.
    pub updated_at_ms: i64,
}

/// An override as a request gives it. Making one is a change of an empty one: `name`, `pattern` and the
/// prices of input and output must be given then. Otherwise a field that is left out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = PricingOverrideChange)]
pub struct Change {
    /// 1 to 128 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "our contract")]
    pub name: Field<String>,
    /// Only for this virtual key; null: for every one.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub virtual_key_id: Field<String>,
    /// Only for this provider; null: for every one.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "openai")]
    pub provider: Field<String>,
    /// A model's name, or the beginning of names and a star: `gpt-4o`, `gpt-4*`, `*`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "gpt-4*")]
    pub pattern: Field<String>,
    /// US dollars per million tokens, of every kind that has no price of its own.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0, example = 2.0)]
    pub input_cost_per_million_tokens: Field<Number>,
    /// US dollars per million tokens, of every kind.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0, example = 8.0)]
    pub output_cost_per_million_tokens: Field<Number>,
    /// US dollars per million tokens read from the provider's cache; null: as other input.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0)]
    pub cache_read_cost_per_million_tokens: Field<Number>,
    /// US dollars per million tokens written to the provider's cache; null: as other input.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0)]
    pub cache_write_cost_per_million_tokens: Field<Number>,
}

impl Change {
    /// The override after the change, or the first rule it would break.
    pub fn apply(
        self,
        before: Option<PricingOverride>,
        ids: &mut Ids,
    ) -> Result<PricingOverride, Invalid> {
        let old = before.as_ref();
        let name = self.name.or_keep_value(
            old.map(|old| old.name.clone()).unwrap_or_default(),
            String::new(),
        );
        name::check(&name)?;
        let models = match self.pattern {
            Field::Value(pattern) => pattern_of(&pattern)?,
            Field::Absent => old
                .map(|old| old.models.clone())
                .ok_or_else(|| Invalid::field("pattern", "is required; `*` is every model"))?,
            Field::Null => {
                return Err(Invalid::field("pattern", "is required; `*` is every model"));
            }
        };
        let scope = |id: Field<String>, old: Option<&String>| {
            id.or_keep(old.cloned()).filter(|id| !id.is_empty())
        };
        Ok(PricingOverride {
            name,
            models,
            virtual_key_id: scope(
                self.virtual_key_id,
                old.and_then(|old| old.virtual_key_id.as_ref()),
            ),
            provider: scope(self.provider, old.and_then(|old| old.provider.as_ref())),
            input: required(
                "input_cost_per_million_tokens",
                self.input_cost_per_million_tokens,
                old.map(|old| old.input),
            )?,
            output: required(
                "output_cost_per_million_tokens",
                self.output_cost_per_million_tokens,
                old.map(|old| old.output),
            )?,
            cache_read: optional(
                "cache_read_cost_per_million_tokens",
                self.cache_read_cost_per_million_tokens,
                old.and_then(|old| old.cache_read),
            )?,
            cache_write: optional(
                "cache_write_cost_per_million_tokens",
                self.cache_write_cost_per_million_tokens,
                old.and_then(|old| old.cache_write),
            )?,
            created_at_ms: old.map_or_else(|| ids.now_ms(), |old| old.created_at_ms),
            updated_at_ms: ids.now_ms(),
            id: before.map_or_else(|| ids.make(), |old| old.id),
        })
    }
}

impl PricingOverride {
    /// What it holds for, in Bifrost's words.
    pub const fn scope_kind(&self) -> &'static str {
        match (&self.virtual_key_id, &self.provider) {
            (None, None) => "global",
            (None, Some(_)) => "provider",
            (Some(_), None) => "virtual_key",
            (Some(_), Some(_)) => "virtual_key_provider",
        }
    }

    /// As the filter has it.
    pub fn compiled(&self) -> PriceOverride {
        let cache_write = self.cache_write.unwrap_or(self.input);
        let price = Price {
            cache_read: self.cache_read.unwrap_or(self.input),
            cache_write_5m: cache_write,
            cache_write_1h: cache_write,
            ..Price::uniform(self.input, self.output)
        };
        PriceOverride {
            virtual_key_id: self.virtual_key_id.clone(),
            provider: self.provider.clone(),
            models: self.models.clone(),
            price: Rc::new(PriceList {
                version: u64::try_from(self.updated_at_ms).unwrap_or_default(),
                ..price.into()
            }),
        }
    }
}

fn pattern_of(pattern: &str) -> Result<Models, Invalid> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/@+*".contains(&byte);
    Models::parse(pattern)
        .filter(|_| pattern.len() <= MAX_PATTERN && pattern.bytes().all(good))
        .ok_or_else(|| {
            let message =
                "must be 1 to 256 letters, digits and `-._~:/@+`, with a star at the end or none";
            Invalid::field("pattern", message)
        })
}

fn optional(
    field: &'static str,
    given: Field<Number>,
    old: Option<i64>,
) -> Result<Option<i64>, Invalid> {
    match given {
        Field::Absent => Ok(old),
        Field::Null => Ok(None),
        Field::Value(number) => price_of(field, &number).map(Some),
    }
}

fn required(field: &'static str, given: Field<Number>, old: Option<i64>) -> Result<i64, Invalid> {
    optional(field, given, old)?.ok_or_else(|| Invalid::field(field, "is required; 0 means free"))
}
