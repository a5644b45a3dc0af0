//! Answers that report, think or are packed as a header asks.

use std::io::Read as _;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{CHAT, MESSAGES, Provider, hello, request, with};

fn streamed() -> Value {
    with(
        hello(),
        &json!({"stream": true, "stream_options": {"include_usage": true}}),
    )
}

fn unpacked(encoding: &str, packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match encoding {
        "gzip" => flate2::read::GzDecoder::new(packed).read_to_end(&mut bytes),
        "deflate" => flate2::read::ZlibDecoder::new(packed).read_to_end(&mut bytes),
        _ => brotli::Decompressor::new(packed, 4096).read_to_end(&mut bytes),
    }
    .unwrap();
    bytes
}

#[tokio::test]
async fn thoughts_count_as_output_and_are_not_shown() {
    let provider = Provider::new();
    let headers = [
        ("x-demo-output-tokens", "10"),
        ("x-demo-reasoning-tokens", "4"),
    ];
    let chat = provider
        .ask(CHAT, &headers, with(hello(), &json!({"n": 2})))
        .await
        .json();
    assert_eq!(chat["usage"]["completion_tokens"], 20);
    let details = &chat["usage"]["completion_tokens_details"];
    assert_eq!(details["reasoning_tokens"], 8);
    let text = chat["choices"][1]["message"]["content"].as_str().unwrap();
    assert_eq!(super::text::count(text), 6);

    let asked = json!({"model": "o", "input": "Hello", "stream": true});
    let events = provider
        .ask("/v1/responses", &headers, asked)
        .await
        .events();
    let usage = &events.last().unwrap()["response"]["usage"];
    assert_eq!(usage["output_tokens"], 10);
    assert_eq!(usage["output_tokens_details"]["reasoning_tokens"], 4);
    let deltas = |event: &&Value| event["type"] == "response.output_text.delta";
    assert_eq!(events.iter().filter(deltas).count(), 6);

    let models = &provider.stats().await["models"];
    assert_eq!(models["gpt-4o"]["output_tokens"], 20);
    assert_eq!(models["o"]["output_tokens"], 10);
}

#[tokio::test]
async fn absent_usage_is_nowhere_in_an_answer() {
    let provider = Provider::new();
    let absent = [("x-demo-usage", "absent")];
    let message = with(hello(), &json!({"max_tokens": 9}));
    let streamed_message = with(message.clone(), &json!({"stream": true}));
    for (path, body) in [
        (CHAT, hello()),
        (CHAT, streamed()),
        (MESSAGES, message),
        (MESSAGES, streamed_message),
    ] {
        let answer = provider.ask(path, &absent, body).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.text().contains("usage"), "{}", answer.text());
    }
}

#[tokio::test]
async fn usage_is_whatever_text_the_request_wants() {
    let provider = Provider::new();
    let text = r#"{"total_tokens": -1, "total_tokens": 1e99"#;
    let steered = [("x-demo-usage", text)];
    let expected = format!("\"usage\":{text}");
    let asked = json!({"model": "e", "input": "Hello"});
    for (path, body) in [
        (CHAT, hello()),
        (CHAT, streamed()),
        ("/v1/embeddings", asked),
    ] {
        let answer = provider.ask(path, &steered, body).await;
        assert_eq!(answer.text().matches(&expected).count(), 1);
    }
    let counts = json!({"requests": 1, "input_tokens": 2, "output_tokens": 0});
    assert_eq!(provider.stats().await["models"]["e"], counts);
}

#[tokio::test]
async fn a_packed_answer_is_the_same_answer() {
    for body in [hello(), streamed()] {
        let plain = Provider::new().ask(CHAT, &[], body.clone()).await;
        for encoding in ["gzip", "deflate", "br"] {
            let headers = [("x-demo-encoding", encoding)];
            let packed = Provider::new().ask(CHAT, &headers, body.clone()).await;
            assert_eq!(packed.headers["content-encoding"], encoding);
            assert_eq!(unpacked(encoding, &packed.bytes), plain.bytes);
            if let Some(length) = packed.headers.get("content-length") {
                assert_eq!(length, &packed.bytes.len().to_string());
            }
        }
    }
}

#[tokio::test]
async fn a_packed_stream_can_be_read_up_to_its_last_frame() {
    use futures::StreamExt as _;
    for encoding in ["gzip", "br"] {
        let headers = [
            ("x-demo-encoding", encoding),
            ("x-demo-output-tokens", "50"),
        ];
        let response = Provider::new()
            .send(request(CHAT, &headers, streamed().to_string()))
            .await;
        let frames: Vec<_> = response
            .into_body()
            .into_data_stream()
            .take(4)
            .collect()
            .await;
        let packed: Vec<u8> = frames.into_iter().flat_map(Result::unwrap).collect();
        let mut bytes = vec![0; 64 * 1024];
        let mut read = 0;
        let mut decoder: Box<dyn std::io::Read> = match encoding {
            "gzip" => Box::new(flate2::read::GzDecoder::new(&packed[..])),
            _ => Box::new(brotli::Decompressor::new(&packed[..], 4096)),
        };
        // Reads until the decoder finds that the end is missing.
        while let Ok(more @ 1..) = decoder.read(&mut bytes[read..]) {
            read += more;
        }
        let text = str::from_utf8(&bytes[..read]).unwrap();
        assert_eq!(text.matches("data: ").count(), 4, "{encoding}");
        assert!(text.ends_with("\n\n"));
    }
}

#[tokio::test]
async fn a_refusal_is_packed_too() {
    let headers = [("x-demo-encoding", "gzip"), ("x-demo-fault", "demo=503")];
    let answer = Provider::new().ask(CHAT, &headers, hello()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    let unpacked = unpacked("gzip", &answer.bytes);
    let error: Value = serde_json::from_slice(&unpacked).unwrap();
    assert_eq!(error["error"]["type"], "server_error");
}
