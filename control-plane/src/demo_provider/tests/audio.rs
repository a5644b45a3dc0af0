//! What speech and its transcriptions cost.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Answered, Provider, form, text};

const SPEECH: &str = "/v1/audio/speech";
const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

async fn transcribed(
    provider: &Provider,
    path: &str,
    fields: &[(&str, &str)],
    recording: &[u8],
) -> Answered {
    let (kind, body) = form(fields, &[("file", recording)]);
    let headers = [
        ("content-type", kind.as_str()),
        ("x-demo-output-tokens", "6"),
    ];
    provider.post(path, &headers, body).await
}

#[tokio::test]
async fn speech_is_four_bytes_for_each_token() {
    let provider = Provider::new();
    let asked = json!({"model": "tts", "input": "twelve bytes", "voice": "alloy"});
    let spoken = provider.ask(SPEECH, &[], asked.clone()).await;
    assert_eq!(spoken.headers["content-type"], "audio/mpeg");
    assert_eq!(spoken.bytes.len(), 3 * 4);
    let headers = [("x-demo-output-tokens", "50")];
    let wav = super::with(asked, &json!({"response_format": "wav"}));
    let spoken = provider.ask(SPEECH, &headers, wav).await;
    assert_eq!(spoken.headers["content-type"], "audio/wav");
    assert_eq!(spoken.bytes.len(), 200);
    assert!(str::from_utf8(&spoken.bytes).is_err());
    let counts = json!({"requests": 2, "input_tokens": 6, "output_tokens": 53});
    assert_eq!(provider.stats().await["models"]["tts"], counts);
}

#[tokio::test]
async fn speech_in_events_is_the_same_speech_and_says_what_it_used() {
    let provider = Provider::new();
    let asked = json!({"model": "tts", "input": "twelve bytes", "instructions": "low"});
    let spoken = provider.ask(SPEECH, &[], asked.clone()).await;
    let sse = super::with(asked, &json!({"stream_format": "sse"}));
    let mut events = provider.ask(SPEECH, &[], sse).await.events();
    let done = events.pop().unwrap();
    let usage = json!({"input_tokens": 4, "output_tokens": 4, "total_tokens": 8});
    assert_eq!(done, json!({"type": "speech.audio.done", "usage": usage}));
    let sound: Vec<u8> = events
        .iter()
        .inspect(|event| assert_eq!(event["type"], "speech.audio.delta"))
        .flat_map(|event| STANDARD.decode(event["audio"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(sound, spoken.bytes);
}

#[tokio::test]
async fn a_recording_counts_by_its_bytes() {
    let provider = Provider::new();
    let fields = [("model", "gpt-4o-transcribe"), ("prompt", "names")];
    let answer = transcribed(&provider, TRANSCRIPTIONS, &fields, b"\xff2345").await;
    let usage = json!({
        "type": "tokens", "input_tokens": 4,
        "input_token_details": {"text_tokens": 2, "audio_tokens": 2},
        "output_tokens": 6, "total_tokens": 10,
    });
    assert_eq!(answer.json()["usage"], usage);
    assert_eq!(text::count(answer.json()["text"].as_str().unwrap()), 6);

    let plain = [&fields[..], &[("response_format", "text")]].concat();
    let said = transcribed(&provider, TRANSCRIPTIONS, &plain, b"\xff2345").await;
    assert_eq!(said.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.json()["text"], said.text());
    let counts = json!({"requests": 2, "input_tokens": 8, "output_tokens": 12});
    let served = provider.stats().await;
    assert_eq!(served["models"]["gpt-4o-transcribe"], counts);
}

#[tokio::test]
async fn a_streamed_transcription_ends_with_the_whole_text_and_its_usage() {
    let provider = Provider::new();
    let fields = [("model", "t"), ("stream", "true")];
    let mut events = transcribed(&provider, TRANSCRIPTIONS, &fields, b"1234")
        .await
        .events();
    let done = events.pop().unwrap();
    assert_eq!(done["type"], "transcript.text.done");
    assert_eq!(done["usage"]["total_tokens"], 7);
    let said: Vec<&str> = events
        .iter()
        .filter(|event| event["type"] == "transcript.text.delta")
        .map(|event| event["delta"].as_str().unwrap())
        .collect();
    assert_eq!(said.len(), 6);
    assert_eq!(done["text"], said.concat());
}

#[tokio::test]
async fn whisper_is_billed_by_the_second_and_counts_no_tokens() {
    let provider = Provider::new();
    let recording = vec![0; 16_001];
    let fields = [("model", "whisper-1"), ("stream", "true")];
    for path in [TRANSCRIPTIONS, "/v1/audio/translations"] {
        let answer = transcribed(&provider, path, &fields, &recording).await;
        let usage = json!({"type": "duration", "seconds": 2});
        assert_eq!(answer.json()["usage"], usage);
    }
    let counts = json!({"requests": 2, "input_tokens": 0, "output_tokens": 0});
    assert_eq!(provider.stats().await["models"]["whisper-1"], counts);
}

#[tokio::test]
async fn a_translation_is_not_streamed() {
    let fields = [("model", "t"), ("stream", "true")];
    let path = "/v1/audio/translations";
    let answer = transcribed(&Provider::new(), path, &fields, b"1234").await;
    assert_eq!(answer.json()["usage"]["total_tokens"], 7);
}

#[tokio::test]
async fn an_unknown_format_is_refused_by_the_field() {
    let provider = Provider::new();
    let fields = [("model", "t"), ("response_format", "srt")];
    let refused = transcribed(&provider, TRANSCRIPTIONS, &fields, b"1").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.json()["error"]["param"], "response_format");
    let asked = json!({"model": "t", "input": "a", "response_format": "ogg"});
    let refused: Value = provider.ask(SPEECH, &[], asked).await.json();
    assert_eq!(refused["error"]["param"], "response_format");
}
