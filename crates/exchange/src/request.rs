//! The request half: from header fields and a body to a plan, or a refusal.

use std::rc::Rc;

use reeve_llm::{Endpoint, EndpointError, Request, WireFormat, is_json, query_without_credentials};
use reeve_policy::key_format::checksum_is_plausible;
use reeve_policy::limit::{Exceeded, Level, Limit, Metric};
use reeve_policy::money::Nanos;
use reeve_policy::price::{Price, upper_bound};
use reeve_policy::view::{PolicyView, Settings};
use reeve_policy::virtual_key::{Blocked, KeyDigest, Owner, VirtualKey, applicable_limits};

use crate::Denial;
use crate::credentials;
use crate::denial::LimitExceeded;
use crate::headers::Headers;
use crate::route;

/// Output tokens reserved for a model whose maximum nobody knows, when the caller gives none.
const UNKNOWN_MAX_OUTPUT_TOKENS: u64 = 32_768;

/// A request whose headers have passed. Its body comes next.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Which API.
    pub endpoint: Endpoint,
    /// Path below the provider's base URL, and the query, as they go to the provider.
    pub upstream_path: Vec<u8>,
    /// Largest body, bytes.
    pub max_body_bytes: u64,
    default_provider: Option<&'static str>,
    /// The key by its digest: what it may do is asked again when the body is there.
    presented: Option<KeyDigest>,
}

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
    /// The model, without the provider's name.
    pub model: String,
    /// What it costs; `None`: unknown, and the caller is anonymous.
    pub price: Option<Price>,
    /// The most this request can cost.
    pub cost_bound: Nanos,
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
    /// Identifier of the customer, team, key or provider config.
    pub owner_id: String,
    /// The limit.
    pub limit: Limit,
    /// In the unit of the limit's metric.
    pub amount: i64,
}

/// The dialect in which to refuse a request for this path.
pub fn dialect(path: &[u8]) -> WireFormat {
    reeve_llm::dialect_of(path)
}

/// Judges everything that is known before the body: path, required headers, credential, framing.
pub fn judge_headers(
    view: &dyn PolicyView,
    now_ms: i64,
    method: &[u8],
    path_and_query: &[u8],
    headers: Headers<'_>,
) -> Result<Admission, Denial> {
    let (path, query) = reeve_llm::split_query(path_and_query);
    let found = reeve_llm::find(method, path).map_err(|error| match error {
        EndpointError::NotFound => Denial::NotFound,
        EndpointError::MethodNotAllowed => Denial::MethodNotAllowed,
    })?;
    let settings = view.settings().ok_or(Denial::PolicyUnavailable)?;
    require_headers(&settings.required_headers, headers)?;
    let presented = present(headers)?;
    authenticate(view, &settings, now_ms, presented)?;
    check_framing(&settings, headers)?;

    let mut upstream_path = found.upstream_suffix.as_bytes().to_vec();
    let query = query.map(query_without_credentials).unwrap_or_default();
    if !query.is_empty() {
        upstream_path.push(b'?');
        upstream_path.extend_from_slice(&query);
    }
    Ok(Admission {
        endpoint: found.endpoint,
        upstream_path,
        max_body_bytes: settings.max_request_body_bytes,
        default_provider: found.default_provider,
        presented,
    })
}

/// Present and more than white space; every missing one is named at once.
fn require_headers(names: &[String], headers: Headers<'_>) -> Result<(), Denial> {
    let missing: Vec<String> = names
        .iter()
        .filter(|name| {
            !headers
                .all(name)
                .any(|value| value.iter().any(|byte| !byte.is_ascii_whitespace()))
        })
        .cloned()
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Denial::MissingRequiredHeaders(missing))
    }
}

/// The key that the request presents. A value that cannot be one of ours is not looked up.
fn present(headers: Headers<'_>) -> Result<Option<KeyDigest>, Denial> {
    match credentials::presented(headers)? {
        Some(value) if checksum_is_plausible(value) => Ok(Some(KeyDigest::of(value))),
        Some(_) => Err(Denial::VirtualKeyNotFound),
        None => Ok(None),
    }
}

fn authenticate(
    view: &dyn PolicyView,
    settings: &Settings,
    now_ms: i64,
    presented: Option<KeyDigest>,
) -> Result<Option<Rc<VirtualKey>>, Denial> {
    let Some(digest) = presented else {
        return if settings.enable_governance {
            Err(Denial::VirtualKeyRequired)
        } else {
            Ok(None)
        };
    };
    let key = view
        .virtual_key(&digest)
        .ok_or(Denial::VirtualKeyNotFound)?;
    match key.check_usable(now_ms) {
        Ok(()) => Ok(Some(key)),
        Err(Blocked::Inactive) => Err(Denial::VirtualKeyInactive),
        Err(Blocked::Expired) => Err(Denial::VirtualKeyExpired),
    }
}

/// Plain JSON in UTF-8, in one coding, not larger than admitted. What is judged must be what the
/// provider reads.
fn check_framing(settings: &Settings, headers: Headers<'_>) -> Result<(), Denial> {
    let mut types = headers.all("content-type");
    match (types.next(), types.next()) {
        (Some(value), None) if is_json(value) => {}
        _ => {
            return Err(Denial::UnsupportedMediaType(
                "send the body as `content-type: application/json`, in UTF-8",
            ));
        }
    }
    if headers
        .all("content-encoding")
        .any(|value| !value.eq_ignore_ascii_case(b"identity"))
    {
        return Err(Denial::UnsupportedMediaType(
            "send the body without a content-encoding",
        ));
    }
    let announced = headers
        .first("content-length")
        .and_then(|value| str::from_utf8(value).ok())
        .and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|length| length > settings.max_request_body_bytes) {
        return Err(Denial::PayloadTooLarge {
            max_bytes: settings.max_request_body_bytes,
        });
    }
    Ok(())
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
    let max_body_bytes = admission.max_body_bytes;
    let settings = view.settings().ok_or(Denial::PolicyUnavailable)?;
    let key = authenticate(view, &settings, now_ms, admission.presented)?;
    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if body_bytes > max_body_bytes {
        return Err(Denial::PayloadTooLarge {
            max_bytes: max_body_bytes,
        });
    }
    let request = Request::read(endpoint, body).map_err(|error| Denial::InvalidRequest {
        message: error.to_string(),
        param: error.field(),
    })?;
    let route = route::find(route::Question {
        view,
        settings: &settings,
        key: key.as_deref(),
        endpoint,
        default_provider: admission.default_provider,
        requested: &request.model,
        draw,
    })?;
    let model = view.model(&route.provider.name, route.model);
    let price = model.as_ref().and_then(|model| model.price);
    let max_output = max_output_tokens(&request, model.and_then(|model| model.max_output_tokens));
    let price_unknown = || Denial::PriceUnknown {
        provider: route.provider.name.clone(),
        model: route.model.to_owned(),
    };
    let cost_bound = match price {
        Some(price) => {
            upper_bound(body_bytes, max_output, request.choices, price).ok_or_else(price_unknown)?
        }
        // Nobody pays for an anonymous request; a key always does.
        None if key.is_none() => Nanos::ZERO,
        None => return Err(price_unknown()),
    };

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
    let reservations = key.as_deref().map_or_else(Vec::new, |key| {
        applicable_limits(customer.as_deref(), team.as_deref(), key, route.config)
            .into_iter()
            .map(|applicable| Reservation {
                level: applicable.level,
                owner_id: applicable.owner_id.to_owned(),
                limit: applicable.limit.clone(),
                amount: match applicable.limit.metric {
                    Metric::Cost => cost_bound.get(),
                    // Tokens are charged when they are known; here there must be room for one.
                    Metric::Requests | Metric::Tokens => 1,
                },
            })
            .collect()
    });
    let rewritten = request.rewrite(route.model);
    Ok(Plan {
        endpoint,
        provider_config_id: route.config.map(|config| config.id.clone()),
        provider: route.provider.name.clone(),
        cluster: route.provider.cluster.clone(),
        model: route.model.to_owned(),
        price,
        cost_bound,
        body: rewritten.body,
        usage_injected: rewritten.usage_injected,
        body_bytes,
        reservations,
        team,
        customer,
        key,
    })
}

/// The most output that the provider will produce: what the caller allows, but not more than the
/// model can.
fn max_output_tokens(request: &Request<'_>, model_max: Option<u64>) -> u64 {
    match (request.endpoint, request.max_output_tokens, model_max) {
        (Endpoint::Embeddings, _, _) => 0,
        (_, Some(asked), Some(model_max)) => asked.min(model_max),
        (_, Some(asked), None) => asked,
        (_, None, Some(model_max)) => model_max,
        (_, None, None) => UNKNOWN_MAX_OUTPUT_TOKENS,
    }
}

impl Plan {
    /// The refusal when the reservation at `index` found no room.
    pub fn limit_denial(&self, index: usize, exceeded: Exceeded) -> Denial {
        let Some(reservation) = self.reservations.get(index) else {
            return Denial::PolicyUnavailable;
        };
        Denial::LimitExceeded(LimitExceeded {
            metric: reservation.limit.metric,
            level: reservation.level,
            owner_id: reservation.owner_id.clone(),
            limit_id: reservation.limit.id.clone(),
            max: reservation.limit.max,
            used: exceeded.used,
            reserved: exceeded.reserved,
            asked: reservation.amount,
            resets_at_ms: exceeded.resets_at_ms,
        })
    }
}
