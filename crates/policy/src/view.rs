//! What a decision may look up.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::limit::Limit;
use crate::model_limits::ModelLimitsTable;
use crate::price_list::PriceList;
use crate::price_override::PriceOverride;
use crate::required_headers::RequiredHeader;
use crate::reservation::Reserving;
use crate::retry::RetryOn;
use crate::routing_rules::Rule;
use crate::shares::Shares;
use crate::virtual_key::{KeyDigest, Owner, ProviderConfig, VirtualKey};

/// The policy in force, as far as one decision asks for it. The filter answers from shared data and
/// a cache per VM, tests and the control plane from memory.
pub trait PolicyView {
    /// Settings of the whole, and the providers. `None`: no policy has arrived, decide nothing.
    fn settings(&self) -> Option<Rc<Settings>>;
    /// The key with this digest.
    fn virtual_key(&self, digest: &KeyDigest) -> Option<Rc<VirtualKey>>;
    /// A team.
    fn team(&self, id: &str) -> Option<Rc<Owner>>;
    /// A customer.
    fn customer(&self, id: &str) -> Option<Rc<Owner>>;
    /// A model that the catalogue lists for a provider.
    fn model(&self, provider: &str, model: &str) -> Option<Rc<Model>>;
    /// Names of all models that the catalogue lists for a provider, in order.
    fn models(&self, provider: &str) -> Option<Rc<Vec<String>>>;
    /// How much of a limit counts as used in the window of `now_ms`, as far as it is known here. Only
    /// routing rules that look at limits ask, and it decides nothing but where a request goes.
    fn used(&self, limit: &Limit, now_ms: i64) -> i64;
    /// By how much shares are lowered. `None`: nobody's is. Asked only where there is something to draw.
    fn shares(&self, now_ms: i64) -> Option<Rc<Shares>>;
}

/// Settings of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// When false, requests without a key pass; a key that is presented is judged all the same.
    pub enable_governance: bool,
    /// Every provider that is configured.
    pub providers: Vec<Provider>,
    /// Headers that every request must carry.
    pub required_headers: Vec<RequiredHeader>,
    /// Largest request body, bytes.
    pub max_request_body_bytes: u64,
    /// How reservations are made.
    pub reserving: Reserving,
    /// What a model without a price costs; `None`: it is refused.
    pub ceiling: Option<Rc<PriceList>>,
    /// Prices of the administrators' own, which stand above those of models.
    pub price_overrides: Vec<PriceOverride>,
    /// Limits of models and providers, whoever asks.
    pub model_limits: ModelLimitsTable,
    /// Routing rules of everyone, in order.
    pub routing_rules: Vec<Rule>,
    /// Providers are drawn by their shares as they are lowered, not as they are configured.
    pub adaptive_routing: bool,
}

impl Settings {
    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.name == name)
    }
}

/// A provider that requests can be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its name in keys, in `provider/model` and on every record.
    pub name: String,
    /// Whose wire format it speaks.
    pub wire_format: WireFormat,
    /// The Envoy cluster, with the key that its requests usually carry.
    pub cluster: String,
    /// Its active keys, heaviest first.
    pub key_ids: Vec<String>,
    /// After which of its failures the next provider is tried.
    pub retry_on: RetryOn,
    /// How long the head of its answer may take, milliseconds; `None`: as long as it likes.
    pub per_try_timeout_ms: Option<u32>,
    /// What callers may call its models, and what it calls them.
    pub aliases: BTreeMap<String, String>,
}

impl Provider {
    /// The cluster for requests under this config: of the keys that it is bound to, with the heaviest that
    /// is active. `None`: none of them is.
    pub fn cluster_for(&self, config: Option<&ProviderConfig>) -> Option<Cow<'_, str>> {
        if config.is_none_or(|config| config.key_ids.is_none()) {
            return Some(Cow::Borrowed(&self.cluster));
        }
        let id = self.key_for(config)?;
        Some(Cow::Owned(format!("{}__{id}", self.cluster)))
    }

    /// The key that requests under this config carry. `None`: they carry none.
    pub fn key_for(&self, config: Option<&ProviderConfig>) -> Option<&str> {
        let bound = config.and_then(|config| config.key_ids.as_ref());
        let mut usable = self.key_ids.iter();
        usable
            .find(|id| bound.is_none_or(|bound| bound.contains(id)))
            .map(String::as_str)
    }

    /// What it calls a model that callers call so.
    pub fn own_name<'a>(&'a self, model: &'a str) -> &'a str {
        self.aliases.get(model).map_or(model, String::as_str)
    }
}

/// Whose wire format a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireFormat {
    /// OpenAI's, and that of everyone compatible with it.
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Gemini API, with an OpenAI-compatible side.
    Gemini,
    /// Amazon Bedrock's runtime API.
    Bedrock,
    /// Cohere's API.
    Cohere,
}

/// A model of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// What it costs; `None`: listed without a price.
    pub price: Option<Rc<PriceList>>,
    /// The longest input it takes, tokens.
    pub max_input_tokens: Option<u64>,
    /// The most output it can have, tokens.
    pub max_output_tokens: Option<u64>,
}
