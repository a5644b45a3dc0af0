//! The second half of judging a request: from its body to a plan, or a refusal.

use std::rc::Rc;

use reeve_llm::{Body, BodyKind, Endpoint, Output, Request, RequestError};
use reeve_policy::limit::{Exceeded, Level, Limit, Metric};
use reeve_policy::money::Nanos;
use reeve_policy::price_list::PriceList;
use reeve_policy::price_override::most_specific;
use reeve_policy::units::Units;
use reeve_policy::view::{Model, PolicyView, Settings};
use reeve_policy::virtual_key::{Owner, Subject, VirtualKey, applicable_limits};

use crate::Denial;
use crate::denial::LimitExceeded;
use crate::head::{Admission, authenticate};
use crate::pricing::Pricing;
use crate::reservation::OutputBound;
use crate::route::{self, format_of};
use crate::units;

/// Output tokens reserved for a model whose maximum nobody knows, when the caller gives none.
const UNKNOWN_MAX_OUTPUT_TOKENS: u64 = 32_768;

/// What will happen to a request that has passed every check but the limits.
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
    /// Its Envoy cluster.
    pub cluster: String,
    /// The model, as the provider calls it.
    pub model: String,
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
    /// The body to send instead of the caller's.
    pub body: Option<Vec<u8>>,
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
    /// The refusal when there is no room for it.
    pub fn denial(&self, exceeded: Exceeded) -> Denial {
        Denial::LimitExceeded(LimitExceeded {
            metric: self.limit.metric,
            level: self.level,
            owner_id: self.owner_id.clone(),
            limit_id: self.limit.id.clone(),
            max: self.limit.max,
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
) -> Result<Plan, Denial> {
    let endpoint = admission.endpoint;
    let settings = view.settings().ok_or(Denial::PolicyUnavailable)?;
    let key = authenticate(view, &settings, now_ms, admission.presented)?;
    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if body_bytes > admission.max_body_bytes {
        return Err(Denial::PayloadTooLarge {
            max_bytes: admission.max_body_bytes,
        });
    }
    let request = read(admission, body).map_err(refuse_body)?;
    let route = route::find(route::Question {
        view,
        settings: &settings,
        key: key.as_deref(),
        endpoint,
        default_provider: admission.path_provider,
        requested: &request.model,
        draw,
    })?;
    let format = format_of(route.provider.wire_format);
    let upstream_path = endpoint.upstream_path(format, route.model);
    let mut upstream_path = upstream_path.ok_or_else(|| route::not_served(route.provider))?;
    if !admission.query.is_empty() {
        upstream_path.push('?');
        upstream_path.push_str(&admission.query);
    }
    let model = view.model(&route.provider.name, route.model);
    let input_bound = input_bound(&request, model.as_deref());
    let owner = |id: Option<&String>, find: &dyn Fn(&str) -> Option<Rc<Owner>>| match id {
        // An owner that the key names and the policy lacks: refuse rather than forget its limits.
        Some(id) => find(id).map(Some).ok_or(Denial::PolicyUnavailable),
        None => Ok(None),
    };
    let team_id = key.as_ref().and_then(|key| key.team_id.as_ref());
    let team = owner(team_id, &|id| view.team(id))?;
    let customer_id = key.as_ref().and_then(|key| key.customer_id.as_ref());
    let customer_id = team
        .as_ref()
        .and_then(|team| team.customer_id.as_ref())
        .or(customer_id);
    let customer = owner(customer_id, &|id| view.customer(id))?;
    let limits = applicable_limits(
        &settings.model_limits,
        Subject {
            provider: &route.provider.name,
            model: route.model,
            customer: customer.as_deref(),
            team: team.as_deref(),
            key: key.as_deref(),
            config: route.config,
        },
    );
    let is_charged = key.is_some() || limits.iter().any(|it| it.limit.metric == Metric::Cost);
    let key_id = key.as_ref().map(|key| key.id.as_str());
    let most_units = units::most(&request);
    let most_output = output_bound(&request, model.as_deref());
    let asked = Priceable {
        settings: &settings,
        endpoint,
        key_id,
        is_charged,
        provider: &route.provider.name,
        name: route.model,
        model: model.as_deref(),
    };
    let (price, cost_bound) = match price(&asked) {
        Priced::Free => (None, Nanos::ZERO),
        Priced::By(list) => {
            let price = Pricing::new(list, request.service_tier, input_bound);
            let bound = price.bound(input_bound, most_output, request.choices, most_units);
            (Some(price), bound.ok_or_else(|| price_unknown(&route))?)
        }
        Priced::Unknown => return Err(price_unknown(&route)),
    };
    let reservations = limits.into_iter().map(|applicable| Reservation {
        level: applicable.level,
        owner_id: applicable.owner_id.to_owned(),
        limit: applicable.limit.clone(),
        amount: match applicable.limit.metric {
            Metric::Cost => cost_bound.get(),
            // Tokens are charged when they are known; here there must be room for one.
            Metric::Requests | Metric::Tokens => 1,
        },
    });
    let reservations = reservations.collect();
    let rewritten = request.rewrite(route.model).map_err(refuse_body)?;
    Ok(Plan {
        endpoint,
        provider_config_id: route.config.map(|config| config.id.clone()),
        provider: route.provider.name.clone(),
        cluster: route.provider.cluster.clone(),
        model: route.model.to_owned(),
        alias: route.alias.map(str::to_owned),
        upstream_path,
        price,
        cost_bound,
        input_bound,
        most_units,
        output: OutputBound {
            tokens: most_output,
            choices: request.choices,
            slots: rewritten.output_slots,
            reserving: settings.reserving,
            clamped: None,
        },
        body: rewritten.body,
        usage_injected: rewritten.usage_injected,
        body_bytes,
        reservations,
        team,
        customer,
        key,
    })
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

fn price_unknown(route: &route::Route<'_>) -> Denial {
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
    /// The refusal when the reservation at `index` found no room.
    pub fn limit_denial(&self, index: usize, exceeded: Exceeded) -> Denial {
        let Some(reservation) = self.reservations.get(index) else {
            return Denial::PolicyUnavailable;
        };
        reservation.denial(exceeded)
    }
}
