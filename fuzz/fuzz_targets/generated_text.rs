//! What a model says is never taken for what it used: whatever text stands where generated text
//! stands, in every dialect and framing, the usage is the one reported beside it.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use reeve_fuzz::frames;
use reeve_fuzz::metering::{self, EVENTS, FRAMES, JSON};
use reeve_llm::{Endpoint, Usage};
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    // The first byte says how to cut, the second which response it is.
    let [seed, which, text @ ..] = data else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    let response = &RESPONSES[usize::from(*which) % RESPONSES.len()];
    let bytes = (response.write)(&text);
    let (endpoint, content_type) = (response.endpoint, response.content_type);
    let passed = metering::pass_every_way(*seed, endpoint, false, content_type, &bytes);
    assert_eq!(passed.bytes, bytes);
    assert!(passed.metered.complete);
    let expected = Usage {
        input_tokens: Some(7),
        output_tokens: Some(2),
        ..Usage::default()
    };
    assert_eq!(passed.metered.usage, expected);
});

/// A response that used seven tokens of input and two of output.
struct Response {
    endpoint: Endpoint,
    content_type: &'static str,
    /// Writes it, with the text generated.
    write: fn(&str) -> Vec<u8>,
}

const fn response(
    endpoint: Endpoint,
    content_type: &'static str,
    write: fn(&str) -> Vec<u8>,
) -> Response {
    Response {
        endpoint,
        content_type,
        write,
    }
}

const RESPONSES: [Response; 14] = [
    response(Endpoint::ChatCompletions, JSON, |text| {
        document(
            &json!({"choices": [{"message": {"content": text}, "text": text}],
                         "x": {"usage": text},
                         "usage": {"prompt_tokens": 7, "completion_tokens": 2}}),
        )
    }),
    response(Endpoint::Responses, JSON, |text| {
        document(
            &json!({"output": [{"content": [{"text": text}]}], "instructions": text,
                         "usage": {"input_tokens": 7, "output_tokens": 2}}),
        )
    }),
    response(Endpoint::Messages, JSON, |text| {
        document(
            &json!({"content": [{"text": text, "usage": {"input_tokens": 0}}],
                         "usage": {"input_tokens": 7, "output_tokens": 2}}),
        )
    }),
    response(Endpoint::GenerateContent, JSON, |text| {
        document(
            &json!({"candidates": [{"content": {"parts": [{"text": text}]}}],
                         "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2}}),
        )
    }),
    response(Endpoint::Converse, JSON, |text| {
        document(
            &json!({"output": {"message": {"content": [{"text": text}]}},
                         "usage": {"inputTokens": 7, "outputTokens": 2}}),
        )
    }),
    response(Endpoint::CohereChat, JSON, |text| {
        let units = json!({"input_tokens": 7, "output_tokens": 2});
        document(&json!({"message": {"content": [{"text": text}]},
                         "usage": {"billed_units": units}}))
    }),
    response(Endpoint::ChatCompletions, EVENTS, |text| {
        events(&[
            json!({"choices": [{"index": 0, "delta": {"content": text}}], "usage": null}),
            json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}),
        ])
    }),
    response(Endpoint::Responses, EVENTS, |text| {
        events(&[
            json!({"type": "response.output_text.delta", "delta": text}),
            json!({"type": "response.completed",
                   "response": {"output": [{"content": [{"text": text}]}],
                                "usage": {"input_tokens": 7, "output_tokens": 2}}}),
        ])
    }),
    response(Endpoint::Messages, EVENTS, |text| events(&messages(text))),
    response(Endpoint::StreamGenerateContent, EVENTS, |text| {
        events(&gemini(text))
    }),
    response(Endpoint::StreamGenerateContent, JSON, |text| {
        document(&gemini(text).to_vec().into())
    }),
    response(Endpoint::CohereChat, EVENTS, |text| {
        let units = json!({"input_tokens": 7, "output_tokens": 2});
        events(&[
            json!({"type": "content-delta",
                   "delta": {"message": {"content": {"text": text}}, "usage": text}}),
            json!({"type": "message-end", "delta": {"usage": {"billed_units": units}}}),
        ])
    }),
    response(Endpoint::ConverseStream, FRAMES, |text| {
        let delta = json!({"contentBlockIndex": 0, "delta": {"text": text}});
        let metadata = json!({"usage": {"inputTokens": 7, "outputTokens": 2}, "metrics": {}});
        [
            frame("contentBlockDelta", &delta),
            frame("metadata", &metadata),
        ]
        .concat()
    }),
    response(Endpoint::InvokeModelStream, FRAMES, |text| {
        let chunk = |event: Value| {
            let bytes = STANDARD.encode(event.to_string());
            frame("chunk", &json!({"bytes": bytes, "p": "abc"}))
        };
        messages(text).map(chunk).concat()
    }),
];

fn document(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

fn events(events: &[Value]) -> Vec<u8> {
    let event = |event: &Value| format!("data: {event}\n\n").into_bytes();
    events.iter().flat_map(event).collect()
}

fn frame(event: &str, payload: &Value) -> Vec<u8> {
    frames::message(event, "event", payload.to_string().as_bytes())
}

fn messages(text: &str) -> [Value; 4] {
    [
        json!({"type": "message_start",
               "message": {"content": [], "usage": {"input_tokens": 7, "output_tokens": 1}}}),
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "message_delta",
               "delta": {"stop_reason": "end_turn", "stop_sequence": text},
               "usage": {"output_tokens": 2}}),
        json!({"type": "message_stop"}),
    ]
}

fn gemini(text: &str) -> [Value; 2] {
    [
        json!({"candidates": [{"content": {"parts": [{"text": text}]}}],
               "usageMetadata": {"promptTokenCount": 7}}),
        json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}],
               "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2}}),
    ]
}
