//! Wire messages to policy values and back.
//!
//! The filter reads what it finds in shared data with the `TryFrom` half; the control plane writes it
//! with the `From` half. Reading trusts nothing: a message that says something policy has no meaning
//! for is an error that names the field, never a default that decides differently. A virtual key has
//! no `From`: its model lists are compiled on the way in and cannot be read back, so the control
//! plane writes the message from the lists as the administrator wrote them.

mod conditions;
mod limits;
mod periods;
mod prices;
mod providers;
mod routing_rules;
mod shares;

use std::rc::Rc;

use reeve_policy::access::{ModelList, ModelListError};
use reeve_policy::model_limits::{ModelLimits, ModelLimitsTable};
use reeve_policy::pattern::PatternError;
use reeve_policy::period::PeriodError;
use reeve_policy::required_headers::{RequiredHeader, RequiredHeaderError};
use reeve_policy::reservation::{Reserving, Sizing, WhenShort};
use reeve_policy::view::Settings;
use reeve_policy::virtual_key::{Owner, ProviderConfig, VirtualKey};

use crate::v1;

/// Why a message has no meaning, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConvertError {
    /// Path of the field, such as `provider_configs[1].limits[0].metric`.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not there, or empty where something is needed.
    #[error("is missing")]
    Missing,
    /// A number that this version knows no meaning for.
    #[error("has the unknown value {0}")]
    Unknown(i32),
    /// Below zero.
    #[error("is negative ({0})")]
    Negative(i64),
    /// Moments that do not follow each other.
    #[error("is not in order")]
    Disorder,
    /// A part of something that is more than the whole.
    #[error("is more than the whole")]
    AboveOne,
    /// Not a month.
    #[error("is no month ({0})")]
    Month(u32),
    /// Not a period.
    #[error(transparent)]
    Period(PeriodError),
    /// Not a list of models.
    #[error(transparent)]
    Models(ModelListError),
    /// Not a header to require.
    #[error(transparent)]
    RequiredHeader(RequiredHeaderError),
    /// Not a pattern.
    #[error(transparent)]
    Pattern(PatternError),
    /// More than there may be.
    #[error("has more than {0}")]
    TooMany(usize),
    /// A word that has no meaning there.
    #[error("has an unknown word")]
    Word,
    /// Nodes that do not make up one condition.
    #[error("is not one whole condition")]
    Incomplete,
}

impl ConvertError {
    fn new(field: &str, problem: Problem) -> Self {
        Self {
            field: field.to_owned(),
            problem,
        }
    }

    /// The same error, seen from the message that holds the faulty one in a list.
    fn within(self, list: &str, index: usize) -> Self {
        Self {
            field: format!("{list}[{index}].{}", self.field),
            problem: self.problem,
        }
    }
}

/// Converts every message of a repeated field.
fn all<W, P>(list: &str, messages: Vec<W>) -> Result<Vec<P>, ConvertError>
where
    P: TryFrom<W, Error = ConvertError>,
{
    messages
        .into_iter()
        .enumerate()
        .map(|(index, message)| P::try_from(message).map_err(|error| error.within(list, index)))
        .collect()
}

fn present(field: &str, text: String) -> Result<String, ConvertError> {
    if text.is_empty() {
        return Err(ConvertError::new(field, Problem::Missing));
    }
    Ok(text)
}

/// Proto3 has no absent string; empty says it.
fn optional(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn not_negative(field: &str, value: i64) -> Result<i64, ConvertError> {
    if value < 0 {
        return Err(ConvertError::new(field, Problem::Negative(value)));
    }
    Ok(value)
}

impl TryFrom<v1::Settings> for Settings {
    type Error = ConvertError;

    fn try_from(message: v1::Settings) -> Result<Self, ConvertError> {
        let required_headers = message.required_headers.iter().enumerate();
        let required_headers = required_headers.map(|(index, text)| {
            RequiredHeader::parse(text).map_err(|error| {
                let field = format!("required_headers[{index}]");
                ConvertError::new(&field, Problem::RequiredHeader(error))
            })
        });
        Ok(Self {
            enable_governance: message.enable_governance,
            providers: all("providers", message.providers)?,
            required_headers: required_headers.collect::<Result<_, _>>()?,
            max_request_body_bytes: message.max_request_body_bytes,
            price_overrides: all("price_overrides", message.price_overrides)?,
            ceiling: message
                .ceiling
                .map(prices::ceiling)
                .transpose()?
                .map(Rc::new),
            reserving: Reserving {
                sizing: if message.balanced_reservations {
                    Sizing::Balanced
                } else {
                    Sizing::Strict
                },
                when_short: if message.clamp_when_short {
                    WhenShort::Clamp
                } else {
                    WhenShort::Reject
                },
                emergency_percent: message.emergency_percent,
            },
            model_limits: ModelLimitsTable::new(all("model_limits", message.model_limits)?),
            routing_rules: all("routing_rules", message.routing_rules)?,
            adaptive_routing: message.adaptive_routing,
        })
    }
}

impl v1::Settings {
    /// The message for a filter that reads it at about this time.
    pub fn at(settings: &Settings, now_ms: i64) -> Self {
        let model_limits = settings.model_limits.entries().iter();
        Self {
            enable_governance: settings.enable_governance,
            providers: settings.providers.iter().map(Into::into).collect(),
            required_headers: settings
                .required_headers
                .iter()
                .map(ToString::to_string)
                .collect(),
            max_request_body_bytes: settings.max_request_body_bytes,
            price_overrides: settings.price_overrides.iter().map(Into::into).collect(),
            ceiling: settings.ceiling.as_ref().map(|ceiling| v1::Ceiling {
                input_price: ceiling.standard.input,
                output_price: ceiling.standard.output,
                price_version: ceiling.version,
            }),
            balanced_reservations: settings.reserving.sizing == Sizing::Balanced,
            clamp_when_short: settings.reserving.when_short == WhenShort::Clamp,
            emergency_percent: settings.reserving.emergency_percent,
            model_limits: model_limits
                .map(|limits| v1::ModelLimits::at(limits, now_ms))
                .collect(),
            routing_rules: settings.routing_rules.iter().map(Into::into).collect(),
            adaptive_routing: settings.adaptive_routing,
        }
    }
}

impl TryFrom<v1::ModelLimits> for ModelLimits {
    type Error = ConvertError;

    fn try_from(message: v1::ModelLimits) -> Result<Self, ConvertError> {
        Ok(Self {
            id: present("id", message.id)?,
            model: optional(message.model),
            provider: optional(message.provider),
            limits: all("limits", message.limits)?,
        })
    }
}

impl v1::ModelLimits {
    /// The message for a filter that reads it at about this time.
    pub fn at(of: &ModelLimits, now_ms: i64) -> Self {
        let limits = of.limits.iter();
        Self {
            id: of.id.clone(),
            model: of.model.clone().unwrap_or_default(),
            provider: of.provider.clone().unwrap_or_default(),
            limits: limits.map(|limit| v1::Limit::at(limit, now_ms)).collect(),
        }
    }
}

impl TryFrom<v1::VirtualKey> for VirtualKey {
    type Error = ConvertError;

    fn try_from(message: v1::VirtualKey) -> Result<Self, ConvertError> {
        Ok(Self {
            id: present("id", message.id)?,
            name: message.name,
            is_active: message.is_active,
            expires_at_ms: message.expires_at_ms,
            allow_all_providers: message.allow_all_providers,
            provider_configs: all("provider_configs", message.provider_configs)?,
            team_id: optional(message.team_id),
            customer_id: optional(message.customer_id),
            limits: all("limits", message.limits)?,
            model_limits: ModelLimitsTable::new(all("model_limits", message.model_limits)?),
            routing_rules: all("routing_rules", message.routing_rules)?,
        })
    }
}

impl TryFrom<v1::ProviderConfig> for ProviderConfig {
    type Error = ConvertError;

    fn try_from(message: v1::ProviderConfig) -> Result<Self, ConvertError> {
        let provider = present("provider", message.provider)?;
        let models = |field: &str, entries: &[String]| {
            ModelList::compile(entries, &provider)
                .map_err(|error| ConvertError::new(field, Problem::Models(error)))
        };
        Ok(Self {
            id: present("id", message.id)?,
            weight_ppm: message.weight_ppm,
            allowed_models: models("allowed_models", &message.allowed_models)?,
            blacklisted_models: models("blacklisted_models", &message.blacklisted_models)?,
            key_ids: message.bound_to_keys.then_some(message.key_ids),
            limits: all("limits", message.limits)?,
            provider,
        })
    }
}

impl TryFrom<v1::Owner> for Owner {
    type Error = ConvertError;

    fn try_from(message: v1::Owner) -> Result<Self, ConvertError> {
        Ok(Self {
            id: present("id", message.id)?,
            name: message.name,
            customer_id: optional(message.customer_id),
            limits: all("limits", message.limits)?,
            routing_rules: all("routing_rules", message.routing_rules)?,
        })
    }
}

impl v1::Owner {
    /// The message for a filter that reads it at about this time.
    pub fn at(owner: &Owner, now_ms: i64) -> Self {
        let limits = owner.limits.iter();
        Self {
            id: owner.id.clone(),
            name: owner.name.clone(),
            customer_id: owner.customer_id.clone().unwrap_or_default(),
            limits: limits.map(|limit| v1::Limit::at(limit, now_ms)).collect(),
            routing_rules: owner.routing_rules.iter().map(Into::into).collect(),
        }
    }
}
