//! The demo provider through its router, and over a socket where the connection matters.

mod answers;
mod faults;
mod records;
mod refusals;

use axum::body::{Body, to_bytes};
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
    text: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The JSON data of every server-sent event, `[DONE]` left out.
    fn events(&self) -> Vec<Value> {
        assert_eq!(
            self.headers["content-type"],
            "text/event-stream; charset=utf-8"
        );
        let data = self
            .text
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
        let text = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(text.to_vec()).unwrap();
        Answered {
            status: parts.status,
            headers: parts.headers,
            text,
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
