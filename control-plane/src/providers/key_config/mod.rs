//! Keys that are not sent as they are: what they are made of, and which part of it is secret.
//!
//! The secret part is sealed where the value of another key is; the rest is stored, and shown, beside it.

mod azure;
mod bedrock;
mod vertex;

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

pub use azure::{AzureAccount, AzureKeyConfig};
pub use bedrock::{BedrockAccount, BedrockKeyConfig};
pub use vertex::{VertexAccount, VertexKeyConfig};

use super::base_url::BaseUrlError;
use super::{BaseProviderType, BaseUrl, Private, Provider, private};
use crate::app::App;
use crate::http::field::Field;
use crate::invalid::Invalid;
use crate::secrets::Secret;

/// What is known of a key's kind without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyConfig {
    /// Envoy signs requests with an AWS access key.
    Bedrock(BedrockAccount),
    /// Requests carry tokens that a service account of Google's gets.
    Vertex(VertexAccount),
    /// Requests carry tokens that an application of Microsoft Entra gets.
    Azure(AzureAccount),
}

/// A key with its parts apart.
#[derive(Debug)]
pub struct Parts<T = KeyConfig> {
    pub shown: T,
    /// What is to be sealed.
    pub secret: Secret,
    pub last4: String,
}

/// The provider that a key is for, as far as keys depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    pub kind: BaseProviderType,
    /// Where the places may be that it names.
    pub private: Private<'a>,
}

/// What a token is asked for with.
#[derive(Debug)]
pub struct Grant {
    pub url: String,
    /// The body of the request.
    pub form: Secret,
}

/// What was sealed cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("what is stored of the key is not what its kind needs")]
pub struct Unreadable;

impl<'a> Holder<'a> {
    pub fn of(app: &'a App, provider: &Provider) -> Self {
        let config = &app.config;
        Self {
            kind: provider.base_provider_type,
            private: private(
                config.dev,
                provider.allow_private_network,
                &config.private_networks,
            ),
        }
    }

    /// Where a token may be asked for.
    pub fn endpoint(self, url: &str) -> Result<BaseUrl, BaseUrlError> {
        BaseUrl::parse(url, self.private)
    }
}

impl Grant {
    fn new(url: String, fields: &[(&str, &str)]) -> Self {
        let mut form = form_urlencoded::Serializer::new(String::new());
        Self {
            url,
            form: Secret::new(form.extend_pairs(fields).finish()),
        }
    }
}

impl KeyConfig {
    /// The name of its field.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Bedrock(_) => "bedrock_key_config",
            Self::Vertex(_) => "vertex_key_config",
            Self::Azure(_) => "azure_key_config",
        }
    }

    /// Can a provider of this kind have such a key?
    pub fn check(&self, kind: BaseProviderType) -> Result<(), Invalid> {
        let kinds: &[BaseProviderType] = match self {
            Self::Bedrock(_) => &[BaseProviderType::Bedrock],
            // Google has an endpoint in OpenAI's format beside its own.
            Self::Vertex(_) => &[BaseProviderType::Gemini, BaseProviderType::OpenAi],
            Self::Azure(_) => &[BaseProviderType::Azure],
        };
        if kinds.contains(&kind) {
            return Ok(());
        }
        let words: Vec<String> = kinds
            .iter()
            .map(|it| format!("`{}`", it.as_str()))
            .collect();
        let message = format!(
            "is for providers of kind {}, and this one is of kind `{}`; give the key as `value`",
            words.join(" or "),
            kind.as_str()
        );
        Err(Invalid::field(self.field(), message))
    }

    /// Do requests carry a token, instead of being signed?
    pub const fn needs_token(&self) -> bool {
        matches!(self, Self::Vertex(_) | Self::Azure(_))
    }

    /// What a token is asked for with; `None`: this kind needs none.
    pub fn grant(&self, sealed: &Secret, now_ms: i64) -> Result<Option<Grant>, Unreadable> {
        match self {
            Self::Bedrock(_) => Ok(None),
            Self::Vertex(account) => account.grant(sealed, now_ms).map(Some),
            Self::Azure(account) => Ok(Some(account.grant(sealed))),
        }
    }
}

impl Parts {
    pub(super) fn bedrock(config: BedrockKeyConfig) -> Result<Self, Invalid> {
        Self::of("bedrock_key_config", config.check(), KeyConfig::Bedrock)
    }

    pub(super) fn vertex(config: VertexKeyConfig, holder: Holder<'_>) -> Result<Self, Invalid> {
        Self::of("vertex_key_config", config.check(holder), KeyConfig::Vertex)
    }

    pub(super) fn azure(config: AzureKeyConfig, holder: Holder<'_>) -> Result<Self, Invalid> {
        Self::of("azure_key_config", config.check(holder), KeyConfig::Azure)
    }

    fn of<T>(
        field: &str,
        checked: Result<Parts<T>, Invalid>,
        wrap: fn(T) -> KeyConfig,
    ) -> Result<Self, Invalid> {
        let parts = checked.map_err(|fault| fault.within(field))?;
        Ok(Self {
            shown: wrap(parts.shown),
            secret: parts.secret,
            last4: parts.last4,
        })
    }
}

fn required<T>(name: &'static str, field: Field<T>) -> Result<T, Invalid> {
    let given = field.or_keep(None);
    given.ok_or_else(|| Invalid::field(name, "is required"))
}
