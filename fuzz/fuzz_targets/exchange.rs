//! The whole judgement: whatever head and body come, they are refused in JSON, or forwarded without
//! the caller's credentials and such that who judges what is forwarded finds the same request.
#![no_main]

use std::cell::OnceCell;

use libfuzzer_sys::fuzz_target;
use reeve_exchange::chain::Chain;
use reeve_exchange::head::{Admission, Admitted, judge_headers};
use reeve_exchange::headers::Headers;
use reeve_exchange::request::{Plan, judge_body};
use reeve_exchange::{Denial, reply};
use reeve_fuzz::input::{self, Head};
use reeve_fuzz::policy::{KEY, Policy};
use reeve_llm::WireFormat;
use reeve_policy::view;

const DRAW: u64 = u64::MAX / 2;

/// Fields that no provider may see, written down once more; a hyphen at the end: all that begin so.
const NEVER_FORWARDED: [&str; 19] = [
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "x-bf-",
    "cookie",
    "proxy-authorization",
    "forwarded",
    "x-reeve-",
    "x-envoy-",
    "x-forwarded-host",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "openai-organization",
    "x-goog-user-project",
    "x-amz-security-token",
];

thread_local! {
    static GATEWAY: OnceCell<Policy> = const { OnceCell::new() };
}

fuzz_target!(|data: &[u8]| {
    let Some((head, body)) = input::head(data) else {
        return;
    };
    GATEWAY.with(|gateway| {
        let gateway = gateway.get_or_init(Policy::of_the_gateway);
        let judged = judge_headers(
            gateway,
            0,
            head.method,
            head.target,
            Headers::new(&head.fields),
        );
        let admission = match judged.verdict {
            Ok(Admitted::AwaitsBody(admission)) => admission,
            Ok(Admitted::Answered(reply)) => return check_reply(&reply),
            Err(denial) => return check_refusal(&denial, judged.dialect, body),
        };
        match judge_body(gateway, 0, &admission, body, DRAW) {
            Ok(chain) => check_chain(&head, &admission, &chain, body),
            Err(denial) => check_refusal(&denial, judged.dialect, body),
        }
    });
});

fn check_refusal(denial: &Denial, dialect: WireFormat, request_id: &[u8]) {
    check_reply(&reply::render(denial, dialect, request_id, 0));
}

fn check_reply(reply: &reply::Reply) {
    assert!((200..=599).contains(&reply.status));
    for (_, value) in &reply.headers {
        assert!(value.bytes().all(|byte| (0x20..=0x7E).contains(&byte)));
    }
    let body: serde_json::Value = serde_json::from_slice(&reply.body).expect("it is JSON");
    if reply.status >= 400 {
        assert_eq!(body["status_code"], reply.status);
    }
}

/// Each attempt with the body that it would get.
fn check_chain(head: &Head<'_>, admission: &Admission, chain: &Chain, body: &[u8]) {
    let reservations = chain.reservations();
    for plan in chain.attempts() {
        for own in &plan.reservations {
            let taken = reservations.iter().find(|of| of.is_of_same_limit(own));
            assert!(taken.is_some_and(|taken| taken.amount >= own.amount));
        }
        let mut plan = plan.clone();
        if let Some(edit) = plan.edit.take() {
            plan.body = Some(edit.apply(chain.first().body.as_deref().unwrap_or(body)));
        } else if plan.body.is_none() {
            plan.body.clone_from(&chain.first().body);
        }
        check_forwarded(head, admission, &plan, body);
    }
}

fn check_forwarded(head: &Head<'_>, admission: &Admission, plan: &Plan, body: &[u8]) {
    let private: Vec<&str> = Headers::new(&head.fields).private_names().collect();
    let mut fields = head.fields.clone();
    fields.retain(|(name, _)| !private.contains(&name.as_str()));
    for (name, _) in &fields {
        let is_one =
            |never: &&str| name == *never || (never.ends_with('-') && name.starts_with(*never));
        assert!(!NEVER_FORWARDED.iter().any(is_one), "{name}");
    }
    let (_, query) = reeve_llm::split_query(plan.upstream_path.as_bytes());
    assert!(matches!(
        query,
        None | Some(b"beta=true" | b"beta=false" | b"alt=sse" | b"alt=json")
    ));
    assert!(plan.cost_bound.get() >= 0);
    assert_eq!(plan.body_bytes, u64::try_from(body.len()).expect("it fits"));

    // Now as if the provider were a gateway like this one, that knows one provider.
    let (mount, name, format) = match plan.provider.as_str() {
        "openai" | "azure" => ("/v1", "\u{A7}", view::WireFormat::OpenAi),
        "anthropic" => ("/v1", "\u{A7}", view::WireFormat::Anthropic),
        "gemini" => ("/v1beta", "gemini", view::WireFormat::Gemini),
        "bedrock" => ("", "\u{A7}", view::WireFormat::Bedrock),
        "cohere" => ("/cohere", "cohere", view::WireFormat::Cohere),
        other => panic!("{other} is not in the policy"),
    };
    if plan.model.starts_with(&format!("{name}/")) {
        // It would be taken for that provider's name in front of a model.
        return;
    }
    let provider = Policy::of_a_provider(name, format);
    fields.push(("x-bf-vk".into(), KEY.into()));
    let target = format!("{mount}{}", plan.upstream_path);
    let judged = judge_headers(
        &provider,
        0,
        b"POST",
        target.as_bytes(),
        Headers::new(&fields),
    );
    let Ok(Admitted::AwaitsBody(again)) = judged.verdict else {
        panic!("{target}: {:?}", judged.verdict);
    };
    let forwarded = plan.body.as_deref().unwrap_or(body);
    let replanned = judge_body(&provider, 0, &again, forwarded, DRAW).expect("it was judged");
    assert!(replanned.is_single());
    let replanned = replanned.into_first();
    assert_eq!(replanned.model, plan.model);
    assert_eq!(replanned.upstream_path, plan.upstream_path);
    assert_eq!(replanned.endpoint.operation(), plan.endpoint.operation());
    assert_eq!(replanned.endpoint.output(), plan.endpoint.output());
    assert_eq!(again.endpoint.body(), admission.endpoint.body());
    // Nothing is left to change in it.
    assert_eq!(replanned.body, None);
    assert!(!replanned.usage_injected);
    if plan.body.is_none() {
        assert_eq!(replanned.cost_bound, plan.cost_bound);
    }
}
