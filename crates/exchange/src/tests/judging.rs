//! Which requests pass, and in which order they are refused.

use reeve_llm::Unserved;
use reeve_policy::limit::{Exceeded, Level, Metric};
use reeve_policy::model_limits::{ModelLimits, ModelLimitsTable};
use reeve_policy::required_headers::RequiredHeader;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::Denial;
use crate::chain::Chain;
use crate::request::Plan;
use crate::testing::{Head, Policy, chat, config, limit, owner, plan};

const CHAT: &str = "/v1/chat/completions";

#[test]
fn a_governed_request_passes() {
    let plan = chat(&Policy::governed(), "gpt-4o").unwrap();
    assert_eq!(
        (plan.provider.as_str(), plan.cluster.as_str()),
        ("openai", "provider_openai")
    );
    assert_eq!(plan.key.unwrap().id, "key-1");
}

#[test]
fn nothing_passes_before_policy_has_arrived() {
    let policy = Policy {
        settings: None,
        ..Policy::governed()
    };
    assert_eq!(
        Head::post(CHAT).judge(&policy).unwrap_err(),
        Denial::PolicyUnavailable
    );
}

#[test]
fn an_unknown_path_is_refused_before_anything_else() {
    let policy = Policy {
        settings: None,
        ..Policy::governed()
    };
    let head = Head::post("/v1/nothing").without("x-bf-vk");
    assert_eq!(head.judge(&policy).unwrap_err(), Denial::NotFound);
    let get = Head {
        method: b"GET",
        ..Head::post(CHAT)
    };
    assert_eq!(
        get.judge(&policy).unwrap_err(),
        Denial::MethodNotAllowed { allow: "POST" }
    );
}

#[test]
fn an_upgrade_of_the_connection_is_refused() {
    let denial = Head::post(CHAT)
        .with("upgrade", b"websocket")
        .judge(&Policy::governed())
        .unwrap_err();
    assert_eq!(denial, Denial::Unserved(Unserved::Realtime));
}

#[test]
fn required_headers_come_before_the_credential_and_all_missing_ones_are_named() {
    let policy = Policy::governed().with_settings(|settings| {
        settings.required_headers = ["x-tenant", "x-app", "x-there"]
            .map(|text| RequiredHeader::parse(text).unwrap())
            .into();
    });
    let head = Head::post(CHAT)
        .without("x-bf-vk")
        .with("x-app", b" \t")
        .with("x-there", b"1");
    let missing = ["x-tenant", "x-app"].map(Into::into).into();
    assert_eq!(
        head.judge(&policy).unwrap_err(),
        Denial::RequiredHeaders {
            missing,
            mismatched: Vec::new()
        }
    );
}

#[test]
fn without_a_key_only_an_ungoverned_gateway_answers() {
    let policy = Policy::governed();
    let head = || Head::post(CHAT).without("x-bf-vk");
    assert_eq!(
        head().judge(&policy).unwrap_err(),
        Denial::VirtualKeyRequired
    );
    let open = policy.with_settings(|settings| settings.enable_governance = false);
    assert!(head().judge(&open).is_ok());
}

#[test]
fn a_key_that_is_presented_is_judged_even_while_governance_is_off() {
    let open = Policy::governed().with_settings(|settings| settings.enable_governance = false);
    let head = Head::post(CHAT)
        .without("x-bf-vk")
        .with("x-bf-vk", b"sk-bf-unknown");
    assert_eq!(head.judge(&open).unwrap_err(), Denial::VirtualKeyNotFound);
    let off = open.with_key(|key| key.is_active = false);
    assert_eq!(
        Head::post(CHAT).judge(&off).unwrap_err(),
        Denial::VirtualKeyInactive
    );
}

#[test]
fn a_key_past_its_time_is_refused() {
    let policy = Policy::governed().with_key(|key| key.expires_at_ms = Some(0));
    assert_eq!(
        Head::post(CHAT).judge(&policy).unwrap_err(),
        Denial::VirtualKeyExpired
    );
}

#[test]
fn a_key_with_a_wrong_checksum_is_not_even_looked_up() {
    let value = format!("sk-bf-{}", "a".repeat(50));
    let head = Head::post(CHAT)
        .without("x-bf-vk")
        .with("x-bf-vk", value.as_bytes());
    assert_eq!(
        head.judge(&Policy::governed()).unwrap_err(),
        Denial::VirtualKeyNotFound
    );
}

#[test]
fn only_plain_json_of_an_admitted_size_is_read() {
    let policy = Policy::governed();
    let refused = |head: Head| head.judge(&policy).unwrap_err();
    for kind in [
        &b"text/plain"[..],
        b"application/json; charset=utf-16",
        b"caf\xe9",
    ] {
        let head = Head::post(CHAT)
            .without("content-type")
            .with("content-type", kind);
        assert!(
            matches!(refused(head), Denial::UnsupportedMediaType(_)),
            "{kind:?}"
        );
    }
    let none = Head::post(CHAT).without("content-type");
    assert!(matches!(refused(none), Denial::UnsupportedMediaType(_)));
    let twice = Head::post(CHAT).with("content-type", b"application/json");
    assert!(matches!(refused(twice), Denial::UnsupportedMediaType(_)));
    let packed = Head::post(CHAT).with("content-encoding", b"gzip");
    assert!(matches!(refused(packed), Denial::UnsupportedMediaType(_)));
    let large = Head::post(CHAT).with("content-length", b"1001");
    assert_eq!(refused(large), Denial::PayloadTooLarge { max_bytes: 1000 });
    assert!(
        Head::post(CHAT)
            .with("content-encoding", b"Identity")
            .judge(&policy)
            .is_ok()
    );
}

#[test]
fn a_body_larger_than_it_said_is_refused() {
    let body = format!(r#"{{"model":"gpt-4o","x":"{}"}}"#, "x".repeat(1000));
    let denial = plan(&Policy::governed(), CHAT, &body).unwrap_err();
    assert_eq!(denial, Denial::PayloadTooLarge { max_bytes: 1000 });
}

#[test]
fn a_body_that_means_two_things_is_refused() {
    let body = r#"{"model":"gpt-4o","model":"gpt-4o-mini","messages":[]}"#;
    let denial = plan(&Policy::governed(), CHAT, body).unwrap_err();
    let Denial::InvalidRequest { message, .. } = denial else {
        panic!("{denial:?}")
    };
    assert!(message.contains("a member name occurs twice"), "{message}");
}

#[test]
fn a_model_without_a_price_is_refused_to_a_key_but_not_to_an_anonymous_caller() {
    let policy = Policy::governed();
    assert!(matches!(
        chat(&policy, "unpriced"),
        Err(Denial::PriceUnknown { .. })
    ));
    let star = policy.with_key(|key| key.provider_configs = vec![config("openai", &["*"], None)]);
    assert!(matches!(
        chat(&star, "brand-new"),
        Err(Denial::PriceUnknown { .. })
    ));
    let open = star.with_settings(|settings| settings.enable_governance = false);
    let head = Head::post(CHAT).without("x-bf-vk").judge(&open).unwrap();
    let body = br#"{"model":"openai/brand-new","messages":[]}"#;
    assert!(crate::request::judge_body(&open, 0, &head, body, 0).is_ok());
}

#[test]
fn the_same_cost_is_reserved_at_every_level_of_the_hierarchy() {
    let mut policy = Policy::governed().with_key(|key| {
        key.team_id = Some("team-1".into());
        key.limits = vec![
            limit("of-key", Metric::Cost),
            limit("requests", Metric::Requests),
        ];
        key.provider_configs[0].limits = vec![limit("of-config", Metric::Cost)];
    });
    let mut team = owner("team-1", vec![limit("of-team", Metric::Cost)]);
    team.customer_id = Some("customer-1".into());
    policy.teams.insert("team-1".into(), team);
    let customer = owner("customer-1", vec![limit("of-customer", Metric::Cost)]);
    policy.customers.insert("customer-1".into(), customer);
    let plan = chat(&policy, "gpt-4o").unwrap();
    let taken: Vec<_> = plan
        .reservations
        .iter()
        .map(|r| (r.level, r.owner_id.as_str(), r.limit.id.as_str(), r.amount))
        .collect();
    // 49 bytes of input at 2,500 and 100 tokens of output at 10,000 nano-dollars each.
    let bound = 49 * 2_500 + 100 * 10_000;
    assert_eq!(
        taken,
        [
            (Level::Customer, "customer-1", "of-customer", bound),
            (Level::Team, "team-1", "of-team", bound),
            (Level::VirtualKey, "key-1", "of-key", bound),
            (Level::VirtualKey, "key-1", "requests", 1),
            (Level::ProviderConfig, "config-openai", "of-config", bound),
        ]
    );
    let exceeded = Exceeded {
        max: 7,
        used: 5,
        reserved: 2,
        resets_at_ms: 9,
    };
    let Denial::LimitExceeded(denial) = plan.reservations[1].denial(exceeded) else {
        panic!()
    };
    assert_eq!(
        (denial.level, denial.owner_id.as_str()),
        (Level::Team, "team-1")
    );
    assert_eq!((denial.used, denial.reserved, denial.asked), (5, 2, bound));
    assert_eq!(denial.max, 7);
}

#[test]
fn limits_of_models_and_providers_apply_to_everyone() {
    let of = |id: &str, model: Option<&str>, provider: Option<&str>| ModelLimits {
        id: id.into(),
        model: model.map(Into::into),
        provider: provider.map(Into::into),
        limits: vec![limit(&format!("of-{id}"), Metric::Cost)],
    };
    let policy = Policy::governed()
        .with_settings(|settings| {
            settings.enable_governance = false;
            settings.model_limits = ModelLimitsTable::new(vec![
                of("model", Some("gpt-4o"), None),
                of("provider", None, Some("openai")),
                of("elsewhere", Some("gpt-4o"), Some("azure")),
            ]);
        })
        .with_key(|key| {
            key.model_limits = ModelLimitsTable::new(vec![
                of("key-model", Some("gpt-4o"), Some("openai")),
                of("key-other", Some("gpt-4o-mini"), None),
            ]);
        });
    let taken = |plan: &Plan| -> Vec<(Level, String)> {
        let reservations = plan.reservations.iter();
        reservations
            .map(|r| (r.level, r.owner_id.clone()))
            .collect()
    };
    assert_eq!(
        taken(&chat(&policy, "gpt-4o").unwrap()),
        [
            (Level::Provider, "provider".into()),
            (Level::Model, "model".into()),
            (Level::VirtualKeyModel, "key-model".into()),
        ]
    );
    let admission = Head::post(CHAT).without("x-bf-vk").judge(&policy).unwrap();
    let judge = |model: &str| {
        let body = format!(r#"{{"model":"openai/{model}","messages":[]}}"#);
        crate::request::judge_body(&policy, 0, &admission, body.as_bytes(), 0)
            .map(Chain::into_first)
    };
    let plan = judge("gpt-4o").unwrap();
    assert_eq!(
        taken(&plan),
        [
            (Level::Provider, "provider".into()),
            (Level::Model, "model".into()),
        ]
    );
    assert!(plan.reservations[0].amount > 0);
    // What has no price cannot be charged to the provider's budget.
    assert!(matches!(
        judge("unpriced"),
        Err(Denial::PriceUnknown { .. })
    ));
}

#[test]
fn a_key_whose_team_has_not_arrived_is_not_let_past_its_budget() {
    let policy = Policy::governed().with_key(|key| key.team_id = Some("elsewhere".into()));
    assert_eq!(
        chat(&policy, "gpt-4o").unwrap_err(),
        Denial::PolicyUnavailable
    );
}

#[test]
fn what_is_reserved_without_a_given_maximum_is_what_the_model_can_do() {
    let policy = Policy::governed();
    let bound = |body: &str| plan(&policy, CHAT, body).unwrap().cost_bound.get();
    let free = r#"{"model":"gpt-4o"}"#;
    assert_eq!(bound(free), 18 * 2_500 + 16_384 * 10_000);
    let absurd = r#"{"model":"gpt-4o","max_tokens":4000000000}"#;
    assert_eq!(bound(absurd), 42 * 2_500 + 16_384 * 10_000);
    let three = r#"{"model":"gpt-4o","max_tokens":10,"n":3}"#;
    assert_eq!(bound(three), 40 * 2_500 + 30 * 10_000);
}

#[test]
fn a_key_that_is_revoked_while_its_body_is_on_the_way_is_refused() {
    let policy = Policy::governed();
    let admission = Head::post(CHAT).judge(&policy).unwrap();
    let body = br#"{"model":"gpt-4o","messages":[]}"#;
    let judge = |policy: &Policy, now_ms| {
        crate::request::judge_body(policy, now_ms, &admission, body, 0).map(|_| ())
    };
    assert_eq!(judge(&policy, 0), Ok(()));
    let off = policy.clone().with_key(|key| key.is_active = false);
    assert_eq!(judge(&off, 0), Err(Denial::VirtualKeyInactive));
    let expiring = policy.clone().with_key(|key| key.expires_at_ms = Some(5));
    assert_eq!(judge(&expiring, 5), Err(Denial::VirtualKeyExpired));
    let gone = Policy {
        key: None,
        ..policy
    };
    assert_eq!(judge(&gone, 0), Err(Denial::VirtualKeyNotFound));
}
