//! When the word of a stream is final, and the usage chunk that only Reeve asked for.

use reeve_llm::{Endpoint, Metered, ResponseMeter, UsageError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::golden::{EVENT_STREAM, JSON, named, pass, streams};

/// The result of a stream that comes in these chunks, and the bytes passed on.
fn run<'a>(
    endpoint: Endpoint,
    drop_usage_chunk: bool,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Metered, Vec<u8>) {
    pass(
        ResponseMeter::new(endpoint, drop_usage_chunk, EVENT_STREAM),
        chunks,
    )
}

fn chat(stream: &str) -> Metered {
    run(Endpoint::ChatCompletions, false, [stream.as_bytes()]).0
}

/// The stream without the event that has this text in it.
fn without_event(stream: &[u8], text: &str) -> Vec<u8> {
    let stream = str::from_utf8(stream).unwrap();
    let events = stream.split_inclusive("\n\n");
    let others: String = events.filter(|event| !event.contains(text)).collect();
    others.into_bytes()
}

#[test]
fn every_stream_gives_its_usage_with_any_line_end() {
    for line_end in ["\n", "\r\n", "\r"] {
        for golden in streams() {
            let golden = golden.with_line_ends(line_end);
            let (metered, passed) = golden.run(false);
            assert_eq!(metered.usage, golden.usage, "{}", golden.name);
            assert_eq!(metered.complete, golden.complete, "{}", golden.name);
            assert_eq!(metered.output_bytes, golden.text_bytes, "{}", golden.name);
            assert_eq!(metered.usage_error, None, "{}", golden.name);
            assert!(passed == golden.bytes, "{}", golden.name);
        }
    }
}

/// R-42
#[test]
fn only_the_extra_usage_chunk_is_taken_out() {
    for line_end in ["\n", "\r\n", "\r"] {
        for golden in streams() {
            let expected = if golden.has_usage_chunk {
                without_event(&golden.bytes, "\"choices\":[],\"usage\":{")
            } else {
                golden.bytes.clone()
            };
            let shortened = expected.len() < golden.bytes.len();
            assert_eq!(shortened, golden.has_usage_chunk, "{}", golden.name);
            let golden = golden.with_line_ends(line_end);
            let (metered, passed) = golden.run(true);
            let expected = String::from_utf8(expected).map(|text| text.replace('\n', line_end));
            match expected {
                Ok(text) if golden.head.content_type == EVENT_STREAM.content_type => {
                    assert_eq!(String::from_utf8(passed).unwrap(), text, "{}", golden.name);
                }
                _ => assert!(passed == golden.bytes, "{}", golden.name),
            }
            assert_eq!(metered.usage, golden.usage, "{}", golden.name);
        }
    }
}

#[test]
fn whole_events_are_passed_on_at_once() {
    let golden = named("openai/chat_with_usage.sse").with_line_ends("\r\n");
    let mut meter = golden.meter(true);
    let stream = str::from_utf8(&golden.bytes).unwrap();
    for event in stream.split_inclusive("\r\n\r\n") {
        let passed = meter.on_chunk(event.as_bytes(), false);
        let expected = event.contains("\"choices\":[]").then(Vec::new);
        assert_eq!(passed, expected, "{event}");
    }
}

#[test]
fn a_stream_cut_short_is_estimated_from_what_was_seen() {
    let golden = named("openai/chat_with_usage.sse");
    let stream = str::from_utf8(&golden.bytes).unwrap();
    let usage_chunk = stream.find("\"choices\":[]").unwrap();
    let (metered, _) = pass(golden.meter(true), [&golden.bytes[..usage_chunk]]);
    assert!(!metered.complete);
    assert_eq!(metered.usage.output_tokens, None);
    // What is left of the broken event counts as text too.
    assert!(metered.output_bytes > 42);
    assert!(metered.estimated_output_tokens >= Some(14));
    let metered = chat("data: {\"choi");
    assert!(metered.estimated_output_tokens > Some(0));
}

#[test]
fn many_short_pieces_are_at_least_a_token_each() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n".repeat(30);
    let metered = chat(&stream);
    assert_eq!(
        (metered.output_bytes, metered.estimated_output_tokens),
        (30, Some(30))
    );
}

#[test]
fn running_usage_counts_only_once_the_stream_is_over() {
    let piece =
        "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    assert!(!chat(piece).complete);
    let more = piece.replace(":1}", ":2}");
    let metered = chat(&format!("{piece}{more}data: [DONE]\n\n"));
    assert!(metered.complete);
    assert_eq!(metered.usage.output_tokens, Some(2));
}

/// Not everybody sends `[DONE]`.
#[test]
fn usage_beside_choices_is_the_last_word_once_none_of_them_goes_on() {
    let with = |choices: &str| {
        chat(&format!(
            "data: {{\"choices\":[{choices}],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":1}}}}\n\n"
        ))
    };
    let stopped = r#"{"index":0,"delta":{},"finish_reason":"stop"}"#;
    let goes_on = r#"{"index":1,"delta":{},"finish_reason":null}"#;
    for (choices, complete) in [
        (String::new(), true),
        (stopped.to_owned(), true),
        (goes_on.to_owned(), false),
        (format!("{stopped},{goes_on}"), false),
        (format!("{stopped},{stopped}"), true),
        ("{},1".to_owned(), false),
    ] {
        assert_eq!(with(&choices).complete, complete, "{choices}");
    }
}

#[test]
fn groqs_own_member_counts_where_there_is_no_other_usage() {
    let groq = |members: &str| {
        let chunk = format!("data: {{\"choices\":[]{members}}}\n\n");
        chat(&chunk).usage.input_tokens
    };
    let x_groq = r#","x_groq":{"usage":{"prompt_tokens":3}}"#;
    assert_eq!(groq(x_groq), Some(3));
    assert_eq!(groq(&format!("{x_groq},\"usage\":null")), Some(3));
    assert_eq!(
        groq(&format!("{x_groq},\"usage\":{{\"prompt_tokens\":4}}")),
        Some(4)
    );
    for without in [
        "null",
        "\"usage\"",
        "[]",
        "{\"id\":\"r\"}",
        "{\"usage\":null}",
    ] {
        assert_eq!(groq(&format!(",\"x_groq\":{without}")), None, "{without}");
    }
}

#[test]
fn feedback_on_a_prompt_ends_a_stream_of_gemini_only_if_it_blocks_it() {
    let with = |feedback: &str| {
        let element = format!(
            "[{{\"promptFeedback\":{feedback},\
             \"usageMetadata\":{{\"promptTokenCount\":3,\"totalTokenCount\":3}}}}"
        );
        let meter = ResponseMeter::new(Endpoint::StreamGenerateContent, false, JSON);
        pass(meter, [element.as_bytes()]).0.complete
    };
    assert!(with(r#"{"blockReason":"SAFETY"}"#));
    for other in [
        r#"{"safetyRatings":[]}"#,
        r#"{"blockReason":null}"#,
        "{}",
        "null",
        "[\"blockReason\"]",
    ] {
        assert!(!with(other), "{other}");
    }
}

#[test]
fn a_long_element_of_geminis_array_still_gives_its_usage() {
    let element = format!(
        "[{{\"candidates\":[{{\"content\":{{\"parts\":[{{\"inlineData\":{{\"data\":\"{}\"}}}}]}},\
         \"finishReason\":\"STOP\"}}],\
         \"usageMetadata\":{{\"promptTokenCount\":3,\"candidatesTokenCount\":4}}}}]",
        "x".repeat(5 << 20)
    );
    let meter = ResponseMeter::new(Endpoint::StreamGenerateContent, false, JSON);
    let (metered, _) = pass(meter, element.as_bytes().chunks(16_384));
    assert_eq!((metered.complete, metered.usage.total_tokens()), (true, 7));
}

#[test]
fn the_output_that_an_anthropic_stream_begins_with_is_not_its_last_word() {
    let start = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\n";
    let stop = "data: {\"type\":\"message_stop\"}\n\n";
    let delta = |usage: &str| {
        format!(
            "data: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}}{usage}}}\n\n"
        )
    };
    for (middle, complete) in [
        (String::new(), false),
        (delta(""), false),
        (delta(",\"usage\":null"), false),
        (delta(",\"usage\":{}"), false),
        (delta(",\"usage\":{\"output_tokens\":4}"), true),
    ] {
        let stream = format!("{start}{middle}{stop}");
        let metered = run(Endpoint::Messages, false, [stream.as_bytes()]).0;
        assert_eq!(metered.complete, complete, "{middle}");
        assert_eq!(metered.usage.input_tokens, Some(3), "{middle}");
    }
}

/// A later event can tell for how long something was written to the cache.
#[test]
fn what_was_written_to_the_cache_counts_once() {
    let stream = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3,\"cache_creation_input_tokens\":100}}}\n\n\
        data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4,\
        \"cache_creation_input_tokens\":100,\"cache_creation\":{\"ephemeral_5m_input_tokens\":0,\"ephemeral_1h_input_tokens\":100}}}\n\n";
    let usage = run(Endpoint::Messages, false, [stream.as_bytes()]).0.usage;
    assert_eq!(
        (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens),
        (Some(0), Some(100))
    );
    assert_eq!(usage.total_tokens(), 107);
}

#[test]
fn an_anthropic_stream_is_complete_with_its_stop_reason_and_not_before() {
    let event = |reason: &str| {
        format!(
            "data: {{\"type\":\"message_start\",\"message\":{{\"usage\":{{\"input_tokens\":3}}}}}}\n\n\
             data: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":{reason}}},\
             \"usage\":{{\"output_tokens\":4}}}}\n\n"
        )
    };
    let metered = |stream: &str| run(Endpoint::Messages, false, [stream.as_bytes()]).0;
    let open = metered(&event("null"));
    assert_eq!((open.complete, open.usage.output_tokens), (false, Some(4)));
    assert!(metered(&event("\"end_turn\"")).complete);
    let stopped = event("null") + "data: {\"type\":\"message_stop\"}\n\n";
    assert!(metered(&stopped).complete);
}

#[test]
fn usage_in_the_wrong_event_is_not_believed() {
    let responses = |data: &str| {
        let stream = format!("event: response.completed\ndata: {data}\n\n");
        run(Endpoint::Responses, false, [stream.as_bytes()]).0
    };
    let usage = r#"{"input_tokens":1,"output_tokens":1}"#;
    for data in [
        format!(r#"{{"type":"response.output_text.delta","delta":"x","usage":{usage}}}"#),
        format!(r#"{{"type":"response.output_text.delta","response":{{"usage":{usage}}}}}"#),
        format!(r#"{{"type":"response.completed","usage":{usage}}}"#),
        format!(r#"{{"type":"response.completed","response":{{"output":[{{"usage":{usage}}}]}}}}"#),
    ] {
        let metered = responses(&data);
        assert_eq!(
            (metered.complete, metered.usage.total_tokens()),
            (false, 0),
            "{data}"
        );
    }
    assert!(
        responses(&format!(
            r#"{{"type":"response.completed","response":{{"usage":{usage}}}}}"#
        ))
        .complete
    );
    let (metered, _) = run(
        Endpoint::Messages,
        false,
        [&br#"data: {"type":"content_block_delta","usage":{"output_tokens":9},"delta":{"text":"a"}}

"#[..]],
    );
    assert_eq!(metered.usage.output_tokens, None);
}

/// R-45: behind a frame that is broken nothing can be trusted.
#[test]
fn a_broken_frame_spoils_the_report_and_passes_on() {
    let golden = named("bedrock/converse.frames");
    let ends = golden.ends_of_events();
    for (start, end) in ends.iter().zip(&ends[1..]) {
        for at in [*start, start + 9, start + 40, end - 1] {
            let mut stream = golden.bytes.clone();
            stream[at] ^= 1;
            let (metered, passed) = pass(golden.meter(false), stream.chunks(50));
            assert_eq!(metered.usage_error, Some(UsageError::Framing), "{at}");
            assert!(!metered.complete, "{at}");
            assert!(passed == stream, "{at}");
        }
    }
}

#[test]
fn an_overlong_event_is_counted_and_passed_on_without_being_held() {
    let mut meter = ResponseMeter::new(Endpoint::ChatCompletions, true, EVENT_STREAM);
    let mut passed = 0;
    let head = b"data: {\"choices\":[],\"usage\":{\"x\":\"";
    for chunk in std::iter::once(&head[..]).chain(std::iter::repeat_n(&[b'a'; 1024][..], 512)) {
        passed += meter
            .on_chunk(chunk, false)
            .map_or(chunk.len(), |bytes| bytes.len());
    }
    assert_eq!(
        passed,
        head.len() + 512 * 1024,
        "nothing is held back after 64 KiB"
    );
    assert_eq!(meter.on_chunk(b"\"}}\n\n", false), None);
    let metered = meter.finish();
    assert!(metered.output_bytes >= 512 * 1024);
}

#[test]
fn a_line_feed_that_comes_late_does_not_decide_about_a_block_at_the_limit() {
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\r\n\r\n";
    let mut dropped = 0;
    for length in 65_530..65_542 {
        let comment = format!(":{}\r\n", "c".repeat(length - usage.len() - 3));
        let stream = comment + usage;
        assert_eq!(stream.len(), length);
        let (head, tail) = stream.as_bytes().split_at(length - 1);
        let whole = run(Endpoint::ChatCompletions, true, [stream.as_bytes()]);
        assert!(
            run(Endpoint::ChatCompletions, true, [head, tail]) == whole,
            "{length}"
        );
        dropped += usize::from(whole.1.is_empty());
    }
    assert!(
        (1..12).contains(&dropped),
        "the limit is among these lengths"
    );
}

#[test]
fn a_long_last_event_of_a_responses_stream_still_gives_its_usage() {
    let event = format!(
        r#"data: {{"type":"response.completed","response":{{"instructions":"{}","usage":{{"input_tokens":7,"output_tokens":8}}}}}}"#,
        "x".repeat(1 << 20)
    );
    let (metered, _) = run(Endpoint::Responses, false, event.as_bytes().chunks(16_384));
    assert_eq!((metered.complete, metered.usage.total_tokens()), (true, 15));
}

#[test]
fn a_usage_chunk_without_its_last_blank_line_is_still_read_and_taken_out() {
    let stream = b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}";
    let (metered, passed) = run(Endpoint::ChatCompletions, true, [&stream[..]]);
    assert!(metered.complete);
    assert_eq!(passed, b"");
}

#[test]
fn bytes_that_are_no_event_stream_pass_unchanged() {
    let noise: Vec<u8> = (0..=255).cycle().take(5000).collect();
    for drop in [false, true] {
        let (metered, passed) = run(Endpoint::ChatCompletions, drop, noise.chunks(7));
        assert!(!metered.complete);
        assert_eq!(passed, noise);
    }
}
