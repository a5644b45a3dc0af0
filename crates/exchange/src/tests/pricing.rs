//! By which of a model's prices an answer is charged.

use std::rc::Rc;

use reeve_llm::ResponseHead;
use reeve_policy::limit::Metric;
use reeve_policy::price::Price;
use reeve_policy::price_list::{Card, PriceList, Service};
use reeve_policy::price_override::{Models, PriceOverride};
use reeve_policy::units::UnitPrices;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::request::Plan;
use crate::response::{Metering, Outcome, Settlement};
use crate::testing::{Policy, config, limit, plan};

const CHAT: &str = "/v1/chat/completions";

/// Ordinary 1 and 10 nano-dollars a token; more for priority and inputs of more than 400 tokens.
fn policy() -> Policy {
    let card = |service, above_tokens, input: i64, output: i64| Card {
        service,
        above_tokens,
        price: Price::uniform(input * 1_000_000, output * 1_000_000),
    };
    let list = Rc::new(PriceList {
        standard: Price::uniform(1_000_000, 10_000_000),
        cards: vec![
            card(Service::Standard, 400, 2, 15),
            card(Service::Flex, 0, 0, 5),
            card(Service::Priority, 0, 3, 30),
        ],
        units: UnitPrices::default(),
        version: 42,
    });
    let mut policy = Policy::governed().with_key(|key| {
        key.limits = vec![limit("cost", Metric::Cost)];
        key.provider_configs.push(config("anthropic", &[], None));
    });
    for model in policy.models.values_mut() {
        model.price = Some(Rc::clone(&list));
    }
    policy
}

fn chat(tier: &str) -> Plan {
    let body = format!(r#"{{"model":"gpt-4o","max_tokens":100,"messages":[]{tier}}}"#);
    plan(&policy(), CHAT, &body).unwrap()
}

/// The settlement of an answer of 10 tokens to so many.
fn settled(plan: Plan, input: u64, tier: &str) -> Settlement {
    let mut metering = Metering::new(plan);
    let head = ResponseHead {
        content_type: Some(b"application/json"),
        ..ResponseHead::default()
    };
    metering.on_response_headers(200, head);
    let usage = format!(r#"{{"prompt_tokens":{input},"completion_tokens":10}}"#);
    let answer = format!(r#"{{"choices":[],"usage":{usage}{tier}}}"#);
    metering.on_response_body(answer.as_bytes(), true);
    metering.settle(Outcome::Complete).1
}

fn cost(asked: &str, input: u64, served: &str) -> i64 {
    settled(chat(asked), input, served).cost.get()
}

#[test]
fn the_tier_that_the_answer_names_is_charged_whatever_was_asked_for() {
    let priority = r#","service_tier":"priority""#;
    for asked in ["", priority, r#","service_tier":"auto""#] {
        assert_eq!(cost(asked, 4, priority), 4 * 3 + 10 * 30);
        assert_eq!(cost(asked, 4, r#","service_tier":"default""#), 4 + 10 * 10);
        assert_eq!(cost(asked, 4, r#","service_tier":"flex""#), 10 * 5);
    }
}

#[test]
fn an_answer_that_names_no_tier_costs_no_less_than_an_ordinary_one() {
    let ordinary = 4 + 10 * 10;
    assert_eq!(cost("", 4, ""), ordinary);
    assert_eq!(cost(r#","service_tier":"flex""#, 4, ""), ordinary);
    assert_eq!(
        cost(r#","service_tier":"priority""#, 4, ""),
        4 * 3 + 10 * 30
    );
    assert_eq!(cost("", 4, r#","service_tier":7"#), ordinary);
}

#[test]
fn a_long_input_costs_the_prices_for_long_inputs_as_a_whole() {
    assert_eq!(cost("", 400, ""), 400 + 10 * 10);
    assert_eq!(cost("", 401, ""), 401 * 2 + 10 * 15);
}

#[test]
fn the_dearest_tier_that_a_request_may_be_served_in_is_reserved() {
    let reserved = |tier: &str| chat(tier).reservations[0].amount;
    let of = |tier: &str, input: i64, output: i64| {
        let body = format!(r#"{{"model":"gpt-4o","max_tokens":100,"messages":[]{tier}}}"#);
        i64::try_from(body.len()).unwrap() * input + 100 * output
    };
    for (tier, input, output) in [
        ("", 1, 10),
        (r#","service_tier":"default""#, 1, 10),
        (r#","service_tier":null"#, 1, 10),
        (r#","service_tier":"flex""#, 1, 10),
        (r#","service_tier":"priority""#, 3, 30),
        (r#","service_tier":"auto""#, 3, 30),
        (r#","service_tier":"scale""#, 3, 30),
    ] {
        assert_eq!(reserved(tier), of(tier, input, output), "{tier}");
    }
    let long = format!(
        r#"{{"model":"gpt-4o","max_tokens":100,"messages":["{}"]}}"#,
        "a".repeat(400)
    );
    let plan = plan(&policy(), CHAT, &long).unwrap();
    let bytes = i64::try_from(long.len()).unwrap();
    assert_eq!(plan.reservations[0].amount, bytes * 2 + 100 * 15);
}

#[test]
fn a_settlement_says_the_tier_and_the_plan_the_version_of_its_prices() {
    let plan = chat("");
    assert_eq!(plan.price.as_ref().unwrap().list.version, 42);
    let served = settled(plan, 4, r#","service_tier":"flex""#);
    assert_eq!(served.service, Some(Service::Flex));
    assert_eq!(settled(chat(""), 4, "").service, None);
}

#[test]
fn anthropics_answers_name_the_tier_in_their_usage() {
    let body = r#"{"model":"claude-3-5-sonnet-20241022","max_tokens":100,"messages":[]}"#;
    let mut metering = Metering::new(plan(&policy(), "/v1/messages", body).unwrap());
    let head = ResponseHead {
        content_type: Some(b"text/event-stream"),
        ..ResponseHead::default()
    };
    metering.on_response_headers(200, head);
    let stream = concat!(
        "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":4,",
        "\"output_tokens\":1,\"service_tier\":\"priority\"}}}\n\n",
        "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},",
        "\"usage\":{\"output_tokens\":10}}\n\n",
        "data: {\"type\":\"message_stop\"}\n\n",
    );
    metering.on_response_body(stream.as_bytes(), true);
    let (_, settlement) = metering.settle(Outcome::Complete);
    assert_eq!(settlement.cost.get(), 4 * 3 + 10 * 30);
}

#[test]
fn a_stream_names_its_tier_in_its_chunks() {
    for (path, body, stream) in [
        (
            CHAT,
            r#"{"model":"gpt-4o","max_tokens":100,"stream":true,"messages":[]}"#,
            concat!(
                "data: {\"choices\":[{}],\"service_tier\":\"flex\"}\n\n",
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":10}}\n\n",
                "data: [DONE]\n\n",
            ),
        ),
        (
            "/v1/responses",
            r#"{"model":"gpt-4o","max_output_tokens":100,"stream":true,"input":"a"}"#,
            concat!(
                "data: {\"type\":\"response.created\",\"response\":{\"service_tier\":\"auto\"}}\n\n",
                "data: {\"type\":\"response.completed\",\"response\":{\"service_tier\":\"flex\",",
                "\"usage\":{\"input_tokens\":4,\"output_tokens\":10}}}\n\n",
            ),
        ),
    ] {
        let mut metering = Metering::new(plan(&policy(), path, body).unwrap());
        let head = ResponseHead {
            content_type: Some(b"text/event-stream"),
            ..ResponseHead::default()
        };
        metering.on_response_headers(200, head);
        metering.on_response_body(stream.as_bytes(), true);
        let (_, settlement) = metering.settle(Outcome::Complete);
        assert_eq!(
            (settlement.cost.get(), settlement.estimated),
            (10 * 5, false),
            "{path}"
        );
    }
}

#[test]
fn an_override_stands_in_the_place_of_all_prices_of_the_model() {
    let own = |key: Option<&str>, pattern, price: i64| PriceOverride {
        virtual_key_id: key.map(Into::into),
        provider: None,
        models: Models::parse(pattern).unwrap(),
        price: Rc::new(PriceList {
            version: 7,
            ..Price::uniform(price * 1_000_000, price * 1_000_000).into()
        }),
    };
    let priced = |overrides: Vec<PriceOverride>, model: &str| {
        let policy = policy().with_settings(|settings| settings.price_overrides = overrides);
        let body = format!(r#"{{"model":"{model}","max_tokens":100,"messages":[]}}"#);
        let plan = plan(&policy, CHAT, &body).unwrap();
        let version = plan.price.as_ref().unwrap().list.version;
        let priority = settled(plan, 4, r#","service_tier":"priority""#);
        (priority.cost.get(), version)
    };
    let all = own(None, "*", 50);
    assert_eq!(priced(vec![all.clone()], "gpt-4o"), (14 * 50, 7));
    assert_eq!(
        priced(vec![all, own(Some("key-1"), "gpt-*", 3)], "gpt-4o"),
        (14 * 3, 7)
    );
    let of_others = own(Some("key-2"), "*", 50);
    assert_eq!(priced(vec![of_others], "gpt-4o"), (4 * 3 + 10 * 30, 42));
    let dear = own(None, "unpriced", 2);
    assert_eq!(priced(vec![dear], "unpriced"), (14 * 2, 7));
}
