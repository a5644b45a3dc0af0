//! Usage of event streams, and the usage chunk that only Reeve asked for.

use reeve_llm::{Endpoint, Metered, StreamMeter, UsageError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::golden::{Golden, STREAMS};

/// The result of a stream that comes in these chunks, and the bytes passed on.
fn run<'a>(
    endpoint: Endpoint,
    drop_usage_chunk: bool,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Metered, Vec<u8>) {
    let mut meter = StreamMeter::new(endpoint, drop_usage_chunk);
    let mut passed = Vec::new();
    for chunk in chunks {
        match meter.on_chunk(chunk, false) {
            Some(replacement) => passed.extend(replacement),
            None => passed.extend_from_slice(chunk),
        }
    }
    passed.extend(meter.on_chunk(&[], true).unwrap_or_default());
    (meter.finish(), passed)
}

fn chat(stream: &str) -> Metered {
    run(Endpoint::ChatCompletions, false, [stream.as_bytes()]).0
}

/// The stream without the event that has this text in it.
fn without_event(stream: &[u8], text: &str) -> Vec<u8> {
    let stream = std::str::from_utf8(stream).unwrap();
    let events = stream.split_inclusive("\n\n");
    events
        .filter(|event| !event.contains(text))
        .collect::<String>()
        .into_bytes()
}

fn with_line_ends(stream: &[u8], line_end: &str) -> Vec<u8> {
    std::str::from_utf8(stream)
        .unwrap()
        .replace('\n', line_end)
        .into_bytes()
}

#[test]
fn every_vendor_stream_gives_its_usage_with_any_line_end() {
    for golden in STREAMS {
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = with_line_ends(golden.bytes, line_end);
            let (metered, passed) = run(golden.endpoint, false, [stream.as_slice()]);
            assert_eq!(metered.usage, golden.usage, "{}", golden.name);
            assert_eq!(metered.complete, golden.complete, "{}", golden.name);
            assert_eq!(metered.output_bytes, golden.text_bytes, "{}", golden.name);
            assert_eq!(metered.usage_error, None);
            assert_eq!(passed, stream);
        }
    }
}

#[test]
fn only_the_extra_usage_chunk_is_taken_out() {
    for golden in STREAMS {
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = with_line_ends(golden.bytes, line_end);
            let (metered, passed) = run(golden.endpoint, true, [stream.as_slice()]);
            let expected = without_event(golden.bytes, "\"choices\":[],\"usage\":{");
            assert!(
                passed == with_line_ends(&expected, line_end),
                "{}",
                golden.name
            );
            assert_eq!(metered.usage, golden.usage, "{}", golden.name);
        }
    }
    let taken_out = STREAMS
        .iter()
        .filter(|golden| run(golden.endpoint, true, [golden.bytes]).1.len() < golden.bytes.len());
    assert_eq!(
        taken_out.count(),
        2,
        "the two streams with include_usage, and no other"
    );
}

#[test]
fn no_way_of_cutting_a_stream_in_two_changes_usage_or_bytes() {
    for golden in STREAMS {
        // CR LF has every state that the others have, and one more.
        let stream = with_line_ends(golden.bytes, "\r\n");
        let whole = run(golden.endpoint, true, [stream.as_slice()]);
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            let parts = run(golden.endpoint, true, [head, tail]);
            assert!(parts == whole, "{} cut at {cut}", golden.name);
        }
        let bytes = run(golden.endpoint, true, stream.chunks(1));
        assert!(bytes == whole, "{} byte by byte", golden.name);
    }
}

#[test]
fn whole_events_are_passed_on_at_once() {
    let golden = &STREAMS[0];
    let stream = with_line_ends(golden.bytes, "\r\n");
    let mut meter = StreamMeter::new(golden.endpoint, true);
    for event in std::str::from_utf8(&stream)
        .unwrap()
        .split_inclusive("\r\n\r\n")
    {
        let passed = meter.on_chunk(event.as_bytes(), false);
        let expected = event.contains("\"choices\":[]").then(Vec::new);
        assert_eq!(passed, expected, "{event}");
    }
}

#[test]
fn a_stream_cut_short_is_estimated_from_what_was_seen() {
    let Golden {
        bytes, endpoint, ..
    } = STREAMS[0];
    let usage_chunk = std::str::from_utf8(bytes)
        .unwrap()
        .find("\"choices\":[]")
        .unwrap();
    let (metered, _) = run(endpoint, true, [&bytes[..usage_chunk]]);
    assert!(!metered.complete);
    assert_eq!(metered.usage.output_tokens, None);
    // What is left of the broken event counts as text too.
    assert!(metered.output_bytes > 42);
    assert!(metered.estimated_output_tokens >= 14);
    let (metered, _) = run(endpoint, false, [&b"data: {\"choi"[..]]);
    assert!(metered.estimated_output_tokens > 0);
}

#[test]
fn many_short_pieces_are_at_least_a_token_each() {
    let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n".repeat(30);
    let metered = chat(&stream);
    assert_eq!(
        (metered.output_bytes, metered.estimated_output_tokens),
        (30, 30)
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
fn unusable_usage_is_an_error_and_never_zero() {
    for (bad, field) in [
        ("-1", "prompt_tokens"),
        ("\"9\"", "prompt_tokens"),
        ("1.5", "prompt_tokens"),
    ] {
        let stream = format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{bad},\"completion_tokens\":1}}}}\n\n\
             data: [DONE]\n\n"
        );
        let metered = chat(&stream);
        assert!(!metered.complete);
        assert_eq!(metered.usage_error, Some(UsageError::NotACount { field }));
        assert_eq!(metered.usage.output_tokens, None);
    }
    let twice = chat("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1},\"usage\":{}}\n\n");
    assert!(!twice.complete && twice.output_bytes > 0);
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

#[test]
fn an_overlong_event_is_counted_and_passed_on_without_being_held() {
    let mut meter = StreamMeter::new(Endpoint::ChatCompletions, true);
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
