//! The attempts of a request: which, in which order, and what is reserved for them.

use reeve_llm::ResponseHead;
use reeve_policy::limit::{Exceeded, Metric};
use reeve_policy::retry::{RetryClass, RetryOn};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::Denial;
use crate::chain::{Chain, MAX_ATTEMPTS, Reason, Retry};
use crate::request::judge_body;
use crate::response::{Metering, Outcome, abandon};
use crate::testing::{Head, Policy, chain, config, limit};

pub(super) const CHAT: &str = "/v1/chat/completions";
pub(super) const FULL: Exceeded = Exceeded {
    max: 1_000_000_000,
    used: 1_000_000_000,
    reserved: 0,
    resets_at_ms: 9,
};

/// A key with OpenAI, Azure and three more of OpenAI's format, of which one has no weight.
pub(super) fn policy() -> Policy {
    let mut policy = Policy::governed().with_settings(|settings| {
        let azure = settings.provider("azure").unwrap().clone();
        for name in ["third", "fourth", "fifth", "elsewhere"] {
            let mut provider = azure.clone();
            provider.name = name.into();
            provider.cluster = format!("provider_{name}");
            settings.providers.push(provider);
        }
    });
    let model = policy.models[&("azure".into(), "gpt-4o".into())].clone();
    for name in ["third", "fourth", "fifth", "elsewhere"] {
        policy
            .models
            .insert((name.into(), "gpt-4o".into()), model.clone());
    }
    policy.with_key(|key| {
        key.provider_configs = vec![
            config("openai", &[], Some(100)),
            config("azure", &[], Some(1)),
            config("third", &[], None),
            config("fourth", &[], Some(3)),
            config("anthropic", &["*"], Some(2)),
        ];
    })
}

pub(super) fn with_limits(mut policy: Policy) -> Policy {
    let key = policy.key.as_mut().unwrap();
    key.limits = vec![limit("key", Metric::Cost)];
    for config in &mut key.provider_configs {
        config.limits = vec![
            limit(&format!("{}-usd", config.provider), Metric::Cost),
            limit(&format!("{}-requests", config.provider), Metric::Requests),
        ];
    }
    policy
}

pub(super) fn with_a_dear_azure() -> Policy {
    let mut policy = with_limits(policy());
    let dear = policy
        .models
        .get_mut(&("azure".into(), "gpt-4o".into()))
        .unwrap();
    let mut price = (**dear.price.as_ref().unwrap()).clone();
    price.standard.output = price.standard.output.saturating_mul(10);
    dear.price = Some(price.into());
    policy
}

pub(super) fn names(chain: &Chain) -> Vec<(&str, &str)> {
    let attempts = chain.attempts();
    attempts
        .map(|plan| (plan.provider.as_str(), plan.model.as_str()))
        .collect()
}

pub(super) fn ask(policy: &Policy, model: &str, more: &str) -> Result<Chain, Denial> {
    chain(policy, CHAT, &body(model, more))
}

pub(super) fn body(model: &str, more: &str) -> String {
    format!(r#"{{"model":"{model}","max_tokens":100{more},"messages":[]}}"#)
}

pub(super) fn fallbacks(list: &[&str]) -> String {
    let list: Vec<String> = list.iter().map(|name| format!("\"{name}\"")).collect();
    format!(",\"fallbacks\":[{}]", list.join(","))
}

pub(super) fn reason<'a>(chain: &'a Chain, provider: &str) -> &'a Reason {
    let mut left_out = chain.left_out().iter();
    &left_out
        .find(|left| left.provider == provider)
        .unwrap()
        .reason
}

pub(super) fn amount(chain: &Chain, limit_id: &str) -> Option<i64> {
    let reservations = chain.reservations();
    let mut found = reservations.iter().filter(|of| of.limit.id == limit_id);
    let amount = found.next()?.amount;
    assert!(found.next().is_none(), "{limit_id} is reserved once");
    Some(amount)
}

#[test]
fn a_bare_model_is_tried_at_every_weighted_provider_that_admits_it() {
    let chain = ask(&policy(), "gpt-4o", "").unwrap();
    assert_eq!(
        names(&chain),
        [
            ("openai", "gpt-4o"),
            ("fourth", "gpt-4o"),
            ("azure", "gpt-4o")
        ]
    );
    let places: Vec<u32> = chain.attempts().map(|plan| plan.fallback_index).collect();
    assert_eq!(places, [0, 1, 2]);
    assert_eq!(*reason(&chain, "third"), Reason::NoWeight);
    // Its config admits everything, and nothing says that this is one of its models.
    assert_eq!(*reason(&chain, "anthropic"), Reason::Unlisted);
}

#[test]
fn a_named_provider_is_tried_alone() {
    let chain = ask(&policy(), "openai/gpt-4o", "").unwrap();
    assert_eq!(names(&chain), [("openai", "gpt-4o")]);
    assert_eq!(chain.retry(), None);
}

#[test]
fn the_callers_fallbacks_come_instead_of_ours() {
    let list = fallbacks(&["azure/gpt-4o", "openai/gpt-4o-mini"]);
    for model in ["gpt-4o", "openai/gpt-4o"] {
        let chain = ask(&policy(), model, &list).unwrap();
        assert_eq!(
            names(&chain),
            [
                ("openai", "gpt-4o"),
                ("azure", "gpt-4o"),
                ("openai", "gpt-4o-mini")
            ]
        );
    }
    let none = ask(&policy(), "gpt-4o", &fallbacks(&[])).unwrap();
    assert!(none.is_single(), "the caller wants none");
}

#[test]
fn a_fallback_may_be_an_alias_of_its_provider() {
    let policy = policy().with_settings(|settings| {
        for provider in &mut settings.providers {
            provider.aliases = [("fast".into(), "gpt-4o".into())].into();
        }
    });
    let list = fallbacks(&["azure/fast", "openai/gpt-4o", "openai/gpt-4o-mini"]);
    let chain = ask(&policy, "openai/fast", &list).unwrap();
    assert_eq!(
        names(&chain),
        [
            ("openai", "gpt-4o"),
            ("azure", "gpt-4o"),
            ("openai", "gpt-4o-mini")
        ]
    );
    let aliases = chain.attempts().map(|plan| plan.alias.as_deref());
    assert_eq!(
        aliases.collect::<Vec<_>>(),
        [Some("fast"), Some("fast"), None]
    );
    // The same model by another name is the same.
    assert_eq!(*reason(&chain, "openai"), Reason::Twice);
}

#[test]
fn a_bare_alias_finds_the_provider_that_has_it_without_a_config() {
    let open = policy().with_settings(|settings| {
        let mut providers = settings.providers.iter_mut();
        let elsewhere = providers.find(|provider| provider.name == "elsewhere");
        elsewhere.unwrap().aliases = [("fast".into(), "gpt-4o".into())].into();
    });
    let open = open.with_key(|key| {
        key.provider_configs.clear();
        key.allow_all_providers = true;
    });
    let chain = ask(&open, "fast", "").unwrap();
    assert_eq!(names(&chain), [("elsewhere", "gpt-4o")]);
}

#[test]
fn the_first_attempt_alone_needs_room_for_itself_only() {
    let chain = ask(&with_limits(policy()), "gpt-4o", "").unwrap();
    assert!(amount(&chain, "azure-usd").is_some());
    let only = chain.first_only();
    assert_eq!(names(&only), [("openai", "gpt-4o")]);
    assert_eq!(amount(&only, "azure-usd"), None);
    assert_eq!(only.retry(), None);
}

#[test]
fn a_fallback_that_the_key_may_not_use_is_left_out() {
    let list = fallbacks(&[
        "elsewhere/gpt-4o",
        "fifth/gpt-4o",
        "azure/gpt-4o-mini",
        "nobody/gpt-4o",
        "openai/unpriced",
        "anthropic/unpriced",
        "openai/gpt-4o",
        "third/gpt-4o",
    ]);
    let chain = ask(&policy(), "openai/gpt-4o", &list).unwrap();
    assert_eq!(names(&chain), [("openai", "gpt-4o"), ("third", "gpt-4o")]);
    assert_eq!(chain.attempt(1).fallback_index, 8);
    assert!(matches!(
        reason(&chain, "elsewhere"),
        Reason::Denied(Denial::ProviderBlocked { .. })
    ));
    assert!(matches!(
        reason(&chain, "azure"),
        Reason::Denied(Denial::ModelBlocked { .. })
    ));
    assert!(matches!(
        reason(&chain, "nobody"),
        Reason::Denied(Denial::ProviderBlocked { .. })
    ));
    let left_out = chain.left_out();
    assert!(left_out.iter().any(|left| left.reason == Reason::Twice));
}

#[test]
fn a_first_choice_that_the_key_may_not_use_makes_way_for_a_fallback() {
    let chain = ask(&policy(), "elsewhere/gpt-4o", &fallbacks(&["azure/gpt-4o"])).unwrap();
    assert_eq!(names(&chain), [("azure", "gpt-4o")]);
    assert_eq!(chain.first().fallback_index, 1);
    let denial = ask(&policy(), "elsewhere/gpt-4o", &fallbacks(&["fifth/gpt-4o"])).unwrap_err();
    assert_eq!(
        denial,
        Denial::ProviderBlocked {
            provider: "elsewhere".into()
        },
        "of the first choice, not of the fallback"
    );
}

#[test]
fn there_are_four_attempts_at_most() {
    let open = policy().with_key(|key| key.allow_all_providers = true);
    let all =
        ["azure", "third", "fourth", "fifth", "elsewhere"].map(|name| format!("{name}/gpt-4o"));
    let list = fallbacks(&all.each_ref().map(String::as_str));
    let chain = ask(&open, "openai/gpt-4o", &list).unwrap();
    assert_eq!(chain.attempts().count(), MAX_ATTEMPTS);
    assert_eq!(*reason(&chain, "elsewhere"), Reason::TooMany);
}

#[test]
fn a_session_is_drawn_alike_whatever_the_draw_is() {
    let even = policy().with_key(|key| {
        for config in &mut key.provider_configs {
            config.weight_ppm = Some(1);
        }
    });
    let body = br#"{"model":"gpt-4o","messages":[]}"#;
    let first = |session: &str, draw: u64| {
        let admission = Head::post(CHAT)
            .with("x-bf-session-id", session.as_bytes())
            .judge(&even)
            .unwrap();
        let chain = judge_body(&even, 0, &admission, body, draw).unwrap();
        chain.into_first().provider
    };
    let mut seen = std::collections::BTreeSet::new();
    for session in 0..40 {
        let session = session.to_string();
        assert_eq!(first(&session, 0), first(&session, u64::MAX));
        seen.insert(first(&session, 0));
    }
    assert_eq!(seen.len(), 4, "sessions are spread: {seen:?}");
}

#[test]
fn of_each_limit_the_most_is_reserved_that_one_attempt_can_take() {
    let chain = ask(&with_a_dear_azure(), "gpt-4o", "").unwrap();
    let own: Vec<i64> = chain.attempts().map(|plan| plan.cost_bound.get()).collect();
    assert!(own[2] > own[0]);
    assert_eq!(amount(&chain, "key"), Some(own[2]));
    assert_eq!(amount(&chain, "openai-usd"), Some(own[0]));
    assert_eq!(amount(&chain, "azure-usd"), Some(own[2]));
    assert_eq!(amount(&chain, "azure-requests"), Some(1));
    assert_eq!(amount(&chain, "third-usd"), None, "it is not asked");
    assert_eq!(chain.cost_bound().get(), own[2]);
}

#[test]
fn who_answers_is_charged_and_the_others_get_theirs_back() {
    let chain = ask(&with_limits(policy()), "gpt-4o", "").unwrap();
    let ids: Vec<String> = chain
        .reservations()
        .iter()
        .map(|of| of.limit.id.clone())
        .collect();
    let mut metering = Metering::new(chain);
    metering.set_attempt(1);
    let head = ResponseHead {
        content_type: Some(b"application/json"),
        ..ResponseHead::default()
    };
    metering.on_response_headers(200, head);
    let answer = br#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;
    metering.on_response_body(answer, true);
    let (chain, settlement) = metering.settle(Outcome::Complete);
    assert_eq!(chain.attempt(settlement.attempt).provider, "fourth");
    for (id, charge) in ids.iter().zip(&settlement.charges) {
        let expected = match id.as_str() {
            "key" | "fourth-usd" => settlement.cost.get(),
            "fourth-requests" => 1,
            _ => 0,
        };
        assert_eq!(*charge, expected, "{id}");
    }
    assert!(settlement.cost.get() > 0);
}

#[test]
fn what_nobody_saw_end_is_charged_to_everyone_it_may_have_gone_to() {
    let chain = ask(&with_limits(policy()), "gpt-4o", "").unwrap();
    let settlement = abandon(&chain);
    for (reservation, charge) in chain.reservations().iter().zip(&settlement.charges) {
        assert_eq!(reservation.amount, *charge, "{}", reservation.limit.id);
    }
}

#[test]
fn the_next_attempt_is_made_after_what_the_providers_before_the_last_say() {
    let policy = policy();
    let with = |classes: [&[RetryClass]; 3]| {
        let mut policy = policy.clone();
        let settings = policy.settings.as_mut().unwrap();
        for (name, classes) in ["openai", "fourth", "azure"].into_iter().zip(classes) {
            let mut providers = settings.providers.iter_mut();
            let provider = providers.find(|provider| provider.name == name).unwrap();
            provider.retry_on = classes.iter().copied().collect::<RetryOn>();
        }
        ask(&policy, "gpt-4o", "").unwrap().retry()
    };
    use RetryClass::{ConnectFailure, RateLimited, ServerError, Timeout};
    let retry = |on: &str, statuses: &str| {
        Some(Retry {
            most: 2,
            on: on.into(),
            statuses: statuses.into(),
        })
    };
    assert_eq!(
        with([&[RateLimited], &[ConnectFailure], &[Timeout]]),
        retry(
            "connect-failure,refused-stream,retriable-status-codes",
            "429"
        )
    );
    assert_eq!(with([&[], &[Timeout], &[]]), retry("reset", ""));
    assert_eq!(with([&[], &[], &[ServerError]]), None);
    let all = with([&RetryClass::ALL, &[], &[]]).unwrap();
    assert_eq!(
        all.on,
        "connect-failure,refused-stream,reset,retriable-status-codes"
    );
    assert!(all.statuses.starts_with("500,502,503,504,") && all.statuses.ends_with(",429"));
}

#[test]
fn a_provider_that_may_take_its_time_is_not_hurried_by_another() {
    let with = |times: [Option<u32>; 3]| {
        let mut policy = policy();
        let settings = policy.settings.as_mut().unwrap();
        for (name, time) in ["openai", "fourth", "azure"].into_iter().zip(times) {
            let mut providers = settings.providers.iter_mut();
            let provider = providers.find(|provider| provider.name == name).unwrap();
            provider.per_try_timeout_ms = time;
        }
        ask(&policy, "gpt-4o", "").unwrap().per_try_timeout_ms()
    };
    assert_eq!(with([Some(1), Some(3), Some(2)]), Some(3));
    assert_eq!(with([Some(1), None, Some(2)]), None);
}
