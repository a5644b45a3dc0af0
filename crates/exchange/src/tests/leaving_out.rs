//! What becomes of a chain when limits have no room for some of its attempts.

use reeve_policy::limit::Metric;
use reeve_policy::model_limits::{ModelLimits, ModelLimitsTable};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::chains::{
    CHAT, FULL, amount, ask, body, fallbacks, names, policy, reason, with_a_dear_azure, with_limits,
};
use crate::Denial;
use crate::chain::{Chain, Pressed, Reason, Refusal, Shortened};
use crate::request::judge_body_watched;
use crate::testing::{Head, Policy, limit};

fn short_of(chain: Chain, limit_id: &str) -> Shortened {
    short_with(chain, limit_id, || panic!("nobody needs the caller's body"))
}

fn short_with(chain: Chain, limit_id: &str, body: impl FnOnce() -> Vec<u8>) -> Shortened {
    let index = chain
        .reservations()
        .iter()
        .position(|of| of.limit.id == limit_id)
        .unwrap();
    chain.shortened(index, FULL, body)
}

fn gone_on(shortened: Shortened) -> Chain {
    match shortened {
        Shortened::GoOn(chain) => chain,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_provider_whose_own_limit_is_full_is_passed_over() {
    let chain = ask(&with_limits(policy()), "gpt-4o", "").unwrap();
    let chain = gone_on(short_of(chain, "openai-requests"));
    assert_eq!(names(&chain), [("fourth", "gpt-4o"), ("azure", "gpt-4o")]);
    assert_eq!(chain.first().fallback_index, 1);
    assert!(matches!(reason(&chain, "openai"), Reason::NoRoom(_)));
    assert_eq!(amount(&chain, "openai-usd"), None);
    let chain = gone_on(short_of(chain, "azure-usd"));
    assert_eq!(names(&chain), [("fourth", "gpt-4o")]);
    // When nobody is left, it is told what the first choice lacked.
    let Shortened::Refuse(Denial::LimitExceeded(told)) = short_of(chain, "key") else {
        panic!()
    };
    assert_eq!(told.limit_id, "openai-requests");
}

#[test]
fn a_limit_of_a_model_or_a_provider_is_passed_over_likewise() {
    let policy = policy().with_settings(|settings| {
        settings.model_limits = ModelLimitsTable::new(vec![ModelLimits {
            id: "all-of-openai".into(),
            model: None,
            provider: Some("openai".into()),
            limits: vec![limit("provider", Metric::Requests)],
        }]);
    });
    let chain = ask(&policy, "gpt-4o", "").unwrap();
    let chain = gone_on(short_of(chain, "provider"));
    assert_eq!(chain.first().provider, "fourth");
}

#[test]
fn a_limit_of_everyone_that_is_full_refuses() {
    let chain = ask(&with_limits(policy()), "gpt-4o", "").unwrap();
    let Shortened::Refuse(Denial::LimitExceeded(told)) = short_of(chain, "key") else {
        panic!()
    };
    assert_eq!(told.limit_id, "key");
}

#[test]
fn each_attempt_has_the_body_with_its_own_models_name() {
    let list = fallbacks(&["openai/gpt-4o-mini", "azure/gpt-4o"]);
    let policy = with_limits(policy());
    for model in ["gpt-4o", "openai/gpt-4o"] {
        let chain = ask(&policy, model, &list).unwrap();
        assert_bodies(&chain, 3);
        // Whoever comes first after that.
        let chain = gone_on(short_of(chain, "azure-usd"));
        assert_bodies(&chain, 2);
    }
    let list = fallbacks(&["azure/gpt-4o", "third/gpt-4o"]);
    let chain = ask(&policy, "openai/gpt-4o-mini", &list).unwrap();
    assert_bodies(&chain, 3);
    let chain = gone_on(short_of(chain, "openai-usd"));
    assert_bodies(&chain, 2);
    assert_eq!(chain.attempt(1).edit, None, "it is the same model");
}

fn assert_bodies(chain: &Chain, attempts: usize) {
    assert_bodies_made_of(None, chain, attempts);
}

/// `callers`: the body that the first attempt sends unchanged.
fn assert_bodies_made_of(callers: Option<&[u8]>, chain: &Chain, attempts: usize) {
    assert_eq!(chain.attempts().count(), attempts);
    assert_eq!(chain.first().body.is_some(), callers.is_none());
    let first = chain.first().body.as_deref().or(callers).unwrap();
    for plan in chain.attempts() {
        let own = plan
            .edit
            .as_ref()
            .map_or_else(|| first.to_vec(), |edit| edit.apply(first));
        let body: serde_json::Value = serde_json::from_slice(&own).unwrap();
        assert_eq!(body["model"], plan.model.as_str());
        assert_eq!(body.get("fallbacks"), None);
        for slot in &plan.output.slots {
            assert_eq!(&own[slot.clone()], b"100");
        }
        assert_eq!(plan.output.slots.len(), 1);
    }
}

/// Azure has a name of its own for the model, and is asked last.
fn with_a_name_of_azures_own() -> Policy {
    let mut policy = with_limits(policy()).with_settings(|settings| {
        let mut providers = settings.providers.iter_mut();
        let azure = providers.find(|it| it.name == "azure").unwrap();
        azure.aliases = [("gpt-4o".into(), "deployment-7".into())].into();
    });
    let model = policy.models[&("azure".into(), "gpt-4o".into())].clone();
    let own = ("azure".into(), "deployment-7".into());
    policy.models.insert(own, model);
    policy
}

#[test]
fn a_body_that_the_first_attempt_does_not_change_is_not_sent_anew() {
    let policy = with_a_name_of_azures_own();
    let body = body("gpt-4o", "");
    let chain = ask(&policy, "gpt-4o", "").unwrap();
    assert_bodies_made_of(Some(body.as_bytes()), &chain, 3);
    assert!(chain.attempt(2).edit.is_some());
    // Nor when the second one sends the same.
    let chain = gone_on(short_of(chain, "openai-usd"));
    assert_bodies_made_of(Some(body.as_bytes()), &chain, 2);
    // Then the first that is left changes it.
    let chain = gone_on(short_with(chain, "fourth-usd", || body.into_bytes()));
    assert_bodies(&chain, 1);
}

/// Too little of these limits is at hand: so much is missing.
fn pressed(chain: Chain, missing: &[(&str, i64)]) -> Pressed {
    chain.pressed(|of| {
        let mut missing = missing.iter();
        missing
            .find(|(id, _)| *id == of.limit.id)
            .map_or(0, |(_, missing)| *missing)
    })
}

#[test]
fn the_first_choice_waits_for_nothing_that_only_others_need() {
    let chain = ask(&with_limits(policy()), "gpt-4o", "").unwrap();
    let Pressed::GoOn(chain) = pressed(chain, &[("azure-requests", 1)]) else {
        panic!("openai needs none of it")
    };
    assert_eq!(names(&chain), [("openai", "gpt-4o"), ("fourth", "gpt-4o")]);
    let without_room = Reason::NoRoom(Denial::LimitsUnavailable);
    assert_eq!(*reason(&chain, "azure"), without_room);
    assert_eq!(amount(&chain, "azure-requests"), None);
    let Pressed::GoOn(chain) = pressed(chain, &[("fourth-usd", 1)]) else {
        panic!("nor of that")
    };
    assert!(chain.is_single());
    assert!(chain.reservations().iter().any(|of| of.limit.id == "key"));
}

#[test]
fn what_the_first_choice_lacks_is_waited_for_with_all_the_others() {
    let of_own = [("openai-requests", 1), ("azure-requests", 1)];
    for missing in [of_own.as_slice(), &[("key", 1)], &[]] {
        let chain = ask(&with_limits(policy()), "gpt-4o", "").unwrap();
        let Pressed::Wait(chain) = pressed(chain, missing) else {
            panic!("{missing:?}")
        };
        assert_eq!(names(&chain).len(), 3);
        assert!(chain.reservations().iter().any(|of| of.limit.id == "key"));
    }
}

#[test]
fn a_dearer_fallback_does_not_hold_up_a_first_choice_that_has_enough() {
    let ask = || ask(&with_a_dear_azure(), "gpt-4o", "").unwrap();
    let chain = ask();
    let all = amount(&chain, "key").unwrap();
    let own = chain.first().cost_bound.get();
    assert!(own < all);
    // What is at hand is just enough for the first.
    let Pressed::GoOn(chain) = pressed(chain, &[("key", all - own)]) else {
        panic!("it has enough")
    };
    assert_eq!(names(&chain), [("openai", "gpt-4o"), ("fourth", "gpt-4o")]);
    assert_eq!(amount(&chain, "key"), Some(own));
    let chain = pressed(ask(), &[("key", all - own + 1)]);
    assert!(matches!(chain, Pressed::Wait(_)));
}

#[test]
fn a_refusal_says_who_was_left_out() {
    let policy = policy();
    let admission = Head::post(CHAT).judge(&policy).unwrap();
    let body = body("openai/gpt-5", &fallbacks(&["nowhere/gpt-4o"]));
    let judged = judge_body_watched(&policy, 0, &admission, body.as_bytes(), 0, &mut |_| {});
    let Err(Refusal { denial, left_out }) = judged else {
        panic!()
    };
    let providers: Vec<&str> = left_out.iter().map(|of| of.provider.as_str()).collect();
    assert_eq!(providers, ["openai", "nowhere"]);
    assert_eq!(left_out[0].reason, Reason::Denied(denial));
}
