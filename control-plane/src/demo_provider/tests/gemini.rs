//! What Gemini's API says, in its own format and in OpenAI's.

use std::slice;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answered, Provider, hello, text};

const STREAM: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent";

fn path(method: &str) -> String {
    format!("/v1beta/models/gemini-2.5-flash:{method}")
}

fn asked() -> Value {
    json!({
        "systemInstruction": {"parts": [{"text": "be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hello!!!"}]}],
    })
}

fn said(chunks: &[Value]) -> String {
    chunks
        .iter()
        .filter_map(|chunk| chunk["candidates"][0]["content"]["parts"][0]["text"].as_str())
        .collect()
}

impl Answered {
    /// The elements of a JSON array that was sent one by one.
    fn elements(&self) -> Vec<Value> {
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_slice(&self.bytes).unwrap()
    }
}

#[tokio::test]
async fn the_usage_of_gemini_keeps_thoughts_apart_from_candidates() {
    let provider = Provider::new();
    let headers = [
        ("x-demo-output-tokens", "10"),
        ("x-demo-reasoning-tokens", "3"),
        ("x-demo-cached-tokens", "1"),
    ];
    let answer = provider
        .ask(&path("generateContent"), &headers, asked())
        .await
        .json();
    let details = |count: u64| json!([{"modality": "TEXT", "tokenCount": count}]);
    let usage = json!({
        "promptTokenCount": 4, "cachedContentTokenCount": 1, "candidatesTokenCount": 7,
        "thoughtsTokenCount": 3, "totalTokenCount": 14, "promptTokensDetails": details(4),
        "cacheTokensDetails": details(1),
    });
    assert_eq!(answer["usageMetadata"], usage);
    assert_eq!(text::count(&said(slice::from_ref(&answer))), 7);
    assert_eq!(answer["candidates"][0]["finishReason"], "STOP");
    assert_eq!(answer["modelVersion"], "gemini-2.5-flash");
    let counts = json!({"requests": 1, "input_tokens": 4, "output_tokens": 10});
    assert_eq!(provider.stats().await["models"]["gemini-2.5-flash"], counts);
}

#[tokio::test]
async fn a_count_of_zero_is_left_out() {
    let headers = [("x-demo-output-tokens", "0")];
    let answer = Provider::new()
        .ask(&path("generateContent"), &headers, asked())
        .await
        .json();
    let details = json!([{"modality": "TEXT", "tokenCount": 4}]);
    let usage = json!({
        "promptTokenCount": 4, "totalTokenCount": 4, "promptTokensDetails": details,
    });
    assert_eq!(answer["usageMetadata"], usage);
}

#[tokio::test]
async fn both_kinds_of_streams_say_the_same_as_one_answer() {
    let provider = Provider::new();
    let whole = provider
        .ask(&path("generateContent"), &[], asked())
        .await
        .json();
    let array = provider.ask(STREAM, &[], asked()).await;
    assert!(array.text().starts_with("[{"));
    assert!(array.text().contains("}\n,\r\n{"));
    assert!(array.text().ends_with("}\n]"));
    let events = provider
        .ask(&format!("{STREAM}?alt=sse"), &[], asked())
        .await
        .events();
    for chunks in [array.elements(), events] {
        assert_eq!(said(&chunks), said(slice::from_ref(&whole)));
        let last = chunks.last().unwrap();
        assert_eq!(last["usageMetadata"], whole["usageMetadata"]);
        assert_eq!(last["candidates"][0]["finishReason"], "STOP");
        let so_far = &chunks[2]["usageMetadata"]["candidatesTokenCount"];
        assert_eq!(so_far, 3, "usage grows from chunk to chunk");
    }
}

#[tokio::test]
async fn a_packed_array_is_whole() {
    use std::io::Read as _;
    let headers = [("x-demo-encoding", "gzip")];
    let answer = Provider::new().ask(STREAM, &headers, asked()).await;
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(&answer.bytes[..])
        .read_to_string(&mut unpacked)
        .unwrap();
    let elements: Vec<Value> = serde_json::from_str(&unpacked).unwrap();
    assert!(elements.len() > 10);
}

#[tokio::test]
async fn a_configuration_may_be_in_either_case() {
    let provider = Provider::new();
    for config in [
        json!({"generationConfig": {"maxOutputTokens": 5, "candidateCount": 2}}),
        json!({"generation_config": {"max_output_tokens": 5, "candidate_count": 2}}),
    ] {
        let asked = super::with(asked(), &config);
        let answer = provider
            .ask(&path("generateContent"), &[], asked.clone())
            .await
            .json();
        assert_eq!(answer["usageMetadata"]["candidatesTokenCount"], 10);
        assert_eq!(answer["candidates"][1]["finishReason"], "MAX_TOKENS");
        assert_eq!(answer["candidates"][1]["index"], 1);
        let elements = provider.ask(STREAM, &[], asked).await.elements();
        assert_eq!(elements.len(), 12);
        assert_eq!(elements[11]["candidates"][0]["index"], 1);
    }
}

#[tokio::test]
async fn counting_tokens_is_free_whatever_it_is_wrapped_in() {
    let provider = Provider::new();
    let wrapped = json!({"generate_content_request": asked()});
    for body in [asked(), wrapped] {
        let counted = provider.ask(&path("countTokens"), &[], body).await.json();
        assert_eq!(counted["totalTokens"], 4);
        assert_eq!(counted["promptTokensDetails"][0]["tokenCount"], 4);
    }
    let counts = json!({"requests": 2, "input_tokens": 0, "output_tokens": 0});
    assert_eq!(provider.stats().await["models"]["gemini-2.5-flash"], counts);
}

#[tokio::test]
async fn embeddings_count_their_prompt_and_report_nothing() {
    let provider = Provider::new();
    let one = json!({"content": {"parts": [{"text": "12345"}]}, "outputDimensionality": 8});
    let embedded = provider
        .ask(&path("embedContent"), &[], one.clone())
        .await
        .json();
    let values = &embedded["embedding"]["values"];
    assert_eq!(values.as_array().unwrap().len(), 8);
    let other = json!({"content": {"parts": [{"text": "1"}]}, "output_dimensionality": 4});
    let batch = json!({"requests": [one, other]});
    let batch = provider
        .ask(&path("batchEmbedContents"), &[], batch)
        .await
        .json();
    assert_eq!(&batch["embeddings"][0]["values"], values);
    let other = batch["embeddings"][1]["values"].as_array().unwrap();
    assert_eq!(other.len(), 4);
    assert_eq!(batch.as_object().unwrap().len(), 1);
    let counts = json!({"requests": 2, "input_tokens": 5, "output_tokens": 0});
    assert_eq!(provider.stats().await["models"]["gemini-2.5-flash"], counts);
}

#[tokio::test]
async fn errors_are_told_as_google_tells_them() {
    let provider = Provider::new();
    let fault = [("x-demo-fault", "demo=429")];
    let message = "`x-demo-fault` asked for status 429";
    let error = json!({"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED"});
    let refused = provider.ask(STREAM, &fault, asked()).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json(), json!({"error": error}));
    let unknown = provider.ask(&path("dream"), &[], asked()).await;
    assert_eq!(unknown.json()["error"]["status"], "NOT_FOUND");
    let nameless = "/v1beta/models/:generateContent";
    let refused = provider.ask(nameless, &[], asked()).await;
    assert_eq!(refused.json()["error"]["status"], "INVALID_ARGUMENT");
    let odd = "/v1beta/models/%ff:generateContent";
    let refused = provider.ask(odd, &[], asked()).await;
    assert_eq!(refused.json()["error"]["message"], "the path is not UTF-8");
    for body in [
        json!({}),
        json!({"contents": []}),
        json!({"contents": ["a"]}),
    ] {
        let refused = provider.ask(&path("generateContent"), &[], body).await;
        assert_eq!(refused.json()["error"]["code"], 400);
    }
}

#[tokio::test]
async fn models_are_listed_in_both_formats() {
    let provider = Provider::new();
    let listed = provider.get("/v1beta/models").await;
    assert_eq!(listed["models"][0]["name"], "models/gemini-2.5-pro");
    let listed = provider.get("/v1beta/openai/models").await;
    assert_eq!(listed["object"], "list");
}

#[tokio::test]
async fn the_format_of_openai_is_served_beside() {
    let provider = Provider::new();
    let chat = provider
        .ask("/v1beta/openai/chat/completions", &[], hello())
        .await;
    assert_eq!(chat.json()["object"], "chat.completion");
    let asked = json!({"model": "e", "input": "a"});
    let embedded = provider.ask("/v1beta/openai/embeddings", &[], asked).await;
    assert_eq!(embedded.json()["usage"]["total_tokens"], 1);
    let asked = json!({"model": "i", "prompt": "a"});
    let path = "/v1beta/openai/images/generations";
    let made = provider.ask(path, &[], asked).await;
    assert_eq!(made.json()["usage"]["total_tokens"], 65);
}
