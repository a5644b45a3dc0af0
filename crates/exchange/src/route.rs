//! To which provider a request goes, and to which ones if that one fails.
//!
//! * `provider/model` goes to that provider, if the key may use it. Only a configured provider's name
//!   is a prefix: `meta-llama/llama-3` is a model.
//! * A path with a vendor's prefix (`/anthropic/…`) names its provider likewise.
//! * A bare model goes to one of the key's providers that admit it, drawn by weight; the others follow,
//!   heaviest first. Where no config has a weight, it goes to the first that admits it, in the order in
//!   which they are configured: a key with one provider needs no weight.
//! * Where routing is adaptive, a weight is what is left of it while its provider fails (`reeve_policy::shares`).
//! * An API that is not a provider's own it may serve all the same ([`WireFormat::openai_side`]). A bare
//!   model goes there only if the catalogue, an alias or the key's list knows it as that provider's: `["*"]`
//!   alone does not send every vendor's models to every other vendor.
//! * Fallbacks that a routing rule or the caller names come instead of those others, each judged like a
//!   request for it.
//! * A provider may have aliases for its models. A key is judged by both names, the alias and the provider's
//!   own; prices, limits of models and the request go by the provider's own.

use reeve_llm::{Endpoint, WireFormat, place_of, split_model};
use reeve_policy::access;
use reeve_policy::routing::order;
use reeve_policy::routing_rules::{Decision, Place};
use reeve_policy::view::{self, PolicyView, Provider, Settings};
use reeve_policy::virtual_key::{ProviderConfig, VirtualKey};

use crate::Denial;
use crate::chain::{LeftOut, Reason};

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub struct Route<'a> {
    /// The provider.
    pub provider: &'a Provider,
    /// The key's config for it; `None` for an anonymous request or `allow_all_providers`.
    pub config: Option<&'a ProviderConfig>,
    /// The model, as the provider calls it.
    pub model: &'a str,
    /// What the caller called it, where that is an alias.
    pub alias: Option<&'a str>,
}

impl<'a> Route<'a> {
    fn new(provider: &'a Provider, config: Option<&'a ProviderConfig>, asked: &'a str) -> Self {
        let model = provider.own_name(asked);
        Self {
            provider,
            config,
            model,
            alias: (model != asked).then_some(asked),
        }
    }
}

/// Everything that a choice of provider looks at.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The policy.
    pub view: &'a dyn PolicyView,
    /// Its settings.
    pub settings: &'a Settings,
    /// Who asks; `None`: anonymous, while governance is off.
    pub key: Option<&'a VirtualKey>,
    /// For which API.
    pub endpoint: Endpoint,
    /// The provider that the path names.
    pub default_provider: Option<&'a str>,
    /// The model as the caller wrote it.
    pub requested: &'a str,
    /// What the caller wants tried after it; `None`: the caller does not say.
    pub fallbacks: Option<&'a [String]>,
    /// A uniform random number.
    pub draw: u64,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// Who may be asked, and who may not.
#[derive(Debug)]
pub struct Found<'a> {
    /// In order; each with its place among all that were thought of, from 0.
    pub routes: Vec<(u32, Route<'a>)>,
    /// The others.
    pub left_out: Vec<LeftOut>,
    /// Why the first choice is none; `None`: it is one.
    pub denial: Option<Denial>,
}

/// What the caller asks for.
pub fn asked(question: Question<'_>) -> Place<'_> {
    let settings = question.settings;
    let (named, model) = split_model(question.requested, |name| settings.provider(name).is_some());
    Place {
        provider: named.or(question.default_provider),
        model,
    }
}

/// Finds the providers to ask for what the rules decided. Each of them is within the key's boundary.
pub fn find<'a>(question: Question<'a>, decision: &Decision<'a>) -> Found<'a> {
    let model = decision.place.model;
    let mut found = match decision.place.provider {
        Some(name) => Found::of_first(to_named(question, name, model), name, model),
        None => to_any(question, model),
    };
    if let Some(fallbacks) = decision.fallbacks() {
        found.routes.truncate(1);
        for (index, place) in (1..).zip(fallbacks) {
            found.add(
                question,
                index,
                place.provider.unwrap_or_default(),
                place.model,
            );
        }
    } else if let Some(fallbacks) = question.fallbacks {
        found.routes.truncate(1);
        for (index, fallback) in (1..).zip(fallbacks) {
            found.add_fallback(question, index, fallback);
        }
    }
    found
}

/// May whoever asks have this, were there no limits and no prices?
pub fn is_admitted<'a>(question: Question<'a>, place: Place<'a>) -> bool {
    match place.provider {
        Some(name) => to_named(question, name, place.model).is_ok(),
        None => !to_any(question, place.model).routes.is_empty(),
    }
}

impl<'a> Found<'a> {
    fn of_first(route: Result<Route<'a>, Denial>, provider: &str, model: &str) -> Self {
        let mut found = Self {
            routes: Vec::new(),
            left_out: Vec::new(),
            denial: None,
        };
        match route {
            Ok(route) => found.routes.push((0, route)),
            Err(denial) => {
                found.leave_out(provider, model, Reason::Denied(denial.clone()));
                found.denial = Some(denial);
            }
        }
        found
    }

    fn leave_out(&mut self, provider: &str, model: &str, reason: Reason) {
        self.left_out.push(LeftOut {
            provider: provider.to_owned(),
            model: model.to_owned(),
            reason,
        });
    }

    fn add_fallback(&mut self, question: Question<'a>, place: u32, fallback: &'a str) {
        let settings = question.settings;
        let (named, model) = split_model(fallback, |name| settings.provider(name).is_some());
        let Some(provider) = named else {
            // What stands in front of the model is no provider here.
            let (name, model) = fallback.split_once('/').unwrap_or(("", fallback));
            let provider = name.to_owned();
            return self.leave_out(
                name,
                model,
                Reason::Denied(Denial::ProviderBlocked { provider }),
            );
        };
        self.add(question, place, provider, model);
    }

    fn add(&mut self, question: Question<'a>, place: u32, provider: &str, model: &'a str) {
        match to_named(question, provider, model) {
            Ok(route) if self.has(&route) => self.leave_out(provider, model, Reason::Twice),
            Ok(route) => self.routes.push((place, route)),
            Err(denial) => self.leave_out(provider, model, Reason::Denied(denial)),
        }
    }

    fn has(&self, route: &Route<'_>) -> bool {
        self.routes.iter().any(|(_, known)| {
            known.provider.name == route.provider.name && known.model == route.model
        })
    }
}

fn to_named<'a>(question: Question<'a>, name: &str, model: &'a str) -> Result<Route<'a>, Denial> {
    let Some(provider) = question.settings.provider(name) else {
        // A path can name a provider that is not configured, and a rule one that is gone.
        return Err(Denial::ProviderBlocked {
            provider: name.to_owned(),
        });
    };
    let config = match question.key {
        None => None,
        Some(key) => match key.provider_config(name) {
            None if !key.allow_all_providers => {
                return Err(Denial::ProviderBlocked {
                    provider: name.to_owned(),
                });
            }
            config => config,
        },
    };
    usable(question, provider, config, model)
}

/// May this provider be asked for this model?
fn usable<'a>(
    question: Question<'a>,
    provider: &'a Provider,
    config: Option<&'a ProviderConfig>,
    model: &'a str,
) -> Result<Route<'a>, Denial> {
    if !speaks(provider, question.endpoint) {
        return Err(not_served(provider, question.endpoint));
    }
    if !admits(question.view, provider, config, model) {
        return Err(Denial::ModelBlocked {
            model: model.to_owned(),
        });
    }
    if provider.cluster_for(config).is_none() {
        return Err(no_key(provider));
    }
    Ok(Route::new(provider, config, model))
}

fn to_any<'a>(question: Question<'a>, model: &'a str) -> Found<'a> {
    let mut found = Found {
        routes: Vec::new(),
        left_out: Vec::new(),
        denial: None,
    };
    let candidates = candidates(question, model, &mut found);
    let weights = weights(question, &candidates);
    let order = order(&weights, question.draw);
    let places = order.iter().filter_map(|index| candidates.get(*index));
    found.routes = (0..).zip(places.copied()).collect();
    for (index, route) in candidates.iter().enumerate() {
        if !order.contains(&index) {
            found.leave_out(&route.provider.name, model, Reason::NoWeight);
        }
    }
    if found.routes.is_empty() {
        let mut left_out = found.left_out.iter();
        let no_key = left_out.find_map(|left| match &left.reason {
            Reason::Denied(no_key @ Denial::ProviderKeyBlocked { .. }) => Some(no_key.clone()),
            _ => None,
        });
        found.denial = Some(no_key.unwrap_or_else(|| Denial::ModelBlocked {
            model: model.to_owned(),
        }));
    }
    found
}

/// By which the candidates are drawn, and stand in the chain.
fn weights(question: Question<'_>, candidates: &[Route<'_>]) -> Vec<Option<u32>> {
    let is_choice = candidates.len() > 1 && question.settings.adaptive_routing;
    let shares = is_choice.then(|| question.view.shares(question.now_ms));
    let shares = shares.flatten();
    let weights = candidates.iter().map(|route| {
        let config = route.config?;
        let weight = config.weight_ppm?;
        Some(shares.as_ref().map_or(weight, |shares| {
            let provider = route.provider;
            // Who is bound to keys does not see what the others do.
            let bound = config.key_ids.as_ref();
            let key_id = bound.and_then(|_| provider.key_for(Some(config)));
            shares.weight(&provider.name, key_id, weight)
        }))
    });
    weights.collect()
}

/// The providers that admit a bare model, in the order in which they are configured.
fn candidates<'a>(question: Question<'a>, model: &'a str, found: &mut Found<'a>) -> Vec<Route<'a>> {
    let settings = question.settings;
    let mut candidates = Vec::new();
    // Without a config of its own a provider is asked for its aliases and for what the catalogue lists.
    let is_listed = |provider: &Provider| {
        provider.aliases.contains_key(model) || question.view.model(&provider.name, model).is_some()
    };
    let is_known = |provider: &Provider, config: Option<&ProviderConfig>| {
        format_of(provider.wire_format) == question.endpoint.home()
            || config.is_none_or(|config| !config.allowed_models.is_any())
            || is_listed(provider)
    };
    let mut consider = |provider: &'a Provider, config: Option<&'a ProviderConfig>| match usable(
        question, provider, config, model,
    ) {
        Ok(route) if is_known(provider, config) => candidates.push(route),
        Ok(_) => found.leave_out(&provider.name, model, Reason::Unlisted),
        Err(denial) => found.leave_out(&provider.name, model, Reason::Denied(denial)),
    };
    if let Some(key) = question.key {
        for config in &key.provider_configs {
            if let Some(provider) = settings.provider(&config.provider) {
                consider(provider, Some(config));
            }
        }
    }
    let is_open = |name: &str| match question.key {
        None => true,
        Some(key) => key.allow_all_providers && key.provider_config(name).is_none(),
    };
    for provider in &settings.providers {
        if is_open(&provider.name) && is_listed(provider) {
            consider(provider, None);
        }
    }
    candidates
}

/// The refusal when none of the keys that are meant is left.
pub(crate) fn no_key(provider: &Provider) -> Denial {
    Denial::ProviderKeyBlocked {
        provider: provider.name.clone(),
    }
}

/// The refusal of an API that the provider does not have. It says what to call instead.
pub(crate) fn not_served(provider: &Provider, endpoint: Endpoint) -> Denial {
    let instead = endpoint.instead_at(format_of(provider.wire_format));
    let instead = match instead.and_then(place_of) {
        Some(place) => format!("call `{place}` for its models, or "),
        None => String::new(),
    };
    Denial::InvalidRequest {
        message: format!(
            "provider `{}` does not serve `{}`: {instead}name a model of another provider",
            provider.name,
            endpoint.name()
        ),
        param: Some("model"),
    }
}

fn speaks(provider: &Provider, endpoint: Endpoint) -> bool {
    endpoint.is_served_by(format_of(provider.wire_format))
}

/// The wire format of a provider, in the words of those who read and write it.
pub const fn format_of(format: view::WireFormat) -> WireFormat {
    match format {
        view::WireFormat::OpenAi => WireFormat::OpenAi,
        view::WireFormat::Anthropic => WireFormat::Anthropic,
        view::WireFormat::Gemini => WireFormat::Gemini,
        view::WireFormat::Bedrock => WireFormat::Bedrock,
        view::WireFormat::Cohere => WireFormat::Cohere,
    }
}

fn admits(
    view: &dyn PolicyView,
    provider: &Provider,
    config: Option<&ProviderConfig>,
    model: &str,
) -> bool {
    // Without a config of its own (anonymous, or `allow_all_providers`) a provider is open.
    config.is_none_or(|config| {
        let own = provider.own_name(model);
        access::admits(
            &config.allowed_models,
            &config.blacklisted_models,
            [model, own],
            view.model(&provider.name, own).is_some(),
        )
    })
}
