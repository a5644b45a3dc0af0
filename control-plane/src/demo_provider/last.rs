//! The last request as it arrived, so that a test can see what really reached a provider.

use std::sync::{Mutex, PoisonError};

use axum::http::request::Parts;
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
    /// What could not be shown as it was: names of headers, or `body`, that were not UTF-8 and are
    /// shown with replacement characters.
    not_utf8: Vec<String>,
}

impl Received {
    fn new(parts: &Parts, body: &[u8]) -> Self {
        let mut not_utf8 = Vec::new();
        let headers = parts.headers.iter().map(|(name, value)| {
            let value = text(value.as_bytes(), name.as_str(), &mut not_utf8);
            (name.to_string(), value)
        });
        let headers = headers.collect();
        let body = text(body, "body", &mut not_utf8);
        let path = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
            .to_owned();
        Self {
            method: parts.method.to_string(),
            path,
            headers,
            body,
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

/// Remembers one request: the last.
#[derive(Default)]
pub(super) struct LastRequest(Mutex<Option<Received>>);

impl LastRequest {
    /// Takes the place of the request before.
    pub(super) fn record(&self, parts: &Parts, body: &[u8]) {
        self.set(Some(Received::new(parts, body)));
    }

    /// The last request, if there was one.
    pub(super) fn read(&self) -> Option<Received> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets it.
    pub(super) fn reset(&self) {
        self.set(None);
    }

    fn set(&self, received: Option<Received>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = received;
    }
}
