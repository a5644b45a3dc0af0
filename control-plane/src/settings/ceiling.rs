//! What models without a price cost.

use reeve_policy::money::Nanos;
use reeve_policy::price::Price;
use reeve_policy::price_list::PriceList;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::number::Number;
use crate::invalid::Invalid;
use crate::models::price_of;

/// A price that is at least what any such model costs. Nano-dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// Input of every kind.
    pub input: i64,
    /// Output of every kind.
    pub output: i64,
    /// Changes whenever a price changes.
    pub price_version: u64,
}

/// The ceiling as the API has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = UnpricedModelCeiling)]
pub struct Given {
    /// US dollars per million tokens of input, whatever their kind.
    #[schema(value_type = f64, minimum = 0, example = 20.0)]
    pub input_cost_per_million_tokens: Number,
    /// US dollars per million tokens of output, whatever their kind.
    #[schema(value_type = f64, minimum = 0, example = 100.0)]
    pub output_cost_per_million_tokens: Number,
}

impl Ceiling {
    /// As it was given at that moment.
    pub fn read(given: &Given, now_ms: i64) -> Result<Self, Invalid> {
        Ok(Self {
            input: price_of(
                "input_cost_per_million_tokens",
                &given.input_cost_per_million_tokens,
            )?,
            output: price_of(
                "output_cost_per_million_tokens",
                &given.output_cost_per_million_tokens,
            )?,
            price_version: u64::try_from(now_ms).unwrap_or_default(),
        })
    }
}

impl From<Ceiling> for Given {
    fn from(ceiling: Ceiling) -> Self {
        let dollars = |price| Number::from_display(Nanos::new(price));
        Self {
            input_cost_per_million_tokens: dollars(ceiling.input),
            output_cost_per_million_tokens: dollars(ceiling.output),
        }
    }
}

impl From<Ceiling> for PriceList {
    fn from(ceiling: Ceiling) -> Self {
        Self {
            version: ceiling.price_version,
            ..Price::uniform(ceiling.input, ceiling.output).into()
        }
    }
}
