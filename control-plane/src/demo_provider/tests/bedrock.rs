//! What Bedrock's API says, in JSON and in binary events.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Answered, Provider, text, with};

const CLAUDE: &str = "anthropic.claude-sonnet-5-v1:0";
const TITAN: &str = "amazon.titan-text-express-v1";
const CACHED: [(&str, &str); 4] = [
    ("x-demo-output-tokens", "5"),
    ("x-demo-cached-tokens", "1"),
    ("x-demo-cache-write-tokens", "2"),
    ("x-demo-cache-write-1h-tokens", "3"),
];

fn path(model: &str, action: &str) -> String {
    format!("/model/{model}/{action}")
}

/// Ten tokens.
fn conversation() -> Value {
    json!({
        "system": [{"text": "be kind."}],
        "messages": [{"role": "user", "content": [{"text": "x".repeat(32)}]}],
    })
}

fn message() -> Value {
    with(
        conversation(),
        &json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99}),
    )
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

fn checked(bytes: &[u8]) -> &[u8] {
    let (bytes, checksum) = bytes.split_at(bytes.len() - 4);
    assert_eq!(crc32fast::hash(bytes).to_be_bytes(), checksum);
    bytes
}

impl Answered {
    /// Name and payload of every binary event.
    fn binary_events(&self) -> Vec<(String, Value)> {
        let kind = "application/vnd.amazon.eventstream";
        assert_eq!(self.headers["content-type"], kind);
        let mut events = Vec::new();
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let prelude = checked(&rest[..12]);
            let (message, after) = rest.split_at(number(&prelude[..4]));
            let (mut headers, payload) = checked(message)[12..].split_at(number(&prelude[4..]));
            let mut named = Vec::new();
            while let [length, header @ ..] = headers {
                let (name, value) = header.split_at(usize::from(*length));
                assert_eq!(value[0], 7);
                let (value, after) = value[3..].split_at(number(&value[1..3]));
                named.push((
                    str::from_utf8(name).unwrap(),
                    str::from_utf8(value).unwrap(),
                ));
                headers = after;
            }
            assert!(named.contains(&(":message-type", "event")));
            assert!(named.contains(&(":content-type", "application/json")));
            let event = named
                .iter()
                .find(|(name, _)| *name == ":event-type")
                .unwrap();
            let payload = serde_json::from_slice(payload).unwrap();
            events.push((event.1.to_owned(), payload));
            rest = after;
        }
        events
    }

    /// The model's own events in chunks.
    fn native_events(&self) -> Vec<Value> {
        let events = self.binary_events().into_iter();
        events
            .map(|(name, payload)| {
                assert_eq!(name, "chunk");
                let native = STANDARD.decode(payload["bytes"].as_str().unwrap());
                serde_json::from_slice(&native.unwrap()).unwrap()
            })
            .collect()
    }
}

#[tokio::test]
async fn converse_keeps_what_a_cache_had_or_got_apart() {
    let provider = Provider::new();
    let path = path(CLAUDE, "converse");
    let asked = with(
        conversation(),
        &json!({"inferenceConfig": {"maxTokens": 4}}),
    );
    let answer = provider.ask(&path, &CACHED, asked).await.json();
    let usage = json!({
        "inputTokens": 4, "outputTokens": 4, "totalTokens": 14,
        "cacheReadInputTokens": 1, "cacheWriteInputTokens": 5,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 3}, {"ttl": "5m", "inputTokens": 2}],
    });
    assert_eq!(answer["usage"], usage);
    assert_eq!(answer["stopReason"], "max_tokens");
    assert_eq!(answer["metrics"], json!({"latencyMs": 0}));
    let said = &answer["output"]["message"]["content"][0]["text"];
    assert_eq!(text::count(said.as_str().unwrap()), 4);
    let counts = json!({"requests": 1, "input_tokens": 10, "output_tokens": 4});
    assert_eq!(provider.stats().await["models"][CLAUDE], counts);
}

#[tokio::test]
async fn a_converse_stream_says_the_same_in_binary_events() {
    let provider = Provider::new();
    let headers = [("x-demo-output-tokens", "2")];
    let whole = provider
        .ask(&path(TITAN, "converse"), &headers, conversation())
        .await
        .json();
    assert_eq!(whole["usage"].get("cacheDetails"), None);
    let events = provider
        .ask(&path(TITAN, "converse-stream"), &headers, conversation())
        .await
        .binary_events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let delta = "contentBlockDelta";
    assert_eq!(
        names,
        [
            "messageStart",
            delta,
            delta,
            "contentBlockStop",
            "messageStop",
            "metadata"
        ]
    );
    let said = [&events[1], &events[2]].map(|(_, event)| event["delta"]["text"].as_str().unwrap());
    let text = &whole["output"]["message"]["content"][0]["text"];
    assert_eq!(*text, said.concat());
    assert_eq!(events[4].1, json!({"stopReason": "end_turn"}));
    assert_eq!(events[5].1["usage"], whole["usage"]);
}

#[tokio::test]
async fn an_invoked_claude_answers_in_its_own_format_with_counts_in_headers() {
    let provider = Provider::new();
    let answer = provider
        .ask(&path(CLAUDE, "invoke"), &CACHED, message())
        .await;
    let counted =
        |name: &str| answer.headers[&format!("x-amzn-bedrock-{name}-token-count")].clone();
    assert_eq!(counted("input"), "4");
    assert_eq!(counted("output"), "5");
    assert_eq!(counted("cache-read-input"), "1");
    assert_eq!(counted("cache-write-input"), "5");
    assert!(answer.headers.contains_key("x-amzn-requestid"));
    let body = answer.json();
    assert_eq!(body["type"], "message");
    assert_eq!(body["usage"]["input_tokens"], 4);
    assert_eq!(
        body["usage"]["cache_creation"]["ephemeral_1h_input_tokens"],
        3
    );

    let stream = path(CLAUDE, "invoke-with-response-stream");
    let events = provider
        .ask(&stream, &CACHED, message())
        .await
        .native_events();
    assert_eq!(events[0]["type"], "message_start");
    let last = events.last().unwrap();
    let metrics = json!({
        "inputTokenCount": 4, "outputTokenCount": 5, "invocationLatency": 0,
        "firstByteLatency": 0, "cacheReadInputTokenCount": 1, "cacheWriteInputTokenCount": 5,
    });
    let end = json!({"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics});
    assert_eq!(*last, end);
    let said: String = events
        .iter()
        .filter_map(|event| event["delta"]["text"].as_str())
        .collect();
    assert_eq!(body["content"][0]["text"], said);
    let counts = json!({"requests": 2, "input_tokens": 20, "output_tokens": 10});
    assert_eq!(provider.stats().await["models"][CLAUDE], counts);
}

#[tokio::test]
async fn an_invoked_titan_counts_in_single_numbers() {
    let provider = Provider::new();
    let headers = [("x-demo-output-tokens", "9")];
    let asked = json!({
        "inputText": "Hello!!!", "textGenerationConfig": {"maxTokenCount": 3},
    });
    let answer = provider
        .ask(&path(TITAN, "invoke"), &headers, asked.clone())
        .await;
    assert_eq!(answer.headers["x-amzn-bedrock-input-token-count"], "2");
    assert_eq!(answer.headers["x-amzn-bedrock-output-token-count"], "3");
    let body = answer.json();
    let result = &body["results"][0];
    assert_eq!(body["inputTextTokenCount"], 2);
    assert_eq!(result["tokenCount"], 3);
    assert_eq!(result["completionReason"], "LENGTH");

    let stream = path(TITAN, "invoke-with-response-stream");
    let events = provider.ask(&stream, &headers, asked).await.native_events();
    assert_eq!(events.len(), 4);
    assert_eq!(events[0]["totalOutputTextTokenCount"], Value::Null);
    assert_eq!(events[3]["totalOutputTextTokenCount"], 3);
    assert_eq!(events[3]["completionReason"], "LENGTH");
    let metrics = &events[3]["amazon-bedrock-invocationMetrics"];
    assert_eq!(metrics["inputTokenCount"], 2);
    assert_eq!(metrics["outputTokenCount"], 3);
    let said: String = events
        .iter()
        .filter_map(|event| event["outputText"].as_str())
        .collect();
    assert_eq!(result["outputText"], said);
}

#[tokio::test]
async fn an_invoked_embedding_has_no_output_to_count() {
    let provider = Provider::new();
    let model = "amazon.titan-embed-text-v2:0";
    let asked = json!({"inputText": "12345", "dimensions": 8});
    let answer = provider
        .ask(&path(model, "invoke"), &[], asked.clone())
        .await;
    assert_eq!(answer.headers["x-amzn-bedrock-input-token-count"], "2");
    let output = "x-amzn-bedrock-output-token-count";
    assert!(!answer.headers.contains_key(output));
    assert_eq!(answer.json()["inputTextTokenCount"], 2);
    assert_eq!(answer.json()["embedding"].as_array().unwrap().len(), 8);
    let stream = path(model, "invoke-with-response-stream");
    let refused = provider.ask(&stream, &[], asked).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_model_id_is_decoded_once() {
    let provider = Provider::new();
    let encoded = "arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aprofile%2Fa%2525";
    provider
        .ask(&path(encoded, "converse"), &[], conversation())
        .await;
    let served = provider.stats().await;
    let model = "arn:aws:bedrock:us-east-1:1:profile/a%25";
    assert_eq!(served["models"][model]["requests"], 1);
}

#[tokio::test]
async fn usage_is_steered_in_bodies_events_and_headers() {
    let provider = Provider::new();
    let absent = [("x-demo-usage", "absent")];
    let invoked = path(CLAUDE, "invoke");
    let answer = provider.ask(&invoked, &absent, message()).await;
    assert_eq!(answer.json().get("usage"), None);
    let mut names = answer.headers.keys();
    assert!(!names.any(|name| name.as_str().ends_with("token-count")));
    let streamed = path(CLAUDE, "invoke-with-response-stream");
    let answer = provider.ask(&streamed, &absent, message()).await;
    let events = answer.native_events();
    assert_eq!(*events.last().unwrap(), json!({"type": "message_stop"}));
    let streamed = path(CLAUDE, "converse-stream");
    let answer = provider.ask(&streamed, &absent, conversation()).await;
    let (_, metadata) = answer.binary_events().pop().unwrap();
    assert_eq!(metadata, json!({"metrics": {"latencyMs": 0}}));

    let odd = [("x-demo-usage", "-7")];
    let asked = json!({"inputText": "Hello"});
    let answer = provider.ask(&path(TITAN, "invoke"), &odd, asked).await;
    assert_eq!(answer.json()["inputTextTokenCount"], -7);
    assert_eq!(answer.json()["results"][0]["tokenCount"], -7);
    assert_eq!(answer.headers["x-amzn-bedrock-input-token-count"], "-7");
}

#[tokio::test]
async fn errors_are_told_as_aws_tells_them() {
    let provider = Provider::new();
    let converse = path(CLAUDE, "converse");
    for (status, exception) in [
        ("400", "ValidationException"),
        ("403", "AccessDeniedException"),
        ("429", "ThrottlingException"),
        ("500", "InternalServerException"),
        ("503", "ServiceUnavailableException"),
    ] {
        let fault = format!("demo={status}");
        let headers = [("x-demo-fault", fault.as_str())];
        let refused = provider.ask(&converse, &headers, conversation()).await;
        assert_eq!(refused.headers["x-amzn-errortype"], exception);
        let message = format!("`x-demo-fault` asked for status {status}");
        assert_eq!(refused.json(), json!({"message": message}));
    }
    let bare = with(conversation(), &json!({"max_tokens": 9}));
    let refused = provider.ask(&path(CLAUDE, "invoke"), &[], bare).await;
    let message = "`anthropic_version` is required";
    assert_eq!(refused.json(), json!({"message": message}));
}
