//! Providers, and what callers may call their models.

use reeve_policy::retry::RetryClass;
use reeve_policy::view::{Provider, WireFormat};

use super::{ConvertError, Problem, present};
use crate::v1;

impl TryFrom<v1::Provider> for Provider {
    type Error = ConvertError;

    fn try_from(message: v1::Provider) -> Result<Self, ConvertError> {
        let wire_format = match v1::WireFormat::try_from(message.wire_format) {
            Ok(v1::WireFormat::Openai) => WireFormat::OpenAi,
            Ok(v1::WireFormat::Anthropic) => WireFormat::Anthropic,
            Ok(v1::WireFormat::Gemini) => WireFormat::Gemini,
            Ok(v1::WireFormat::Bedrock) => WireFormat::Bedrock,
            Ok(v1::WireFormat::Cohere) => WireFormat::Cohere,
            Ok(v1::WireFormat::Unspecified) => {
                return Err(ConvertError::new("wire_format", Problem::Missing));
            }
            Err(prost::UnknownEnumValue(value)) => {
                return Err(ConvertError::new("wire_format", Problem::Unknown(value)));
            }
        };
        Ok(Self {
            name: present("name", message.name)?,
            wire_format,
            cluster: present("cluster", message.cluster)?,
            retry_on: message
                .retry_on
                .into_iter()
                .map(retry_class)
                .collect::<Result<_, _>>()?,
            per_try_timeout_ms: message.per_try_timeout_ms,
            key_ids: message.key_ids,
            aliases: message
                .aliases
                .into_iter()
                .map(|v1::ModelAlias { alias, model }| {
                    Ok((
                        present("aliases.alias", alias)?,
                        present("aliases.model", model)?,
                    ))
                })
                .collect::<Result<_, ConvertError>>()?,
        })
    }
}

fn retry_class(number: i32) -> Result<RetryClass, ConvertError> {
    match v1::RetryClass::try_from(number) {
        Ok(v1::RetryClass::ConnectFailure) => Ok(RetryClass::ConnectFailure),
        Ok(v1::RetryClass::ServerError) => Ok(RetryClass::ServerError),
        Ok(v1::RetryClass::RateLimited) => Ok(RetryClass::RateLimited),
        Ok(v1::RetryClass::Timeout) => Ok(RetryClass::Timeout),
        Ok(v1::RetryClass::Unspecified) => Err(ConvertError::new("retry_on", Problem::Missing)),
        Err(prost::UnknownEnumValue(value)) => {
            Err(ConvertError::new("retry_on", Problem::Unknown(value)))
        }
    }
}

const fn retry_class_of(class: RetryClass) -> v1::RetryClass {
    match class {
        RetryClass::ConnectFailure => v1::RetryClass::ConnectFailure,
        RetryClass::ServerError => v1::RetryClass::ServerError,
        RetryClass::RateLimited => v1::RetryClass::RateLimited,
        RetryClass::Timeout => v1::RetryClass::Timeout,
    }
}

impl From<&Provider> for v1::Provider {
    fn from(provider: &Provider) -> Self {
        let wire_format = match provider.wire_format {
            WireFormat::OpenAi => v1::WireFormat::Openai,
            WireFormat::Anthropic => v1::WireFormat::Anthropic,
            WireFormat::Gemini => v1::WireFormat::Gemini,
            WireFormat::Bedrock => v1::WireFormat::Bedrock,
            WireFormat::Cohere => v1::WireFormat::Cohere,
        };
        Self {
            name: provider.name.clone(),
            wire_format: wire_format.into(),
            cluster: provider.cluster.clone(),
            retry_on: provider
                .retry_on
                .classes()
                .map(|class| retry_class_of(class).into())
                .collect(),
            per_try_timeout_ms: provider.per_try_timeout_ms,
            key_ids: provider.key_ids.clone(),
            aliases: provider
                .aliases
                .iter()
                .map(|(alias, model)| v1::ModelAlias {
                    alias: alias.clone(),
                    model: model.clone(),
                })
                .collect(),
        }
    }
}
