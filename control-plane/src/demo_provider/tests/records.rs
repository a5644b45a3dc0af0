//! What the provider remembers: the statistics and the last request.

use axum::http::HeaderValue;
use futures::StreamExt as _;
use serde_json::json;

use super::{CHAT, Provider, hello, request, with};

#[tokio::test]
async fn stats_agree_with_the_usage_that_was_reported() {
    let provider = Provider::new();
    for steered in [3, 7] {
        let headers = [("x-demo-output-tokens", steered.to_string())];
        let headers = [(headers[0].0, headers[0].1.as_str())];
        provider.ask(CHAT, &headers, hello()).await;
        provider
            .ask(CHAT, &headers, with(hello(), &json!({"stream": true})))
            .await;
    }
    let embedded = json!({"model": "e", "input": "12345678"});
    provider.ask("/v1/embeddings", &[], embedded).await;
    let served = json!({
        "requests": 5,
        "models": {
            "gpt-4o": {"requests": 4, "input_tokens": 8, "output_tokens": 20},
            "e": {"requests": 1, "input_tokens": 2, "output_tokens": 0},
        },
    });
    assert_eq!(provider.stats().await, served);
}

#[tokio::test]
async fn an_aborted_stream_counts_the_tokens_that_were_taken_from_it() {
    let provider = Provider::new();
    let asked = with(hello(), &json!({"stream": true}));
    let headers = [("x-demo-output-tokens", "100")];
    let response = provider
        .send(request(CHAT, &headers, asked.to_string()))
        .await;
    // The opening chunk and four tokens.
    let taken: Vec<_> = response
        .into_body()
        .into_data_stream()
        .take(5)
        .collect()
        .await;
    assert_eq!(taken.len(), 5);
    let counts = json!({"requests": 1, "input_tokens": 2, "output_tokens": 4});
    assert_eq!(provider.stats().await["models"]["gpt-4o"], counts);
}

#[tokio::test]
async fn the_last_request_is_shown_as_it_arrived() {
    let provider = Provider::new();
    let mut asked = request(CHAT, &[("x-a", "1"), ("x-a", "2")], "not json");
    let odd = HeaderValue::from_bytes(b"caf\xe9").unwrap();
    asked.headers_mut().insert("x-odd", odd);
    provider.send(asked).await;
    let shown = json!({
        "method": "POST", "path": CHAT, "body": "not json", "not_utf8": ["x-odd"],
        "headers": [
            ["authorization", "Bearer sk-test"], ["x-a", "1"], ["x-a", "2"],
            ["x-odd", "caf\u{fffd}"],
        ],
    });
    assert_eq!(provider.get("/_demo/last").await, shown);
}

#[tokio::test]
async fn a_body_that_is_no_text_is_shown_in_base64_too() {
    let provider = Provider::new();
    provider.post(CHAT, &[], &b"key\xff\x00"[..]).await;
    let shown = provider.get("/_demo/last").await;
    assert_eq!(shown["body"], "key\u{fffd}\0");
    assert_eq!(shown["not_utf8"], json!(["body"]));
    assert_eq!(shown["body_base64"], "a2V5/wA=");
    assert_eq!(shown["body_length"], 5);
}

#[tokio::test]
async fn a_reset_forgets_everything() {
    let provider = Provider::new();
    provider.ask(CHAT, &[], hello()).await;
    provider.post("/_demo/reset", &[], "").await;
    assert_eq!(provider.stats().await, json!({"requests": 0, "models": {}}));
    assert!(provider.get("/_demo/last").await["error"].is_object());
}
