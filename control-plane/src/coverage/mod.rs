//! Coverage: every path that the data plane knows, and what is done about a request there. It is the
//! path table that the filter itself looks requests up in.

pub mod routes;
#[cfg(test)]
mod tests;

use reeve_llm::{BodyKind, Entry, ModelPlace, Output, WireFormat};
use serde::Serialize;
use utoipa::ToSchema;

/// A path of the data plane.
#[derive(Debug, Serialize, ToSchema)]
pub struct Coverage {
    /// `*`: any.
    method: &'static str,
    /// `{model}` stands for a model's name, `…` for whatever comes below.
    path: String,
    /// The format that callers speak there, and in which errors are answered.
    dialect: &'static str,
    /// The provider that the path names. Null: the request or the key chooses.
    provider: Option<&'static str>,
    /// The API. Null: it is refused.
    api: Option<&'static str>,
    /// Of which formats a provider has the API: its own, or OpenAI's beside its own. Empty: the gateway
    /// itself answers, or the API is refused.
    formats: Vec<&'static str>,
    /// Where the request names its model: `body`, `multipart`, `path` or `none`.
    model: &'static str,
    /// A virtual key is asked for, unless governance is off.
    authenticated: bool,
    /// Only models and providers that the key may use are answered.
    model_filtered: bool,
    /// Tokens are reserved, charged and recorded. False: the API costs nothing.
    metered: bool,
    /// It can answer in a stream, which is metered too.
    streamed: bool,
    /// Why every request is refused. Null: it is not.
    refused: Option<&'static str>,
}

/// The path table, in order.
pub fn coverage() -> Vec<Coverage> {
    reeve_llm::entries().map(Coverage::from).collect()
}

impl From<Entry> for Coverage {
    fn from(entry: Entry) -> Self {
        let served = entry.api.ok();
        Self {
            method: entry.method,
            path: entry.path,
            dialect: entry.dialect.as_str(),
            provider: entry.provider,
            api: served.map(reeve_llm::Endpoint::name),
            formats: WireFormat::ALL
                .into_iter()
                .filter(|format| served.is_some_and(|api| api.is_served_by(*format)))
                .map(WireFormat::as_str)
                .collect(),
            model: match entry.model {
                ModelPlace::Body => "body",
                ModelPlace::Multipart => "multipart",
                ModelPlace::Path => "path",
                ModelPlace::Nowhere => "none",
            },
            authenticated: served.is_some(),
            model_filtered: served.is_some(),
            metered: served.is_some_and(|endpoint| {
                endpoint.output() != Output::Free && endpoint.body() != BodyKind::Nothing
            }),
            streamed: served.is_some_and(reeve_llm::Endpoint::streams),
            refused: entry.api.err().map(reeve_llm::Unserved::reason),
        }
    }
}
