//! Settings: what holds for every request, `/api/config`.
//!
//! Invariants: header names are lower case, unique, and not headers that the gateway itself governs.

pub mod routes;
pub mod store;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::field::Field;
use crate::http::number::Number;
use crate::invalid::Invalid;

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
    /// Names of headers that every request must carry, lower case.
    pub required_headers: Vec<String>,
    /// Largest request body, bytes.
    pub max_request_body_bytes: i64,
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
    /// Names of headers that every request must carry, at most 32.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["x-tenant"]))]
    pub required_headers: Field<Vec<String>>,
    /// Largest request body in MiB, 1 to 1024, default 10.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1024)]
    pub max_request_body_size_mb: Field<Number>,
}

impl Settings {
    /// The settings of a new database.
    pub fn initial(enable_governance: bool) -> Self {
        Self {
            enable_governance,
            required_headers: Vec::new(),
            max_request_body_bytes: DEFAULT_BODY_MIB.saturating_mul(MIB),
        }
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
    pub fn apply(self, settings: Settings) -> Result<Settings, Invalid> {
        self.client_config
            .apply(settings)
            .map_err(|fault| fault.within("client_config"))
    }
}

impl ClientConfigChange {
    fn apply(self, settings: Settings) -> Result<Settings, Invalid> {
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
            Field::Value(names) => header_names(names)?,
        };
        Ok(Settings {
            enable_governance: self
                .enable_governance
                .or_keep_value(settings.enable_governance, true),
            required_headers,
            max_request_body_bytes,
        })
    }
}

fn header_names(names: Vec<String>) -> Result<Vec<String>, Invalid> {
    if names.len() > MAX_REQUIRED_HEADERS {
        return Err(Invalid::field(
            "required_headers",
            "must have at most 32 entries",
        ));
    }
    let mut accepted: Vec<String> = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let fault = |message: &str| {
            Err(Invalid::field(
                format!("required_headers[{index}]"),
                message,
            ))
        };
        let name = name.to_ascii_lowercase();
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token) {
            return fault("must be a header name: 1 to 64 letters, digits or !#$%&'*+-.^_`|~");
        }
        if GOVERNED.contains(&name.as_str())
            || name.starts_with("x-reeve-")
            || name.starts_with("x-envoy-")
        {
            return fault("is governed by the gateway itself and cannot be required");
        }
        if accepted.contains(&name) {
            return fault("stands in the list already");
        }
        accepted.push(name);
    }
    Ok(accepted)
}

/// A character of a field name (RFC 9110 section 5.6.2, `tchar`).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
