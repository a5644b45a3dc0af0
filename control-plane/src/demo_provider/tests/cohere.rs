//! What Cohere's API says, and the reranking of others.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Provider, hello, text, with};

const CHAT: &str = "/v2/chat";

#[tokio::test]
async fn a_streamed_chat_has_the_events_of_the_vendor_and_the_text_of_a_whole_one() {
    let provider = Provider::new();
    let headers = [("x-demo-output-tokens", "9"), ("x-demo-cached-tokens", "1")];
    let asked = with(hello(), &json!({"max_tokens": 3}));
    let whole = provider.ask(CHAT, &headers, asked.clone()).await.json();
    assert_eq!(whole["finish_reason"], "MAX_TOKENS");
    let tokens = json!({"input_tokens": 2, "output_tokens": 3});
    let usage = json!({"billed_units": tokens, "tokens": tokens, "cached_tokens": 1});
    assert_eq!(whole["usage"], usage);
    let said = whole["message"]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text::count(said), 3);

    let answer = provider
        .ask(CHAT, &headers, with(asked, &json!({"stream": true})))
        .await;
    assert!(answer.text().starts_with("event: message-start\ndata: "));
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    let events = answer.events();
    let types: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let delta = "content-delta";
    let (start, end) = ("content-start", "content-end");
    assert_eq!(
        types,
        [
            "message-start",
            start,
            delta,
            delta,
            delta,
            end,
            "message-end"
        ]
    );
    let streamed: String = events
        .iter()
        .filter(|event| event["type"] == delta)
        .filter_map(|event| event["delta"]["message"]["content"]["text"].as_str())
        .collect();
    assert_eq!(streamed, said);
    assert_eq!(events[6]["delta"]["usage"], usage);
    assert_eq!(events[6]["delta"]["finish_reason"], "MAX_TOKENS");
    let counts = json!({"requests": 2, "input_tokens": 4, "output_tokens": 6});
    assert_eq!(provider.stats().await["models"]["gpt-4o"], counts);
}

#[tokio::test]
async fn both_versions_of_embed_give_the_same_vectors() {
    let provider = Provider::new();
    let asked = json!({"model": "e", "texts": ["12345", "1234"], "output_dimension": 8});
    let old = provider.ask("/v1/embed", &[], asked.clone()).await.json();
    let new = provider.ask("/v2/embed", &[], asked).await.json();
    assert_eq!(old["embeddings"], new["embeddings"]["float"]);
    assert_eq!(old["embeddings"][1].as_array().unwrap().len(), 8);
    for (answer, version) in [(old, "1"), (new, "2")] {
        assert_eq!(answer["meta"]["api_version"]["version"], version);
        let billed = json!({"input_tokens": 3});
        assert_eq!(answer["meta"]["billed_units"], billed);
    }
    let counts = json!({"requests": 2, "input_tokens": 6, "output_tokens": 0});
    assert_eq!(provider.stats().await["models"]["e"], counts);
}

#[tokio::test]
async fn the_best_documents_come_first_and_every_hundred_is_a_search_unit() {
    let provider = Provider::new();
    let documents: Vec<String> = (0..101).map(|number| format!("{number:04}")).collect();
    let asked = json!({
        "model": "r", "query": "which?", "documents": documents, "top_n": 5,
        "return_documents": true,
    });
    let answer = provider.ask("/v1/rerank", &[], asked.clone()).await.json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 5);
    let scores: Vec<f64> = results
        .iter()
        .map(|result| result["relevance_score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|one, other| one >= other));
    let index = usize::try_from(results[0]["index"].as_u64().unwrap()).unwrap();
    assert_eq!(results[0]["document"]["text"], documents[index]);
    assert_eq!(answer["meta"]["billed_units"]["search_units"], 2);
    let usage = json!({"total_tokens": 103, "prompt_tokens": 103});
    assert_eq!(answer["usage"], usage);
    let counts = json!({"requests": 1, "input_tokens": 103, "output_tokens": 0});
    assert_eq!(provider.stats().await["models"]["r"], counts);

    let new = provider.ask("/v2/rerank", &[], asked).await.json();
    assert_eq!(new["results"], answer["results"]);
    assert_eq!(new["meta"]["billed_units"], json!({"search_units": 2}));
    assert_eq!(new.get("usage"), None);
    let counts = json!({"requests": 2, "input_tokens": 103, "output_tokens": 0});
    assert_eq!(provider.stats().await["models"]["r"], counts);
}

#[tokio::test]
async fn documents_may_be_objects_that_hold_a_text() {
    let provider = Provider::new();
    let asked = |documents: Value| json!({"model": "r", "query": "q", "documents": documents});
    let objects = asked(json!([{"text": "a"}, {"text": "b"}]));
    let texts = asked(json!(["a", "b"]));
    let one = provider.ask("/v1/rerank", &[], objects).await.json();
    let other = provider.ask("/v1/rerank", &[], texts).await.json();
    assert_eq!(one["results"], other["results"]);
    let refused = provider
        .ask("/v1/rerank", &[], asked(json!([{"title": "a"}])))
        .await;
    assert_eq!(refused.json()["error"]["param"], "documents");
}

#[tokio::test]
async fn a_refusal_has_the_request_id_in_its_body_too() {
    let refused = Provider::new().ask(CHAT, &[], json!({})).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let id = refused.headers["x-request-id"].to_str().unwrap();
    let body = json!({"id": id, "message": "`model` is required"});
    assert_eq!(refused.json(), body);
}
