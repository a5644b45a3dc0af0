//! A policy in memory, for the stories that the tests of this crate tell.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use reeve_policy::access::ModelList;
use reeve_policy::calendar::Alignment;
use reeve_policy::limit::{Limit, Metric};
use reeve_policy::model_limits::ModelLimitsTable;
use reeve_policy::period::Period;
use reeve_policy::price::Price;
use reeve_policy::reservation::Reserving;
use reeve_policy::retry::RetryOn;
use reeve_policy::shares::Shares;
use reeve_policy::view::{Model, PolicyView, Provider, Settings, WireFormat};
use reeve_policy::virtual_key::{KeyDigest, Owner, ProviderConfig, VirtualKey};

use crate::Denial;
use crate::chain::Chain;
use crate::head::{self, Admission, Admitted, Judged};
use crate::headers::Headers;
use crate::reply::Reply;
use crate::request::{self, Plan};

/// The key that [`Policy::governed`] knows.
pub(crate) const KEY: &str = "sk-bf-test";

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policy {
    pub(crate) settings: Option<Settings>,
    pub(crate) key: Option<VirtualKey>,
    pub(crate) teams: HashMap<String, Owner>,
    pub(crate) customers: HashMap<String, Owner>,
    pub(crate) models: HashMap<(String, String), Model>,
    /// By the limit's id.
    pub(crate) used: HashMap<String, i64>,
    pub(crate) refuses_to_tell_usage: bool,
    pub(crate) shares: Option<Shares>,
}

impl Policy {
    /// OpenAI, Azure (OpenAI's format) and Anthropic, a few priced models, and one key that may use
    /// what the catalogue lists for OpenAI.
    pub(crate) fn governed() -> Self {
        let provider = |name: &str, wire_format| Provider {
            name: name.into(),
            wire_format,
            cluster: format!("provider_{name}"),
            key_ids: Vec::new(),
            retry_on: RetryOn::ALL,
            per_try_timeout_ms: None,
            aliases: BTreeMap::new(),
        };
        let price = Price {
            cache_read: 1_250_000_000,
            ..Price::uniform(2_500_000_000, 10_000_000_000)
        };
        let model = Model {
            price: Some(Rc::new(price.into())),
            max_input_tokens: Some(128_000),
            max_output_tokens: Some(16_384),
        };
        let models = [
            ("openai", "gpt-4o"),
            ("openai", "gpt-4o-mini"),
            ("azure", "gpt-4o"),
            ("anthropic", "claude-3-5-sonnet-20241022"),
            ("gemini", "gemini-2.5-flash"),
            ("bedrock", "anthropic.claude-v2:1"),
        ];
        let mut models: HashMap<_, _> = models
            .map(|(provider, name)| ((provider.into(), name.into()), model.clone()))
            .into();
        models.insert(
            ("openai".into(), "unpriced".into()),
            Model {
                price: None,
                max_input_tokens: None,
                max_output_tokens: None,
            },
        );
        Self {
            settings: Some(Settings {
                enable_governance: true,
                providers: vec![
                    provider("openai", WireFormat::OpenAi),
                    provider("azure", WireFormat::OpenAi),
                    provider("anthropic", WireFormat::Anthropic),
                    provider("gemini", WireFormat::Gemini),
                    provider("bedrock", WireFormat::Bedrock),
                ],
                required_headers: Vec::new(),
                max_request_body_bytes: 1000,
                reserving: Reserving::default(),
                ceiling: None,
                price_overrides: Vec::new(),
                model_limits: ModelLimitsTable::default(),
                routing_rules: Vec::new(),
                adaptive_routing: true,
            }),
            key: Some(VirtualKey {
                id: "key-1".into(),
                name: "test".into(),
                is_active: true,
                expires_at_ms: None,
                allow_all_providers: false,
                provider_configs: vec![config("openai", &[], None)],
                team_id: None,
                customer_id: None,
                limits: Vec::new(),
                model_limits: ModelLimitsTable::default(),
                routing_rules: Vec::new(),
            }),
            models,
            ..Self::default()
        }
    }

    pub(crate) fn with_key(mut self, change: impl FnOnce(&mut VirtualKey)) -> Self {
        change(self.key.as_mut().unwrap());
        self
    }

    pub(crate) fn with_settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(self.settings.as_mut().unwrap());
        self
    }
}

impl PolicyView for Policy {
    fn settings(&self) -> Option<Rc<Settings>> {
        self.settings.clone().map(Rc::new)
    }
    fn virtual_key(&self, digest: &KeyDigest) -> Option<Rc<VirtualKey>> {
        let known = *digest == KeyDigest::of(KEY.as_bytes());
        self.key.clone().filter(|_| known).map(Rc::new)
    }
    fn team(&self, id: &str) -> Option<Rc<Owner>> {
        self.teams.get(id).cloned().map(Rc::new)
    }
    fn customer(&self, id: &str) -> Option<Rc<Owner>> {
        self.customers.get(id).cloned().map(Rc::new)
    }
    fn model(&self, provider: &str, model: &str) -> Option<Rc<Model>> {
        self.models
            .get(&(provider.into(), model.into()))
            .cloned()
            .map(Rc::new)
    }
    fn models(&self, provider: &str) -> Option<Rc<Vec<String>>> {
        let mut names: Vec<String> = self
            .models
            .keys()
            .filter(|(of, _)| of == provider)
            .map(|(_, name)| name.clone())
            .collect();
        names.sort();
        Some(Rc::new(names))
    }
    fn used(&self, limit: &Limit, _: i64) -> i64 {
        assert!(!self.refuses_to_tell_usage, "{limit:?}");
        self.used.get(&limit.id).copied().unwrap_or_default()
    }
    fn shares(&self, _: i64) -> Option<Rc<Shares>> {
        self.shares.clone().map(Rc::new)
    }
}

pub(crate) fn config(provider: &str, allowed: &[&str], weight_ppm: Option<u32>) -> ProviderConfig {
    let allowed: Vec<String> = allowed.iter().map(|&name| name.into()).collect();
    ProviderConfig {
        id: format!("config-{provider}"),
        provider: provider.into(),
        weight_ppm,
        allowed_models: ModelList::compile(&allowed, provider).unwrap(),
        blacklisted_models: ModelList::default(),
        key_ids: None,
        limits: Vec::new(),
    }
}

pub(crate) fn limit(id: &str, metric: Metric) -> Limit {
    Limit {
        id: id.into(),
        metric,
        max: 1_000_000_000,
        period: Period::parse("1M").unwrap(),
        anchor_ms: 0,
        alignment: Alignment::Rolling,
        open: None,
        raised_by: None,
    }
}

pub(crate) fn owner(id: &str, limits: Vec<Limit>) -> Owner {
    Owner {
        id: id.into(),
        name: id.into(),
        customer_id: None,
        limits,
        routing_rules: Vec::new(),
    }
}

/// A request's head, with the test key and JSON.
pub(crate) struct Head {
    pub(crate) method: &'static [u8],
    pub(crate) path: &'static [u8],
    pub(crate) fields: Vec<(String, Vec<u8>)>,
}

impl Head {
    pub(crate) fn post(path: &'static str) -> Self {
        let fields = [("x-bf-vk", KEY), ("content-type", "application/json")];
        Self {
            method: b"POST",
            path: path.as_bytes(),
            fields: fields
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
        }
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &[u8]) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    pub(crate) fn get(path: &'static str) -> Self {
        Self {
            method: b"GET",
            ..Self::post(path)
        }
        .without("content-type")
    }

    pub(crate) fn judged(&self, policy: &Policy) -> Judged {
        head::judge_headers(
            policy,
            0,
            self.method,
            self.path,
            Headers::new(&self.fields),
        )
    }

    /// Of a request with a body.
    pub(crate) fn judge(&self, policy: &Policy) -> Result<Admission, Denial> {
        match self.judged(policy).verdict? {
            Admitted::AwaitsBody(admission) => Ok(admission.with_fields(self.fields.clone())),
            Admitted::Answered(reply) => panic!("answered: {reply:?}"),
        }
    }

    /// Of a request without one.
    pub(crate) fn answer(&self, policy: &Policy) -> Result<Reply, Denial> {
        match self.judged(policy).verdict? {
            Admitted::Answered(reply) => Ok(reply),
            Admitted::AwaitsBody(admission) => panic!("waits: {admission:?}"),
        }
    }
}

/// Head and body together, with a draw in the middle.
pub(crate) fn chain(policy: &Policy, path: &'static str, body: &str) -> Result<Chain, Denial> {
    let admission = Head::post(path).judge(policy)?;
    request::judge_body(policy, 0, &admission, body.as_bytes(), u64::MAX / 2)
}

/// The first attempt of it.
pub(crate) fn plan(policy: &Policy, path: &'static str, body: &str) -> Result<Plan, Denial> {
    chain(policy, path, body).map(Chain::into_first)
}

/// A chat request for `model`.
pub(crate) fn chat(policy: &Policy, model: &str) -> Result<Plan, Denial> {
    let body = format!(r#"{{"model":"{model}","max_tokens":100,"messages":[]}}"#);
    plan(policy, "/v1/chat/completions", &body)
}
