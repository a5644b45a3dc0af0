//! Requests that are not served, and how they are told.

use axum::body::to_bytes;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use super::{CHAT, MESSAGES, Provider, hello, with};

#[tokio::test]
async fn a_bad_body_is_refused_in_the_shape_of_the_vendor_with_the_field() {
    let provider = Provider::new();
    for (path, body, named) in [
        (CHAT, "{", "not valid JSON"),
        (CHAT, "[]", "must be a JSON object"),
        (CHAT, r#"{"messages": [{"role": "user"}]}"#, "`model`"),
        (
            CHAT,
            r#"{"model": "", "messages": [{"role": "user"}]}"#,
            "`model`",
        ),
        (CHAT, r#"{"model": "m", "messages": []}"#, "`messages`"),
        (
            CHAT,
            r#"{"model": "m", "messages": [{}]}"#,
            "`messages[0].role`",
        ),
        (
            CHAT,
            r#"{"model": "m", "messages": [{"role": "user"}], "n": 0}"#,
            "`n`",
        ),
        (
            CHAT,
            r#"{"model": "m", "messages": [{"role": "user"}], "stream": 1}"#,
            "`stream`",
        ),
        ("/v1/responses", r#"{"model": "m"}"#, "`input`"),
        (
            "/v1/embeddings",
            r#"{"model": "m", "input": [""]}"#,
            "`input`",
        ),
    ] {
        let answer = provider.post(path, &[], body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "invalid_request_error");
        assert!(
            error["message"].as_str().unwrap().contains(named),
            "{error}"
        );
    }
    let answer = provider.ask(MESSAGES, &[], hello()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let message = "`max_tokens` is required";
    let error = json!({"type": "invalid_request_error", "message": message});
    assert_eq!(answer.json(), json!({"type": "error", "error": error}));
    assert_eq!(provider.stats().await["models"], json!({}));
}

#[tokio::test]
async fn a_request_without_a_credential_is_refused() {
    let provider = Provider::new();
    for (path, kind) in [
        (CHAT, "invalid_request_error"),
        (MESSAGES, "authentication_error"),
    ] {
        for headers in [
            &[][..],
            &[("authorization", "Bearer ")],
            &[("x-api-key", "")],
            &[("api-key", " "), ("x-goog-api-key", "")],
        ] {
            let mut request = Request::post(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let response = provider
                .send(request.body(hello().to_string().into()).unwrap())
                .await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(
                serde_json::from_slice::<Value>(&body).unwrap()["error"]["type"],
                kind
            );
        }
    }
}

#[tokio::test]
async fn a_credential_may_come_in_any_header_that_some_vendor_uses() {
    let provider = Provider::new();
    let hello = with(hello(), &json!({"max_tokens": 9}));
    for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key"] {
        let request = Request::post(MESSAGES).header(name, "k");
        let response = provider
            .send(request.body(hello.to_string().into()).unwrap())
            .await;
        assert_eq!(response.status(), StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn openais_format_wants_its_credential_where_openai_does_whoever_serves_it() {
    let provider = Provider::new();
    for path in [
        CHAT,
        "/v1beta/openai/chat/completions",
        "/compatibility/v1/chat/completions",
    ] {
        for (name, status) in [
            ("authorization", StatusCode::OK),
            ("api-key", StatusCode::OK),
            ("x-api-key", StatusCode::UNAUTHORIZED),
            ("x-goog-api-key", StatusCode::UNAUTHORIZED),
        ] {
            let request = Request::post(path).header(name, "k");
            let response = provider
                .send(request.body(hello().to_string().into()).unwrap())
                .await;
            assert_eq!(response.status(), status, "{path} {name}");
        }
    }
}

#[tokio::test]
async fn a_bad_steering_header_is_refused_by_its_name() {
    let answer = Provider::new()
        .ask(CHAT, &[("x-demo-delay-ms", "soon")], hello())
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json()["error"]["param"], "x-demo-delay-ms");
}

#[tokio::test]
async fn an_unknown_path_is_not_found_and_still_seen() {
    let provider = Provider::new();
    let answer = provider.ask("/v1/other?x=1", &[], json!({})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(provider.get("/_demo/last").await["path"], "/v1/other?x=1");
}
