//! Models that charge for something else than tokens.

use std::rc::Rc;

use reeve_llm::ResponseHead;
use reeve_policy::limit::Metric;
use reeve_policy::price::Price;
use reeve_policy::price_list::PriceList;
use reeve_policy::units::UnitPrices;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::Denial;
use crate::request::{self, Plan};
use crate::response::{Metering, Outcome, Settlement, abandon};
use crate::testing::{Head, Policy, limit, plan};

const RERANK: &str = "/v1/rerank";
const SPEECH: &str = "/v1/audio/speech";
const IMAGES: &str = "/v1/images/generations";

/// A nano-dollar for each unit of the kind, and nothing for tokens.
fn policy(units: UnitPrices) -> Policy {
    let list = Rc::new(PriceList {
        units,
        ..Price::uniform(0, 0).into()
    });
    let mut policy = Policy::governed().with_key(|key| {
        key.limits = vec![limit("cost", Metric::Cost)];
    });
    for model in policy.models.values_mut() {
        model.price = Some(Rc::clone(&list));
    }
    policy
}

const NONE: UnitPrices = UnitPrices {
    search: 0,
    character: 0,
    second: 0,
    image: 0,
};
const EACH: i64 = 1_000_000;

fn settled(plan: Plan, status: u16, content_type: &str, body: &[u8]) -> Settlement {
    let mut metering = Metering::new(plan);
    let head = ResponseHead {
        content_type: Some(content_type.as_bytes()),
        ..ResponseHead::default()
    };
    metering.on_response_headers(status, head);
    metering.on_response_body(body, true);
    metering.settle(Outcome::Complete).1
}

fn json(plan: Plan, body: &str) -> (i64, bool) {
    let settlement = settled(plan, 200, "application/json", body.as_bytes());
    (settlement.cost.get(), settlement.estimated)
}

fn rerank(documents: usize) -> Plan {
    let documents = vec!["\"a\""; documents].join(",");
    let body = format!(r#"{{"model":"gpt-4o","query":"q","documents":[{documents}]}}"#);
    plan(
        &policy(UnitPrices {
            search: EACH,
            ..NONE
        }),
        RERANK,
        &body,
    )
    .unwrap()
}

#[test]
fn a_ranking_costs_the_searches_that_its_answer_names() {
    let answer = r#"{"results":[],"meta":{"billed_units":{"search_units":2}}}"#;
    assert_eq!(json(rerank(3), answer), (2, false));
    // One for each hundred documents, and parts of long ones count as documents.
    assert_eq!(rerank(3).reservations[0].amount, 1);
    assert_eq!(rerank(201).reservations[0].amount, 3);
}

#[test]
fn a_ranking_that_does_not_say_its_searches_costs_what_was_reserved() {
    for answer in [
        r#"{"results":[]}"#,
        r#"{"results":[],"meta":{"billed_units":{"search_units":-1}}}"#,
        "no JSON",
    ] {
        assert_eq!(json(rerank(201), answer), (3, true), "{answer}");
    }
}

#[test]
fn speech_costs_the_characters_of_its_text_whatever_comes_back() {
    let body = r#"{"model":"gpt-4o","input":"Gr\u00fc\u00dfe, \ud83c\udf0d!","voice":"a"}"#;
    let speech = || {
        plan(
            &policy(UnitPrices {
                character: EACH,
                ..NONE
            }),
            SPEECH,
            body,
        )
        .unwrap()
    };
    assert_eq!(speech().reservations[0].amount, 9);
    let settlement = settled(speech(), 200, "audio/mpeg", b"noise");
    assert_eq!((settlement.cost.get(), settlement.estimated), (9, false));
    assert_eq!(
        settled(speech(), 500, "application/json", b"{}").cost.get(),
        0
    );
    assert_eq!(abandon(&speech().into()).cost.get(), 9);
}

#[test]
fn images_cost_as_many_as_were_asked_for() {
    let policy = policy(UnitPrices {
        image: EACH,
        ..NONE
    });
    let body = r#"{"model":"gpt-4o","prompt":"a cat","n":4}"#;
    let images = plan(&policy, IMAGES, body).unwrap();
    assert_eq!(images.reservations[0].amount, 4);
    assert_eq!(json(images, r#"{"data":[{},{},{},{}]}"#), (4, false));
}

#[test]
fn a_recording_costs_the_seconds_that_its_answer_names() {
    let policy = policy(UnitPrices {
        second: EACH,
        ..NONE
    });
    let head = Head::post("/v1/audio/transcriptions")
        .without("content-type")
        .with("content-type", b"multipart/form-data; boundary=b");
    let admission = head.judge(&policy).unwrap();
    let part = |name: &str, value: &str| {
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = format!(
        "{}{}--b--\r\n",
        part("model", "gpt-4o"),
        part("file", "noise")
    );
    let transcription = || {
        let chain = request::judge_body(&policy, 0, &admission, form.as_bytes(), 0);
        chain.unwrap().into_first()
    };
    let answer = r#"{"text":"a","usage":{"type":"duration","seconds":27}}"#;
    assert_eq!(json(transcription(), answer), (27, false));
    let unsaid = settled(transcription(), 200, "text/plain", b"a");
    let reserved = transcription().reservations[0].amount;
    assert_eq!((unsaid.cost.get(), unsaid.estimated), (reserved, true));
}

#[test]
fn a_model_used_for_another_api_than_its_own_has_no_price() {
    let body = r#"{"model":"gpt-4o","query":"q","documents":["a"],"messages":[],"input":"a"}"#;
    for (units, path) in [
        (
            UnitPrices {
                character: EACH,
                ..NONE
            },
            RERANK,
        ),
        (
            UnitPrices {
                search: EACH,
                ..NONE
            },
            SPEECH,
        ),
        (
            UnitPrices {
                search: EACH,
                ..NONE
            },
            "/v1/chat/completions",
        ),
    ] {
        let denial = plan(&policy(units), path, body).unwrap_err();
        assert!(matches!(denial, Denial::PriceUnknown { .. }), "{path}");
    }
}
