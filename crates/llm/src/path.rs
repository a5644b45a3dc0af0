//! Which API a request is for: looks a path up in the path table.

use crate::model_name::is_model_name;
use crate::path_table::{MOUNTS, Pattern, Row, Unserved};
use crate::query::percent_decode;
use crate::{Endpoint, WireFormat};

/// A path that is in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What its callers speak.
    pub dialect: WireFormat,
    /// The API, or why there is none.
    pub api: Result<Match, PathError>,
}

/// An API that a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The API.
    pub endpoint: Endpoint,
    /// The model that the path names.
    pub model: Option<String>,
    /// The provider, for a model without a provider prefix, when the path names one.
    pub provider: Option<&'static str>,
}

/// Why a request is for no API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// The path is not in the table.
    NotFound,
    /// The path is in the table, for this method.
    MethodNotAllowed(&'static str),
    /// The path is in the table, but what stands for the model is no model's name.
    BadModel,
    /// The path is in the table, and not served.
    Unserved(Unserved),
}

/// Looks up a path without its query. Case-sensitive.
pub fn find(method: &[u8], path: &[u8]) -> Found {
    let mut found = Found {
        dialect: dialect_of_unknown(path),
        api: Err(PathError::NotFound),
    };
    for mount in &MOUNTS {
        let Some(below) = path.strip_prefix(mount.prefix.as_bytes()) else {
            continue;
        };
        for (base, family) in mount.families {
            let Some(below) = below.strip_prefix(base.as_bytes()) else {
                continue;
            };
            for row in family.rows {
                let Some(model) = row.pattern.matches(below) else {
                    continue;
                };
                let api = row.api_for(method, model, family.provider.or(mount.provider));
                let for_another_method = matches!(api, Err(PathError::MethodNotAllowed(_)));
                // A path can have a row for each of its methods: the first is only an answer when
                // no other is a better one.
                if !for_another_method || found.api == Err(PathError::NotFound) {
                    found = Found {
                        dialect: family.dialect,
                        api,
                    };
                }
                if !for_another_method {
                    return found;
                }
            }
        }
    }
    found
}

/// Splits a request target at its first `?`.
pub fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = target.splitn(2, |&byte| byte == b'?');
    (parts.next().unwrap_or_default(), parts.next())
}

/// In what to refuse a path that is not in the table: an SDK is pointed at a prefix, or adds its
/// vendor's own path.
fn dialect_of_unknown(path: &[u8]) -> WireFormat {
    let hints = [
        ("/anthropic/", WireFormat::Anthropic),
        ("/v1/messages", WireFormat::Anthropic),
        ("/v1beta/openai/", WireFormat::OpenAi),
        ("/v1beta/", WireFormat::Gemini),
        ("/genai/v1beta/openai/", WireFormat::OpenAi),
        ("/genai/", WireFormat::Gemini),
        ("/model/", WireFormat::Bedrock),
        ("/bedrock/", WireFormat::Bedrock),
        ("/v2/", WireFormat::Cohere),
        ("/cohere/compatibility/", WireFormat::OpenAi),
        ("/cohere/", WireFormat::Cohere),
    ];
    let hint = hints
        .iter()
        .find(|(start, _)| path.starts_with(start.as_bytes()));
    hint.map_or(WireFormat::OpenAi, |(_, dialect)| *dialect)
}

impl Pattern {
    /// `None`: another path. Otherwise what stands for the model, which may be nothing.
    fn matches<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        match self {
            Self::Exact(exact) => (path == exact.as_bytes()).then_some(&[]),
            Self::Model(before, after) => {
                let model = path
                    .strip_prefix(before.as_bytes())?
                    .strip_suffix(after.as_bytes())?;
                (!model.is_empty() && !model.contains(&b'/')).then_some(model)
            }
            Self::ModelToTheEnd(before) => {
                let model = path.strip_prefix(before.as_bytes())?;
                (!model.is_empty()).then_some(model)
            }
            Self::Below(start) => {
                let rest = path.strip_prefix(start.as_bytes())?;
                let ends = if start.ends_with('/') {
                    !rest.is_empty()
                } else {
                    rest.is_empty() || rest.starts_with(b"/")
                };
                ends.then_some(&[])
            }
        }
    }
}

impl Row {
    fn api_for(
        &self,
        method: &[u8],
        model: &[u8],
        provider: Option<&'static str>,
    ) -> Result<Match, PathError> {
        if let Some(allowed) = self.method
            && allowed.as_bytes() != method
        {
            return Err(PathError::MethodNotAllowed(allowed));
        }
        let endpoint = self.api.map_err(PathError::Unserved)?;
        let model = match self.pattern {
            Pattern::Exact(_) | Pattern::Below(_) => None,
            Pattern::Model(..) => Some(decode_model(model, false)?),
            Pattern::ModelToTheEnd(_) => Some(decode_model(model, true)?),
        };
        Ok(Match {
            endpoint,
            model,
            provider,
        })
    }
}

/// A model's name in a path, decoded once. What is not a name then (an encoded slash, a second layer
/// of encoding) is refused.
fn decode_model(encoded: &[u8], slashes: bool) -> Result<String, PathError> {
    String::from_utf8(percent_decode(encoded))
        .ok()
        .filter(|model| is_model_name(model) && (slashes || !model.contains('/')))
        .ok_or(PathError::BadModel)
}
