//! Every request has an id: the caller's `x-request-id` if it is well-formed, else a new UUIDv7. It is
//! in the answer's `x-request-id`, in error bodies and in the logs.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::app::App;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Asked for every few seconds by machines; not worth a line each.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The id of the request at hand: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, Default)]
pub struct RequestId(String);

impl RequestId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A caller's id, if it can go into a log line and a header as it is.
    fn accept(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let safe = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if bytes.is_empty() || bytes.len() > 64 || !bytes.iter().all(safe) {
            return None;
        }
        value.to_str().ok().map(|text| Self(text.to_owned()))
    }
}

/// The layer that gives every request its id, and a log span that carries it.
pub async fn assign(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(HEADER).and_then(RequestId::accept);
    let id = given.unwrap_or_else(|| {
        // Without random numbers nothing works; a request without an id is the least of it.
        app.ids()
            .map(|mut ids| RequestId(ids.make()))
            .unwrap_or_default()
    });
    let span = tracing::info_span!("request", request_id = id.as_str());
    request.extensions_mut().insert(id.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let start = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| {
        let duration_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = response.status().as_u16();
        if PROBES.contains(&path.as_str()) {
            tracing::debug!(%method, path, status, duration_ms, "served");
        } else {
            tracing::info!(%method, path, status, duration_ms, "served");
        }
    });
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_forge_a_log_line_is_replaced() {
        for (value, accepted) in [
            ("abc-1.2_3", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("ü", false),
        ] {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            assert_eq!(RequestId::accept(&value).is_some(), accepted, "{value:?}");
        }
        let long = HeaderValue::from_str(&"a".repeat(65)).unwrap();
        assert!(RequestId::accept(&long).is_none());
    }
}
