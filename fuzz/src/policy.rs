//! The policy that requests are judged by: every kind of provider, every way to admit a model, a
//! limit at every level.

use std::collections::BTreeMap;
use std::rc::Rc;

use reeve_policy::access::ModelList;
use reeve_policy::calendar::Alignment;
use reeve_policy::limit::{Limit, Metric};
use reeve_policy::model_limits::ModelLimitsTable;
use reeve_policy::period::Period;
use reeve_policy::price::Price;
use reeve_policy::required_headers::RequiredHeader;
use reeve_policy::reservation::Reserving;
use reeve_policy::retry::RetryOn;
use reeve_policy::shares::Shares;
use reeve_policy::view::{Model, PolicyView, Provider, Settings, WireFormat};
use reeve_policy::virtual_key::{KeyDigest, Owner, ProviderConfig, VirtualKey};

/// The one key there is.
pub const KEY: &str = "sk-bf-test";

const OPENAI_MODELS: [&str; 4] = [
    "gpt-4o",
    "gpt-4o-mini",
    "whisper-1",
    "text-embedding-3-small",
];

/// See the module.
pub struct Policy {
    settings: Rc<Settings>,
    key: Rc<VirtualKey>,
    team: Rc<Owner>,
    customer: Rc<Owner>,
    model: Rc<Model>,
}

impl Policy {
    /// What callers are judged by.
    pub fn of_the_gateway() -> Self {
        let providers = [
            ("openai", WireFormat::OpenAi),
            ("azure", WireFormat::OpenAi),
            ("anthropic", WireFormat::Anthropic),
            ("gemini", WireFormat::Gemini),
            ("bedrock", WireFormat::Bedrock),
            ("cohere", WireFormat::Cohere),
        ];
        let required = vec![RequiredHeader::parse("x-tenant: [a-z]+").expect("it is one")];
        let configs = vec![
            // What the catalogue lists.
            config("openai", Some(700_000), &[], &["gpt-4o-mini-audio"]),
            config("azure", Some(300_000), &["*"], &["regex:.*-preview"]),
            config("anthropic", None, &["regex:claude-.*"], &[]),
            config(
                "gemini",
                Some(0),
                &["gemini-2.5-flash", "gemini-2.5-pro"],
                &[],
            ),
            config("bedrock", None, &["*"], &[]),
        ];
        Self::new(&providers, required, configs)
    }

    /// What a provider would judge by that is a gateway as well: any model, with or without a name
    /// for it that callers could write in front of a model.
    pub fn of_a_provider(name: &str, format: WireFormat) -> Self {
        let configs = vec![config(name, None, &["*"], &[])];
        Self::new(&[(name, format)], Vec::new(), configs)
    }

    fn new(
        providers: &[(&str, WireFormat)],
        required_headers: Vec<RequiredHeader>,
        provider_configs: Vec<ProviderConfig>,
    ) -> Self {
        let provider = |&(name, wire_format): &(&str, WireFormat)| Provider {
            name: name.into(),
            wire_format,
            cluster: format!("provider_{name}"),
            key_ids: Vec::new(),
            retry_on: RetryOn::ALL,
            per_try_timeout_ms: None,
            aliases: BTreeMap::new(),
        };
        Self {
            settings: Rc::new(Settings {
                enable_governance: true,
                providers: providers.iter().map(provider).collect(),
                required_headers,
                max_request_body_bytes: 1 << 20,
                reserving: Reserving::default(),
                ceiling: None,
                price_overrides: Vec::new(),
                model_limits: ModelLimitsTable::default(),
                routing_rules: Vec::new(),
                adaptive_routing: true,
            }),
            key: Rc::new(VirtualKey {
                id: "key-1".into(),
                name: "test".into(),
                is_active: true,
                expires_at_ms: None,
                allow_all_providers: true,
                provider_configs,
                team_id: Some("team-1".into()),
                customer_id: None,
                limits: vec![
                    limit("key-requests", Metric::Requests),
                    limit("key-cost", Metric::Cost),
                ],
                model_limits: ModelLimitsTable::default(),
                routing_rules: Vec::new(),
            }),
            team: Rc::new(Owner {
                id: "team-1".into(),
                name: "team".into(),
                customer_id: Some("customer-1".into()),
                limits: vec![limit("team", Metric::Tokens)],
                routing_rules: Vec::new(),
            }),
            customer: Rc::new(Owner {
                id: "customer-1".into(),
                name: "customer".into(),
                customer_id: None,
                limits: vec![limit("customer", Metric::Cost)],
                routing_rules: Vec::new(),
            }),
            model: Rc::new(Model {
                price: Some(Rc::new(
                    Price::uniform(2_500_000_000, 10_000_000_000).into(),
                )),
                max_input_tokens: Some(128_000),
                max_output_tokens: Some(16_384),
            }),
        }
    }
}

fn config(
    provider: &str,
    weight_ppm: Option<u32>,
    allowed: &[&str],
    blacklisted: &[&str],
) -> ProviderConfig {
    let list = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        ModelList::compile(&names, provider).expect("they are names and patterns")
    };
    ProviderConfig {
        id: format!("config-{provider}"),
        provider: provider.into(),
        weight_ppm,
        allowed_models: list(allowed),
        blacklisted_models: list(blacklisted),
        key_ids: None,
        limits: vec![limit("config", Metric::Requests)],
    }
}

fn limit(id: &str, metric: Metric) -> Limit {
    Limit {
        id: id.into(),
        metric,
        max: 1_000_000_000,
        period: Period::parse("1M").expect("it is a month"),
        anchor_ms: 0,
        alignment: Alignment::Rolling,
        open: None,
        raised_by: None,
    }
}

impl PolicyView for Policy {
    fn settings(&self) -> Option<Rc<Settings>> {
        Some(Rc::clone(&self.settings))
    }

    fn virtual_key(&self, digest: &KeyDigest) -> Option<Rc<VirtualKey>> {
        (*digest == KeyDigest::of(KEY.as_bytes())).then(|| Rc::clone(&self.key))
    }

    fn team(&self, id: &str) -> Option<Rc<Owner>> {
        (id == self.team.id).then(|| Rc::clone(&self.team))
    }

    fn customer(&self, id: &str) -> Option<Rc<Owner>> {
        (id == self.customer.id).then(|| Rc::clone(&self.customer))
    }

    /// OpenAI's catalogue is short, everybody else's endless.
    fn model(&self, provider: &str, model: &str) -> Option<Rc<Model>> {
        (provider != "openai" || OPENAI_MODELS.contains(&model)).then(|| Rc::clone(&self.model))
    }

    fn models(&self, provider: &str) -> Option<Rc<Vec<String>>> {
        (provider == "openai").then(|| Rc::new(OPENAI_MODELS.map(Into::into).into()))
    }

    fn used(&self, _: &Limit, _: i64) -> i64 {
        0
    }

    fn shares(&self, _: i64) -> Option<Rc<Shares>> {
        None
    }
}
