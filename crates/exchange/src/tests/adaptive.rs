//! Adaptive shares: what they move, and what they leave alone.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use reeve_policy::shares::{FLOOR_PPM, Shares, Target};

use crate::Denial;
use crate::chain::Chain;
use crate::testing::{Head, Policy, chain, config};

const CHAT: &str = "/v1/chat/completions";

fn target(provider: &str, key_id: Option<&str>) -> Target {
    Target {
        provider: provider.into(),
        key_id: key_id.map(Into::into),
    }
}

/// Of `OpenAI` and Azure, the first has two thirds by configuration. Its share is lowered to the floor.
fn policy() -> Policy {
    let mut policy = Policy::governed().with_key(|key| {
        key.provider_configs = vec![
            config("openai", &["*"], Some(600_000)),
            config("azure", &["*"], Some(300_000)),
        ];
    });
    policy.shares = Some(Shares::new([(target("openai", None), FLOOR_PPM)]));
    policy
}

fn asked(policy: &Policy, model: &str) -> Result<Chain, Denial> {
    // The draw of a test is in the middle.
    let body = format!(r#"{{"model":"{model}","max_tokens":10,"messages":[]}}"#);
    chain(policy, CHAT, &body)
}

fn providers(chain: &Chain) -> Vec<&str> {
    chain
        .attempts()
        .map(|plan| plan.provider.as_str())
        .collect()
}

#[test]
fn a_lowered_share_moves_the_draw_and_the_order_of_the_chain() {
    let mut policy = policy();
    assert_eq!(
        providers(&asked(&policy, "gpt-4o").unwrap()),
        ["azure", "openai"]
    );
    policy.shares = None;
    assert_eq!(
        providers(&asked(&policy, "gpt-4o").unwrap()),
        ["openai", "azure"]
    );
}

#[test]
fn it_moves_nothing_while_adaptive_routing_is_off() {
    let policy = policy().with_settings(|settings| settings.adaptive_routing = false);
    assert_eq!(
        providers(&asked(&policy, "gpt-4o").unwrap()),
        ["openai", "azure"]
    );
}

#[test]
fn a_provider_that_is_named_is_asked_all_the_same() {
    assert_eq!(
        providers(&asked(&policy(), "openai/gpt-4o").unwrap()),
        ["openai"]
    );
    let body =
        r#"{"model":"openai/gpt-4o","max_tokens":10,"messages":[],"fallbacks":["azure/gpt-4o"]}"#;
    let chain = chain(&policy(), CHAT, body).unwrap();
    assert_eq!(providers(&chain), ["openai", "azure"]);
}

#[test]
fn the_boundary_stays_and_who_has_no_weight_is_not_drawn() {
    let policy = policy().with_key(|key| key.provider_configs[1].weight_ppm = None);
    assert_eq!(providers(&asked(&policy, "gpt-4o").unwrap()), ["openai"]);
    let policy = self::policy().with_key(|key| key.provider_configs.truncate(1));
    assert_eq!(providers(&asked(&policy, "gpt-4o").unwrap()), ["openai"]);
    let policy = self::policy().with_key(|key| {
        for config in &mut key.provider_configs {
            config.weight_ppm = None;
        }
    });
    assert_eq!(providers(&asked(&policy, "gpt-4o").unwrap()), ["openai"]);
}

#[test]
fn who_is_bound_to_a_key_goes_by_that_keys_share() {
    let mut policy = policy()
        .with_settings(|settings| settings.providers[0].key_ids = vec!["a".into(), "b".into()])
        .with_key(|key| key.provider_configs[0].key_ids = Some(vec!["b".into()]));
    let bound = asked(&policy, "gpt-4o").unwrap();
    assert_eq!(providers(&bound), ["openai", "azure"], "its key is good");
    assert_eq!(bound.first().provider_key_id.as_deref(), Some("b"));
    policy.shares = Some(Shares::new([(target("openai", Some("b")), FLOOR_PPM)]));
    assert_eq!(
        providers(&asked(&policy, "gpt-4o").unwrap()),
        ["azure", "openai"]
    );
}

#[test]
fn a_session_goes_where_the_share_went_and_comes_back() {
    let mut policy = policy();
    let of_session = |policy: &Policy, session: &str| {
        let head = Head::post(CHAT).with("x-bf-session-id", session.as_bytes());
        let body = br#"{"model":"gpt-4o","max_tokens":10,"messages":[]}"#;
        let admission = head.judge(policy).unwrap();
        let chain = crate::request::judge_body(policy, 0, &admission, body, 0).unwrap();
        chain.first().provider.clone()
    };
    let sessions: Vec<String> = (0..200).map(|number| format!("s{number}")).collect();
    let homes = |policy: &Policy| -> Vec<String> {
        sessions
            .iter()
            .map(|session| of_session(policy, session))
            .collect()
    };
    let lowered = homes(&policy);
    let shares = policy.shares.take();
    let whole = homes(&policy);
    let moved = |from: &str| {
        let pairs = whole.iter().zip(&lowered);
        pairs
            .filter(|(whole, lowered)| *whole == from && whole != lowered)
            .count()
    };
    assert!(moved("openai") > 80, "{}", moved("openai"));
    assert_eq!(moved("azure"), 0, "who is not concerned stays");
    policy.shares = shares;
    assert_eq!(homes(&policy), lowered);
}
