//! How much is reserved, and what a request is cut down to.

use reeve_llm::ResponseHead;
use reeve_policy::limit::{Exceeded, Metric};
use reeve_policy::reservation::{OutputHistory, Reserving, Sizing, WhenShort};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::request::Plan;
use crate::response::{Metering, Outcome};
use crate::testing::{Policy, limit, plan};

const CHAT: &str = "/v1/chat/completions";

fn policy(sizing: Sizing, when_short: WhenShort) -> Policy {
    Policy::governed()
        .with_key(|key| {
            key.limits = vec![limit("cost", Metric::Cost), limit("n", Metric::Requests)];
        })
        .with_settings(|settings| {
            settings.reserving = Reserving {
                sizing,
                when_short,
                emergency_percent: 0,
            }
        })
}

fn body(max_tokens: u64) -> String {
    format!(r#"{{"model":"openai/gpt-4o","max_tokens":{max_tokens},"messages":[]}}"#)
}

fn chat(policy: &Policy, max_tokens: u64) -> Plan {
    plan(policy, CHAT, &body(max_tokens)).unwrap()
}

fn cost(max_tokens: u64, output: i64) -> i64 {
    let input = i64::try_from(body(max_tokens).len()).unwrap();
    input * 2_500 + output * 10_000
}

fn amounts(plan: &Plan) -> Vec<i64> {
    plan.reservations.iter().map(|of| of.amount).collect()
}

fn learn(history: &mut OutputHistory, plan: Plan, tokens: u64) {
    let mut metering = Metering::new(plan);
    let head = ResponseHead {
        content_type: Some(b"application/json"),
        ..ResponseHead::default()
    };
    metering.on_response_headers(200, head);
    let answer = format!(
        r#"{{"usage":{{"prompt_tokens":10,"completion_tokens":{tokens},"total_tokens":1}}}}"#
    );
    metering.on_response_body(answer.as_bytes(), true);
    let (chain, settlement) = metering.settle(Outcome::Complete);
    let (pair, seen) = chain.first().observed(&settlement).unwrap();
    history.observe(pair, seen, 0);
}

#[test]
fn strict_reserves_all_that_the_answer_can_be_whatever_was_seen() {
    let strict = policy(Sizing::Strict, WhenShort::Reject);
    let mut history = OutputHistory::default();
    learn(
        &mut history,
        chat(&policy(Sizing::Balanced, WhenShort::Reject), 9_000),
        500,
    );
    let plan = chat(&strict, 9_000).sized(&history);
    assert_eq!(amounts(&plan), [cost(9_000, 9_000), 1]);
}

#[test]
fn balanced_reserves_what_the_answers_of_this_key_and_model_have_needed() {
    let balanced = policy(Sizing::Balanced, WhenShort::Reject);
    let mut history = OutputHistory::default();
    let first = chat(&balanced, 9_000).sized(&history);
    assert_eq!(amounts(&first), [cost(9_000, 1_125), 1]);
    learn(&mut history, first, 500);
    let next = chat(&balanced, 9_000).sized(&history);
    assert_eq!(amounts(&next), [cost(9_000, 625), 1]);
    // What an answer that nobody can read is charged stays the bound.
    assert_eq!(next.cost_bound.get(), cost(9_000, 9_000));
    let other = body(9_000).replace("gpt-4o", "gpt-4o-mini");
    let other = plan(&balanced, CHAT, &other).unwrap().sized(&history);
    assert_eq!(amounts(&other), [cost(9_000, 1_125) + 5 * 2_500, 1]);
}

#[test]
fn an_answer_of_several_choices_teaches_the_length_of_one() {
    let balanced = policy(Sizing::Balanced, WhenShort::Reject);
    let mut history = OutputHistory::default();
    let text = r#"{"model":"gpt-4o","max_tokens":9000,"n":4,"messages":[]}"#;
    learn(&mut history, plan(&balanced, CHAT, text).unwrap(), 2_000);
    assert_eq!(
        amounts(&chat(&balanced, 9_000).sized(&history)),
        [cost(9_000, 625), 1]
    );
}

#[test]
fn a_request_is_clamped_to_what_is_left_and_reserves_just_that() {
    let clamping = policy(Sizing::Strict, WhenShort::Clamp);
    let plan = chat(&clamping, 9_000);
    let max = plan.reservations[0].limit.max;
    let left = |tokens: i64| Exceeded {
        max,
        used: max - cost(9_000, tokens),
        reserved: 0,
        resets_at_ms: 0,
    };
    assert_eq!(plan.clamp_to(0, left(300)), Some(300));
    assert_eq!(plan.clamp_to(0, left(255)), None);
    assert_eq!(plan.clamp_to(1, left(300)), None);
    let forwarded = plan.body.clone().unwrap();
    let clamped = plan.clamped(300, &forwarded);
    let sent = String::from_utf8(clamped.body.clone().unwrap()).unwrap();
    assert_eq!(sent, r#"{"model":"gpt-4o","max_tokens":300,"messages":[]}"#);
    assert_eq!(amounts(&clamped), [cost(9_000, 300), 1]);
    assert_eq!(clamped.cost_bound.get(), cost(9_000, 300));
    // Others were faster: once more, by a quarter at least.
    let again = clamped.clamp_to(0, left(299));
    assert_eq!(again, None);
}

#[test]
fn a_clamped_request_that_is_refused_again_asks_for_a_quarter_less() {
    let clamping = policy(Sizing::Strict, WhenShort::Clamp);
    let plan = chat(&clamping, 9_000);
    let forwarded = plan.body.clone().unwrap();
    let clamped = plan.clamped(8_000, &forwarded);
    let nothing_used = Exceeded {
        max: clamped.reservations[0].limit.max,
        used: 0,
        reserved: 0,
        resets_at_ms: 0,
    };
    let again = clamped.clamp_to(0, nothing_used).unwrap();
    assert!((5_000..=6_000).contains(&again), "{again}");
    let forwarded = clamped.body.clone().unwrap();
    let sent = String::from_utf8(clamped.clamped(again, &forwarded).body.unwrap()).unwrap();
    assert_eq!(
        sent,
        format!(r#"{{"model":"gpt-4o","max_tokens":{again},"messages":[]}}"#)
    );
}

#[test]
fn nothing_is_clamped_unless_it_is_the_setting_and_the_caller_set_a_bound() {
    let much_left = Exceeded {
        max: 1_000_000_000,
        used: 0,
        reserved: 0,
        resets_at_ms: 0,
    };
    let rejecting = chat(&policy(Sizing::Strict, WhenShort::Reject), 9_000);
    assert_eq!(rejecting.clamp_to(0, much_left), None);
    let clamping = policy(Sizing::Strict, WhenShort::Clamp);
    let unbounded = r#"{"model":"gpt-4o","max_tokens":null,"messages":[]}"#;
    let unbounded = plan(&clamping, CHAT, unbounded).unwrap();
    assert_eq!(unbounded.clamp_to(0, much_left), None);
}
