//! What an exchange is charged as, on good days and bad.

use reeve_llm::ResponseHead;
use reeve_policy::limit::Metric;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::response::{Metering, Outcome, Settlement, abandon};
use crate::testing::{Policy, limit, plan};

const JSON: ResponseHead<'static> = of_type(b"application/json");
const SSE: ResponseHead<'static> = of_type(b"text/event-stream; charset=utf-8");
const ANSWER: &str = r#"{"id":"x","choices":[{"message":{"content":"hi"}}],
    "usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;

const fn of_type(content_type: &'static [u8]) -> ResponseHead<'static> {
    ResponseHead {
        content_type: Some(content_type),
        content_encoding: None,
        counts: [None; 4],
    }
}

fn metering(stream: bool) -> Metering {
    let policy = Policy::governed().with_key(|key| {
        key.limits = vec![
            limit("cost", Metric::Cost),
            limit("requests", Metric::Requests),
            limit("tokens", Metric::Tokens),
        ];
    });
    let body = format!(r#"{{"model":"gpt-4o","max_tokens":100,"stream":{stream},"messages":[]}}"#);
    Metering::new(plan(&policy, "/v1/chat/completions", &body).unwrap())
}

fn settle(metering: Metering, outcome: Outcome) -> Settlement {
    let (_, settlement) = metering.settle(outcome);
    settlement
}

#[test]
fn a_whole_answer_is_charged_as_the_provider_reports_it() {
    let mut metering = metering(false);
    assert!(!metering.on_response_headers(200, JSON));
    let (first, second) = ANSWER.split_at(40);
    assert_eq!(metering.on_response_body(first.as_bytes(), false), None);
    assert_eq!(metering.on_response_body(second.as_bytes(), true), None);
    let settlement = settle(metering, Outcome::Complete);
    assert_eq!(settlement.charges, [10 * 2_500 + 5 * 10_000, 1, 15]);
    assert!(!settlement.estimated);
}

#[test]
fn an_error_of_the_provider_costs_nothing_but_counts_as_a_request() {
    let mut metering = metering(false);
    metering.on_response_headers(503, JSON);
    metering.on_response_body(ANSWER.as_bytes(), true);
    let settlement = settle(metering, Outcome::Complete);
    assert_eq!(settlement.charges, [0, 1, 0]);
    assert_eq!((settlement.status, settlement.estimated), (503, false));
}

#[test]
fn a_caller_that_leaves_before_the_answer_pays_for_its_input() {
    let settlement = settle(metering(false), Outcome::DownstreamDisconnect);
    // 66 bytes of body: 22 tokens.
    assert_eq!(settlement.charges, [22 * 2_500, 1, 22]);
    assert!(settlement.estimated);
}

#[test]
fn a_stream_cut_in_the_middle_is_charged_for_what_was_seen() {
    let mut metering = metering(true);
    assert!(
        metering.on_response_headers(200, SSE),
        "the usage chunk will be taken out"
    );
    let event = "data: {\"choices\":[{\"delta\":{\"content\":\"one two three\"}}]}\n\n";
    assert_eq!(
        metering.on_response_body(event.as_bytes(), false),
        None,
        "passed on as it is"
    );
    let settlement = settle(metering, Outcome::DownstreamDisconnect);
    assert!(settlement.estimated && settlement.streamed);
    let output = settlement.usage.output_tokens.unwrap();
    assert!((3..=13).contains(&output), "{output}");
    assert!(settlement.charges[0] >= 23 * 2_500 + 3 * 10_000);
}

#[test]
fn a_stream_hides_the_usage_chunk_that_the_caller_did_not_ask_for() {
    let mut metering = metering(true);
    metering.on_response_headers(200, SSE);
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n\n";
    let usage =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}\n\n";
    let done = "data: [DONE]\n\n";
    let stream = [text, usage, done].concat();
    let mut seen = Vec::new();
    for (index, byte) in stream.bytes().enumerate() {
        let end = index + 1 == stream.len();
        seen.extend(
            metering
                .on_response_body(&[byte], end)
                .unwrap_or_else(|| vec![byte]),
        );
    }
    assert_eq!(String::from_utf8(seen).unwrap(), [text, done].concat());
    let settlement = settle(metering, Outcome::Complete);
    assert_eq!(settlement.charges, [7 * 2_500 + 10_000, 1, 8]);
}

#[test]
fn usage_that_cannot_be_true_is_charged_as_everything_that_was_reserved() {
    let mut metering = metering(false);
    let bound = metering.plan().cost_bound;
    metering.on_response_headers(200, JSON);
    let lie = r#"{"usage":{"prompt_tokens":-1,"completion_tokens":5}}"#;
    metering.on_response_body(lie.as_bytes(), true);
    let settlement = settle(metering, Outcome::Complete);
    assert!(settlement.cost >= bound && settlement.estimated);
}

#[test]
fn an_answer_without_usage_is_estimated_never_free() {
    let mut metering = metering(false);
    metering.on_response_headers(200, of_type(b"text/html"));
    metering.on_response_body(b"<html>hello</html>", true);
    let settlement = settle(metering, Outcome::Complete);
    assert!(settlement.estimated);
    assert!(settlement.cost.get() > 0);
}

#[test]
fn a_report_that_nothing_was_cached_does_not_make_the_input_free() {
    let policy = Policy::governed().with_key(|key| {
        key.limits = vec![limit("cost", Metric::Cost)];
    });
    let body = r#"{"model":"gpt-4o","input":"one two three"}"#;
    let mut metering = Metering::new(plan(&policy, "/v1/embeddings", body).unwrap());
    metering.on_response_headers(200, JSON);
    let usage = r#"{"usage":{"prompt_tokens_details":{"cached_tokens":0}}}"#;
    metering.on_response_body(usage.as_bytes(), true);
    let settlement = settle(metering, Outcome::Complete);
    // 42 bytes of body: 14 tokens.
    assert_eq!(settlement.charges, [14 * 2_500]);
    assert!(settlement.estimated);
}

#[test]
fn text_that_looks_like_usage_is_not_usage() {
    let mut metering = metering(false);
    metering.on_response_headers(200, JSON);
    let trick = r#"{"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":0}"}}],
        "usage":{"prompt_tokens":10,"completion_tokens":5}}"#;
    metering.on_response_body(trick.as_bytes(), true);
    let settlement = settle(metering, Outcome::Complete);
    assert_eq!(settlement.charges, [10 * 2_500 + 5 * 10_000, 1, 15]);
}

#[test]
fn a_whole_answer_can_wait_for_its_cost_and_a_stream_cannot() {
    let mut whole = metering(false);
    whole.on_response_headers(200, JSON);
    assert!(whole.can_wait());
    whole.on_response_body(ANSWER.as_bytes(), true);
    let cost = whole.cost().unwrap();
    assert_eq!(cost.get(), 10 * 2_500 + 5 * 10_000);
    assert_eq!(settle(whole, Outcome::Complete).cost, cost);
    let mut stream = metering(true);
    stream.on_response_headers(200, SSE);
    assert!(!stream.can_wait());
    let mut refused = metering(false);
    refused.on_response_headers(429, JSON);
    assert!(!refused.can_wait());
    assert_eq!(refused.cost(), None);
}

#[test]
fn an_answer_in_a_coding_that_nobody_decodes_costs_what_was_reserved() {
    let mut metering = metering(false);
    let bound = metering.plan().cost_bound;
    let encoded = ResponseHead {
        content_encoding: Some(b"deflate"),
        ..JSON
    };
    assert!(!metering.on_response_headers(200, encoded));
    metering.on_response_body(b"\x78\x9c", true);
    let settlement = settle(metering, Outcome::Complete);
    assert_eq!((settlement.cost, settlement.estimated), (bound, true));
}

#[test]
fn what_nobody_saw_end_is_charged_what_was_reserved_for_it() {
    let metering = metering(true);
    let plan = metering.plan();
    let settlement = abandon(metering.chain());
    assert_eq!(settlement.cost, plan.cost_bound);
    assert_eq!(settlement.outcome, Outcome::FilterTrap);
    assert_eq!(settlement.charges, [plan.cost_bound.get(), 1, 21]);
    assert!(settlement.estimated);
}
