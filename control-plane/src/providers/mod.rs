//! Providers: where requests go, and the keys that pay for them there.
//!
//! A provider is a base URL, the kind of API there ([`BaseProviderType`]) and its keys ([`key`]).
//! Every provider becomes an Envoy cluster and its best active key a secret that Envoy puts on
//! requests ([`crate::ads`]); neither the filter nor a caller ever sees it.
//!
//! Invariants, kept by [`Change::apply`]:
//! * the name is unique, never changes, and can stand in front of `/` in `provider/model`;
//! * a name that is known ([`presets`]) means a provider of that kind;
//! * the base URL is one that keys may be sent to ([`base_url`]);
//! * an alias is a name for a model, and not for itself ([`Aliases`]).

#[cfg(test)]
mod alias_tests;
mod aliases;
mod base_provider_type;
pub mod base_url;
pub mod key;
pub mod key_config;
#[cfg(test)]
mod key_config_tests;
mod key_routes;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod network_tests;
pub mod presets;
pub mod private_networks;
pub mod reach;
pub mod routes;
mod seed;
pub mod store;
#[cfg(test)]
mod tests;

use reeve_policy::retry::{RetryClass, RetryOn};
use serde::Deserialize;
use utoipa::ToSchema;

pub use aliases::Aliases;
pub use base_provider_type::BaseProviderType;
pub use base_url::BaseUrl;
pub use key::{Key, KeyChange};
pub use key_config::KeyConfig;
pub use private_networks::{Private, PrivateNetworks};
pub use seed::seed;

use crate::http::field::Field;
use crate::invalid::Invalid;
use presets::Address;

/// Longest name, characters.
const MAX_NAME: usize = 63;
/// An hour.
const MAX_PER_TRY_TIMEOUT_MS: u32 = 3_600_000;

/// A provider as configured, without its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Unique: `^[a-z][a-z0-9_-]{0,62}$`.
    pub name: String,
    /// Whose API it speaks.
    pub base_provider_type: BaseProviderType,
    /// Where it is.
    pub base_url: BaseUrl,
    /// It may be on a private network.
    pub allow_private_network: bool,
    /// It asks for no key.
    pub is_key_less: bool,
    /// After which of its failures the next provider is tried.
    pub retry_on: RetryOn,
    /// How long the head of its answer may take; `None`: as long as it likes.
    pub per_try_timeout_ms: Option<u32>,
    /// Names that callers may use for its models.
    pub aliases: Aliases,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the Unix epoch.
    pub updated_at_ms: i64,
}

/// What kind of provider it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct CustomProviderConfig {
    /// Required unless the provider is known by its name; then it is what the name means.
    #[serde(default)]
    #[schema(value_type = Option<BaseProviderType>)]
    base_provider_type: Field<BaseProviderType>,
    /// The provider asks for no key. Default false: without an active key it gets no requests. For
    /// `ollama`, `vllm` and `sglang` the default is true.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    is_key_less: Field<bool>,
}

/// How the provider is reached.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct NetworkConfig {
    /// `https://host[:port][/path]`. Required unless the provider is known by its name and has one
    /// address for everybody.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "https://api.openai.com/v1")]
    base_url: Field<String>,
    /// The provider may be on a private network, and may then use `http`. Default false. The network or
    /// host must be listed in `REEVE_PRIVATE_NETWORKS` of the control plane's environment.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    allow_private_network: Field<bool>,
    /// After which of its failures the next provider of a request is tried: of `connect_failure`, `5xx`,
    /// `429` and `timeout` (no answer in time, or a connection that breaks before one). Default: all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["connect_failure", "5xx"]))]
    retry_on: Field<Vec<String>>,
    /// How long the head of its answer may take, milliseconds, 1 to 3600000; the rest may take longer.
    /// Among the providers of one request the longest counts. Default null: as long as it likes.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    per_try_timeout_ms: Field<u32>,
}

/// A provider as a request gives it. What a change leaves out stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ProviderChange)]
pub struct Change {
    /// Lower-case letters, digits, `_` and `-`, at most 63, without two `_` in a row; cannot be changed.
    /// `provider` is understood too.
    ///
    /// Known by name, with kind and address: `openai`, `anthropic`, `gemini`, `cohere`, and of
    /// OpenAI's kind `mistral`, `groq`, `deepseek`, `xai`, `openrouter`, `together`, `fireworks`,
    /// `perplexity`, `cerebras`, `sambanova`, `nvidia_nim`, `deepinfra`, `huggingface`, `nebius`,
    /// `novita`, `hyperbolic`, `moonshot`, `dashscope` and `parasail`. With kind, but at an address
    /// of your own: `azure`, `bedrock`, `ollama`, `vllm` and `sglang`.
    #[serde(default, alias = "provider")]
    #[schema(value_type = Option<String>, example = "openai")]
    name: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<CustomProviderConfig>)]
    custom_provider_config: Field<CustomProviderConfig>,
    #[serde(default)]
    #[schema(value_type = Option<NetworkConfig>)]
    network_config: Field<NetworkConfig>,
    /// Names that callers may use for models, each with the provider's own:
    /// `{"fast": "gpt-4o-mini"}`. A change replaces all of them.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    aliases: Field<Aliases>,
    /// The first keys of a new provider; later ones are made at `/api/providers/{name}/keys`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<KeyChange>>)]
    keys: Field<Vec<KeyChange>>,
}

/// What a change depends on besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// `--dev`: addresses and names that look private need no permission.
    pub dev: bool,
    /// Those that may be permitted.
    pub private_networks: &'a PrivateNetworks,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
}

impl Change {
    /// The new provider, and the keys it starts with.
    pub fn create(self, around: Surroundings<'_>) -> Result<(Provider, Vec<KeyChange>), Invalid> {
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
        let mut provider = merged(name, None, kind, network, around)?;
        provider.rename_models(self.aliases)?;
        Ok((provider, keys))
    }

    /// The provider after the change.
    pub fn apply(self, provider: Provider, around: Surroundings<'_>) -> Result<Provider, Invalid> {
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
        let mut provider = merged(provider.name.clone(), Some(provider), kind, network, around)?;
        provider.rename_models(self.aliases)?;
        Ok(provider)
    }
}

impl Provider {
    fn rename_models(&mut self, aliases: Field<Aliases>) -> Result<(), Invalid> {
        let aliases = match aliases {
            Field::Absent => return Ok(()),
            Field::Null => Aliases::default(),
            Field::Value(aliases) => aliases,
        };
        aliases
            .check()
            .map_err(|error| Invalid::field("aliases", error))?;
        self.aliases = aliases;
        Ok(())
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
    around: Surroundings<'_>,
) -> Result<Provider, Invalid> {
    let preset = presets::preset(&name);

    let field = "custom_provider_config.base_provider_type";
    let before_kind = before.as_ref().map(|provider| provider.base_provider_type);
    let known = preset.map(|preset| preset.base_provider_type);
    let asked = kind.base_provider_type.or_keep(None);
    let base_provider_type = asked.or(before_kind).or(known).ok_or_else(|| {
        let kinds = BaseProviderType::ALL.map(|kind| format!("`{}`", kind.as_str()));
        let message = format!("is required for `{name}`: one of {}", kinds.join(", "));
        Invalid::field(field, message)
    })?;
    // A provider that was there before its name was known keeps its kind.
    if let Some(known) = known
        && base_provider_type != known
        && Some(base_provider_type) != before_kind
    {
        let message = format!(
            "must be `{}` for `{name}`; or choose another name",
            known.as_str()
        );
        return Err(Invalid::field(field, message));
    }

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
    let base_url = match (base_url, preset.map(|preset| preset.address)) {
        (Some(given), _) => given,
        (None, Some(Address::Public(known))) => known.to_owned(),
        (None, address) => {
            let example = match address {
                Some(Address::Own { example }) => example,
                _ => "https://api.example.com/v1",
            };
            let message = format!("is required for `{name}`, such as `{example}`");
            return Err(Invalid::field(field, message));
        }
    };
    let private = private(around.dev, allow_private_network, around.private_networks);
    let base_url =
        BaseUrl::parse(&base_url, private).map_err(|error| Invalid::field(field, error))?;

    let default = preset.is_some_and(|preset| preset.is_key_less);
    let is_key_less = kind
        .is_key_less
        .or_keep_value(before.as_ref().map_or(default, |p| p.is_key_less), default);
    let before_retry = before.as_ref().map(|provider| provider.retry_on);
    let retry_on = match network.retry_on {
        Field::Absent => before_retry.unwrap_or_default(),
        Field::Null => RetryOn::default(),
        Field::Value(words) => parse_retry_on(&words)?,
    };
    let before_timeout = before.as_ref().and_then(|p| p.per_try_timeout_ms);
    let per_try_timeout_ms = network.per_try_timeout_ms.or_keep(before_timeout);
    if per_try_timeout_ms.is_some_and(|ms| !(1..=MAX_PER_TRY_TIMEOUT_MS).contains(&ms)) {
        let message = format!("must be 1 to {MAX_PER_TRY_TIMEOUT_MS}, or null for no bound");
        return Err(Invalid::field("network_config.per_try_timeout_ms", message));
    }
    Ok(Provider {
        name,
        base_provider_type,
        base_url,
        allow_private_network,
        is_key_less,
        retry_on,
        per_try_timeout_ms,
        aliases: before
            .as_ref()
            .map_or_else(Aliases::default, |provider| provider.aliases.clone()),
        created_at_ms: before.map_or(around.now_ms, |provider| provider.created_at_ms),
        updated_at_ms: around.now_ms,
    })
}

fn parse_retry_on(words: &[String]) -> Result<RetryOn, Invalid> {
    let class = |(index, word): (usize, &String)| {
        RetryClass::parse(word).ok_or_else(|| {
            let known = RetryClass::ALL.map(|class| format!("`{}`", class.as_str()));
            let message = format!("must be one of {}", known.join(", "));
            Invalid::field(format!("network_config.retry_on[{index}]"), message)
        })
    };
    words.iter().enumerate().map(class).collect()
}

/// Which private addresses a provider may have.
pub(crate) const fn private(dev: bool, asked: bool, listed: &PrivateNetworks) -> Private<'_> {
    match (dev, asked) {
        (true, _) => Private::Any(listed),
        (false, true) => Private::Listed(listed),
        (false, false) => Private::Refused,
    }
}

fn check_name(name: &str) -> Result<(), Invalid> {
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
        // `<name>__<key id>` is what another provider's key is called in Envoy.
        && !name.contains("__")
        && name.len() <= MAX_NAME;
    if good {
        return Ok(());
    }
    let message = "must be 1 to 63 lower-case letters, digits, `_` or `-`, starting with a letter, without \
                   two `_` in a row";
    Err(Invalid::field("name", message))
}
