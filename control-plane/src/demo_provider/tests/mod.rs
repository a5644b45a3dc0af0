//! The demo provider through its router, and over a socket where the connection matters.

mod answers;
mod anthropic;
mod audio;
mod bedrock;
mod cohere;
mod completions;
mod faults;
mod gemini;
mod images;
mod records;
mod refusals;
mod steered;
mod surfaces;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

struct Provider(Router);

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}

impl Answered {
    fn text(&self) -> &str {
        str::from_utf8(&self.bytes).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// The JSON data of every server-sent event, `[DONE]` left out.
    fn events(&self) -> Vec<Value> {
        assert_eq!(
            self.headers["content-type"],
            "text/event-stream; charset=utf-8"
        );
        let data = self
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix("data: "));
        data.filter(|data| *data != "[DONE]")
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }
}

impl Provider {
    fn new() -> Self {
        Self(router(Demo::new("demo", Clock::manual(1_700_000_000_000))))
    }

    async fn send(&self, request: Request<Body>) -> axum::response::Response {
        self.0.clone().oneshot(request).await.unwrap()
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answered {
        let response = self.send(request(path, headers, body)).await;
        let (parts, body) = response.into_parts();
        Answered {
            status: parts.status,
            headers: parts.headers,
            bytes: to_bytes(body, usize::MAX).await.unwrap(),
        }
    }

    async fn ask(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answered {
        self.post(path, headers, body.to_string()).await
    }

    async fn get(&self, path: &str) -> Value {
        let request = Request::get(path).header("authorization", "Bearer k");
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    async fn stats(&self) -> Value {
        self.get("/_demo/stats").await
    }
}

fn request(path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(path).header("authorization", "Bearer sk-test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

fn hello() -> Value {
    json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!!!"}]})
}

fn with(mut body: Value, more: &Value) -> Value {
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

/// A form and its `content-type`.
fn form(texts: &[(&str, &str)], files: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    let mut part = |disposition: String, content: &[u8]| {
        let head = format!("--cut here\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
        body.extend([head.as_bytes(), content, b"\r\n"].concat());
    };
    for (name, text) in texts {
        part(format!("name=\"{name}\""), text.as_bytes());
    }
    for (name, file) in files {
        part(format!("name=\"{name}\"; filename=\"file.bin\""), file);
    }
    body.extend(b"--cut here--\r\n");
    let content_type = "multipart/form-data; boundary=\"cut here\"";
    (content_type.to_owned(), body)
}
