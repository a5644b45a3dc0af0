//! To which provider a request goes.
//!
//! * `provider/model` goes to that provider, if the key may use it. Only a configured provider's name
//!   is a prefix: `meta-llama/llama-3` is a model.
//! * A path with a vendor's prefix (`/anthropic/…`) names its provider likewise.
//! * A bare model goes to one of the key's providers that admit it, drawn by weight. Where no config
//!   has a weight, it goes to the first that admits it, in the order in which they are configured: a
//!   key with one provider needs no weight.
//! * A provider may have aliases for its models. A key is judged by both names, the alias and the provider's
//!   own; prices, limits of models and the request go by the provider's own.

use reeve_llm::{Endpoint, WireFormat, split_model};
use reeve_policy::access;
use reeve_policy::routing::choose;
use reeve_policy::view::{self, PolicyView, Provider, Settings};
use reeve_policy::virtual_key::{ProviderConfig, VirtualKey};

use crate::Denial;

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
    /// A uniform random number.
    pub draw: u64,
}

/// Chooses the provider, or says why there is none.
pub fn find(question: Question<'_>) -> Result<Route<'_>, Denial> {
    let settings = question.settings;
    let (named, model) = split_model(question.requested, |name| settings.provider(name).is_some());
    match named.or(question.default_provider) {
        Some(name) => to_named(question, name, model),
        None => to_any(question, model),
    }
}

fn to_named<'a>(question: Question<'a>, name: &str, model: &'a str) -> Result<Route<'a>, Denial> {
    let Some(provider) = question.settings.provider(name) else {
        // Only a path can name a provider that is not configured.
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
    if !speaks(provider, question.endpoint) {
        return Err(not_served(provider));
    }
    if !admits(question.view, provider, config, model) {
        return Err(Denial::ModelBlocked {
            model: model.to_owned(),
        });
    }
    Ok(Route::new(provider, config, model))
}

fn to_any<'a>(question: Question<'a>, model: &'a str) -> Result<Route<'a>, Denial> {
    let Question {
        view,
        settings,
        endpoint,
        ..
    } = question;
    let usable = |provider: &'a Provider, config: Option<&'a ProviderConfig>| {
        (speaks(provider, endpoint) && admits(view, provider, config, model))
            .then(|| Route::new(provider, config, model))
    };
    let listed = |provider: &&Provider| {
        provider.aliases.contains_key(model) || view.model(&provider.name, model).is_some()
    };
    let candidates: Vec<Route<'a>> = match question.key {
        None => settings
            .providers
            .iter()
            .filter(listed)
            .filter_map(|provider| usable(provider, None))
            .collect(),
        Some(key) => {
            let configured = key
                .provider_configs
                .iter()
                .filter_map(|config| usable(settings.provider(&config.provider)?, Some(config)));
            let open = settings.providers.iter().filter(|provider| {
                key.allow_all_providers && key.provider_config(&provider.name).is_none()
            });
            let open = open
                .filter(listed)
                .filter_map(|provider| usable(provider, None));
            configured.chain(open).collect()
        }
    };
    let weights: Vec<u32> = candidates
        .iter()
        .map(|route| {
            route
                .config
                .and_then(|config| config.weight_ppm)
                .unwrap_or(0)
        })
        .collect();
    let index = choose(&weights, question.draw).unwrap_or(0);
    candidates
        .get(index)
        .copied()
        .ok_or_else(|| Denial::ModelBlocked {
            model: model.to_owned(),
        })
}

/// The refusal of an API that the provider does not have.
pub(crate) fn not_served(provider: &Provider) -> Denial {
    Denial::InvalidRequest {
        message: format!(
            "provider `{}` does not serve this API: use the API of its own vendor, or a model of \
             another provider",
            provider.name
        ),
        param: Some("model"),
    }
}

fn speaks(provider: &Provider, endpoint: Endpoint) -> bool {
    endpoint.is_served_by(format_of(provider.wire_format))
}

/// The wire format of a provider, in the words of those who read and write it.
pub(crate) const fn format_of(format: view::WireFormat) -> WireFormat {
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
