//! Requests in OpenAI's dialect for providers whose own API is another.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use reeve_llm::ResponseHead;
use reeve_policy::limit::Metric;

use crate::Denial;
use crate::chain::{Chain, LeftOut, Reason};
use crate::response::{Metering, Outcome};
use crate::testing::{Head, Policy, chain, chat, config, limit};

const CHAT: &str = "/v1/chat/completions";
const SONNET: &str = "claude-3-5-sonnet-20241022";

fn with_configs(configs: &[(&str, &[&str], Option<u32>)]) -> Policy {
    Policy::governed().with_key(|key| {
        key.provider_configs = configs
            .iter()
            .map(|(provider, allowed, weight)| config(provider, allowed, *weight))
            .collect();
    })
}

fn open() -> Policy {
    with_configs(&[
        ("anthropic", &["*"], None),
        ("gemini", &["*"], None),
        ("openai", &["*"], None),
    ])
}

#[test]
fn a_provider_of_another_format_is_asked_at_its_openai_side() {
    for (model, provider, own, path) in [
        (
            "anthropic/claude-3-5-sonnet-20241022",
            "anthropic",
            SONNET,
            "/chat/completions",
        ),
        (
            "gemini/gemini-2.5-flash",
            "gemini",
            "gemini-2.5-flash",
            "/openai/chat/completions",
        ),
        // Bare: whose it is the catalogue knows.
        (SONNET, "anthropic", SONNET, "/chat/completions"),
    ] {
        let plan = chat(&open(), model).unwrap();
        assert_eq!(
            (&*plan.provider, &*plan.model, &*plan.upstream_path),
            (provider, own, path)
        );
        assert!(plan.price.is_some());
        let sent = plan.body.map(|body| String::from_utf8(body).unwrap());
        assert_eq!(sent.is_some(), model != own);
        assert!(sent.is_none_or(|sent| sent.contains(&format!(r#""model":"{own}""#))));
    }
}

/// What the attempts send, in order.
fn bodies(chain: &Chain) -> Vec<String> {
    let first = chain.first().body.clone().unwrap();
    let sent = chain.attempts().map(|plan| match &plan.edit {
        Some(edit) => edit.apply(&first),
        None => first.clone(),
    });
    sent.map(|body| String::from_utf8(body).unwrap()).collect()
}

#[test]
fn a_chain_may_mix_formats_and_each_attempt_has_its_own_path_model_and_price() {
    let body = r#"{"model":"openai/gpt-4o","stream":true,"messages":[],
        "fallbacks":["anthropic/claude-3-5-sonnet-20241022","gemini/gemini-2.5-flash",
        "bedrock/anthropic.claude-v2:1"]}"#;
    let policy = open().with_key(|key| key.provider_configs.push(config("bedrock", &["*"], None)));
    let chain = chain(&policy, CHAT, body).unwrap();
    let attempts: Vec<_> = chain
        .attempts()
        .map(|plan| (&*plan.cluster, &*plan.upstream_path, &*plan.model))
        .collect();
    assert_eq!(
        attempts,
        [
            ("provider_openai", "/chat/completions", "gpt-4o"),
            ("provider_anthropic", "/chat/completions", SONNET),
            (
                "provider_gemini",
                "/openai/chat/completions",
                "gemini-2.5-flash"
            ),
        ]
    );
    for (plan, body) in chain.attempts().zip(bodies(&chain)) {
        assert!(plan.usage_injected && plan.price.is_some());
        assert!(body.contains(r#""stream_options":{"include_usage":true}"#));
        assert!(body.contains(&format!(r#""model":"{}""#, plan.model)));
        assert!(!body.contains("fallbacks"), "{body}");
    }
    let [
        LeftOut {
            provider, reason, ..
        },
    ] = chain.left_out()
    else {
        panic!("{:?}", chain.left_out());
    };
    assert_eq!(provider, "bedrock");
    let Reason::Denied(Denial::InvalidRequest { message, .. }) = reason else {
        panic!("{reason:?}");
    };
    assert!(message.contains("/converse"), "{message}");
}

#[test]
fn the_answer_of_an_openai_side_is_metered_as_openais() {
    let policy = open().with_key(|key| {
        key.limits = vec![limit("cost", Metric::Cost), limit("tokens", Metric::Tokens)];
    });
    let plan = chat(&policy, "anthropic/claude-3-5-sonnet-20241022").unwrap();
    let mut metering = Metering::new(plan);
    let head = ResponseHead {
        content_type: Some(b"application/json"),
        content_encoding: None,
        counts: [None; 4],
    };
    metering.on_response_headers(200, head);
    // With empty details, as Anthropic has them there, and with thoughts in the total only, as Gemini has.
    let answer = br#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":4,
        "total_tokens":20,"prompt_tokens_details":{},"completion_tokens_details":{}}}"#;
    metering.on_response_body(answer, true);
    let (_, settlement) = metering.settle(Outcome::Complete);
    assert_eq!(settlement.charges, [10 * 2_500 + 10 * 10_000, 20]);
    assert!(!settlement.estimated);
}

#[test]
fn a_bare_model_is_not_offered_to_every_vendor_whose_config_admits_all() {
    let configs: &[(&str, &[&str], Option<u32>)] = &[
        ("anthropic", &["*"], Some(1)),
        ("gemini", &["gpt-4o"], Some(0)),
        ("openai", &["*"], Some(0)),
    ];
    let body = r#"{"model":"gpt-4o","messages":[]}"#;
    let chain = chain(&with_configs(configs), CHAT, body).unwrap();
    assert_eq!(chain.first().provider, "openai");
    let reason_of = |provider: &str| {
        let mut left_out = chain.left_out().iter();
        let of = left_out.find(|of| of.provider == provider).unwrap();
        of.reason.clone()
    };
    assert_eq!(reason_of("anthropic"), Reason::Unlisted);
    // Who writes it down as Gemini's means it; only it has no price there.
    let unpriced = reason_of("gemini");
    assert!(
        matches!(unpriced, Reason::Denied(Denial::PriceUnknown { .. })),
        "{unpriced:?}"
    );
    let alone = with_configs(&configs[..1]);
    let blocked = Denial::ModelBlocked {
        model: "gpt-4o".into(),
    };
    assert_eq!(chat(&alone, "gpt-4o").unwrap_err(), blocked);
    // By the provider's name it is as the config says.
    assert!(matches!(
        chat(&alone, "anthropic/gpt-4o").unwrap_err(),
        Denial::PriceUnknown { .. }
    ));
}

#[test]
fn the_models_of_all_who_can_be_asked_are_listed() {
    let listed = Head::get("/v1/models").answer(&open()).unwrap();
    let listed = String::from_utf8(listed.body).unwrap();
    for model in [
        "openai/gpt-4o",
        "anthropic/claude-3-5",
        "gemini/gemini-2.5-flash",
    ] {
        assert!(listed.contains(model), "{listed}");
    }
}
