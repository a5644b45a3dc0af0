//! What the older completions and the moderations of OpenAI say.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Provider, text, with};

const COMPLETIONS: &str = "/v1/completions";

fn asked() -> Value {
    json!({"model": "davinci", "prompt": ["Hello", "Howdy!!!"], "n": 2})
}

#[tokio::test]
async fn every_prompt_gets_its_own_choices_and_all_of_them_count() {
    let provider = Provider::new();
    let headers = [
        ("x-demo-output-tokens", "30"),
        ("x-demo-cached-tokens", "3"),
    ];
    let answer = provider.ask(COMPLETIONS, &headers, asked()).await.json();
    let choices = answer["choices"].as_array().unwrap();
    for (index, quoted) in ["Hello", "Hello", "Howdy!!!", "Howdy!!!"]
        .iter()
        .enumerate()
    {
        let said = choices[index]["text"].as_str().unwrap();
        assert!(said.contains(quoted));
        assert_eq!(text::count(said), 30);
        assert_eq!(choices[index]["index"], index);
        assert_eq!(choices[index]["finish_reason"], "stop");
    }
    assert_eq!(answer["object"], "text_completion");
    let usage = &answer["usage"];
    assert_eq!(usage["prompt_tokens"], 2 + 2);
    assert_eq!(usage["completion_tokens"], 4 * 30);
    assert_eq!(usage["total_tokens"], 124);
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 3);
}

#[tokio::test]
async fn a_streamed_completion_says_the_same_as_one_that_is_not_streamed() {
    let provider = Provider::new();
    let asked = with(asked(), &json!({"max_tokens": 5}));
    let whole = provider.ask(COMPLETIONS, &[], asked.clone()).await.json();
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let answer = provider.ask(COMPLETIONS, &[], with(asked, &options)).await;
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let events = answer.events();
    assert_eq!(events.last().unwrap()["usage"], whole["usage"]);
    for index in 0..4 {
        let mine = |event: &&Value| event["choices"][0]["index"] == index;
        let chunks: Vec<&Value> = events.iter().filter(mine).collect();
        let said: String = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
            .collect();
        assert_eq!(whole["choices"][index]["text"], said);
        let last = chunks.last().unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "length");
    }
}

#[tokio::test]
async fn a_moderation_is_a_request_without_tokens() {
    let provider = Provider::new();
    let parts = json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]);
    for (input, results) in [(json!("a"), 1), (json!(["a", "b"]), 2), (parts, 1)] {
        let answer = provider
            .ask("/v1/moderations", &[], json!({"input": input}))
            .await
            .json();
        assert_eq!(answer["results"].as_array().unwrap().len(), results);
        assert_eq!(answer["results"][0]["flagged"], false);
        assert_eq!(answer["results"][0]["categories"]["violence"], false);
        assert_eq!(answer.get("usage"), None);
    }
    let counts = json!({"requests": 3, "input_tokens": 0, "output_tokens": 0});
    let served = provider.stats().await;
    assert_eq!(served["models"]["omni-moderation-latest"], counts);
    let empty = provider
        .ask("/v1/moderations", &[], json!({"input": []}))
        .await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
}
