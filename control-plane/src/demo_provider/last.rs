//! The last request as it arrived, so that a test can see what really reached a provider.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// The body of `GET /_demo/last`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Received {
    method: String,
    /// The request target: the path with its query.
    path: String,
    /// Name and value in order of arrival (values of one name stand together); names are lower case.
    headers: Vec<(String, String)>,
    body: String,
    /// The exact bytes of a body that is not UTF-8, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// How many bytes a body that is not UTF-8 has.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_length: Option<usize>,
    /// What could not be shown as it was: names of headers, or `body`, that were not UTF-8 and are
    /// shown with replacement characters.
    not_utf8: Vec<String>,
}

impl Received {
    fn new(kept: &Kept) -> Self {
        let mut not_utf8 = Vec::new();
        let headers = kept.headers.iter().map(|(name, value)| {
            let value = text(value.as_bytes(), name.as_str(), &mut not_utf8);
            (name.to_string(), value)
        });
        let headers = headers.collect();
        let binary = str::from_utf8(&kept.body).is_err();
        let body = text(&kept.body, "body", &mut not_utf8);
        let path = kept
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
            .to_owned();
        Self {
            method: kept.method.to_string(),
            path,
            headers,
            body,
            body_base64: binary.then(|| STANDARD.encode(&kept.body)),
            body_length: binary.then_some(kept.body.len()),
            not_utf8,
        }
    }
}

fn text(bytes: &[u8], what: &str, not_utf8: &mut Vec<String>) -> String {
    String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| {
        not_utf8.push(what.to_owned());
        String::from_utf8_lossy(bytes).into_owned()
    })
}

/// A request as it came.
#[derive(Clone)]
struct Kept {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// Remembers one request: the last. It is made readable only when somebody asks for it, as a body
/// may have many megabytes.
#[derive(Default)]
pub(super) struct LastRequest(Mutex<Option<Kept>>);

impl LastRequest {
    /// Takes the place of the request before.
    pub(super) fn record(&self, parts: &Parts, body: &Bytes) {
        *self.lock() = Some(Kept {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers: parts.headers.clone(),
            body: body.clone(),
        });
    }

    /// The last request, if there was one.
    pub(super) fn read(&self) -> Option<Received> {
        let last = self.lock().clone();
        last.map(|kept| Received::new(&kept))
    }

    /// Forgets it.
    pub(super) fn reset(&self) {
        *self.lock() = None;
    }

    /// Changed as a whole only, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
