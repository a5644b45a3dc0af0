//! To which provider a request goes.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeMap;

use reeve_policy::access::ModelList;

use crate::Denial;
use crate::request::judge_body;
use crate::testing::{Head, Policy, chat, config, plan};

fn with_configs(configs: &[(&str, &[&str], Option<u32>)]) -> Policy {
    Policy::governed().with_key(|key| {
        key.provider_configs = configs
            .iter()
            .map(|(provider, allowed, weight)| config(provider, allowed, *weight))
            .collect();
    })
}

fn blocked_provider(name: &str) -> Denial {
    Denial::ProviderBlocked {
        provider: name.into(),
    }
}

fn blocked_model(name: &str) -> Denial {
    Denial::ModelBlocked { model: name.into() }
}

#[test]
fn a_named_provider_gets_the_model_without_its_name() {
    let plan = chat(&Policy::governed(), "openai/gpt-4o").unwrap();
    assert_eq!(
        (plan.provider.as_str(), plan.model.as_str()),
        ("openai", "gpt-4o")
    );
    let body = String::from_utf8(plan.body.unwrap()).unwrap();
    assert!(body.contains(r#""model":"gpt-4o""#), "{body}");
}

#[test]
fn a_provider_that_the_key_does_not_list_is_blocked() {
    let policy = Policy::governed();
    assert_eq!(
        chat(&policy, "azure/gpt-4o").unwrap_err(),
        blocked_provider("azure")
    );
    let none = policy.with_key(|key| key.provider_configs.clear());
    assert_eq!(
        chat(&none, "openai/gpt-4o").unwrap_err(),
        blocked_provider("openai")
    );
    assert_eq!(chat(&none, "gpt-4o").unwrap_err(), blocked_model("gpt-4o"));
}

#[test]
fn a_model_that_the_config_does_not_admit_is_blocked() {
    let policy = with_configs(&[("openai", &["gpt-4o"], None)]);
    assert!(chat(&policy, "gpt-4o").is_ok());
    assert_eq!(
        chat(&policy, "gpt-4o-mini").unwrap_err(),
        blocked_model("gpt-4o-mini")
    );
    assert_eq!(
        chat(&policy, "openai/gpt-4o-mini").unwrap_err(),
        blocked_model("gpt-4o-mini")
    );
}

#[test]
fn only_a_configured_providers_name_is_a_prefix() {
    let policy = with_configs(&[("openai", &["*"], None)]);
    assert_eq!(
        chat(&policy, "meta-llama/llama-3").unwrap_err(),
        Denial::PriceUnknown {
            provider: "openai".into(),
            model: "meta-llama/llama-3".into()
        }
    );
}

/// OpenAI has a `fast` and a `team/smart` model.
fn with_aliases(allowed: &[&str], blacklisted: &[&str]) -> Policy {
    let mut policy = Policy::governed().with_key(|key| {
        let mut config = config("openai", allowed, None);
        config.blacklisted_models = ModelList::compile(
            &blacklisted.iter().map(|&it| it.into()).collect::<Vec<_>>(),
            "",
        )
        .unwrap();
        key.provider_configs = vec![config];
    });
    let mut providers = policy.settings.as_mut().unwrap().providers.iter_mut();
    let openai = providers.find(|provider| provider.name == "openai");
    openai.unwrap().aliases = BTreeMap::from([
        ("fast".into(), "gpt-4o-mini".into()),
        ("team/smart".into(), "gpt-4o".into()),
    ]);
    policy
}

#[test]
fn an_alias_is_sent_and_priced_as_the_providers_own_model() {
    let policy = with_aliases(&[], &[]);
    for asked in ["fast", "openai/fast"] {
        let plan = chat(&policy, asked).unwrap();
        assert_eq!(plan.model, "gpt-4o-mini");
        assert_eq!(plan.alias.as_deref(), Some("fast"));
        assert!(plan.price.is_some());
        let body = String::from_utf8(plan.body.unwrap()).unwrap();
        assert!(body.contains(r#""model":"gpt-4o-mini""#), "{body}");
    }
    assert_eq!(chat(&policy, "team/smart").unwrap().model, "gpt-4o");
    let own = chat(&policy, "gpt-4o-mini").unwrap();
    assert_eq!((own.model.as_str(), own.alias), ("gpt-4o-mini", None));
    // One step: an alias of an alias is none.
    assert_eq!(
        chat(&policy, "openai/openai/fast").unwrap_err(),
        blocked_model("openai/fast")
    );
}

#[test]
fn an_alias_is_admitted_by_either_name_and_blocked_by_either() {
    assert!(chat(&with_aliases(&["fast"], &[]), "fast").is_ok());
    assert!(chat(&with_aliases(&["gpt-4o-mini"], &[]), "fast").is_ok());
    // What the alias stands for stays closed under its own name.
    assert_eq!(
        chat(&with_aliases(&["fast"], &[]), "gpt-4o-mini").unwrap_err(),
        blocked_model("gpt-4o-mini")
    );
    for blacklisted in ["fast", "gpt-4o-mini"] {
        assert_eq!(
            chat(&with_aliases(&["*"], &[blacklisted]), "fast").unwrap_err(),
            blocked_model("fast")
        );
    }
}

#[test]
fn a_bare_model_is_drawn_among_the_weighted_providers_that_admit_it() {
    let policy = with_configs(&[("openai", &[], Some(1)), ("azure", &[], Some(3))]);
    assert_eq!(chat(&policy, "gpt-4o").unwrap().provider, "azure");
    // Azure's catalogue lists no gpt-4o-mini.
    assert_eq!(chat(&policy, "gpt-4o-mini").unwrap().provider, "openai");
}

#[test]
fn a_provider_without_a_weight_is_addressed_but_never_drawn() {
    let policy = with_configs(&[("openai", &[], None), ("azure", &[], Some(1))]);
    assert_eq!(chat(&policy, "gpt-4o").unwrap().provider, "azure");
    assert_eq!(chat(&policy, "openai/gpt-4o").unwrap().provider, "openai");
}

#[test]
fn where_no_config_has_a_weight_the_first_that_admits_the_model_serves_it() {
    let policy = with_configs(&[("azure", &["other"], None), ("openai", &[], None)]);
    assert_eq!(chat(&policy, "gpt-4o").unwrap().provider, "openai");
}

#[test]
fn a_provider_without_the_api_is_refused_and_the_refusal_says_what_to_call() {
    let policy = with_configs(&[
        ("anthropic", &["*"], Some(1)),
        ("openai", &[], None),
        ("bedrock", &["*"], None),
    ]);
    for (path, model, named) in [
        (
            "/v1/responses",
            "anthropic/claude",
            "`POST /v1/chat/completions`",
        ),
        (
            "/v1/chat/completions",
            "bedrock/anthropic.claude-v2:1",
            "`POST /model/{model}/converse`",
        ),
        (
            "/v1/messages",
            "openai/gpt-4o",
            "`POST /v1/chat/completions`",
        ),
        (
            "/v1/embeddings",
            "anthropic/claude",
            "does not serve `embeddings`: name a model of another provider",
        ),
    ] {
        let body = format!(r#"{{"model":"{model}","max_tokens":5,"messages":[],"input":"x"}}"#);
        let denial = plan(&policy, path, &body).unwrap_err();
        let Denial::InvalidRequest { message, param } = denial else {
            panic!("{denial:?}");
        };
        assert_eq!(param, Some("model"));
        assert!(message.contains(named), "{message}");
    }
    assert_eq!(chat(&policy, "gpt-4o").unwrap().provider, "openai");
    let body = r#"{"model":"claude-3-5-sonnet-20241022","max_tokens":5,"messages":[]}"#;
    assert_eq!(
        plan(&policy, "/v1/messages", body).unwrap().provider,
        "anthropic"
    );
}

#[test]
fn a_path_can_name_the_provider() {
    let policy = with_configs(&[("openai", &[], None), ("azure", &[], Some(1))]);
    let body = r#"{"model":"gpt-4o","messages":[]}"#;
    assert_eq!(
        plan(&policy, "/openai/v1/chat/completions", body)
            .unwrap()
            .provider,
        "openai"
    );
    let gone = policy.with_settings(|settings| settings.providers.remove(0).name.clear());
    let denial = plan(&gone, "/openai/v1/chat/completions", body).unwrap_err();
    assert_eq!(denial, blocked_provider("openai"));
}

#[test]
fn allow_all_providers_opens_those_without_a_config_and_keeps_the_rest() {
    let policy = with_configs(&[("openai", &["gpt-4o-mini"], None)])
        .with_key(|key| key.allow_all_providers = true);
    assert_eq!(chat(&policy, "gpt-4o").unwrap().provider, "azure");
    assert_eq!(
        chat(&policy, "openai/gpt-4o").unwrap_err(),
        blocked_model("gpt-4o")
    );
}

#[test]
fn an_anonymous_caller_is_sent_to_a_provider_that_lists_the_model() {
    let open = Policy::governed().with_settings(|settings| settings.enable_governance = false);
    let head = || {
        Head::post("/v1/chat/completions")
            .without("x-bf-vk")
            .judge(&open)
            .unwrap()
    };
    let body = br#"{"model":"gpt-4o-mini","messages":[]}"#;
    let plan = judge_body(&open, 0, &head(), body, 0).unwrap().into_first();
    assert_eq!(plan.provider, "openai");
    assert!(plan.reservations.is_empty());
    let body = br#"{"model":"nobody-has-this","messages":[]}"#;
    let denial = judge_body(&open, 0, &head(), body, 0).unwrap_err();
    assert_eq!(denial, blocked_model("nobody-has-this"));
}

/// A key that is bound to these of OpenAI's keys, of which so many are active.
fn bound_to(bound: &[&str], active: &[&str]) -> Policy {
    let owned = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<Vec<String>>();
    with_configs(&[("openai", &[], Some(3)), ("azure", &[], Some(1))])
        .with_key(|key| key.provider_configs[0].key_ids = Some(owned(bound)))
        .with_settings(|settings| settings.providers[0].key_ids = owned(active))
}

#[test]
fn a_bound_config_is_asked_with_the_heaviest_of_its_keys_that_is_active() {
    let cluster = |policy: &Policy| chat(policy, "openai/gpt-4o").unwrap().cluster;
    let policy = bound_to(&["light", "middle"], &["heavy", "middle", "light"]);
    assert_eq!(cluster(&policy), "provider_openai__middle");
    let policy = bound_to(&["light", "middle"], &["heavy", "light"]);
    assert_eq!(cluster(&policy), "provider_openai__light");
    let unbound = with_configs(&[("openai", &[], None)]);
    assert_eq!(cluster(&unbound), "provider_openai");
}

#[test]
fn a_bound_config_without_an_active_key_is_refused_and_never_asked_with_another() {
    for (bound, active) in [
        (&["dev"][..], &["prod"][..]),
        (&["dev"], &[]),
        (&[], &["prod"]),
    ] {
        let policy = bound_to(bound, active);
        assert_eq!(
            chat(&policy, "openai/gpt-4o").unwrap_err(),
            Denial::ProviderKeyBlocked {
                provider: "openai".into()
            }
        );
        let alone = policy
            .clone()
            .with_key(|key| key.provider_configs.truncate(1));
        let denial = chat(&alone, "gpt-4o").unwrap_err();
        assert!(
            matches!(denial, Denial::ProviderKeyBlocked { .. }),
            "{denial:?}"
        );
        // A bare model goes to who is left.
        assert_eq!(chat(&policy, "gpt-4o").unwrap().provider, "azure");
        let listed = Head::get("/v1/models").answer(&policy).unwrap();
        let listed = String::from_utf8(listed.body).unwrap();
        assert!(
            listed.contains("azure/") && !listed.contains("openai/"),
            "{listed}"
        );
    }
}
