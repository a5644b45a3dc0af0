//! Prices: those of models, of administrators, and the ceiling.

use std::rc::Rc;

use reeve_policy::price::Price;
use reeve_policy::price_list::{Card, PriceList, Service};
use reeve_policy::price_override::{Models, PriceOverride};
use reeve_policy::units::UnitPrices;
use reeve_policy::view::Model;

use super::{ConvertError, Problem, all, not_negative, optional};
use crate::v1;

pub(super) fn ceiling(message: v1::Ceiling) -> Result<PriceList, ConvertError> {
    let input = not_negative("ceiling.input_price", message.input_price)?;
    let output = not_negative("ceiling.output_price", message.output_price)?;
    Ok(PriceList {
        version: message.price_version,
        ..Price::uniform(input, output).into()
    })
}

/// A model that lacks its input or its output price has no price: it is refused, never free by
/// half. What charges nothing for output (embeddings) says so with a zero.
impl TryFrom<v1::Model> for Model {
    type Error = ConvertError;

    fn try_from(message: v1::Model) -> Result<Self, ConvertError> {
        let checked = |field: &str, price: Option<i64>| {
            price.map(|price| not_negative(field, price)).transpose()
        };
        let input = checked("input_price", message.input_price)?;
        let output = checked("output_price", message.output_price)?;
        let cache_read = checked("cache_read_price", message.cache_read_price)?;
        let cache_write_5m = checked("cache_write_5m_price", message.cache_write_5m_price)?;
        let cache_write_1h = checked("cache_write_1h_price", message.cache_write_1h_price)?;
        let reasoning = checked("reasoning_price", message.reasoning_price)?;
        let audio_input = checked("audio_input_price", message.audio_input_price)?;
        let audio_output = checked("audio_output_price", message.audio_output_price)?;
        let image_input = checked("image_input_price", message.image_input_price)?;
        let image_output = checked("image_output_price", message.image_output_price)?;
        let price = input.zip(output).map(|(input, output)| Price {
            input,
            output,
            cache_read: cache_read.unwrap_or(input),
            cache_write_5m: cache_write_5m.unwrap_or(input),
            cache_write_1h: cache_write_1h.or(cache_write_5m).unwrap_or(input),
            reasoning: reasoning.unwrap_or(output),
            audio_input: audio_input.unwrap_or(input),
            audio_output: audio_output.unwrap_or(output),
            image_input: image_input.unwrap_or(input),
            image_output: image_output.unwrap_or(output),
        });
        let cards = all("cards", message.cards)?;
        let units = UnitPrices {
            search: not_negative("search_price", message.search_price)?,
            character: not_negative("character_price", message.character_price)?,
            second: not_negative("second_price", message.second_price)?,
            image: not_negative("image_price", message.image_price)?,
        };
        let price = price.map(|standard| {
            Rc::new(PriceList {
                standard,
                cards,
                units,
                version: message.price_version,
            })
        });
        Ok(Self {
            price,
            max_input_tokens: message.max_input_tokens,
            max_output_tokens: message.max_output_tokens,
        })
    }
}

impl TryFrom<v1::PriceCard> for Card {
    type Error = ConvertError;

    fn try_from(message: v1::PriceCard) -> Result<Self, ConvertError> {
        let service = match v1::ServiceTier::try_from(message.service_tier) {
            Ok(v1::ServiceTier::Standard) => Service::Standard,
            Ok(v1::ServiceTier::Flex) => Service::Flex,
            Ok(v1::ServiceTier::Balanced) => Service::Balanced,
            Ok(v1::ServiceTier::Priority) => Service::Priority,
            Ok(v1::ServiceTier::Ultrafast) => Service::Ultrafast,
            Ok(v1::ServiceTier::Unspecified) => {
                return Err(ConvertError::new("service_tier", Problem::Missing));
            }
            Err(prost::UnknownEnumValue(value)) => {
                return Err(ConvertError::new("service_tier", Problem::Unknown(value)));
            }
        };
        Ok(Self {
            service,
            above_tokens: message.above_tokens,
            price: Price {
                input: not_negative("input_price", message.input_price)?,
                output: not_negative("output_price", message.output_price)?,
                cache_read: not_negative("cache_read_price", message.cache_read_price)?,
                cache_write_5m: not_negative("cache_write_5m_price", message.cache_write_5m_price)?,
                cache_write_1h: not_negative("cache_write_1h_price", message.cache_write_1h_price)?,
                reasoning: not_negative("reasoning_price", message.reasoning_price)?,
                audio_input: not_negative("audio_input_price", message.audio_input_price)?,
                audio_output: not_negative("audio_output_price", message.audio_output_price)?,
                image_input: not_negative("image_input_price", message.image_input_price)?,
                image_output: not_negative("image_output_price", message.image_output_price)?,
            },
        })
    }
}

impl From<&Card> for v1::PriceCard {
    fn from(card: &Card) -> Self {
        let service = match card.service {
            Service::Standard => v1::ServiceTier::Standard,
            Service::Flex => v1::ServiceTier::Flex,
            Service::Balanced => v1::ServiceTier::Balanced,
            Service::Priority => v1::ServiceTier::Priority,
            Service::Ultrafast => v1::ServiceTier::Ultrafast,
        };
        Self {
            service_tier: service.into(),
            above_tokens: card.above_tokens,
            input_price: card.price.input,
            output_price: card.price.output,
            cache_read_price: card.price.cache_read,
            cache_write_5m_price: card.price.cache_write_5m,
            cache_write_1h_price: card.price.cache_write_1h,
            reasoning_price: card.price.reasoning,
            audio_input_price: card.price.audio_input,
            audio_output_price: card.price.audio_output,
            image_input_price: card.price.image_input,
            image_output_price: card.price.image_output,
        }
    }
}

impl TryFrom<v1::PriceOverride> for PriceOverride {
    type Error = ConvertError;

    fn try_from(message: v1::PriceOverride) -> Result<Self, ConvertError> {
        let cache_write = not_negative("cache_write_price", message.cache_write_price)?;
        let price = Price {
            cache_read: not_negative("cache_read_price", message.cache_read_price)?,
            cache_write_5m: cache_write,
            cache_write_1h: cache_write,
            ..Price::uniform(
                not_negative("input_price", message.input_price)?,
                not_negative("output_price", message.output_price)?,
            )
        };
        Ok(Self {
            virtual_key_id: optional(message.virtual_key_id),
            provider: optional(message.provider),
            models: Models::parse(&message.pattern)
                .ok_or_else(|| ConvertError::new("pattern", Problem::Missing))?,
            price: Rc::new(PriceList {
                version: message.price_version,
                ..price.into()
            }),
        })
    }
}

impl From<&PriceOverride> for v1::PriceOverride {
    fn from(own: &PriceOverride) -> Self {
        let price = own.price.standard;
        Self {
            virtual_key_id: own.virtual_key_id.clone().unwrap_or_default(),
            provider: own.provider.clone().unwrap_or_default(),
            pattern: own.models.pattern(),
            input_price: price.input,
            output_price: price.output,
            cache_read_price: price.cache_read,
            cache_write_price: price.cache_write_5m,
            price_version: own.price.version,
        }
    }
}
