//! The second half of judging a request: from its body to a plan for each attempt, or a refusal.

use std::ops::Range;
use std::rc::Rc;

use reeve_llm::{Body, BodyKind, Endpoint, Output, Request, RequestError};
use reeve_policy::limit::{Exceeded, Level, Limit, Metric};
use reeve_policy::money::Nanos;
use reeve_policy::price_list::PriceList;
use reeve_policy::price_override::most_specific;
use reeve_policy::retry::RetryOn;
use reeve_policy::routing::draw_of_session;
use reeve_policy::routing_rules::Looked;
use reeve_policy::units::Units;
use reeve_policy::view::{Model, PolicyView, Settings};
use reeve_policy::virtual_key::{Owner, Subject, VirtualKey, applicable_limits};

use crate::Denial;
use crate::chain::{Chain, LeftOut, MAX_ATTEMPTS, Reason, Refusal};
use crate::denial::LimitExceeded;
use crate::edit::Edit;
use crate::head::{Admission, authenticate};
use crate::pricing::Pricing;
use crate::reservation::OutputBound;
use crate::route::{self, Route, format_of};
use crate::rules::{Asked, owners};
use crate::units;

/// Output tokens reserved for a model whose maximum nobody knows, when the caller gives none.
const UNKNOWN_MAX_OUTPUT_TOKENS: u64 = 32_768;

/// What will happen to a request that has passed every check but the limits, in one attempt.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which API.
    pub endpoint: Endpoint,
    /// Who asks; `None`: anonymous, while governance is off.
    pub key: Option<Rc<VirtualKey>>,
    /// The team that the key belongs to.
    pub team: Option<Rc<Owner>>,
    /// The customer above team or key.
    pub customer: Option<Rc<Owner>>,
    /// The key's config for the provider.
    pub provider_config_id: Option<String>,
    /// The provider.
    pub provider: String,
    /// The key of it that the request carries; `None`: none.
    pub provider_key_id: Option<String>,
    /// Its Envoy cluster.
    pub cluster: String,
    /// The model, as the provider calls it.
    pub model: String,
    /// Its place among all that were thought of: 0 is the first choice.
    pub fallback_index: u32,
    /// After which failures the next attempt is made.
    pub retry_on: RetryOn,
    /// How long the head of the answer may take, milliseconds; `None`: as long as it likes.
    pub per_try_timeout_ms: Option<u32>,
    /// What the caller called it, where that is an alias.
    pub alias: Option<String>,
    /// Path and query below the provider's base URL.
    pub upstream_path: String,
    /// What it costs; `None`: nothing, because the API is free or the caller is anonymous.
    pub price: Option<Pricing>,
    /// The most this request can cost.
    pub cost_bound: Nanos,
    /// The most tokens that its input can be.
    pub input_bound: u64,
    /// The most that is billed beside tokens.
    pub most_units: Units,
    /// The output to come.
    pub output: OutputBound,
    /// The body to send instead of the caller's; only the first attempt has one.
    pub body: Option<Vec<u8>>,
    /// What is to be changed for this attempt in the body that the first one sends.
    pub edit: Option<Edit>,
    /// The answer will hold a usage chunk that the caller did not ask for.
    pub usage_injected: bool,
    /// Length of the caller's body, bytes.
    pub body_bytes: u64,
    /// What to take from which limit before the request goes on.
    pub reservations: Vec<Reservation>,
}

/// An amount to take from a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Where in the hierarchy.
    pub level: Level,
    /// Identifier of the customer, team, key, provider config or model config.
    pub owner_id: String,
    /// The limit.
    pub limit: Limit,
    /// In the unit of the limit's metric.
    pub amount: i64,
}

impl Reservation {
    /// Do both take from one limit?
    pub fn is_of_same_limit(&self, other: &Self) -> bool {
        self.limit.id == other.limit.id
    }

    /// The refusal when there is no room for it.
    pub fn denial(&self, exceeded: Exceeded) -> Denial {
        Denial::LimitExceeded(LimitExceeded {
            metric: self.limit.metric,
            level: self.level,
            owner_id: self.owner_id.clone(),
            limit_id: self.limit.id.clone(),
            max: exceeded.max,
            used: exceeded.used,
            reserved: exceeded.reserved,
            asked: self.amount,
            resets_at_ms: exceeded.resets_at_ms,
        })
    }
}

/// Judges the whole body, and plans what happens next. `draw` is a uniform random number.
///
/// A body can take its time, and policy may change meanwhile: the key is judged anew, so that nobody
/// keeps a door open by standing in it.
pub fn judge_body(
    view: &dyn PolicyView,
    now_ms: i64,
    admission: &Admission,
    body: &[u8],
    draw: u64,
) -> Result<Chain, Denial> {
    judge_body_watched(view, now_ms, admission, body, draw, &mut |_| {})
        .map_err(|refusal| refusal.denial)
}

/// The same, where `look` is told of each routing rule that looks at the request, whatever comes of it,
/// and a refusal says who was left out.
pub fn judge_body_watched(
    view: &dyn PolicyView,
    now_ms: i64,
    admission: &Admission,
    body: &[u8],
    draw: u64,
    look: &mut dyn FnMut(Looked<'_>),
) -> Result<Chain, Refusal> {
    let settings = view.settings().ok_or(Denial::PolicyUnavailable)?;
    let key = authenticate(view, &settings, now_ms, admission.presented)?;
    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if body_bytes > admission.max_body_bytes {
        let max_bytes = admission.max_body_bytes;
        return Err(Denial::PayloadTooLarge { max_bytes }.into());
    }
    let request = read(admission, body).map_err(refuse_body)?;
    let (team, customer) = owners(view, key.as_deref())?;
    let question = route::Question {
        view,
        settings: &settings,
        key: key.as_deref(),
        endpoint: admission.endpoint,
        default_provider: admission.path_provider,
        requested: &request.model,
        fallbacks: request.fallbacks.as_deref(),
        draw: match (&key, &admission.session) {
            (Some(key), Some(session)) => draw_of_session(&key.id, session),
            _ => draw,
        },
        now_ms,
    };
    let asked = Asked {
        question,
        admission,
        request: &request,
        team: team.as_deref(),
        customer: customer.as_deref(),
        now_ms,
    };
    let decision = asked.decide(look);
    let judging = Judging {
        view,
        settings: &settings,
        admission,
        request: &request,
        body,
        key: key.as_ref(),
        team: team.as_ref(),
        customer: customer.as_ref(),
    };
    let chain = judging.chain(route::find(question, &decision))?;
    Ok(chain.ruled(decision.rule.map(|rule| rule.id.clone())))
}

/// A request whose body was read, and who asks.
struct Judging<'a> {
    view: &'a dyn PolicyView,
    settings: &'a Settings,
    admission: &'a Admission,
    request: &'a Request<'a>,
    body: &'a [u8],
    key: Option<&'a Rc<VirtualKey>>,
    team: Option<&'a Rc<Owner>>,
    customer: Option<&'a Rc<Owner>>,
}

impl Judging<'_> {
    /// The attempts: whoever was found and passes the rest of the checks.
    fn chain(&self, found: route::Found<'_>) -> Result<Chain, Refusal> {
        let (mut left_out, mut denial) = (found.left_out, found.denial);
        let mut attempts: Vec<Plan> = Vec::with_capacity(found.routes.len().min(MAX_ATTEMPTS));
        for (place, route) in found.routes {
            let planned = if attempts.len() >= MAX_ATTEMPTS {
                Err(Reason::TooMany)
            } else {
                self.plan(place, &route, attempts.first())
                    .map_err(Reason::Denied)
            };
            match planned {
                Ok(plan) => attempts.push(plan),
                Err(reason) => {
                    if let Reason::Denied(why) = &reason
                        && attempts.is_empty()
                        && denial.is_none()
                    {
                        denial = Some(why.clone());
                    }
                    left_out.push(LeftOut {
                        provider: route.provider.name.clone(),
                        model: route.model.to_owned(),
                        reason,
                    });
                }
            }
        }
        Chain::new(attempts, left_out, denial)
    }

    /// One attempt. `first`: the one whose body the others' are made of; `None`: this is it.
    fn plan(
        &self,
        fallback_index: u32,
        route: &Route<'_>,
        first: Option<&Plan>,
    ) -> Result<Plan, Denial> {
        let Self {
            settings, request, ..
        } = *self;
        let endpoint = self.admission.endpoint;
        let provider = route.provider;
        let format = format_of(provider.wire_format);
        let upstream_path = endpoint.upstream_path(format, route.model);
        let mut upstream_path =
            upstream_path.ok_or_else(|| route::not_served(provider, endpoint))?;
        if !self.admission.query.is_empty() {
            upstream_path.push('?');
            upstream_path.push_str(&self.admission.query);
        }
        let cluster = provider.cluster_for(route.config);
        let cluster = cluster.ok_or_else(|| route::no_key(provider))?.into_owned();
        let provider_key_id = provider.key_for(route.config).map(str::to_owned);
        let model = self.view.model(&provider.name, route.model);
        let input_bound = input_bound(request, model.as_deref());
        let key = self.key.map(Rc::as_ref);
        let limits = applicable_limits(
            &settings.model_limits,
            Subject {
                provider: &provider.name,
                model: route.model,
                customer: self.customer.map(Rc::as_ref),
                team: self.team.map(Rc::as_ref),
                key,
                config: route.config,
            },
        );
        let is_charged = key.is_some() || limits.iter().any(|it| it.limit.metric == Metric::Cost);
        let most_units = units::most(request);
        let most_output = output_bound(request, model.as_deref());
        let asked = Priceable {
            settings,
            endpoint,
            key_id: key.map(|key| key.id.as_str()),
            is_charged,
            provider: &provider.name,
            name: route.model,
            model: model.as_deref(),
        };
        let (price, cost_bound) = match price(&asked) {
            Priced::Free => (None, Nanos::ZERO),
            Priced::By(list) => {
                let price = Pricing::new(list, request.service_tier, input_bound);
                let bound = price.bound(input_bound, most_output, request.choices, most_units);
                (Some(price), bound.ok_or_else(|| price_unknown(route))?)
            }
            Priced::Unknown => return Err(price_unknown(route)),
        };
        let reservations = limits.into_iter().map(|applicable| Reservation {
            level: applicable.level,
            owner_id: applicable.owner_id.to_owned(),
            limit: applicable.limit.clone(),
            amount: match applicable.limit.metric {
                Metric::Cost => cost_bound.get(),
                // Tokens are charged when they are known; here there must be room for one.
                Metric::Requests | Metric::Tokens | Metric::InFlight => 1,
            },
        });
        let reservations = reservations.collect();
        let body = self.body_of(route.model, first)?;
        Ok(Plan {
            endpoint,
            provider_config_id: route.config.map(|config| config.id.clone()),
            provider: provider.name.clone(),
            provider_key_id,
            cluster,
            model: route.model.to_owned(),
            alias: route.alias.map(str::to_owned),
            fallback_index,
            retry_on: provider.retry_on,
            per_try_timeout_ms: provider.per_try_timeout_ms,
            upstream_path,
            price,
            cost_bound,
            input_bound,
            most_units,
            output: OutputBound {
                tokens: most_output,
                choices: request.choices,
                slots: body.output_slots,
                reserving: settings.reserving,
                clamped: None,
            },
            body: body.whole,
            edit: body.edit,
            usage_injected: body.usage_injected,
            body_bytes: u64::try_from(self.body.len()).unwrap_or(u64::MAX),
            reservations,
            team: self.team.cloned(),
            customer: self.customer.cloned(),
            key: self.key.cloned(),
        })
    }

    /// The body for an attempt with this model: as a whole for the first, as an edit of that for others.
    fn body_of(&self, model: &str, first: Option<&Plan>) -> Result<BodyToSend, Denial> {
        if let Some(first) = first
            && first.model == model
        {
            return Ok(BodyToSend {
                whole: None,
                edit: None,
                usage_injected: first.usage_injected,
                output_slots: first.output.slots.clone(),
            });
        }
        let rewritten = self.request.rewrite(model).map_err(refuse_body)?;
        let (whole, edit) = match first {
            None => (rewritten.body, None),
            Some(first) => {
                let of_first = first.body.as_deref().unwrap_or(self.body);
                let own = rewritten.body.as_deref().unwrap_or(self.body);
                (None, Edit::between(of_first, own))
            }
        };
        Ok(BodyToSend {
            whole,
            edit,
            usage_injected: rewritten.usage_injected,
            output_slots: rewritten.output_slots,
        })
    }
}

/// What goes to a provider as the body of a request.
struct BodyToSend {
    whole: Option<Vec<u8>>,
    edit: Option<Edit>,
    usage_injected: bool,
    output_slots: Vec<Range<usize>>,
}

fn read<'b>(admission: &'b Admission, body: &'b [u8]) -> Result<Request<'b>, RequestError> {
    let body = match admission.endpoint.body() {
        BodyKind::Multipart => Body::Form {
            boundary: &admission.boundary,
            bytes: body,
        },
        BodyKind::Json | BodyKind::Nothing => Body::Json(body),
    };
    Request::read(admission.endpoint, admission.path_model.as_deref(), body)
}

fn refuse_body(error: RequestError) -> Denial {
    match error {
        RequestError::ModelConflict => Denial::ModelConflict,
        error => Denial::InvalidRequest {
            message: error.to_string(),
            param: error.field(),
        },
    }
}

/// What a request will be charged by.
enum Priced {
    Free,
    By(Rc<PriceList>),
    Unknown,
}

/// What a price is looked for.
struct Priceable<'a> {
    settings: &'a Settings,
    endpoint: Endpoint,
    key_id: Option<&'a str>,
    /// There is somebody to charge: a key, or a budget of the model's or the provider's.
    is_charged: bool,
    provider: &'a str,
    name: &'a str,
    model: Option<&'a Model>,
}

fn price(of: &Priceable<'_>) -> Priced {
    let own = most_specific(
        &of.settings.price_overrides,
        of.key_id,
        of.provider,
        of.name,
    );
    let own = own.map(|own| Rc::clone(&own.price));
    match own.or_else(|| of.model?.price.clone()) {
        _ if of.endpoint.output() == Output::Free => Priced::Free,
        // What is billed by units that nobody counts here has no price here.
        Some(price) if !price.units.any() || units::are_of(price.units, of.endpoint) => {
            Priced::By(price)
        }
        _ if of.is_charged => match &of.settings.ceiling {
            Some(ceiling) => Priced::By(Rc::clone(ceiling)),
            None => Priced::Unknown,
        },
        // Nobody pays for it.
        _ => Priced::Free,
    }
}

fn price_unknown(route: &Route<'_>) -> Denial {
    Denial::PriceUnknown {
        provider: route.provider.name.clone(),
        model: route.model.to_owned(),
    }
}

/// The most tokens that the input can be. Of text, no more than it has bytes; of audio and images,
/// whose bytes say little, no more than the model reads.
fn input_bound(request: &Request<'_>, model: Option<&Model>) -> u64 {
    let most_read = model.and_then(|model| model.max_input_tokens);
    match (request.endpoint.body(), most_read) {
        (BodyKind::Multipart, Some(most)) => request.input_bytes.min(most),
        _ => request.input_bytes,
    }
}

/// The most output that the provider will produce for one choice: what the caller allows, but not
/// more than the model can.
fn output_bound(request: &Request<'_>, model: Option<&Model>) -> u64 {
    if matches!(request.endpoint.output(), Output::Nothing | Output::Free) {
        return 0;
    }
    let model_max = model.and_then(|model| model.max_output_tokens);
    match (request.max_output_tokens, model_max) {
        (Some(asked), Some(model_max)) => asked.min(model_max),
        (Some(asked), None) => asked,
        (None, Some(model_max)) => model_max,
        (None, None) => UNKNOWN_MAX_OUTPUT_TOKENS,
    }
}

impl Plan {
    /// Does it reserve from the same limit?
    pub fn takes_from(&self, reservation: &Reservation) -> bool {
        let mut own = self.reservations.iter();
        own.any(|known| known.is_of_same_limit(reservation))
    }
}
