//! Models: what each one costs, and how much it reads and writes.
//!
//! Reeve ships with a catalogue ([`builtin`]). Operators add models to it and set prices of their own
//! above it; deleting such an entry brings the built-in one back. A provider has the models that the
//! catalogue lists under its name; under a name that means nothing to Reeve, such as a proxy's,
//! those of the vendor whose API it speaks.
//!
//! Invariants: a price is never negative and never finer than a nano-dollar per million tokens; a
//! model without a price is refused by the data plane, never free; a kind of token without a price
//! costs what its wider kind does ([`Prices`]).

pub mod builtin;
mod card_view;
mod effective;
mod prices;
pub mod routes;
pub mod store;
#[cfg(test)]
mod tests;
mod unit_prices;

use reeve_policy::money::{MoneyError, Nanos};
use reeve_policy::price_list::Card;
use reeve_policy::units::UnitPrices;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use effective::{effective, effective_for};
pub use prices::Prices;
use unit_prices::unit_prices;

use crate::http::field::Field;
use crate::http::number::Number;
use crate::invalid::Invalid;
use builtin::Entry;

/// Longest name of a model, characters.
const MAX_NAME: usize = 256;
/// Greatest price, nano-dollars per million tokens: a dollar per token.
const MAX_PRICE: i64 = 1_000_000 * reeve_policy::money::NANOS_PER_DOLLAR;
/// Greatest number of tokens a model can have room for.
const MAX_TOKENS: u64 = 1_000_000_000;

/// A model of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_field_names,
    reason = "`model` is what requests, records and prices say"
)]
pub struct Model {
    /// The provider's name.
    pub provider: String,
    /// The model's name, as the provider has it.
    pub model: String,
    /// Who says so.
    pub source: Source,
    /// What it costs.
    pub prices: Prices,
    /// What it costs in other service tiers and with long prompts.
    pub cards: Vec<Card>,
    /// What it charges for beside tokens.
    pub units: UnitPrices,
    /// Longest prompt, tokens.
    pub max_input_tokens: Option<u64>,
    /// Longest answer, tokens.
    pub max_output_tokens: Option<u64>,
    /// Day on which the provider means to switch it off, `YYYY-MM-DD`.
    pub deprecated_on: Option<String>,
    /// Changes whenever a price changes.
    pub price_version: u64,
}

/// Where an entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// It ships with Reeve.
    Builtin,
    /// An operator made it.
    Custom,
}

/// A model as a request gives it. What a change leaves out stays as it is.
///
/// A kind of token that has no field here costs what its wider kind does: audio and images of the
/// input as input, reasoning, audio and images of the output as output, and what is kept in the
/// cache for an hour as other cache writes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ModelChange)]
pub struct Change {
    /// Name of a provider that is configured or in the catalogue. Cannot be changed.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "openai")]
    provider: Field<String>,
    /// The provider's name for the model, without provider prefix. Cannot be changed.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "gpt-4o")]
    model: Field<String>,
    /// US dollars per million tokens; required for a new model, 0 is free.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0, example = 2.5)]
    input_cost_per_million_tokens: Field<Number>,
    /// US dollars per million tokens; required for a new model, 0 is free.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0, example = 10.0)]
    output_cost_per_million_tokens: Field<Number>,
    /// US dollars per million tokens read from the provider's cache; null: as other input.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0)]
    cache_read_cost_per_million_tokens: Field<Number>,
    /// US dollars per million tokens written to the provider's cache; null: as other input.
    #[serde(default)]
    #[schema(value_type = Option<f64>, minimum = 0)]
    cache_write_cost_per_million_tokens: Field<Number>,
    /// Longest prompt, tokens; null: not known.
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    max_input_tokens: Field<Number>,
    /// Longest answer, tokens; null: not known.
    #[serde(default)]
    #[schema(value_type = Option<u64>)]
    max_output_tokens: Field<Number>,
}

impl Change {
    /// Provider and model that a new entry is for.
    pub fn subject(&self) -> Result<(String, String), Invalid> {
        let given = |field: &'static str, value: &Field<String>| match value {
            Field::Value(text) => Ok(text.clone()),
            Field::Absent | Field::Null => Err(Invalid::field(field, "is required")),
        };
        let provider = given("provider", &self.provider)?;
        let model = given("model", &self.model)?;
        check_name(&model)?;
        Ok((provider, model))
    }

    /// The entry after the change, an operator's own from now on.
    pub fn apply(self, before: Model, now_ms: i64) -> Result<Model, Invalid> {
        let renamed = |field: &'static str, given: Field<String>, name: &str| match given {
            Field::Absent => Ok(()),
            Field::Value(given) if given == name => Ok(()),
            Field::Value(_) | Field::Null => {
                Err(Invalid::field(field, "cannot be changed; make a new entry"))
            }
        };
        renamed("provider", self.provider, &before.provider)?;
        renamed("model", self.model, &before.model)?;
        let prices = Prices {
            input: price(
                "input_cost_per_million_tokens",
                self.input_cost_per_million_tokens,
                before.prices.input,
            )?,
            output: price(
                "output_cost_per_million_tokens",
                self.output_cost_per_million_tokens,
                before.prices.output,
            )?,
            cache_read: price(
                "cache_read_cost_per_million_tokens",
                self.cache_read_cost_per_million_tokens,
                before.prices.cache_read,
            )?,
            cache_write_5m: price(
                "cache_write_cost_per_million_tokens",
                self.cache_write_cost_per_million_tokens,
                before.prices.cache_write_5m,
            )?,
            ..Prices::default()
        };
        let required = |field: &'static str, price: Option<i64>| match price {
            Some(_) => Ok(()),
            None => Err(Invalid::field(field, "is required; 0 means free")),
        };
        required("input_cost_per_million_tokens", prices.input)?;
        required("output_cost_per_million_tokens", prices.output)?;
        Ok(Model {
            source: Source::Custom,
            prices,
            // They belong to the price list that this entry stands above.
            cards: Vec::new(),
            units: UnitPrices::default(),
            max_input_tokens: tokens(
                "max_input_tokens",
                self.max_input_tokens,
                before.max_input_tokens,
            )?,
            max_output_tokens: tokens(
                "max_output_tokens",
                self.max_output_tokens,
                before.max_output_tokens,
            )?,
            price_version: version(now_ms),
            ..before
        })
    }
}

impl Model {
    /// A model that nothing is known about yet.
    pub fn blank(provider: String, model: String) -> Self {
        Self {
            provider,
            model,
            source: Source::Custom,
            prices: Prices::default(),
            cards: Vec::new(),
            units: UnitPrices::default(),
            max_input_tokens: None,
            max_output_tokens: None,
            deprecated_on: None,
            price_version: 0,
        }
    }

    /// The catalogue's entry, as a model of `provider`.
    fn builtin(provider: &str, entry: &Entry, price_version: u64) -> Self {
        Self {
            provider: provider.to_owned(),
            model: entry.model.to_owned(),
            source: Source::Builtin,
            prices: Prices::of(entry),
            cards: Prices::cards_of(entry),
            units: unit_prices(entry),
            max_input_tokens: entry.max_input_tokens,
            max_output_tokens: entry.max_output_tokens,
            deprecated_on: entry.deprecated_on.map(str::to_owned),
            price_version,
        }
    }
}

/// The version of prices that were set at a moment. Milliseconds are far above the catalogue's own
/// versions, so the two are never mistaken for each other.
fn version(at_ms: i64) -> u64 {
    u64::try_from(at_ms).unwrap_or_default()
}

/// Names appear in paths, headers and logs as they are.
fn check_name(model: &str) -> Result<(), Invalid> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/@+".contains(&b);
    if !model.is_empty()
        && model.len() <= MAX_NAME
        && model.bytes().all(good)
        && model
            .split('/')
            .all(|part| !matches!(part, "" | "." | ".."))
    {
        return Ok(());
    }
    let message =
        "must be 1 to 256 letters, digits and `-._~:/@+`, without empty parts between `/`";
    Err(Invalid::field("model", message))
}

fn price(
    field: &'static str,
    given: Field<Number>,
    before: Option<i64>,
) -> Result<Option<i64>, Invalid> {
    let number = match given {
        Field::Absent => return Ok(before),
        Field::Null => return Ok(None),
        Field::Value(number) => number,
    };
    price_of(field, &number).map(Some)
}

/// Nano-dollars per million tokens, from dollars.
pub(crate) fn price_of(field: &'static str, number: &Number) -> Result<i64, Invalid> {
    let nanos = Nanos::parse_dollars(number.as_str()).map_err(|error| match error {
        MoneyError::TooFine => Invalid::field(field, "must have at most 9 decimal places"),
        other => Invalid::field(field, other),
    })?;
    if !(0..=MAX_PRICE).contains(&nanos.get()) {
        return Err(Invalid::field(field, "must be from 0 to 1000000 dollars"));
    }
    Ok(nanos.get())
}

fn tokens(
    field: &'static str,
    given: Field<Number>,
    before: Option<u64>,
) -> Result<Option<u64>, Invalid> {
    let number = match given {
        Field::Absent => return Ok(before),
        Field::Null => return Ok(None),
        Field::Value(number) => number,
    };
    match number.as_str().parse::<u64>() {
        Ok(count) if (1..=MAX_TOKENS).contains(&count) => Ok(Some(count)),
        _ => Err(Invalid::field(
            field,
            "must be a whole number from 1 to 1000000000",
        )),
    }
}
