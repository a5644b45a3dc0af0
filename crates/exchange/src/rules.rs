//! Routing rules on a request whose body has been read: what they may know of it, and which of them there
//! are.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use reeve_llm::{Endpoint, Request, ServiceTier};
use reeve_policy::expression::{Facts, PERCENT, Param, Usage, Variable};
use reeve_policy::limit::{Level, Limit};
use reeve_policy::routing_rules::{self, Decision, Looked, Place, Scope, Scoped, Subject};
use reeve_policy::view::PolicyView;
use reeve_policy::virtual_key::{self, Owner, VirtualKey, applicable_limits};

use crate::Denial;
use crate::head::Admission;
use crate::headers::{Headers, is_private};
use crate::route::{self, Question};

/// The key's team, and the customer above team or key.
type Owners = (Option<Rc<Owner>>, Option<Rc<Owner>>);

pub(crate) fn owners(view: &dyn PolicyView, key: Option<&VirtualKey>) -> Result<Owners, Denial> {
    let owner = |id: Option<&String>, find: &dyn Fn(&str) -> Option<Rc<Owner>>| match id {
        // An owner that the key names and the policy lacks: refuse rather than forget its limits.
        Some(id) => find(id).map(Some).ok_or(Denial::PolicyUnavailable),
        None => Ok(None),
    };
    let team = owner(key.and_then(|key| key.team_id.as_ref()), &|id| {
        view.team(id)
    })?;
    let customer_id = team
        .as_ref()
        .and_then(|team| team.customer_id.as_ref())
        .or_else(|| key.and_then(|key| key.customer_id.as_ref()));
    let customer = owner(customer_id, &|id| view.customer(id))?;
    Ok((team, customer))
}

/// A hundred percent.
const ALL_OF_IT: i64 = PERCENT.saturating_mul(100);

/// A request, and who asks.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) question: Question<'a>,
    pub(crate) admission: &'a Admission,
    pub(crate) request: &'a Request<'a>,
    pub(crate) team: Option<&'a Owner>,
    pub(crate) customer: Option<&'a Owner>,
    pub(crate) now_ms: i64,
}

impl<'a> Asked<'a> {
    /// Where the rules send it; where it asks to go, if there are none.
    pub(crate) fn decide(&self, look: impl FnMut(Looked<'a>)) -> Decision<'a> {
        let asked = route::asked(self.question);
        let scopes = self.scopes();
        if scopes.iter().all(|(_, rules)| rules.is_empty()) {
            return Decision::none(asked);
        }
        routing_rules::decide(&scopes, self, asked, self.question.draw, look)
    }

    fn scopes(&self) -> [Scoped<'a>; 4] {
        let Question { settings, key, .. } = self.question;
        Scope::ALL.map(|scope| {
            let rules = match scope {
                Scope::VirtualKey => key.map(|key| &key.routing_rules),
                Scope::Team => self.team.map(|team| &team.routing_rules),
                Scope::Customer => self.customer.map(|customer| &customer.routing_rules),
                Scope::Global => Some(&settings.routing_rules),
            };
            (scope, rules.map_or(&[][..], Vec::as_slice))
        })
    }
}

impl<'a> Subject<'a> for Asked<'a> {
    type Facts = Known<'a>;

    fn at(&self, place: Place<'a>) -> Known<'a> {
        Known {
            asked: *self,
            place,
            limits: OnceCell::new(),
        }
    }

    fn is_admitted(&self, place: Place<'a>) -> bool {
        route::is_admitted(self.question, place)
    }
}

/// What is known of a request that asks for a place. Limits are looked at when they are asked for, each
/// once a pass.
pub(crate) struct Known<'a> {
    asked: Asked<'a>,
    place: Place<'a>,
    limits: OnceCell<Vec<Watched<'a>>>,
}

/// A limit that applies, and how much of it is used, millionths of a percent.
struct Watched<'a> {
    level: Level,
    limit: &'a Limit,
    used: Cell<Option<i64>>,
}

impl<'a> Known<'a> {
    fn limits(&self) -> &[Watched<'a>] {
        self.limits.get_or_init(|| {
            let Question { settings, key, .. } = self.asked.question;
            let provider = self.place.provider.unwrap_or_default();
            // Limits of models go by the provider's own name.
            let named = settings.provider(provider);
            let model = named.map_or(self.place.model, |of| of.own_name(self.place.model));
            let subject = virtual_key::Subject {
                provider,
                model,
                customer: self.asked.customer,
                team: self.asked.team,
                key,
                config: key.and_then(|key| key.provider_config(provider)),
            };
            let limits = applicable_limits(&settings.model_limits, subject).into_iter();
            let limits = limits.map(|applicable| Watched {
                level: applicable.level,
                limit: applicable.limit,
                used: Cell::new(None),
            });
            limits.collect()
        })
    }

    fn used_of(&self, known: &Watched<'a>) -> i64 {
        known.used.get().unwrap_or_else(|| {
            let view = self.asked.question.view;
            let now_ms = self.asked.now_ms;
            let used = view.used(known.limit, now_ms);
            let percentage = percentage(used, known.limit.max_at(now_ms));
            known.used.set(Some(percentage));
            percentage
        })
    }
}

impl Facts for Known<'_> {
    fn variable(&self, variable: Variable) -> &str {
        let key = self.asked.question.key;
        let (team, customer) = (self.asked.team, self.asked.customer);
        match variable {
            Variable::Model => self.place.model,
            Variable::Provider => self.place.provider.unwrap_or_default(),
            Variable::RequestType => request_type(self.asked.question.endpoint),
            Variable::VirtualKeyId => key.map_or("", |key| &key.id),
            Variable::VirtualKeyName => key.map_or("", |key| &key.name),
            Variable::TeamId => team.map_or("", |team| &team.id),
            Variable::TeamName => team.map_or("", |team| &team.name),
            Variable::CustomerId => customer.map_or("", |customer| &customer.id),
            Variable::CustomerName => customer.map_or("", |customer| &customer.name),
        }
    }

    /// Of a field that is repeated, all values, as HTTP joins them. A rule sees no credential, and nothing
    /// else that is private to this hop.
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        if is_private(name) {
            return None;
        }
        let mut values = Headers::new(&self.asked.admission.fields).all(name);
        let first = values.next()?;
        Some(values.fold(Cow::Borrowed(first), |mut all, value| {
            all.to_mut().extend_from_slice(b", ");
            all.to_mut().extend_from_slice(value);
            all
        }))
    }

    fn param(&self, param: Param) -> Option<Cow<'_, str>> {
        let request = self.asked.request;
        match param {
            Param::Stream => Some(if request.stream { "true" } else { "false" }.into()),
            Param::MaxTokens => Some(request.max_output_tokens?.to_string().into()),
            Param::Choices => Some(request.choices.to_string().into()),
            Param::ServiceTier => Some(tier(request.service_tier?).into()),
            Param::BodyBytes => Some(request.input_bytes.to_string().into()),
        }
    }

    fn used(&self, usage: Usage) -> Option<i64> {
        let applies = |known: &&Watched<'_>| {
            usage.is_about(known.limit.metric, known.level, known.limit.period)
        };
        let used = self.limits().iter().filter(applies);
        let most = used.map(|known| self.used_of(known)).max();
        // Where nothing limits, nothing is used up. A limit that is asked for by name must be there.
        most.or_else(|| usage.level.is_none().then_some(0))
    }
}

/// Of a limit that allows nothing, everything is used.
fn percentage(used: i64, max: i64) -> i64 {
    let share = i128::from(used.max(0))
        .saturating_mul(ALL_OF_IT.into())
        .checked_div(i128::from(max.max(0)));
    share.map_or(ALL_OF_IT, |share| i64::try_from(share).unwrap_or(i64::MAX))
}

const fn tier(tier: ServiceTier) -> &'static str {
    match tier {
        ServiceTier::Standard => "standard",
        ServiceTier::Flex => "flex",
        ServiceTier::Balanced => "balanced",
        ServiceTier::Priority => "priority",
        ServiceTier::Ultrafast => "ultrafast",
        ServiceTier::Other => "auto",
    }
}

/// The words of `request_type`: Bifrost's, the same for all vendors' forms of one thing.
pub const REQUEST_TYPES: [&str; 13] = [
    "chat_completion",
    "text_completion",
    "responses",
    "embedding",
    "image_generation",
    "image_edit",
    "image_variation",
    "speech",
    "transcription",
    "translation",
    "moderation",
    "rerank",
    "count_tokens",
];

/// The word for an API.
pub const fn request_type(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ChatCompletions
        | Endpoint::Messages
        | Endpoint::GenerateContent
        | Endpoint::StreamGenerateContent
        | Endpoint::Converse
        | Endpoint::ConverseStream
        | Endpoint::InvokeModel
        | Endpoint::InvokeModelStream
        | Endpoint::CohereChat => "chat_completion",
        Endpoint::Completions => "text_completion",
        Endpoint::Responses => "responses",
        Endpoint::Embeddings
        | Endpoint::EmbedContent
        | Endpoint::BatchEmbedContents
        | Endpoint::CohereEmbed
        | Endpoint::CohereEmbedV1 => "embedding",
        Endpoint::ImageGenerations => "image_generation",
        Endpoint::ImageEdits => "image_edit",
        Endpoint::ImageVariations => "image_variation",
        Endpoint::Speech => "speech",
        Endpoint::Transcriptions => "transcription",
        Endpoint::Translations => "translation",
        Endpoint::Moderations => "moderation",
        Endpoint::Rerank | Endpoint::CohereRerank | Endpoint::CohereRerankV1 => "rerank",
        Endpoint::CountMessageTokens | Endpoint::CountTokens => "count_tokens",
        // Answered here: no rule looks at it.
        Endpoint::ListModels | Endpoint::GetModel => "list_models",
    }
}
