//! What an answer says, in each wire format.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{CHAT, MESSAGES, Provider, hello, with};
use crate::demo_provider::text;

#[tokio::test]
async fn a_chat_completion_reports_the_tokens_it_really_has() {
    let answer = Provider::new()
        .ask(CHAT, &[("x-demo-output-tokens", "50")], hello())
        .await;
    let body = answer.json();
    let text = body["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(text::count(text), 50);
    assert_eq!(body["usage"]["completion_tokens"], 50);
    assert_eq!(body["usage"]["prompt_tokens"], 2);
    assert_eq!(body["usage"]["total_tokens"], 52);
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_streamed_chat_says_the_same_as_one_that_is_not_streamed() {
    let provider = Provider::new();
    let whole = provider.ask(CHAT, &[], hello()).await.json();
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let events = provider
        .ask(CHAT, &[], with(hello(), &options))
        .await
        .events();
    let text: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(whole["choices"][0]["message"]["content"], text);
    assert_eq!(events.last().unwrap()["usage"], whole["usage"]);
    assert_eq!(events.last().unwrap()["choices"], json!([]));
}

#[tokio::test]
async fn a_stream_carries_no_usage_unless_asked_to() {
    let streamed = with(hello(), &json!({"stream": true}));
    let answer = Provider::new().ask(CHAT, &[], streamed).await;
    assert!(
        answer
            .events()
            .iter()
            .all(|event| event.get("usage").is_none())
    );
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn every_choice_is_answered_and_counted() {
    let provider = Provider::new();
    let headers = [("x-demo-output-tokens", "10")];
    let body = provider
        .ask(CHAT, &headers, with(hello(), &json!({"n": 3})))
        .await
        .json();
    assert_eq!(body["choices"].as_array().unwrap().len(), 3);
    assert_eq!(body["usage"]["completion_tokens"], 30);
    let streamed = with(hello(), &json!({"n": 3, "stream": true}));
    let events = provider.ask(CHAT, &headers, streamed).await.events();
    let said = |choice: u64| {
        let mine = |event: &&Value| {
            event["choices"][0]["index"] == choice
                && event["choices"][0]["delta"]["content"]
                    .as_str()
                    .is_some_and(|c| !c.is_empty())
        };
        events.iter().filter(mine).count()
    };
    assert_eq!([said(0), said(1), said(2)], [10, 10, 10]);
}

#[tokio::test]
async fn a_tool_is_called_when_the_request_asks_for_that_whole_and_streamed() {
    let provider = Provider::new();
    let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
    let asked = |choice: Value| {
        let tools = json!([tool("weather"), tool("news")]);
        with(hello(), &json!({"tools": tools, "tool_choice": choice}))
    };
    for (choice, name) in [(tool("news"), "news"), (json!("required"), "weather")] {
        let body = provider.ask(CHAT, &[], asked(choice.clone())).await.json();
        let message = &body["choices"][0]["message"];
        assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(message["content"], Value::Null);
        let function = &message["tool_calls"][0]["function"];
        assert_eq!(function["name"], name);
        let arguments = function["arguments"].as_str().unwrap();
        let text: Value = serde_json::from_str(arguments).unwrap();
        let said = text["text"].as_str().unwrap();
        assert!(said.ends_with("You wrote: Hello!!!"), "{said}");
        assert_eq!(body["usage"]["completion_tokens"], text::count(said));

        let streamed = with(asked(choice), &json!({"stream": true}));
        let events = provider.ask(CHAT, &[], streamed).await.events();
        let delta = |event: &Value| event["choices"][0]["delta"]["tool_calls"][0].clone();
        assert_eq!(delta(&events[0])["function"]["name"], name);
        let pieces: String = events
            .iter()
            .filter_map(|event| {
                delta(event)["function"]["arguments"]
                    .as_str()
                    .map(str::to_owned)
            })
            .collect();
        assert_eq!(pieces, arguments);
        let last = events.last().unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
    }
    let body = provider.ask(CHAT, &[], asked(json!("auto"))).await.json();
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let unknown = provider.ask(CHAT, &[], asked(tool("sport"))).await;
    assert_eq!(unknown.json()["error"]["param"], "tool_choice");
}

#[tokio::test]
async fn the_maximum_of_a_request_ends_its_answer_in_every_dialect() {
    let provider = Provider::new();
    let steered = [("x-demo-output-tokens", "50")];
    for name in ["max_tokens", "max_completion_tokens"] {
        let chat = provider
            .ask(CHAT, &steered, with(hello(), &json!({name: 5})))
            .await
            .json();
        assert_eq!(chat["choices"][0]["finish_reason"], "length");
        assert_eq!(chat["usage"]["completion_tokens"], 5);
    }
    let asked = json!({"model": "gpt-4o", "input": "Hello", "max_output_tokens": 5});
    let response = provider.ask("/v1/responses", &steered, asked).await.json();
    assert_eq!(response["status"], "incomplete");
    assert_eq!(
        response["incomplete_details"]["reason"],
        "max_output_tokens"
    );
    assert_eq!(response["usage"]["output_tokens"], 5);
    let message = provider
        .ask(MESSAGES, &steered, with(hello(), &json!({"max_tokens": 5})))
        .await;
    assert_eq!(message.json()["stop_reason"], "max_tokens");
    assert_eq!(message.json()["usage"]["output_tokens"], 5);
}

#[tokio::test]
async fn a_streamed_response_ends_with_the_whole_response() {
    let asked = json!({"model": "gpt-4o", "input": [{"role": "user", "content": "Hello"}]});
    let provider = Provider::new();
    let whole = provider
        .ask("/v1/responses", &[], asked.clone())
        .await
        .json();
    let events = provider
        .ask("/v1/responses", &[], with(asked, &json!({"stream": true})))
        .await
        .events();
    let numbers: Vec<u64> = events
        .iter()
        .map(|event| event["sequence_number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    let text: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(whole["output"][0]["content"][0]["text"], text);
    let last = events.last().unwrap();
    assert_eq!(last["type"], "response.completed");
    assert_eq!(last["response"]["usage"], whole["usage"]);
}

#[tokio::test]
async fn cached_tokens_are_counted_the_way_each_vendor_counts_them() {
    let provider = Provider::new();
    let cached = [("x-demo-cached-tokens", "1")];
    let chat = provider.ask(CHAT, &cached, hello()).await.json();
    assert_eq!(chat["usage"]["prompt_tokens"], 2);
    assert_eq!(chat["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
    let asked = with(hello(), &json!({"max_tokens": 9}));
    let message = provider.ask(MESSAGES, &cached, asked).await.json();
    assert_eq!(message["usage"]["input_tokens"], 1);
    assert_eq!(message["usage"]["cache_read_input_tokens"], 1);
    // More than the prompt has is all of it.
    let chat = provider
        .ask(CHAT, &[("x-demo-cached-tokens", "9")], hello())
        .await
        .json();
    assert_eq!(chat["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
}

#[tokio::test]
async fn embeddings_are_unit_vectors_and_the_same_in_both_encodings() {
    use base64::Engine as _;
    let provider = Provider::new();
    let asked = json!({"model": "e", "input": ["one", [1, 2, 3]], "dimensions": 64});
    let float = provider
        .ask("/v1/embeddings", &[], asked.clone())
        .await
        .json();
    let encoded = with(asked, &json!({"encoding_format": "base64"}));
    let base64 = provider.ask("/v1/embeddings", &[], encoded).await.json();
    assert_eq!(
        float["usage"],
        json!({"prompt_tokens": 4, "total_tokens": 4})
    );
    for index in 0..2 {
        let numbers: Vec<f64> =
            serde_json::from_value(float["data"][index]["embedding"].clone()).unwrap();
        assert_eq!(numbers.len(), 64);
        assert!((numbers.iter().map(|n| n * n).sum::<f64>() - 1.0).abs() < 1e-5);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(base64["data"][index]["embedding"].as_str().unwrap())
            .unwrap();
        for (number, bytes) in numbers.iter().zip(bytes.chunks_exact(4)) {
            let decoded = f32::from_le_bytes(bytes.try_into().unwrap());
            assert!((f64::from(decoded) - number).abs() < 1e-6);
        }
    }
    assert_ne!(float["data"][0]["embedding"], float["data"][1]["embedding"]);
}
