//! What a message says, and what a prompt costs.

use axum::http::StatusCode;
use serde_json::json;

use super::{MESSAGES, Provider, hello, with};

#[tokio::test]
async fn a_streamed_message_has_the_events_of_the_vendor_in_order() {
    let asked = with(hello(), &json!({"max_tokens": 99, "stream": true}));
    let answer = Provider::new()
        .ask(MESSAGES, &[("x-demo-output-tokens", "2")], asked)
        .await;
    let events = answer.events();
    let types: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], 2);
    assert_eq!(events[6]["usage"]["output_tokens"], 2);
    assert!(answer.text().starts_with("event: message_start\n"));
}

#[tokio::test]
async fn what_is_written_to_a_cache_is_no_plain_input() {
    let provider = Provider::new();
    let headers = [
        ("x-demo-cached-tokens", "3"),
        ("x-demo-cache-write-tokens", "2"),
        ("x-demo-cache-write-1h-tokens", "4"),
        ("x-demo-output-tokens", "5"),
    ];
    let content = "x".repeat(40);
    let asked = json!({
        "model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": content}],
    });
    let usage = json!({
        "input_tokens": 1, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 6,
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 4},
        "output_tokens": 5, "service_tier": "standard",
    });
    let message = provider.ask(MESSAGES, &headers, asked.clone()).await;
    assert_eq!(message.json()["usage"], usage);
    let counts = json!({"requests": 1, "input_tokens": 10, "output_tokens": 5});
    assert_eq!(provider.stats().await["models"]["claude"], counts);

    // A stream says how long the cache lives in its first event only.
    let streamed = with(asked, &json!({"stream": true}));
    let events = provider.ask(MESSAGES, &headers, streamed).await.events();
    let begun = with(usage, &json!({"output_tokens": 0}));
    assert_eq!(events[0]["message"]["usage"], begun);
    let ended = json!({
        "input_tokens": 1, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 6,
        "output_tokens": 5,
    });
    assert_eq!(events[events.len() - 2]["usage"], ended);
}

#[tokio::test]
async fn counting_tokens_is_free_and_says_what_a_message_would_have_cost() {
    let provider = Provider::new();
    let asked = with(hello(), &json!({"system": "be kind."}));
    let counted = provider
        .ask("/v1/messages/count_tokens", &[], asked.clone())
        .await;
    assert_eq!(counted.status, StatusCode::OK);
    assert_eq!(counted.json(), json!({"input_tokens": 4}));
    let served = json!({
        "requests": 1,
        "models": {"gpt-4o": {"requests": 1, "input_tokens": 0, "output_tokens": 0}},
    });
    assert_eq!(provider.stats().await, served);
    let message = with(asked, &json!({"max_tokens": 9}));
    let message = provider.ask(MESSAGES, &[], message).await.json();
    assert_eq!(message["usage"]["input_tokens"], 4);
}
