//! Settings: what holds for every request, `/api/config`.
//!
//! Invariants: a header is required once at most, and is none that the gateway itself governs.

mod ceiling;
mod reserving;
pub mod routes;
pub mod store;
#[cfg(test)]
mod tests;
mod unreachable;

use std::fmt::Display;

use jiff::tz::TimeZone;
use reeve_policy::required_headers::RequiredHeader;
use reeve_policy::reservation::{Reserving, Sizing, WhenShort};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::field::Field;
use crate::http::number::Number;
use crate::invalid::Invalid;
use crate::limits::calendar;
pub use ceiling::Ceiling;
pub use reserving::{Reservation, Short};
pub use unreachable::{Unreachable, WhenUnreachable};

const MIB: i64 = 1024 * 1024;
/// Largest `max_request_body_size_mb`: Envoy buffers a body before it is judged.
const MAX_BODY_MIB: i64 = 1_024;
const DEFAULT_BODY_MIB: i64 = 10;
const MAX_REQUIRED_HEADERS: usize = 32;
/// Headers that Envoy or the filter sets or removes, so that requiring them makes no sense.
const GOVERNED: [&str; 10] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "authorization",
    "x-api-key",
    "x-bf-vk",
    "x-goog-api-key",
    "api-key",
    "content-encoding",
];

/// What holds for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Off: requests without a virtual key are admitted. A key that is presented is judged always.
    pub enable_governance: bool,
    /// Headers that every request must carry.
    pub required_headers: Vec<RequiredHeader>,
    /// Largest request body, bytes.
    pub max_request_body_bytes: i64,
    /// How budgets are reserved.
    pub reserving: Reserving,
    /// What an Envoy does when it cannot ask for more of a limit.
    pub unreachable: Unreachable,
    /// What a model without a price costs; none: it is refused.
    pub ceiling: Option<Ceiling>,
    /// Shares of providers are lowered while those fail.
    pub adaptive_routing: bool,
    /// Of the calendar of new customers, teams and keys.
    pub time_zone: TimeZone,
}

/// `PUT /api/config`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ConfigChange)]
pub struct Change {
    /// What holds for every request.
    pub client_config: ClientConfigChange,
}

/// A field that is left out stays as it is; null means the default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct ClientConfigChange {
    /// Whether a request needs a virtual key.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enable_governance: Field<bool>,
    /// Headers that every request must carry, at most 32: `name`, or `name: regex` where the whole
    /// of each value must match. The regex is ASCII, and case matters to it.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["x-tenant", "x-env: prod|dev"]))]
    pub required_headers: Field<Vec<String>>,
    /// Largest request body in MiB, 1 to 1024, default 10.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1024)]
    pub max_request_body_size_mb: Field<Number>,
    /// How much of a budget a request reserves, default `strict`.
    #[serde(default)]
    #[schema(value_type = Option<Reservation>)]
    pub reservation: Field<Reservation>,
    /// What becomes of a request when the rest of a budget is too small, default `reject`.
    #[serde(default)]
    #[schema(value_type = Option<Short>)]
    pub when_short: Field<Short>,
    /// What an Envoy does when it needs more of a limit than it holds and its control plane does not answer,
    /// default `fail_closed`.
    #[serde(default)]
    #[schema(value_type = Option<WhenUnreachable>)]
    pub when_unreachable: Field<WhenUnreachable>,
    /// With `fail_open_capped`, by how much of a limit each Envoy may then go beyond what it holds, in each
    /// window: 1 to 100, default 10.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 100)]
    pub emergency_allowance_percent: Field<Number>,
    /// What a model without a price costs, for virtual keys. Null, the default: it is refused with
    /// 402 `price_unknown`.
    #[serde(default)]
    #[schema(value_type = Option<ceiling::Given>)]
    pub unpriced_model_ceiling: Field<ceiling::Given>,
    /// Whether a provider is drawn less often than its weight says while it fails, refuses or is slow; default
    /// true.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub adaptive_routing: Field<bool>,
    /// IANA name of the zone whose calendar new customers, teams and keys have; null: UTC.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "Europe/Berlin")]
    pub time_zone: Field<String>,
}

impl Settings {
    /// The settings of a new database.
    pub fn initial(enable_governance: bool) -> Self {
        Self {
            enable_governance,
            required_headers: Vec::new(),
            max_request_body_bytes: DEFAULT_BODY_MIB.saturating_mul(MIB),
            reserving: Reserving::default(),
            unreachable: Unreachable::INITIAL,
            ceiling: None,
            adaptive_routing: true,
            time_zone: TimeZone::UTC,
        }
    }

    /// The required headers as they are stored and shown.
    pub fn header_texts(&self) -> Vec<String> {
        let headers = self.required_headers.iter();
        headers.map(ToString::to_string).collect()
    }

    /// Largest request body in MiB.
    pub fn max_request_body_mib(&self) -> i64 {
        self.max_request_body_bytes
            .checked_div(MIB)
            .unwrap_or_default()
    }
}

impl Change {
    /// The settings after the change, or the first rule it would break.
    pub fn apply(self, settings: Settings, now_ms: i64) -> Result<Settings, Invalid> {
        self.client_config
            .apply(settings, now_ms)
            .map_err(|fault| fault.within("client_config"))
    }
}

impl ClientConfigChange {
    fn apply(self, settings: Settings, now_ms: i64) -> Result<Settings, Invalid> {
        let max_request_body_bytes = match self.max_request_body_size_mb {
            Field::Absent => settings.max_request_body_bytes,
            Field::Null => DEFAULT_BODY_MIB.saturating_mul(MIB),
            Field::Value(number) => number
                .whole()
                .filter(|mib| (1..=MAX_BODY_MIB).contains(mib))
                .map(|mib| mib.saturating_mul(MIB))
                .ok_or_else(|| {
                    Invalid::field(
                        "max_request_body_size_mb",
                        "must be a whole number, 1 to 1024",
                    )
                })?,
        };
        let required_headers = match self.required_headers {
            Field::Absent => settings.required_headers,
            Field::Null => Vec::new(),
            Field::Value(texts) => required_headers(&texts)?,
        };
        Ok(Settings {
            enable_governance: self
                .enable_governance
                .or_keep_value(settings.enable_governance, true),
            required_headers,
            max_request_body_bytes,
            ceiling: match self.unpriced_model_ceiling {
                Field::Absent => settings.ceiling,
                Field::Null => None,
                Field::Value(given) => Some(
                    Ceiling::read(&given, now_ms)
                        .map_err(|fault| fault.within("unpriced_model_ceiling"))?,
                ),
            },
            unreachable: settings
                .unreachable
                .changed(self.when_unreachable, self.emergency_allowance_percent)?,
            reserving: Reserving {
                sizing: match self.reservation {
                    Field::Absent => settings.reserving.sizing,
                    Field::Null => Sizing::default(),
                    Field::Value(Reservation::Strict) => Sizing::Strict,
                    Field::Value(Reservation::Balanced) => Sizing::Balanced,
                },
                when_short: match self.when_short {
                    Field::Absent => settings.reserving.when_short,
                    Field::Null => WhenShort::default(),
                    Field::Value(Short::Reject) => WhenShort::Reject,
                    Field::Value(Short::Clamp) => WhenShort::Clamp,
                },
                ..settings.reserving
            },
            adaptive_routing: self
                .adaptive_routing
                .or_keep_value(settings.adaptive_routing, true),
            time_zone: calendar::changed(self.time_zone, settings.time_zone)?,
        })
    }
}

fn required_headers(texts: &[String]) -> Result<Vec<RequiredHeader>, Invalid> {
    if texts.len() > MAX_REQUIRED_HEADERS {
        return Err(Invalid::field(
            "required_headers",
            "must have at most 32 entries",
        ));
    }
    let mut accepted: Vec<RequiredHeader> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let fault =
            |message: &dyn Display| Invalid::field(format!("required_headers[{index}]"), message);
        let header = RequiredHeader::parse(text).map_err(|error| fault(&error))?;
        let name = header.name();
        if GOVERNED.contains(&name) || name.starts_with("x-reeve-") || name.starts_with("x-envoy-")
        {
            return Err(fault(
                &"is governed by the gateway itself and cannot be required",
            ));
        }
        if accepted.iter().any(|other| other.name() == name) {
            return Err(fault(
                &"names a header that stands in the list already; join its patterns with `|`",
            ));
        }
        accepted.push(header);
    }
    Ok(accepted)
}
