//! What the pictures of OpenAI's API cost.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Provider, form};

const GENERATIONS: &str = "/v1/images/generations";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

fn asked() -> Value {
    json!({"model": "gpt-image-1", "prompt": "a small grey pixel"})
}

fn picture(entry: &Value) -> Vec<u8> {
    STANDARD
        .decode(entry["b64_json"].as_str().unwrap())
        .unwrap()
}

#[tokio::test]
async fn every_picture_has_exactly_the_bytes_of_its_tokens() {
    let provider = Provider::new();
    let headers = [("x-demo-output-tokens", "30")];
    let asked = super::with(asked(), &json!({"n": 2}));
    let answer = provider.ask(GENERATIONS, &headers, asked).await.json();
    let data = answer["data"].as_array().unwrap();
    assert_eq!(data.len(), 2);
    for entry in data {
        assert_eq!(picture(entry).len(), 120);
        assert!(picture(entry).starts_with(PNG));
    }
    let usage = json!({
        "input_tokens": 5, "input_tokens_details": {"text_tokens": 5, "image_tokens": 0},
        "output_tokens": 60, "total_tokens": 65,
    });
    assert_eq!(answer["usage"], usage);
    let counts = json!({"requests": 1, "input_tokens": 5, "output_tokens": 60});
    assert_eq!(provider.stats().await["models"]["gpt-image-1"], counts);
}

#[tokio::test]
async fn a_streamed_picture_is_shown_in_the_making_and_counts_when_it_is_there() {
    let provider = Provider::new();
    let asked = super::with(asked(), &json!({"stream": true, "partial_images": 2}));
    let answer = provider.ask(GENERATIONS, &[], asked.clone()).await;
    let events = answer.events();
    let types: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let partial = "image_generation.partial_image";
    assert_eq!(types, [partial, partial, "image_generation.completed"]);
    assert_eq!(events[1]["partial_image_index"], 1);
    assert_eq!(events[2]["usage"]["output_tokens"], 64);
    assert_eq!(picture(&events[2]).len(), 256);
    assert!(
        answer
            .text()
            .contains("event: image_generation.completed\n")
    );

    let several = super::with(asked, &json!({"n": 2}));
    let refused = provider.ask(GENERATIONS, &[], several).await;
    assert_eq!(refused.json()["error"]["param"], "n");
}

#[tokio::test]
async fn a_picture_that_is_sent_counts_by_its_bytes() {
    let provider = Provider::new();
    let (kind, body) = form(
        &[("model", "gpt-image-1"), ("prompt", "greyer"), ("n", "2")],
        &[("image[]", b"\xff\xfe123"), ("mask", b"12345678")],
    );
    let headers = [("content-type", kind.as_str())];
    let edited = provider
        .post("/v1/images/edits", &headers, body)
        .await
        .json();
    let details = json!({"text_tokens": 2, "image_tokens": 4});
    assert_eq!(edited["usage"]["input_tokens_details"], details);
    assert_eq!(edited["usage"]["output_tokens"], 128);
    assert_eq!(edited["data"].as_array().unwrap().len(), 2);

    let (kind, body) = form(&[("model", "dall-e-2")], &[("image", b"1234")]);
    let headers = [("content-type", kind.as_str())];
    let path = "/v1/images/variations";
    let varied = provider.post(path, &headers, body).await.json();
    assert_eq!(varied["usage"]["input_tokens"], 1);
    let counts = json!({"requests": 1, "input_tokens": 1, "output_tokens": 64});
    assert_eq!(provider.stats().await["models"]["dall-e-2"], counts);
}

#[tokio::test]
async fn an_edit_can_be_streamed() {
    let (kind, body) = form(
        &[("model", "m"), ("prompt", "greyer"), ("stream", "true")],
        &[("image", b"1234")],
    );
    let headers = [("content-type", kind.as_str())];
    let answer = Provider::new()
        .post("/v1/images/edits", &headers, body)
        .await;
    let last = answer.events().pop().unwrap();
    assert_eq!(last["type"], "image_edit.completed");
    assert_eq!(last["usage"]["total_tokens"], 2 + 1 + 64);
}

#[tokio::test]
async fn a_form_without_its_file_is_refused() {
    let provider = Provider::new();
    let (kind, body) = form(&[("model", "m"), ("prompt", "greyer")], &[]);
    let headers = [("content-type", kind.as_str())];
    let refused = provider.post("/v1/images/edits", &headers, body).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.json()["error"]["param"], "image");
    let refused = provider.ask("/v1/images/edits", &[], json!({})).await;
    assert_eq!(refused.json()["error"]["param"], "content-type");
}
