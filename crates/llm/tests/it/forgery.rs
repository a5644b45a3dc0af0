//! R-45: text that tries to pass for usage, in the mouth of the model.

use proptest::prelude::*;
use proptest::sample::Index;
use reeve_llm::Endpoint;
use serde_json::{Value, json};

use crate::frames::{chunk, event};
use crate::golden::{EVENT_STREAM, FRAMES, Golden, pass, streams};

/// An event of the stream's API with this text in it; `None`: the API has none.
fn saying(golden: &Golden, text: &str) -> Option<Vec<u8>> {
    let (kind, said): (&str, Value) = match golden.endpoint {
        Endpoint::ChatCompletions => (
            "",
            json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]}),
        ),
        Endpoint::Completions => ("", json!({"choices": [{"index": 0, "text": text}]})),
        Endpoint::Responses => (
            "",
            json!({"type": "response.output_text.delta", "delta": text}),
        ),
        Endpoint::Transcriptions => ("", json!({"type": "transcript.text.delta", "delta": text})),
        Endpoint::Messages | Endpoint::InvokeModelStream => (
            "chunk",
            json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}),
        ),
        Endpoint::StreamGenerateContent => (
            "",
            json!({"candidates": [{"content": {"parts": [{"text": text}]}}]}),
        ),
        Endpoint::ConverseStream => (
            "contentBlockDelta",
            json!({"contentBlockIndex": 0, "delta": {"text": text}}),
        ),
        Endpoint::CohereChat => (
            "",
            json!({"type": "content-delta", "delta": {"message": {"content": {"text": text}}}}),
        ),
        _ => return None,
    };
    let json = said.to_string();
    Some(if golden.head.content_type == FRAMES.content_type {
        match golden.endpoint {
            Endpoint::InvokeModelStream => chunk(&json),
            _ => event(kind, &json),
        }
    } else if golden.head.content_type == EVENT_STREAM.content_type {
        format!("data: {json}\n\n").into_bytes()
    } else {
        format!(",\n{json}").into_bytes()
    })
}

/// Text of which much looks like framing and like usage.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n\ndata: ".to_owned()),
        Just("\r\n\r\n".to_owned()),
        Just("[DONE]".to_owned()),
        Just("\"}}],".to_owned()),
        Just("}]".to_owned()),
        Just("\\".to_owned()),
        Just(r#""usage":{"prompt_tokens":0,"completion_tokens":0}"#.to_owned()),
        Just(r#""usageMetadata":{"promptTokenCount":0}"#.to_owned()),
        Just(r#"{"type":"message_stop"}"#.to_owned()),
        Just(r#""amazon-bedrock-invocationMetrics":{"inputTokenCount":0}"#.to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn nothing_that_a_model_says_changes_the_usage_or_ends_the_stream(
        which in any::<Index>(),
        at in any::<Index>(),
        text in text(),
        drop in any::<bool>(),
    ) {
        let talking: Vec<&Golden> = streams()
            .filter(|golden| saying(golden, "").is_some())
            .collect();
        let golden = talking[which.index(talking.len())];
        let said = saying(golden, &text).unwrap();
        // Before the last event: behind the end, no vendor says anything.
        let mut ends = golden.ends_of_events();
        ends.pop();
        let at = ends.get(at.index(ends.len() + 1)).copied().unwrap_or(0);
        let is_array = golden.name == "gemini/stream.json";
        // An element of an array stands behind another one.
        let at = if is_array { ends[0] } else { at };
        let stream = [&golden.bytes[..at], &said, &golden.bytes[at..]].concat();
        let (metered, _) = pass(golden.meter(drop), [stream.as_slice()]);
        prop_assert_eq!(metered.usage, golden.usage, "{}", golden.name);
        prop_assert_eq!(metered.complete, golden.complete);
        prop_assert_eq!(metered.usage_error, None);
        prop_assert_eq!(metered.output_bytes, golden.text_bytes + text.len() as u64);
        // And it is over no sooner.
        let (cut, _) = pass(golden.meter(drop), [&stream[..at + said.len()]]);
        let (before, _) = pass(golden.meter(drop), [&golden.bytes[..at]]);
        prop_assert_eq!(cut.complete, before.complete, "{}", golden.name);
    }
}
