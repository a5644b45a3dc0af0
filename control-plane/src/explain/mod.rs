//! What the filter would decide about a request, and why. It is decided by the filter's own code
//! (`reeve_exchange`), on the policy that is published, and nothing is reserved or sent.
//!
//! Limits are looked up in the ledger, so the answer is as good as that: what an Envoy holds and has
//! not used it may give back when another needs it, or not. [`Room`] says so. Two refusals come from an
//! Envoy's own state and cannot be foreseen here: that its control plane does not answer, and that its
//! usage reports are backed up.

pub mod routes;
#[cfg(test)]
mod tests;

use reeve_exchange::Denial;
use reeve_exchange::head::{Admitted, Judged, judge_headers};
use reeve_exchange::headers::Headers;
use reeve_exchange::reply::Reply;
use reeve_exchange::request::{Plan, Reservation, judge_body};
use reeve_llm::WireFormat;
use reeve_policy::limit::Exceeded;
use reeve_policy::price::Price;

use crate::limits::Use;
use crate::policy_sync::view::View;

/// A request that nobody has sent.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// What is asked of a request, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Path,
    Policy,
    RequiredHeaders,
    Credential,
    Query,
    Framing,
    Body,
    Access,
    Price,
    Limits,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Path,
        Self::Policy,
        Self::RequiredHeaders,
        Self::Credential,
        Self::Query,
        Self::Framing,
        Self::Body,
        Self::Access,
        Self::Price,
        Self::Limits,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Policy => "policy",
            Self::RequiredHeaders => "required_headers",
            Self::Credential => "credential",
            Self::Query => "query",
            Self::Framing => "framing",
            Self::Body => "body",
            Self::Access => "access",
            Self::Price => "price",
            Self::Limits => "limits",
        }
    }

    /// Where a request is refused.
    fn of(denial: &Denial, has_body: bool) -> Self {
        match denial {
            Denial::Unserved(_) if has_body => Self::Access,
            Denial::PolicyUnavailable | Denial::PolicyStale => Self::Policy,
            Denial::RequiredHeaders { .. } => Self::RequiredHeaders,
            Denial::AmbiguousCredentials
            | Denial::VirtualKeyRequired
            | Denial::VirtualKeyNotFound
            | Denial::VirtualKeyInactive
            | Denial::VirtualKeyExpired => Self::Credential,
            Denial::UnsupportedMediaType(_) | Denial::PayloadTooLarge { .. } => Self::Framing,
            Denial::InvalidRequest { .. } | Denial::ModelConflict if has_body => Self::Body,
            // Of a path only its model can be at fault.
            Denial::NotFound
            | Denial::MethodNotAllowed { .. }
            | Denial::Unserved(_)
            | Denial::InvalidRequest { param: Some(_), .. } => Self::Path,
            Denial::InvalidRequest { .. } | Denial::ModelConflict => Self::Query,
            Denial::ModelNotFound
            | Denial::ProviderBlocked { .. }
            | Denial::ModelBlocked { .. } => Self::Access,
            Denial::PriceUnknown { .. } => Self::Price,
            Denial::LimitExceeded(_) | Denial::LimitsUnavailable | Denial::UsageBacklogFull => {
                Self::Limits
            }
        }
    }
}

/// Everything but the limits.
#[derive(Debug)]
pub struct Verdict {
    pub dialect: WireFormat,
    pub outcome: Outcome,
}

/// What comes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Refused at this step.
    Denied(Step, Denial),
    /// Answered by the filter itself.
    Answered(Reply),
    /// To be forwarded, if there is room under these limits.
    Planned(Box<Planned>),
}

/// A plan, as far as it is told.
#[derive(Debug)]
pub struct Planned {
    pub endpoint: &'static str,
    pub key: Option<Key>,
    pub provider_config_id: Option<String>,
    pub provider: String,
    pub model: String,
    pub alias: Option<String>,
    pub upstream_path: String,
    pub price: Option<Price>,
    pub cost_bound_nanos: i64,
    pub input_bound: u64,
    pub rewrites_body: bool,
    pub reservations: Vec<Reservation>,
}

/// Who asks.
#[derive(Debug)]
pub struct Key {
    pub id: String,
    pub name: String,
    pub team_id: Option<String>,
    pub customer_id: Option<String>,
}

/// Is there room under a limit?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Yes,
    /// Once Envoys have returned what they hold and do not use. What is in flight they will not.
    IfReturned,
    No,
}

/// Decides, up to the limits. `draw` is a uniform random number.
pub fn judge(view: View<'_>, request: &Request, now_ms: i64, draw: u64) -> Verdict {
    let headers = Headers::new(&request.headers);
    let (method, path) = (request.method.as_bytes(), request.path.as_bytes());
    let Judged { dialect, verdict } = judge_headers(&view, now_ms, method, path, headers);
    let outcome = match verdict {
        Err(denial) => Outcome::Denied(Step::of(&denial, false), denial),
        Ok(Admitted::Answered(reply)) => Outcome::Answered(reply),
        Ok(Admitted::AwaitsBody(admission)) => {
            match judge_body(&view, now_ms, &admission, &request.body, draw) {
                Err(denial) => Outcome::Denied(Step::of(&denial, true), denial),
                Ok(plan) => Outcome::Planned(Box::new(planned(plan))),
            }
        }
    };
    Verdict { dialect, outcome }
}

fn planned(plan: Plan) -> Planned {
    let owner_id = |owner: Option<std::rc::Rc<reeve_policy::virtual_key::Owner>>| {
        owner.map(|owner| owner.id.clone())
    };
    Planned {
        endpoint: plan.endpoint.name(),
        key: plan.key.map(|key| Key {
            id: key.id.clone(),
            name: key.name.clone(),
            team_id: owner_id(plan.team),
            customer_id: owner_id(plan.customer),
        }),
        provider_config_id: plan.provider_config_id,
        provider: plan.provider,
        model: plan.model,
        alias: plan.alias,
        upstream_path: plan.upstream_path,
        // What the reservation was made by: the dearest that may be charged.
        price: plan.price.map(|pricing| pricing.dearest),
        cost_bound_nanos: plan.cost_bound.get(),
        input_bound: plan.input_bound,
        rewrites_body: plan.body.is_some(),
        reservations: plan.reservations,
    }
}

/// Is there room for a reservation?
pub fn room(reservation: &Reservation, usage: Use) -> Room {
    let max = usage.max(&reservation.limit);
    let fits = |committed: i64| committed.saturating_add(reservation.amount) <= max;
    if reservation.amount == 0 || fits(usage.committed()) {
        Room::Yes
    } else if fits(usage.used.saturating_add(usage.suspense)) {
        Room::IfReturned
    } else {
        Room::No
    }
}

/// The refusal when there is none.
pub fn refuse(reservation: &Reservation, usage: Use, now_ms: i64) -> Denial {
    reservation.denial(Exceeded {
        used: usage.committed(),
        reserved: usage.reserved.saturating_add(usage.suspense),
        resets_at_ms: reservation.limit.window(now_ms).end_ms,
    })
}
