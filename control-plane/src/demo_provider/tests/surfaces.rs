//! What holds for every surface, whatever its format.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::{Provider, form, request, with};

/// A call that reports usage, in the tokens of its text.
struct Surface {
    path: &'static str,
    content_type: String,
    body: Vec<u8>,
    /// Whether it answers token by token.
    streams: bool,
    model: &'static str,
}

impl Surface {
    fn json(path: &'static str, body: &Value, streams: bool) -> Self {
        Self {
            path,
            content_type: "application/json".to_owned(),
            body: body.to_string().into(),
            streams,
            model: "m",
        }
    }

    fn form(path: &'static str, texts: &[(&str, &str)], file: &str, streams: bool) -> Self {
        let texts = [&[("model", "m"), ("prompt", "Hello")], texts].concat();
        let (content_type, body) = form(&texts, &[(file, b"\xff234")]);
        Self {
            path,
            content_type,
            body,
            streams,
            model: "m",
        }
    }

    fn request(&self, headers: &[(&str, &str)]) -> Request<Body> {
        let content_type = [("content-type", self.content_type.as_str())];
        let headers = [headers, &content_type].concat();
        request(self.path, &headers, self.body.clone())
    }
}

fn surfaces() -> Vec<Surface> {
    let messages = json!([{"role": "user", "content": "Hello"}]);
    let chat = json!({"model": "m", "messages": messages, "max_tokens": 99});
    let told = json!({"stream": true, "stream_options": {"include_usage": true}});
    let text = json!({"model": "m", "prompt": "Hello"});
    let response = json!({"model": "m", "input": "Hello"});
    let image = json!({"model": "m", "prompt": "Hello"});
    let rerank = json!({"model": "m", "query": "Hello", "documents": ["a"]});
    let embed = json!({"model": "m", "texts": ["Hello"]});
    let gemini = json!({"contents": [{"parts": [{"text": "Hello"}]}]});
    let converse = json!({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]});
    let titan = json!({"inputText": "Hello"});
    let claude = with(chat.clone(), &json!({"anthropic_version": "v"}));
    let sse = json!({"stream": true});
    let json = Surface::json;
    let mut surfaces = vec![
        json("/v1/chat/completions", &chat, false),
        json("/v1/chat/completions", &with(chat.clone(), &told), true),
        json("/v1beta/openai/chat/completions", &chat, false),
        json("/v1/completions", &text, false),
        json("/v1/completions", &with(text, &told), true),
        json("/v1/responses", &response, false),
        json("/v1/responses", &with(response.clone(), &sse), true),
        json("/v1/embeddings", &response, false),
        json("/v1/images/generations", &image, false),
        Surface::form("/v1/images/edits", &[], "image", false),
        Surface::form("/v1/images/variations", &[], "image", false),
        json(
            "/v1/audio/speech",
            &with(response, &json!({"stream_format": "sse"})),
            true,
        ),
        Surface::form("/v1/audio/transcriptions", &[], "file", false),
        Surface::form(
            "/v1/audio/transcriptions",
            &[("stream", "true")],
            "file",
            true,
        ),
        Surface::form("/v1/audio/translations", &[], "file", false),
        json("/v1/rerank", &rerank, false),
        json("/v1/messages", &chat, false),
        json("/v1/messages", &with(chat.clone(), &sse), true),
        json("/v1beta/models/m:generateContent", &gemini, false),
        json("/v1beta/models/m:streamGenerateContent", &gemini, true),
        json(
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            &gemini,
            true,
        ),
        json("/model/m/converse", &converse, false),
        json("/model/m/converse-stream", &converse, true),
        json("/model/m/invoke", &titan, false),
        json("/model/m/invoke-with-response-stream", &titan, true),
        json("/v2/chat", &chat, false),
        json("/v2/chat", &with(chat.clone(), &sse), true),
        json("/v1/embed", &embed, false),
        json("/v2/embed", &embed, false),
        json("/v2/rerank", &rerank, false),
    ];
    for (path, streams) in [
        ("/model/anthropic.m/invoke", false),
        ("/model/anthropic.m/invoke-with-response-stream", true),
    ] {
        surfaces.push(Surface {
            model: "anthropic.m",
            ..json(path, &claude, streams)
        });
    }
    surfaces
}

async fn answered(surface: &Surface, headers: &[(&str, &str)]) -> Vec<u8> {
    let response = Provider::new().send(surface.request(headers)).await;
    assert_eq!(response.status(), StatusCode::OK, "{}", surface.path);
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
    body.unwrap().to_vec()
}

#[tokio::test]
async fn every_surface_answers_and_counts_the_request() {
    for surface in surfaces() {
        let provider = Provider::new();
        let response = provider.send(surface.request(&[])).await;
        assert_eq!(response.status(), StatusCode::OK, "{}", surface.path);
        let stats = provider.stats().await;
        assert_eq!(stats["requests"], 1, "{}", surface.path);
        assert_eq!(stats["models"][surface.model]["requests"], 1);
        let seen = provider.get("/_demo/last").await;
        assert_eq!(seen["path"], surface.path);
    }
}

#[tokio::test]
async fn every_surface_can_be_packed() {
    let packed = [("x-demo-encoding", "deflate")];
    for surface in surfaces() {
        let plain = answered(&surface, &[]).await;
        let packed = answered(&surface, &packed).await;
        let mut unpacked = Vec::new();
        let mut decoder = flate2::read::ZlibDecoder::new(&packed[..]);
        std::io::Read::read_to_end(&mut decoder, &mut unpacked).unwrap();
        assert_eq!(unpacked, plain, "{}", surface.path);
    }
}

#[tokio::test]
async fn every_surface_reports_the_text_it_is_told_to() {
    // Bedrock's chunks are in base64: what they say is looked at with Bedrock's other tests.
    let hidden = |surface: &Surface| surface.path.ends_with("invoke-with-response-stream");
    let odd = [("x-demo-usage", "[no json")];
    let absent = [("x-demo-usage", "absent")];
    for surface in surfaces().into_iter().filter(|surface| !hidden(surface)) {
        let contains = |body: &[u8]| memchr::memmem::find(body, b"[no json").is_some();
        assert!(
            contains(&answered(&surface, &odd).await),
            "{}",
            surface.path
        );
        let body = answered(&surface, &absent).await;
        for name in ["usage", "Usage", "oken", "_units\":{"] {
            let found = memchr::memmem::find(&body, format!("\"{name}").as_bytes());
            assert_eq!(found, None, "{}: {name}", surface.path);
        }
    }
}

#[tokio::test]
async fn every_stream_that_is_cut_counts_what_was_sent() {
    let cut = [
        ("x-demo-fault", "demo=cut:2"),
        ("x-demo-output-tokens", "9"),
    ];
    for surface in surfaces().into_iter().filter(|surface| surface.streams) {
        let provider = Provider::new();
        let response = provider.send(surface.request(&cut)).await;
        let frames: Vec<_> = response.into_body().into_data_stream().collect().await;
        assert!(frames.last().unwrap().is_err(), "{}", surface.path);
        let stats = provider.stats().await;
        assert_eq!(stats["models"][surface.model]["output_tokens"], 2);
    }
}

#[tokio::test]
async fn every_answer_in_one_piece_is_cut_in_the_middle() {
    let cut = [("x-demo-fault", "demo=cut:1")];
    for surface in surfaces().into_iter().filter(|surface| !surface.streams) {
        let response = Provider::new().send(surface.request(&cut)).await;
        let length = response.headers()["content-length"].to_str().unwrap();
        let length: usize = length.parse().unwrap();
        let mut frames = response.into_body().into_data_stream();
        let sent = frames.next().await.unwrap().unwrap();
        assert_eq!(sent.len(), length / 2, "{}", surface.path);
        assert!(frames.next().await.unwrap().is_err());
    }
}
