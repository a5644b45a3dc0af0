//! The query of a request target: what of it goes on to the provider.
//!
//! A query can steer a provider as a body can: Google's `fields` leaves the usage out of an answer,
//! `$alt=proto` writes it in a form that nobody meters, and a `model` may be believed by somebody. So
//! each dialect has a list of parameters that mean something harmless there; anything else is refused
//! with an error that says so, except for credentials, which some clients always add: those are
//! taken out.

use crate::{Endpoint, WireFormat};

/// Query parameters that carry a credential at some vendor, and the headers that do, without
/// separators and in lower case.
const CREDENTIALS: [&str; 8] = [
    "key",
    "apikey",
    "xapikey",
    "xgoogapikey",
    "xbfvk",
    "authorization",
    "accesstoken",
    "token",
];

/// How a virtual key starts, without separators and in lower case.
const VIRTUAL_KEY: &[u8] = b"skbf";

/// Why a query is refused. Nothing of it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A parameter that this API does not need.
    #[error("a query parameter is not accepted by this API: remove it")]
    Unknown,
    /// A model, which stands elsewhere.
    #[error("a query parameter names a model: name it in its one place only")]
    Model,
    /// A known parameter twice, or with a value that is not known.
    #[error("the query parameter `{0}` has a value that is not accepted, or stands there twice")]
    Value(&'static str),
}

/// What a parameter is good for.
#[derive(Clone, Copy)]
enum Fate {
    /// It goes on to the provider, with one of these values.
    Forward(&'static [&'static str]),
    /// It means nothing to the provider that is asked.
    Drop,
}

/// The parameters of an API.
fn known(endpoint: Endpoint, dialect: WireFormat) -> &'static [(&'static str, Fate)] {
    match dialect {
        // Azure's version of the API; the provider is asked by the one without.
        WireFormat::OpenAi => &[("api-version", Fate::Drop)],
        WireFormat::Anthropic => &[("beta", Fate::Forward(&["true", "false"]))],
        WireFormat::Gemini if endpoint == Endpoint::StreamGenerateContent => {
            &[("alt", Fate::Forward(&["sse", "json"]))]
        }
        WireFormat::Gemini => &[("alt", Fate::Forward(&["json"]))],
        WireFormat::Bedrock | WireFormat::Cohere => &[],
    }
}

/// Judges a query; gives what of it goes on to the provider, without the `?`. Empty: nothing.
///
/// Names and values are compared as they are written: a spelling with `%` is another name, and
/// refused.
pub fn judge_query(
    endpoint: Endpoint,
    dialect: WireFormat,
    query: &[u8],
) -> Result<String, QueryError> {
    let known = known(endpoint, dialect);
    let mut seen = Vec::new();
    let mut forwarded = String::new();
    for pair in query.split(|&byte| byte == b'&') {
        // Some servers also split at semicolons.
        if pair.is_empty() || pair.split(|&byte| byte == b';').any(carries_a_credential) {
            continue;
        }
        let (name, value) = split_pair(pair);
        let Some((name, fate)) = known.iter().find(|(known, _)| known.as_bytes() == name) else {
            return Err(if letters(name).starts_with(b"model") {
                QueryError::Model
            } else {
                QueryError::Unknown
            });
        };
        if seen.contains(name) {
            return Err(QueryError::Value(name));
        }
        seen.push(name);
        if let Fate::Forward(values) = fate {
            let value = values.iter().find(|known| known.as_bytes() == value);
            let value = value.ok_or(QueryError::Value(name))?;
            if !forwarded.is_empty() {
                forwarded.push('&');
            }
            forwarded.push_str(name);
            forwarded.push('=');
            forwarded.push_str(value);
        }
    }
    Ok(forwarded)
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|&byte| byte == b'=') {
        Some(equals) => {
            let (name, value) = pair.split_at(equals);
            (name, value.strip_prefix(b"=").unwrap_or_default())
        }
        None => (pair, &[]),
    }
}

/// Does it carry a credential (`key=`, `api_key=`, ..., or a virtual key under whatever name), in
/// whatever spelling?
fn carries_a_credential(pair: &[u8]) -> bool {
    let (name, value) = split_pair(pair);
    let name = letters(name);
    CREDENTIALS
        .iter()
        .any(|credential| credential.as_bytes() == name)
        || name.starts_with(VIRTUAL_KEY)
        || letters(value).starts_with(VIRTUAL_KEY)
}

/// Decoded, without punctuation, in lower case.
fn letters(text: &[u8]) -> Vec<u8> {
    percent_decode(text)
        .into_iter()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| byte.to_ascii_lowercase())
        .collect()
}

/// Decodes `%XX` once; anything else stays as it is.
pub(crate) fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if let (b'%', Some((digits, remaining))) = (byte, after.split_first_chunk::<2>())
            && let [Some(high), Some(low)] = digits.map(|digit| char::from(digit).to_digit(16))
            && let Ok(value) = u8::try_from((high << 4) | low)
        {
            decoded.push(value);
            rest = remaining;
        } else {
            decoded.push(byte);
            rest = after;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn judged(endpoint: Endpoint, dialect: WireFormat, query: &str) -> Result<String, QueryError> {
        judge_query(endpoint, dialect, query.as_bytes())
    }

    fn messages(query: &str) -> Result<String, QueryError> {
        judged(Endpoint::Messages, WireFormat::Anthropic, query)
    }

    fn stream(query: &str) -> Result<String, QueryError> {
        judged(Endpoint::StreamGenerateContent, WireFormat::Gemini, query)
    }

    #[test]
    fn what_an_api_knows_goes_on_or_is_dropped() {
        assert_eq!(messages("beta=true").as_deref(), Ok("beta=true"));
        assert_eq!(stream("alt=sse").as_deref(), Ok("alt=sse"));
        assert_eq!(stream("").as_deref(), Ok(""));
        let azure = judged(
            Endpoint::ChatCompletions,
            WireFormat::OpenAi,
            "api-version=2025-04-01-preview",
        );
        assert_eq!(azure.as_deref(), Ok(""));
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        for query in [
            "fields=candidates",
            "$fields=candidates",
            "$alt=proto",
            "ALT=sse",
            "%61lt=sse",
            "alt;x=sse",
            "x",
            "prettyPrint=true",
        ] {
            assert_eq!(stream(query), Err(QueryError::Unknown), "{query}");
        }
        for query in [
            "alt=proto",
            "alt=media",
            "alt=SSE",
            "alt",
            "alt=sse&alt=json",
        ] {
            assert_eq!(stream(query), Err(QueryError::Value("alt")), "{query}");
        }
        let not_a_stream = judged(Endpoint::GenerateContent, WireFormat::Gemini, "alt=sse");
        assert_eq!(not_a_stream, Err(QueryError::Value("alt")));
    }

    #[test]
    fn a_model_in_the_query_is_called_what_it_is() {
        for query in [
            "model=gpt-4o",
            "MODEL=x",
            "%6dodel=x",
            "models=x",
            "beta=true&model-id=x",
        ] {
            assert_eq!(messages(query), Err(QueryError::Model), "{query}");
        }
    }

    #[test]
    fn credentials_leave_the_query_in_every_spelling() {
        for query in [
            "key=sk",
            "key=a&api_key=b",
            "API-KEY=a",
            "%6bey=a&%61pi%5Fkey=b",
            "x=1;key=a",
            "key",
            "x-api-key=a&X-BF-VK=b&authorization=c",
            "anything=sk-bf-abc&SK%2Dbf-abc",
            "&&",
        ] {
            assert_eq!(stream(query).as_deref(), Ok(""), "{query}");
            let beside = format!("{query}&alt=sse");
            assert_eq!(stream(&beside).as_deref(), Ok("alt=sse"), "{beside}");
        }
        for query in ["monkey=1", "keys=2"] {
            assert_eq!(stream(query), Err(QueryError::Unknown), "{query}");
        }
    }
}
