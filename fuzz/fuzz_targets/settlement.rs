//! What a response is charged: whatever a provider answers, and however it is cut, the same; never
//! less than nothing; and no less than was reported.
//!
//! The first line: a path of `REQUESTS`, a status, a number that says how to cut. Then fields of the
//! response's head, an empty line, its body.
#![no_main]

use std::cell::OnceCell;

use libfuzzer_sys::fuzz_target;
use reeve_exchange::head::{Admitted, judge_headers};
use reeve_exchange::headers::Headers;
use reeve_exchange::request::{Plan, judge_body};
use reeve_exchange::response::{Metering, Outcome, Settlement};
use reeve_fuzz::input;
use reeve_fuzz::policy::{KEY, Policy};
use reeve_llm::{COUNT_HEADERS, Output, ResponseHead};
use reeve_policy::limit::Metric;

/// Paths and bodies of what was asked.
const REQUESTS: [(&str, &str); 8] = [
    (
        "/v1/chat/completions",
        r#"{"model":"gpt-4o","stream":true,"messages":[]}"#,
    ),
    ("/v1/responses", r#"{"model":"gpt-4o","input":"hi"}"#),
    (
        "/v1/embeddings",
        r#"{"model":"text-embedding-3-small","input":"hi"}"#,
    ),
    (
        "/v1/messages",
        r#"{"model":"claude-x","max_tokens":9,"messages":[]}"#,
    ),
    (
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
        r#"{"contents":[]}"#,
    ),
    ("/model/amazon.nova/converse-stream", r#"{"messages":[]}"#),
    ("/model/anthropic.claude/invoke", r#"{"max_tokens":9}"#),
    ("/v2/chat", r#"{"model":"command-a","messages":[]}"#),
];

thread_local! {
    static PLANS: OnceCell<Vec<Plan>> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let Some((words, rest)) = input::first_line(data) else {
        return;
    };
    let [path, status, seed] = words.as_slice() else {
        return;
    };
    let index = REQUESTS.iter().position(|(known, _)| known == path);
    let (Some(index), Ok(status), Ok(seed)) = (index, status.parse(), seed.parse()) else {
        return;
    };
    let plan = PLANS.with(|plans| plans.get_or_init(plans_of_requests)[index].clone());
    let (fields, response) = input::fields(rest);
    for outcome in [Outcome::Complete, Outcome::UpstreamReset] {
        let whole = std::iter::once(response);
        let (settlement, passed) = settle(&plan, status, &fields, whole, outcome);
        let chunks = input::cut(seed, response);
        let in_pieces = settle(&plan, status, &fields, chunks, outcome);
        assert_eq!(in_pieces, (settlement.clone(), passed.clone()));
        if !plan.usage_injected {
            assert_eq!(passed, response);
        }
        check(&plan, &settlement);
    }
});

fn plans_of_requests() -> Vec<Plan> {
    let policy = Policy::of_the_gateway();
    let fields = [
        ("x-bf-vk", KEY),
        ("x-tenant", "a"),
        ("content-type", "application/json"),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let plan = |&(path, body): &(&str, &str)| {
        let path = path.as_bytes();
        let judged = judge_headers(&policy, 0, b"POST", path, Headers::new(&fields));
        let Ok(Admitted::AwaitsBody(admission)) = judged.verdict else {
            panic!("{:?}", judged.verdict);
        };
        let chain = judge_body(&policy, 0, &admission, body.as_bytes(), 0);
        chain.expect("it is a good request").into_first()
    };
    REQUESTS.iter().map(plan).collect()
}

fn settle<'a>(
    plan: &Plan,
    status: u16,
    fields: &[(String, Vec<u8>)],
    chunks: impl Iterator<Item = &'a [u8]>,
    outcome: Outcome,
) -> (Settlement, Vec<u8>) {
    let headers = Headers::new(fields);
    let head = ResponseHead {
        content_type: headers.first("content-type"),
        content_encoding: headers.first("content-encoding"),
        counts: COUNT_HEADERS.map(|name| headers.first(name)),
    };
    let mut metering = Metering::new(plan.clone());
    let may_change = metering.on_response_headers(status, head);
    let mut passed = Vec::new();
    for chunk in chunks {
        match metering.on_response_body(chunk, false) {
            Some(changed) => {
                assert!(may_change);
                passed.extend(changed);
            }
            None => passed.extend(chunk),
        }
    }
    passed.extend(metering.on_response_body(&[], true).unwrap_or_default());
    let cost = metering.cost();
    let (_, settlement) = metering.settle(outcome);
    if let Some(cost) = cost {
        // What the caller is told is what is charged.
        assert_eq!(cost, settlement.cost);
    }
    (settlement, passed)
}

fn check(plan: &Plan, settlement: &Settlement) {
    assert!(settlement.cost.get() >= 0);
    assert_eq!(settlement.charges.len(), plan.reservations.len());
    for (reservation, &charge) in plan.reservations.iter().zip(&settlement.charges) {
        match reservation.limit.metric {
            Metric::Cost => assert_eq!(charge, settlement.cost.get()),
            Metric::Requests => assert_eq!(charge, 1),
            Metric::Tokens => assert!(charge >= 0),
            Metric::InFlight => assert_eq!(charge, 0),
        }
    }
    let was_answered = (200..300).contains(&settlement.status);
    let is_free = plan.endpoint.output() == Output::Free;
    let said_nothing_went_in = settlement.usage.input_tokens == Some(0);
    if was_answered && !is_free && settlement.estimated && !said_nothing_went_in {
        // Never for nothing: there was a request, whose input somebody pays.
        assert!(settlement.cost.get() > 0);
    }
}
