//! The answer to "which models are there?": what the key may use, by the rules that judge its
//! requests.

use reeve_llm::{Endpoint, ListedModel, WireFormat, render_model, render_models, split_model};
use reeve_policy::access;
use reeve_policy::view::{PolicyView, Provider, Settings};
use reeve_policy::virtual_key::{ProviderConfig, VirtualKey};

use crate::Denial;
use crate::reply::Reply;
use crate::route::format_of;

/// Everything that the answer looks at.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) view: &'a dyn PolicyView,
    pub(crate) settings: &'a Settings,
    /// Who asks; `None`: anonymous, while governance is off.
    pub(crate) key: Option<&'a VirtualKey>,
    pub(crate) dialect: WireFormat,
    /// The provider that the path names.
    pub(crate) provider: Option<&'static str>,
}

/// All models, or the one that is asked for.
pub(crate) fn answer(question: Question<'_>, asked: Option<&str>) -> Result<Reply, Denial> {
    let models = question.models();
    let body = match asked {
        None => {
            let listed: Vec<_> = models.iter().map(Usable::listed).collect();
            render_models(question.dialect, &listed)
        }
        Some(asked) => {
            let model = models.iter().find(|model| model.is(asked));
            let model = model.ok_or(Denial::ModelNotFound)?;
            render_model(question.dialect, &model.listed())
        }
    };
    Ok(Reply {
        status: 200,
        headers: vec![("content-type", "application/json".to_owned())],
        body,
    })
}

/// A model that the key may use.
struct Usable<'a> {
    id: String,
    provider: &'a str,
}

impl Usable<'_> {
    fn listed(&self) -> ListedModel<'_> {
        ListedModel {
            id: &self.id,
            provider: self.provider,
        }
    }

    /// With its provider in front or without.
    fn is(&self, asked: &str) -> bool {
        let bare = |name| split_model(name, |prefix| prefix == self.provider);
        let (named, model) = bare(asked);
        named.is_none_or(|named| named == self.provider) && model == bare(&self.id).1
    }
}

impl<'a> Question<'a> {
    fn models(&self) -> Vec<Usable<'a>> {
        let mut models = Vec::new();
        match self.key {
            None => {
                for provider in self.providers() {
                    self.add(provider, None, &mut models);
                }
            }
            Some(key) => {
                for config in &key.provider_configs {
                    let provider = self.providers().find(|p| p.name == config.provider);
                    if let Some(provider) = provider
                        && provider.cluster_for(Some(config)).is_some()
                    {
                        self.add(provider, Some(config), &mut models);
                    }
                }
                let open = self.providers().filter(|provider| {
                    key.allow_all_providers && key.provider_config(&provider.name).is_none()
                });
                for provider in open {
                    self.add(provider, None, &mut models);
                }
            }
        }
        models
    }

    /// Those that the path means, and that can be asked in its dialect.
    fn providers(&self) -> impl Iterator<Item = &'a Provider> {
        let Self {
            dialect, provider, ..
        } = *self;
        let chat = match dialect {
            WireFormat::OpenAi => Endpoint::ChatCompletions,
            WireFormat::Anthropic => Endpoint::Messages,
            WireFormat::Gemini => Endpoint::GenerateContent,
            WireFormat::Bedrock => Endpoint::Converse,
            WireFormat::Cohere => Endpoint::CohereChat,
        };
        self.settings.providers.iter().filter(move |candidate| {
            provider.is_none_or(|named| named == candidate.name)
                && chat.is_served_by(format_of(candidate.wire_format))
        })
    }

    fn add(
        &self,
        provider: &'a Provider,
        config: Option<&ProviderConfig>,
        models: &mut Vec<Usable<'a>>,
    ) {
        let listed = self.view.models(&provider.name).unwrap_or_default();
        // Names that the administrator wrote, which the catalogue need not know.
        let written = config.into_iter().flat_map(|config| {
            let names = config.allowed_models.exact_names();
            names.filter(|name| !listed.iter().any(|known| known == name))
        });
        let written = written.filter(|name| !provider.aliases.contains_key(*name));
        let aliases = provider.aliases.keys();
        let aliases = aliases.filter(|alias| !listed.iter().any(|known| known == *alias));
        let admitted = |name: &str, is_listed: bool| {
            config.is_none_or(|config| {
                let (allowed, blocked) = (&config.allowed_models, &config.blacklisted_models);
                let own = provider.own_name(name);
                let in_catalogue = if own == name {
                    is_listed
                } else {
                    listed.iter().any(|known| known == own)
                };
                access::admits(allowed, blocked, [name, own], in_catalogue)
            })
        };
        let known = listed.iter().map(|name| (name.as_str(), true));
        let others = aliases.map(String::as_str).chain(written);
        for (name, is_listed) in known.chain(others.map(|name| (name, false))) {
            if admitted(name, is_listed) {
                models.push(Usable {
                    id: self.id(provider, name),
                    provider: &provider.name,
                });
            }
        }
    }

    /// What the caller has to write: with the provider in front where the path names none, and where
    /// a model is named in the body.
    fn id(&self, provider: &Provider, model: &str) -> String {
        if self.dialect == WireFormat::OpenAi && self.provider.is_none() {
            format!("{}/{model}", provider.name)
        } else {
            model.to_owned()
        }
    }
}
