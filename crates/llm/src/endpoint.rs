//! The path table: which API a request is for. A path is in the table byte for byte or it is not
//! found, so that no spelling (`//`, `/./`, `%2e`, `;x`, `/V1/`, a trailing slash) can reach a
//! provider as something else than what was judged.

use crate::WireFormat;

/// An API that Reeve governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// OpenAI Chat Completions.
    ChatCompletions,
    /// OpenAI Responses.
    Responses,
    /// OpenAI Embeddings.
    Embeddings,
    /// Anthropic Messages.
    Messages,
}

impl Endpoint {
    /// The caller's dialect, which is also the format that the provider must speak.
    pub const fn wire_format(self) -> WireFormat {
        match self {
            Self::ChatCompletions | Self::Responses | Self::Embeddings => WireFormat::OpenAi,
            Self::Messages => WireFormat::Anthropic,
        }
    }

    /// What to append to a provider's base URL, which ends in `/v1` or its like.
    pub const fn upstream_suffix(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/chat/completions",
            Self::Responses => "/responses",
            Self::Embeddings => "/embeddings",
            Self::Messages => "/messages",
        }
    }

    /// `gen_ai.operation.name` of the OpenTelemetry semantic conventions for generative AI.
    pub const fn operation(self) -> &'static str {
        match self {
            Self::ChatCompletions | Self::Responses | Self::Messages => "chat",
            Self::Embeddings => "embeddings",
        }
    }

    /// Its name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
        }
    }
}

/// Every path served, the API it is, and the provider that its prefix names. All are POST.
const TABLE: [(&str, Endpoint, Option<&str>); 8] = [
    ("/v1/chat/completions", Endpoint::ChatCompletions, None),
    ("/v1/responses", Endpoint::Responses, None),
    ("/v1/embeddings", Endpoint::Embeddings, None),
    ("/v1/messages", Endpoint::Messages, None),
    (
        "/openai/v1/chat/completions",
        Endpoint::ChatCompletions,
        Some("openai"),
    ),
    ("/openai/v1/responses", Endpoint::Responses, Some("openai")),
    (
        "/openai/v1/embeddings",
        Endpoint::Embeddings,
        Some("openai"),
    ),
    (
        "/anthropic/v1/messages",
        Endpoint::Messages,
        Some("anthropic"),
    ),
];

/// A row of the path table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The API.
    pub endpoint: Endpoint,
    /// See [`Endpoint::upstream_suffix`].
    pub upstream_suffix: &'static str,
    /// The provider for a model without a provider prefix, when the path names one.
    pub default_provider: Option<&'static str>,
}

/// Why a request is for no API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The path is not in the table.
    #[error("no such API; see the documentation for the paths that are served")]
    NotFound,
    /// The path is in the table, the method is not POST.
    #[error("this API takes POST only")]
    MethodNotAllowed,
}

/// Splits a request target at its first `?`.
pub fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = target.splitn(2, |&byte| byte == b'?');
    (parts.next().unwrap_or_default(), parts.next())
}

/// Looks up a path without its query. Exact and case-sensitive.
pub fn find(method: &[u8], path: &[u8]) -> Result<Match, EndpointError> {
    let &(_, endpoint, default_provider) = TABLE
        .iter()
        .find(|(known, _, _)| known.as_bytes() == path)
        .ok_or(EndpointError::NotFound)?;
    if method != b"POST" {
        return Err(EndpointError::MethodNotAllowed);
    }
    Ok(Match {
        endpoint,
        upstream_suffix: endpoint.upstream_suffix(),
        default_provider,
    })
}

/// The dialect to refuse a request in, also when its path is no API: an Anthropic SDK is pointed at
/// `/anthropic` or calls `/v1/messages...`; everyone else gets OpenAI's.
pub fn dialect_of(path: &[u8]) -> WireFormat {
    if path.starts_with(b"/anthropic/") || path.starts_with(b"/v1/messages") {
        WireFormat::Anthropic
    } else {
        WireFormat::OpenAi
    }
}

/// Query parameters that carry a credential at some vendor, and the headers that do, without
/// separators and in lower case.
const CREDENTIAL_PARAMETERS: [&str; 8] = [
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

/// The query without the pairs that carry a credential (`key=`, `api_key=`, ..., or a virtual key
/// under whatever name), in whatever spelling: the caller's credential must not travel on to the
/// provider. Other pairs stay byte for byte. An empty result means that the `?` goes too.
pub fn query_without_credentials(query: &[u8]) -> Vec<u8> {
    let kept: Vec<&[u8]> = query
        .split(|&byte| byte == b'&')
        // Some servers also split at semicolons.
        .filter(|pair| !pair.split(|&byte| byte == b';').any(carries_a_credential))
        .collect();
    kept.join(&b'&')
}

fn carries_a_credential(pair: &[u8]) -> bool {
    let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
        Some(equals) => pair.split_at(equals),
        None => (pair, &b""[..]),
    };
    let plain = |text| -> Vec<u8> {
        percent_decode(text)
            .into_iter()
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| byte.to_ascii_lowercase())
            .collect()
    };
    let name = plain(name);
    CREDENTIAL_PARAMETERS
        .iter()
        .any(|parameter| parameter.as_bytes() == name)
        || name.starts_with(VIRTUAL_KEY)
        || plain(value).starts_with(VIRTUAL_KEY)
}

/// Decodes `%XX`; anything else stays as it is.
fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if let (b'%', Some((digits, remaining))) = (byte, after.split_first_chunk::<2>())
            && let [Some(high), Some(low)] = digits.map(|digit| char::from(digit).to_digit(16))
            && let Ok(value) = u8::try_from(high * 16 + low)
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

    #[test]
    fn every_path_of_the_table_is_found_and_leads_to_its_own_api() {
        for (path, endpoint, default_provider) in TABLE {
            let found = find(b"POST", path.as_bytes()).unwrap();
            assert_eq!(found.endpoint, endpoint);
            assert_eq!(found.default_provider, default_provider);
            assert!(path.ends_with(found.upstream_suffix), "{path}");
        }
    }

    #[test]
    fn other_spellings_of_a_known_path_are_not_found() {
        for path in [
            "//v1/chat/completions",
            "/v1//chat/completions",
            "/v1/./chat/completions",
            "/v1/x/../chat/completions",
            "/openai/../v1/chat/completions",
            "/v1/%63hat/completions",
            "/v1/chat%2fcompletions",
            "/v1/chat%2Fcompletions",
            "/v1/%2e%2e/v1/chat/completions",
            "/v1/%252e/chat/completions",
            "/v1\\chat\\completions",
            "/v1/chat/completions;x=1",
            "/v1/chat/completions/",
            "/v1/chat/completions%00",
            "/v1/chat/completions\0",
            "/v1/chat/completions#x",
            "/v1/chat/completions?x=1",
            "/v1/chat/completions ",
            "/V1/chat/completions",
            "/v1/Chat/completions",
            "http://example.com/v1/chat/completions",
            "v1/chat/completions",
            "/v1/chat",
            "/v1/completions",
            "/v1/messages/count_tokens",
            "/anthropic/v1/chat/completions",
            "/openai/v1/messages",
            "/v1",
            "/",
            "",
            "*",
        ] {
            assert_eq!(
                find(b"POST", path.as_bytes()),
                Err(EndpointError::NotFound),
                "{path:?}"
            );
        }
        assert_eq!(
            find(b"POST", b"/v1/chat/completions\xC0\xAE"),
            Err(EndpointError::NotFound)
        );
    }

    #[test]
    fn only_post_is_served() {
        for method in [
            "GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "CONNECT", "post", "",
        ] {
            let answer = find(method.as_bytes(), b"/v1/messages");
            assert_eq!(answer, Err(EndpointError::MethodNotAllowed), "{method:?}");
            assert_eq!(
                find(method.as_bytes(), b"/nowhere"),
                Err(EndpointError::NotFound)
            );
        }
    }

    #[test]
    fn the_query_starts_at_the_first_question_mark() {
        assert_eq!(split_query(b"/v1/messages"), (&b"/v1/messages"[..], None));
        assert_eq!(split_query(b"/p?a=b?c"), (&b"/p"[..], Some(&b"a=b?c"[..])));
        assert_eq!(split_query(b"/p?"), (&b"/p"[..], Some(&b""[..])));
    }

    #[test]
    fn credentials_leave_the_query_in_every_spelling_and_the_rest_stays() {
        for (query, left) in [
            ("a=1&key=sk&b=%20x", "a=1&b=%20x"),
            ("key=a&api_key=b", ""),
            ("API-KEY=a&beta=true", "beta=true"),
            ("%6bey=a&%61pi%5Fkey=b&c", "c"),
            ("x=1;key=a&y=2", "y=2"),
            ("key", ""),
            ("x-api-key=a&X-BF-VK=b&authorization=c&d", "d"),
            ("anything=sk-bf-abc&SK%2Dbf-abc&q=1", "q=1"),
            ("monkey=1&keys=2", "monkey=1&keys=2"),
            ("a=key&%zz=1&%", "a=key&%zz=1&%"),
            ("", ""),
        ] {
            let result = query_without_credentials(query.as_bytes());
            assert_eq!(String::from_utf8(result).unwrap(), left, "{query}");
        }
    }

    #[test]
    fn a_refusal_speaks_the_dialect_of_the_path() {
        assert_eq!(dialect_of(b"/anthropic/v1/complete"), WireFormat::Anthropic);
        assert_eq!(dialect_of(b"/v1/messages/batches"), WireFormat::Anthropic);
        assert_eq!(dialect_of(b"/v1/models"), WireFormat::OpenAi);
    }
}
