//! Providers: where requests go, and the keys that pay for them there.
//!
//! A provider is a base URL, the wire format it speaks and its keys ([`key`]). Every provider becomes
//! an Envoy cluster and its best active key a secret that Envoy puts on requests ([`envoy`]); neither
//! the filter nor a caller ever sees it.
//!
//! Invariants, kept by [`Change::apply`]:
//! * the name is unique, never changes, and can stand in front of `/` in `provider/model`;
//! * the names `openai` and `anthropic` mean those wire formats;
//! * the base URL is one that keys may be sent to ([`base_url`]).

pub mod base_url;
pub mod envoy;
pub mod key;
mod key_routes;
pub mod routes;
mod seed;
pub mod store;
#[cfg(test)]
mod tests;

use reeve_policy::view::WireFormat;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use base_url::BaseUrl;
pub use envoy::{EnvoyFiles, watch_envoy_files, write_envoy_files};
pub use key::{Key, KeyChange};
pub use seed::seed;

use crate::http::field::Field;
use crate::invalid::Invalid;

/// Longest name, characters.
const MAX_NAME: usize = 63;

/// A provider as configured, without its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Unique: `^[a-z][a-z0-9_-]{0,62}$`.
    pub name: String,
    /// Whose wire format it speaks.
    pub wire_format: WireFormat,
    /// Where it is.
    pub base_url: BaseUrl,
    /// It may be on a private network.
    pub allow_private_network: bool,
    /// It asks for no key.
    pub is_key_less: bool,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: i64,
}

/// A provider that is known by its name.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    /// Its wire format.
    pub wire_format: WireFormat,
    /// Where its public API is.
    pub base_url: &'static str,
}

/// Every provider that is known by its name.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "openai",
        wire_format: WireFormat::OpenAi,
        base_url: "https://api.openai.com/v1",
    },
    Preset {
        name: "anthropic",
        wire_format: WireFormat::Anthropic,
        base_url: "https://api.anthropic.com/v1",
    },
];

/// Whose wire format a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BaseProviderType {
    /// Chat completions, responses, embeddings; `Authorization: Bearer`.
    OpenAi,
    /// Messages; `x-api-key`.
    Anthropic,
}

/// What kind of provider it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct CustomProviderConfig {
    /// Required unless the provider is called `openai` or `anthropic`.
    #[serde(default)]
    #[schema(value_type = Option<BaseProviderType>)]
    base_provider_type: Field<BaseProviderType>,
    /// The provider asks for no key. Default false: without an active key it gets no requests.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    is_key_less: Field<bool>,
}

/// How the provider is reached.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct NetworkConfig {
    /// `https://host[:port][/path]`. Required unless the provider is called `openai` or `anthropic`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "https://api.openai.com/v1")]
    base_url: Field<String>,
    /// The provider may be on a private network, and may then use `http`. Default false.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    allow_private_network: Field<bool>,
}

/// A provider as a request gives it. What a change leaves out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct Change {
    /// Lower-case letters, digits, `_` and `-`, at most 63; cannot be changed. `provider` is
    /// understood too.
    #[serde(default, alias = "provider")]
    #[schema(value_type = Option<String>, example = "openai")]
    name: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<CustomProviderConfig>)]
    custom_provider_config: Field<CustomProviderConfig>,
    #[serde(default)]
    #[schema(value_type = Option<NetworkConfig>)]
    network_config: Field<NetworkConfig>,
    /// The first keys of a new provider; later ones are made at `/api/providers/{name}/keys`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<KeyChange>>)]
    keys: Field<Vec<KeyChange>>,
}

/// What a change depends on besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings {
    /// `--dev`: private networks need no permission.
    pub dev: bool,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
}

impl Change {
    /// The new provider, and the keys it starts with.
    pub fn create(self, around: Surroundings) -> Result<(Provider, Vec<KeyChange>), Invalid> {
        let Field::Value(name) = self.name else {
            return Err(Invalid::field("name", "is required"));
        };
        check_name(&name)?;
        let keys = match self.keys {
            Field::Value(keys) => keys,
            Field::Absent | Field::Null => Vec::new(),
        };
        let kind = given(self.custom_provider_config);
        let network = given(self.network_config);
        let provider = merged(name, None, kind, network, around)?;
        Ok((provider, keys))
    }

    /// The provider after the change.
    pub fn apply(self, provider: Provider, around: Surroundings) -> Result<Provider, Invalid> {
        if matches!(&self.name, Field::Value(name) if *name != provider.name)
            || self.name == Field::Null
        {
            let message = "cannot be changed: keys and records refer to it; make a new provider";
            return Err(Invalid::field("name", message));
        }
        if !matches!(self.keys, Field::Absent) {
            let message = format!("are changed at /api/providers/{}/keys", provider.name);
            return Err(Invalid::field("keys", message));
        }
        let kind = given(self.custom_provider_config);
        let network = given(self.network_config);
        merged(provider.name.clone(), Some(provider), kind, network, around)
    }
}

/// An object that is left out, or null, says nothing about its fields.
fn given<T: Default>(field: Field<T>) -> T {
    match field {
        Field::Value(value) => value,
        Field::Absent | Field::Null => T::default(),
    }
}

fn merged(
    name: String,
    before: Option<Provider>,
    kind: CustomProviderConfig,
    network: NetworkConfig,
    around: Surroundings,
) -> Result<Provider, Invalid> {
    let preset = PRESETS.iter().find(|preset| preset.name == name);

    let field = "custom_provider_config.base_provider_type";
    let asked = kind.base_provider_type.or_keep(None).map(WireFormat::from);
    let wire_format = match (preset, asked) {
        (Some(preset), Some(asked)) if asked != preset.wire_format => {
            let message = format!("`{name}` speaks its own format; choose another name");
            return Err(Invalid::field(field, message));
        }
        (Some(preset), _) => preset.wire_format,
        (None, Some(asked)) => asked,
        (None, None) => before
            .as_ref()
            .map(|provider| provider.wire_format)
            .ok_or_else(|| {
                Invalid::field(
                    field,
                    format!("is required for `{name}`: `openai` or `anthropic`"),
                )
            })?,
    };

    let allow_private_network = network.allow_private_network.or_keep_value(
        before.as_ref().is_some_and(|p| p.allow_private_network),
        false,
    );
    let kept = before
        .as_ref()
        .map(|provider| provider.base_url.to_string());
    let base_url = match network.base_url {
        Field::Absent => kept,
        Field::Null => None,
        Field::Value(text) => Some(text),
    };
    let field = "network_config.base_url";
    let base_url = base_url
        .or_else(|| preset.map(|preset| preset.base_url.to_owned()))
        .ok_or_else(|| Invalid::field(field, format!("is required for `{name}`")))?;
    let base_url = BaseUrl::parse(&base_url, around.dev || allow_private_network)
        .map_err(|error| Invalid::field(field, error))?;

    let is_key_less = kind
        .is_key_less
        .or_keep_value(before.as_ref().is_some_and(|p| p.is_key_less), false);
    Ok(Provider {
        name,
        wire_format,
        base_url,
        allow_private_network,
        is_key_less,
        created_at_ms: before.map_or(around.now_ms, |provider| provider.created_at_ms),
        updated_at_ms: around.now_ms,
    })
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        && name.len() <= MAX_NAME;
    if good {
        return Ok(());
    }
    let message = "must be 1 to 63 lower-case letters, digits, `_` or `-`, starting with a letter";
    Err(Invalid::field("name", message))
}

impl From<BaseProviderType> for WireFormat {
    fn from(given: BaseProviderType) -> Self {
        match given {
            BaseProviderType::OpenAi => Self::OpenAi,
            BaseProviderType::Anthropic => Self::Anthropic,
        }
    }
}

impl From<WireFormat> for BaseProviderType {
    fn from(wire_format: WireFormat) -> Self {
        match wire_format {
            WireFormat::OpenAi => Self::OpenAi,
            WireFormat::Anthropic => Self::Anthropic,
        }
    }
}

/// The word for a wire format, in the database and in Envoy's metadata.
pub const fn wire_format_name(wire_format: WireFormat) -> &'static str {
    match wire_format {
        WireFormat::OpenAi => "openai",
        WireFormat::Anthropic => "anthropic",
    }
}
