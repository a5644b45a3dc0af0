//! R-45: what is no count of tokens, and what is no report. The one rule for it stands in
//! `src/usage/mod.rs`; here it is tried at every place where some API has a count.

use reeve_llm::{Endpoint, Metered, ResponseHead, ResponseMeter, Usage, UsageError};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::frames::frames;
use crate::golden::{EVENT_STREAM, FRAMES, JSON, pass};

/// A place of a count.
struct Place {
    endpoint: Endpoint,
    head: ResponseHead<'static>,
    /// The name that stands before the count.
    name: &'static str,
    /// An answer, with `@` for the count.
    template: &'static str,
}

fn places() -> Vec<Place> {
    use Endpoint::*;
    let of_type = |head| {
        move |endpoint, name, template| Place {
            endpoint,
            head,
            name,
            template,
        }
    };
    let [document, stream, framed] = [JSON, EVENT_STREAM, FRAMES].map(of_type);
    vec![
        document(
            ChatCompletions,
            "prompt_tokens",
            r#"{"usage":{"prompt_tokens":@,"completion_tokens":1}}"#,
        ),
        document(
            ChatCompletions,
            "total_tokens",
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":@}}"#,
        ),
        document(
            Completions,
            "cached_tokens",
            r#"{"usage":{"prompt_tokens":9,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":@}}}"#,
        ),
        stream(
            ChatCompletions,
            "completion_tokens",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":@}}\n\ndata: [DONE]\n\n",
        ),
        stream(
            ChatCompletions,
            "prompt_tokens",
            "data: {\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":@,\"completion_tokens\":1}}}\n\n",
        ),
        document(
            Responses,
            "output_tokens",
            r#"{"usage":{"input_tokens":1,"output_tokens":@}}"#,
        ),
        stream(
            Responses,
            "reasoning_tokens",
            "data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":1,\
             \"output_tokens\":9,\"output_tokens_details\":{\"reasoning_tokens\":@}}}}\n\n",
        ),
        document(
            Embeddings,
            "total_tokens",
            r#"{"usage":{"total_tokens":@}}"#,
        ),
        document(
            ImageGenerations,
            "image_tokens",
            r#"{"usage":{"input_tokens":9,"output_tokens":9,"input_tokens_details":{"image_tokens":@}}}"#,
        ),
        stream(
            Speech,
            "output_tokens",
            "data: {\"type\":\"speech.audio.done\",\"usage\":{\"input_tokens\":1,\"output_tokens\":@}}\n\n",
        ),
        stream(
            Transcriptions,
            "audio_tokens",
            "data: {\"type\":\"transcript.text.done\",\"usage\":{\"input_tokens\":9,\"output_tokens\":1,\
             \"input_token_details\":{\"audio_tokens\":@}}}\n\n",
        ),
        document(
            Messages,
            "input_tokens",
            r#"{"usage":{"input_tokens":@,"output_tokens":1}}"#,
        ),
        document(
            Messages,
            "ephemeral_1h_input_tokens",
            r#"{"usage":{"input_tokens":1,"output_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":@}}}"#,
        ),
        document(
            Messages,
            "output_tokens",
            r#"{"usage":{"input_tokens":1,"output_tokens":1,"iterations":[{"output_tokens":@}]}}"#,
        ),
        stream(
            Messages,
            "input_tokens",
            "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":@}}}\n\n\
             data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
             \"usage\":{\"output_tokens\":1}}\n\n",
        ),
        stream(
            Messages,
            "output_tokens",
            "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":1}}}\n\n\
             data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\
             \"usage\":{\"output_tokens\":@}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        document(
            GenerateContent,
            "promptTokenCount",
            r#"{"usageMetadata":{"promptTokenCount":@,"candidatesTokenCount":1}}"#,
        ),
        document(
            GenerateContent,
            "tokenCount",
            r#"{"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1,
                "promptTokensDetails":[{"modality":"AUDIO","tokenCount":@}]}}"#,
        ),
        stream(
            StreamGenerateContent,
            "candidatesTokenCount",
            "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\
             \"usageMetadata\":{\"promptTokenCount\":1,\"candidatesTokenCount\":@}}\n\n",
        ),
        document(
            StreamGenerateContent,
            "thoughtsTokenCount",
            r#"[{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":1,
                "candidatesTokenCount":1,"thoughtsTokenCount":@}}]"#,
        ),
        document(
            Converse,
            "inputTokens",
            r#"{"usage":{"inputTokens":@,"outputTokens":1}}"#,
        ),
        document(
            Converse,
            "inputTokens",
            r#"{"usage":{"inputTokens":1,"outputTokens":1,"cacheWriteInputTokens":9,
                "cacheDetails":[{"ttl":"1h","inputTokens":@}]}}"#,
        ),
        framed(
            ConverseStream,
            "outputTokens",
            r#"metadata {"usage":{"inputTokens":1,"outputTokens":@}}"#,
        ),
        document(
            InvokeModel,
            "output_tokens",
            r#"{"usage":{"input_tokens":1,"output_tokens":@}}"#,
        ),
        document(
            InvokeModel,
            "inputTextTokenCount",
            r#"{"inputTextTokenCount":@,"results":[{"tokenCount":1}]}"#,
        ),
        document(
            InvokeModel,
            "tokenCount",
            r#"{"inputTextTokenCount":1,"results":[{"tokenCount":@}]}"#,
        ),
        framed(
            InvokeModelStream,
            "outputTokenCount",
            r#"chunk {"amazon-bedrock-invocationMetrics":{"inputTokenCount":1,"outputTokenCount":@}}"#,
        ),
        document(
            CohereChat,
            "input_tokens",
            r#"{"usage":{"billed_units":{"input_tokens":@,"output_tokens":1}}}"#,
        ),
        stream(
            CohereChat,
            "output_tokens",
            "data: {\"type\":\"message-end\",\"delta\":{\"usage\":{\"billed_units\":\
             {\"input_tokens\":1,\"output_tokens\":@}}}}\n\n",
        ),
        document(
            CohereEmbed,
            "image_tokens",
            r#"{"meta":{"billed_units":{"input_tokens":1,"image_tokens":@}}}"#,
        ),
    ]
}

impl Place {
    fn metered(&self, count: &str) -> Metered {
        let meter = ResponseMeter::new(self.endpoint, false, self.head);
        let text = self.template.replace('@', count);
        let answer = if self.head.content_type == FRAMES.content_type {
            frames(self.endpoint, &text).concat()
        } else {
            text.into_bytes()
        };
        let (metered, passed) = pass(meter, [answer.as_slice()]);
        assert_eq!(passed, answer);
        metered
    }

    fn describe(&self, count: &str) -> String {
        format!("{:?} {}: {count}", self.endpoint, self.name)
    }
}

#[test]
fn a_count_in_plain_digits_is_believed() {
    for place in places() {
        for count in ["1", "9"] {
            let metered = place.metered(count);
            assert!(metered.complete, "{} {metered:?}", place.describe(count));
            assert!(
                metered.usage.total_tokens() > 0,
                "{}",
                place.describe(count)
            );
        }
    }
}

#[test]
fn zero_is_a_count_and_null_is_unknown() {
    for place in places() {
        let zero = place.metered("0");
        assert_eq!(zero.usage_error, None, "{}", place.describe("0"));
        let null = place.metered("null");
        assert_eq!(null.usage_error, None, "{}", place.describe("null"));
    }
    let input = |count: &str| places()[0].metered(count).usage.input_tokens;
    assert_eq!(
        ["0", "null", "1099511627776"].map(input),
        [Some(0), None, Some(1 << 40)]
    );
}

#[test]
fn what_is_no_count_spoils_the_whole_report() {
    for place in places() {
        for bad in [
            "-1",
            "-0",
            "1.0",
            "1.5",
            "1e3",
            "1099511627777",
            "18446744073709551616",
            "\"5\"",
            "\"\"",
            "true",
            "[]",
            "[1]",
            "{}",
        ] {
            let metered = place.metered(bad);
            let expected = Some(UsageError::NotACount { field: place.name });
            assert_eq!(metered.usage_error, expected, "{}", place.describe(bad));
            assert!(!metered.complete, "{}", place.describe(bad));
            assert_eq!(metered.usage, Usage::default(), "{}", place.describe(bad));
        }
    }
}

#[test]
fn what_is_no_json_or_says_something_twice_is_no_report_and_not_free() {
    for place in places() {
        let twice = format!("1,\"{}\":1", place.name);
        let disguised = format!(
            "1,\"\\u{:04x}{}\":1",
            place.name.as_bytes()[0],
            &place.name[1..]
        );
        for bad in [
            "NaN", "Infinity", "-", "+1", "01", "0x1", "1e999", "1 1", "", "1_000", "nul", "\"",
            &twice, &disguised,
        ] {
            let metered = place.metered(bad);
            assert!(!metered.complete, "{} {metered:?}", place.describe(bad));
            assert!(
                metered.usage_error.is_some() || metered.estimated_output_tokens != Some(0),
                "{} {metered:?}",
                place.describe(bad)
            );
        }
    }
}

/// R-45: "usage in two chunks"
#[test]
fn of_two_reports_the_later_counts_and_a_spoilt_one_spoils_both() {
    let report = |count: &str| {
        format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":5,\"completion_tokens\":{count}}}}}\n\n"
        )
    };
    let chat = |reports: &[&str]| {
        let stream: String = reports.iter().map(|count| report(count)).collect();
        let meter = ResponseMeter::new(Endpoint::ChatCompletions, false, EVENT_STREAM);
        pass(meter, [stream.as_bytes()]).0
    };
    assert_eq!(chat(&["9", "3"]).usage.output_tokens, Some(3));
    assert!(!chat(&["3", "null"]).complete);
    for spoilt in [["-1", "3"], ["3", "-1"]] {
        let metered = chat(&spoilt);
        assert!(!metered.complete && metered.usage_error.is_some());
        assert_eq!(metered.usage, Usage::default());
    }
}

/// Bedrock tells counts in header fields as well; there, what is no count is unknown.
#[test]
fn a_header_field_that_is_no_count_is_as_good_as_absent() {
    let titan = br#"{"results":[{"outputText":"x"}]}"#;
    for (value, expected) in [
        (&b"7"[..], Some(7)),
        (b"0", Some(0)),
        (b"1099511627776", Some(1 << 40)),
        (b"1099511627777", None),
        (b"-1", None),
        (b"+7", None),
        (b" 7", None),
        (b"7.0", None),
        (b"7,7", None),
        (b"", None),
        (b"\xff", None),
    ] {
        let head = ResponseHead {
            counts: [Some(b"3"), Some(value), None, None],
            ..JSON
        };
        let meter = ResponseMeter::new(Endpoint::InvokeModel, false, head);
        let (metered, _) = pass(meter, [&titan[..]]);
        assert_eq!(metered.usage.output_tokens, expected, "{value:?}");
        assert_eq!(metered.complete, expected.is_some(), "{value:?}");
        assert_eq!(metered.usage.input_tokens, Some(3));
    }
}
