//! What rules may know of a request, and that they choose only among what is allowed.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use reeve_llm::Endpoint;
use reeve_policy::expression::{
    Comparison, Condition, Fault, Integer, PERCENT, Param, Percentage, Text, TextTest, Usage,
    Variable,
};
use reeve_policy::limit::Metric;
use reeve_policy::model_limits::{ModelLimits, ModelLimitsTable};
use reeve_policy::routing_rules::{Destination, Rule, Target};
use reeve_policy::virtual_key::VirtualKey;

use crate::Denial;
use crate::chain::{Chain, Reason};
use crate::request::{judge_body, judge_body_watched};
use crate::rules::{REQUEST_TYPES, request_type};
use crate::testing::{Head, Policy, config, limit, owner};

fn rule(id: &str, condition: Condition, provider: Option<&str>, model: Option<&str>) -> Rule {
    Rule {
        id: id.into(),
        name: id.into(),
        condition,
        targets: vec![target(provider, model, 1_000_000)],
        fallbacks: Vec::new(),
        chains: false,
    }
}

fn target(provider: Option<&str>, model: Option<&str>, weight_ppm: u32) -> Target {
    let to = Destination {
        provider: provider.map(Into::into),
        model: model.map(Into::into),
    };
    Target { to, weight_ppm }
}

fn is(text: Text, value: &str) -> Condition {
    let equal = TextTest::Compare(Comparison::Equal);
    Condition::Texts(text, equal, Text::Literal(value.into()))
}

fn above(usage: Usage, percent: i64) -> Condition {
    Condition::Percentages(
        Percentage::Used(usage),
        Comparison::Greater,
        Percentage::Literal(percent * PERCENT),
    )
}

/// A key that may use OpenAI and Azure, of a team of a customer.
fn policy() -> Policy {
    let mut policy = Policy::governed().with_key(|key| {
        key.provider_configs = vec![config("openai", &[], Some(1)), config("azure", &[], None)];
        key.team_id = Some("team-1".into());
    });
    let mut team = owner("team-1", vec![limit("team-budget", Metric::Cost)]);
    team.customer_id = Some("customer-1".into());
    policy.teams.insert("team-1".into(), team);
    let customer = owner("customer-1", Vec::new());
    policy.customers.insert("customer-1".into(), customer);
    policy
}

fn with_rule(condition: Condition) -> Policy {
    policy().with_settings(|settings| {
        settings.routing_rules = vec![rule("r", condition, Some("azure"), None)];
    })
}

const CHAT: &str = r#"{"model":"gpt-4o","max_tokens":100,"messages":[],"stream":true}"#;

fn sent(policy: &Policy, head: &Head, body: &str) -> Result<Chain, Denial> {
    judge_body(
        policy,
        0,
        &head.judge(policy)?,
        body.as_bytes(),
        u64::MAX / 2,
    )
}

fn chat(policy: &Policy) -> Result<Chain, Denial> {
    sent(policy, &Head::post("/v1/chat/completions"), CHAT)
}

/// Does a rule with this condition match a request?
fn matches(policy: &Policy) -> bool {
    matched_by(policy, &Head::post("/v1/chat/completions"))
}

fn matched_by(policy: &Policy, head: &Head) -> bool {
    let chain = sent(policy, head, CHAT).unwrap();
    let is_sent_there = chain.first().provider == "azure";
    assert_eq!(chain.rule_id().is_some(), is_sent_there);
    is_sent_there
}

#[test]
fn a_rule_knows_the_request_and_who_asks() {
    for (variable, value) in [
        (Variable::Model, "gpt-4o"),
        (Variable::Provider, ""),
        (Variable::RequestType, "chat_completion"),
        (Variable::VirtualKeyId, "key-1"),
        (Variable::VirtualKeyName, "test"),
        (Variable::TeamId, "team-1"),
        (Variable::TeamName, "team-1"),
        (Variable::CustomerId, "customer-1"),
        (Variable::CustomerName, "customer-1"),
    ] {
        let condition = is(Text::Variable(variable), value);
        assert!(matches(&with_rule(condition)), "{variable:?}");
    }
    for (param, value) in [
        (Param::Stream, "true"),
        (Param::MaxTokens, "100"),
        (Param::Choices, "1"),
        (Param::BodyBytes, "63"),
    ] {
        assert!(
            matches(&with_rule(is(Text::Param(param), value))),
            "{param:?}"
        );
    }
    assert!(!matches(&with_rule(Condition::HasParam(
        Param::ServiceTier
    ))));
}

#[test]
fn a_rule_sees_every_value_of_a_header_and_no_credential() {
    let head = || {
        Head::post("/v1/chat/completions")
            .with("x-tier", b"a")
            .with("x-tier", b"b")
            .with("authorization", b"Basic eA==")
    };
    let tier = |value| with_rule(is(Text::Header("x-tier".into()), value));
    assert!(matched_by(&tier("a, b"), &head()));
    assert!(!matched_by(&tier("a"), &head()));
    for name in ["x-bf-vk", "authorization", "x-none"] {
        let there = with_rule(Condition::HasHeader(name.into()));
        assert!(!matched_by(&there, &head()), "{name}");
    }
}

#[test]
fn usage_is_that_of_the_limit_that_is_used_most() {
    let of = |text| Usage::parse(Metric::Cost, text).unwrap();
    let with = |usage, used: i64| {
        let mut policy = with_rule(above(usage, 80)).with_key(|key| {
            key.limits = vec![
                limit("key-budget", Metric::Cost),
                limit("key-requests", Metric::Requests),
            ];
        });
        policy.used.insert("team-budget".into(), used);
        policy.used.insert("key-budget".into(), 10);
        policy.used.insert("key-requests".into(), 999_999_999);
        matches(&policy)
    };
    let max = limit("", Metric::Cost).max;
    for usage in [Usage::of_all(Metric::Cost), of("team"), of("team/1M")] {
        assert!(with(usage, max / 100 * 80 + 1_000), "{usage:?}");
        assert!(!with(usage, max / 100 * 80), "{usage:?}");
        assert!(with(usage, i64::MAX), "{usage:?}");
        assert!(!with(usage, -1), "{usage:?}");
    }
    for usage in [of("virtual_key"), of("team/1d"), of("customer")] {
        assert!(!with(usage, max), "{usage:?}");
    }
    assert!(with(Usage::of_all(Metric::Requests), 0));
    assert!(
        !with(Usage::of_all(Metric::Tokens), max),
        "nothing limits tokens"
    );
}

#[test]
fn limits_of_the_provider_count_once_it_is_named() {
    let usage = Usage::parse(Metric::Cost, "provider_config").unwrap();
    let mut policy = with_rule(above(usage, 50));
    policy = policy.with_key(|key| {
        key.provider_configs[0].limits = vec![limit("openai-budget", Metric::Cost)];
    });
    policy.used.insert("openai-budget".into(), 900_000_000);
    assert!(!matches(&policy), "it may go to another one");
    let named = CHAT.replace("gpt-4o", "openai/gpt-4o");
    let head = Head::post("/v1/chat/completions");
    assert_eq!(
        sent(&policy, &head, &named).unwrap().first().provider,
        "azure"
    );
}

#[test]
fn the_limits_of_a_model_are_found_by_its_alias_too() {
    let limits = || {
        ModelLimitsTable::new(vec![ModelLimits {
            id: "gpt-4o".into(),
            model: Some("gpt-4o".into()),
            provider: Some("openai".into()),
            limits: vec![limit("model-budget", Metric::Cost)],
        }])
    };
    let named = CHAT.replace("gpt-4o", "openai/fast");
    let head = Head::post("/v1/chat/completions");
    for (level, is_the_keys) in [("model", false), ("virtual_key_model", true)] {
        let usage = Usage::parse(Metric::Cost, level).unwrap();
        let mut policy = with_rule(above(usage, 50)).with_settings(|settings| {
            for provider in &mut settings.providers {
                provider.aliases = [("fast".into(), "gpt-4o".into())].into();
            }
            if !is_the_keys {
                settings.model_limits = limits();
            }
        });
        if is_the_keys {
            policy = policy.with_key(|key| key.model_limits = limits());
        }
        let mut goes_to = |used| {
            policy.used.insert("model-budget".into(), used);
            sent(&policy, &head, &named).unwrap().into_first().provider
        };
        assert_eq!(goes_to(900_000_000), "azure", "{level}");
        assert_eq!(goes_to(100_000_000), "openai", "{level}");
    }
}

#[test]
fn without_rules_that_look_at_limits_nobody_asks_how_much_is_used() {
    let mut policy = with_rule(is(Text::Variable(Variable::Model), "gpt-4o"));
    policy.refuses_to_tell_usage = true;
    assert!(matches(&policy));
}

#[test]
fn a_rules_target_and_fallback_may_be_aliases() {
    let policy = policy().with_settings(|settings| {
        for provider in &mut settings.providers {
            provider.aliases = [("fast".into(), "gpt-4o".into())].into();
        }
        let mut rule = rule("r", Condition::Constant(true), Some("azure"), Some("fast"));
        rule.fallbacks = vec![Destination {
            provider: Some("openai".into()),
            model: Some("fast".into()),
        }];
        settings.routing_rules = vec![rule];
    });
    let chain = chat(&policy).unwrap();
    let attempts = chain.attempts();
    let named = attempts.map(|plan| (plan.provider.as_str(), plan.model.as_str()));
    assert_eq!(
        named.collect::<Vec<_>>(),
        [("azure", "gpt-4o"), ("openai", "gpt-4o")]
    );
    let all = |plan: &crate::request::Plan| plan.alias.as_deref() == Some("fast");
    assert!(chain.attempts().all(all));
}

#[test]
fn a_rule_allows_nothing_that_its_key_may_not_have() {
    let always = Condition::Constant(true);
    let to = |provider, model| {
        policy().with_settings(|settings| {
            settings.routing_rules = vec![rule("r", always.clone(), provider, model)];
        })
    };
    let blocked = Denial::ProviderBlocked {
        provider: "anthropic".into(),
    };
    assert_eq!(chat(&to(Some("anthropic"), None)).unwrap_err(), blocked);
    let gone = Denial::ProviderBlocked {
        provider: "gone".into(),
    };
    assert_eq!(chat(&to(Some("gone"), None)).unwrap_err(), gone);
    for provider in [None, Some("openai")] {
        let blocked = Denial::ModelBlocked { model: "o9".into() };
        assert_eq!(chat(&to(provider, Some("o9"))).unwrap_err(), blocked);
    }
    let unpriced = Denial::PriceUnknown {
        provider: "openai".into(),
        model: "unpriced".into(),
    };
    assert_eq!(
        chat(&to(Some("openai"), Some("unpriced"))).unwrap_err(),
        unpriced
    );
    // Nor is a limit of the place where it goes forgotten.
    let limited = to(Some("azure"), None).with_key(|key| {
        key.provider_configs[1].limits = vec![limit("azure-requests", Metric::Requests)];
    });
    let plan = chat(&limited).unwrap();
    assert!(
        plan.reservations()
            .iter()
            .any(|it| it.limit.id == "azure-requests")
    );
}

#[test]
fn of_several_targets_only_those_are_drawn_that_the_key_may_use() {
    let policy = policy().with_settings(|settings| {
        let mut split = rule("r", Condition::Constant(true), None, None);
        split.targets = vec![
            target(Some("anthropic"), None, 900_000),
            target(Some("azure"), None, 100_000),
        ];
        settings.routing_rules = vec![split];
    });
    let head = Head::post("/v1/chat/completions");
    let admission = head.judge(&policy).unwrap();
    for draw in [0, u64::MAX / 3, u64::MAX / 2, u64::MAX] {
        let chain = judge_body(&policy, 0, &admission, CHAT.as_bytes(), draw).unwrap();
        assert_eq!(chain.first().provider, "azure");
    }
}

#[test]
fn the_model_that_a_rule_chooses_is_the_one_that_is_sent_and_priced() {
    let policy = policy().with_settings(|settings| {
        let cheap = rule("r", Condition::Constant(true), None, Some("gpt-4o-mini"));
        settings.routing_rules = vec![cheap];
    });
    let plan = chat(&policy).unwrap().into_first();
    assert_eq!(
        (plan.provider.as_str(), plan.model.as_str()),
        ("openai", "gpt-4o-mini")
    );
    let body = String::from_utf8(plan.body.unwrap()).unwrap();
    assert!(body.contains(r#""model":"gpt-4o-mini""#), "{body}");
}

#[test]
fn the_narrowest_scope_is_asked_first() {
    let always = |id| rule(id, Condition::Constant(true), None, None);
    let mut policy = policy().with_settings(|it| it.routing_rules = vec![always("global")]);
    let chosen = |policy: &Policy| chat(policy).unwrap().rule_id().cloned().unwrap();
    assert_eq!(chosen(&policy), "global");
    policy
        .customers
        .get_mut("customer-1")
        .unwrap()
        .routing_rules = vec![always("customer")];
    assert_eq!(chosen(&policy), "customer");
    policy.teams.get_mut("team-1").unwrap().routing_rules = vec![always("team")];
    assert_eq!(chosen(&policy), "team");
    let policy = policy.with_key(|key: &mut VirtualKey| key.routing_rules = vec![always("key")]);
    assert_eq!(chosen(&policy), "key");
}

#[test]
fn a_rule_that_fails_is_passed_over_and_told_of() {
    let number = |name: &str| {
        let header = Integer::Of(Text::Header(name.into()));
        Condition::Integers(header, Comparison::Greater, Integer::Literal(1))
    };
    let policy = policy().with_settings(|settings| {
        settings.routing_rules = vec![
            rule("missing", number("x-none"), Some("anthropic"), None),
            rule("failing", number("x-word"), Some("anthropic"), None),
            rule("good", Condition::Constant(true), Some("azure"), None),
        ];
    });
    let head = Head::post("/v1/chat/completions").with("x-word", b"one");
    let chain = sent(&policy, &head, CHAT).unwrap();
    assert_eq!(chain.first().provider, "azure");
    let admission = head.judge(&policy).unwrap();
    // Also where the request is refused after that.
    for (body, is_forwarded) in [(CHAT, true), (&CHAT.replace("gpt-4o", "unknown"), false)] {
        let mut looked = Vec::new();
        let judged = judge_body_watched(&policy, 0, &admission, body.as_bytes(), 0, &mut |it| {
            looked.push((it.rule.id.clone(), it.answer));
        });
        assert_eq!(judged.is_ok(), is_forwarded);
        assert_eq!(
            looked,
            [
                ("missing".into(), Err(Fault::Missing)),
                ("failing".into(), Err(Fault::Failed)),
                ("good".into(), Ok(true)),
            ]
        );
    }
}

#[test]
fn the_fallbacks_of_a_rule_are_tried_in_order_and_none_that_the_key_may_not_use() {
    let to = |provider: &str, model: Option<&str>| Destination {
        provider: Some(provider.into()),
        model: model.map(Into::into),
    };
    let with = |provider: &str, fallbacks: Vec<Destination>| {
        policy().with_settings(|settings| {
            let always = Condition::Constant(true);
            let mut rule = rule("r", always, Some(provider), Some("gpt-4o-mini"));
            rule.fallbacks = fallbacks;
            settings.routing_rules = vec![rule];
        })
    };
    let fallbacks = || {
        vec![
            to("anthropic", None),
            to("azure", None),
            to("openai", Some("gpt-4o")),
        ]
    };
    let places = |chain: &Chain| -> Vec<(String, String, u32)> {
        let attempts = chain.attempts();
        let place = attempts.map(|it| (it.provider.clone(), it.model.clone(), it.fallback_index));
        place.collect()
    };
    let chain = chat(&with("openai", fallbacks())).unwrap();
    // Without a model of its own a fallback has the one that the request had.
    let expected = [
        ("openai", "gpt-4o-mini", 0),
        ("azure", "gpt-4o", 2),
        ("openai", "gpt-4o", 3),
    ];
    let expected = expected.map(|(provider, model, index)| (provider.into(), model.into(), index));
    assert_eq!(places(&chain), expected);
    let [left_out] = chain.left_out() else {
        panic!("{:?}", chain.left_out())
    };
    assert_eq!(left_out.provider, "anthropic");
    assert!(matches!(
        left_out.reason,
        Reason::Denied(Denial::ProviderBlocked { .. })
    ));
    // A target that the key may not use is left to its fallbacks, and refused if none is admitted.
    let chain = chat(&with("anthropic", vec![to("azure", None)])).unwrap();
    assert_eq!(places(&chain), [("azure".into(), "gpt-4o".into(), 1)]);
    let blocked = Denial::ProviderBlocked {
        provider: "anthropic".into(),
    };
    assert_eq!(
        chat(&with("anthropic", vec![to("gemini", None)])).unwrap_err(),
        blocked
    );
    // The caller's come in their place only where the rule has none.
    let asked = CHAT.replace('}', r#","fallbacks":["azure/gpt-4o"]}"#);
    let head = Head::post("/v1/chat/completions");
    let chain = sent(&with("openai", Vec::new()), &head, &asked).unwrap();
    assert_eq!(places(&chain).len(), 2);
    let chain = sent(&with("openai", vec![to("openai", None)]), &head, &asked).unwrap();
    let second = ("openai".into(), "gpt-4o".into(), 1);
    assert_eq!(places(&chain)[1..], [second]);
}

#[test]
fn every_api_with_a_body_has_a_type() {
    for endpoint in Endpoint::ALL {
        let word = request_type(endpoint);
        let is_list = matches!(endpoint, Endpoint::ListModels | Endpoint::GetModel);
        assert_eq!(REQUEST_TYPES.contains(&word), !is_list, "{word}");
    }
    for word in REQUEST_TYPES {
        assert!(
            Endpoint::ALL.into_iter().any(|it| request_type(it) == word),
            "{word}"
        );
    }
}
