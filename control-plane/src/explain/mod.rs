//! What the filter would decide about a request, and why. It is decided by the filter's own code
//! (`reeve_exchange`), on the policy that is published, and nothing is reserved or sent.
//!
//! Limits are looked up in the ledger, so the answer is as good as that: what an Envoy holds and has
//! not used it may give back when another needs it, or not. [`Room`] says so. Two refusals come from an
//! Envoy's own state and cannot be foreseen here: that its control plane does not answer, and that its
//! usage reports are backed up.

pub mod routes;
mod rules;
#[cfg(test)]
mod tests;

use reeve_exchange::Denial;
use reeve_exchange::chain::{Chain, LeftOut, Reason, Refusal, lacking, most_of_each};
use reeve_exchange::head::{Admitted, Judged, judge_headers};
use reeve_exchange::headers::Headers;
use reeve_exchange::reply::Reply;
use reeve_exchange::request::{Plan, Reservation, judge_body_watched};
use reeve_llm::WireFormat;
use reeve_policy::limit::Exceeded;
use reeve_policy::price::Price;
use reeve_policy::routing_rules::Looked;
use reeve_policy::shares::Shares;
use reeve_policy::view::PolicyView as _;
use reeve_policy::virtual_key::Owner;

use crate::limits::Use;
use crate::limits::store::Usage;
use crate::policy_sync::view::View;
use rules::Seen;

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
            | Denial::ProviderKeyBlocked { .. }
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
    /// Routing rules that looked at it, in order.
    pub rules: Vec<Seen>,
}

/// What comes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// Refused at this step.
    Denied(Step, Refusal),
    /// Answered by the filter itself.
    Answered(Reply),
    /// To be forwarded, if there is room under these limits.
    Planned(Box<Planned>),
}

/// What is planned, as far as it is told.
#[derive(Debug)]
pub struct Planned {
    pub endpoint: &'static str,
    pub key: Option<Key>,
    /// In order; one at least.
    pub attempts: Vec<Attempt>,
    pub left_out: Vec<LeftOut>,
    /// Why the first choice is not among them; `None`: it is.
    pub denial: Option<Denial>,
    pub routing_rule_id: Option<String>,
}

/// One attempt.
#[derive(Debug)]
pub struct Attempt {
    pub fallback_index: u32,
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
    /// What is left of its configured weight, parts per million.
    pub share_ppm: u32,
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
    let mut rules = Vec::new();
    let outcome = match verdict {
        Err(denial) => Outcome::Denied(Step::of(&denial, false), denial.into()),
        Ok(Admitted::Answered(reply)) => Outcome::Answered(reply),
        Ok(Admitted::AwaitsBody(admission)) => {
            let admission = admission.with_fields(request.headers.clone());
            let mut look = |looked: Looked<'_>| rules.push(Seen::from(looked));
            let body = &request.body;
            match judge_body_watched(&view, now_ms, &admission, body, draw, &mut look) {
                Err(refusal) => Outcome::Denied(Step::of(&refusal.denial, true), refusal),
                Ok(chain) => {
                    let settings = view.settings();
                    let is_on = settings.is_some_and(|settings| settings.adaptive_routing);
                    let shares = is_on.then(|| view.shares(now_ms)).flatten();
                    let shares = shares.unwrap_or_default();
                    Outcome::Planned(Box::new(planned(&chain, body, &shares)))
                }
            }
        }
    };
    Verdict {
        dialect,
        outcome,
        rules,
    }
}

fn planned(chain: &Chain, body: &[u8], shares: &Shares) -> Planned {
    let first = chain.first();
    let sent = first.body.as_deref().unwrap_or(body);
    let id = |owner: &Option<std::rc::Rc<Owner>>| owner.as_ref().map(|owner| owner.id.clone());
    let attempts = chain.attempts().map(|plan| {
        let own = plan.edit.as_ref().map(|edit| edit.apply(sent));
        attempt(plan, own.as_deref().unwrap_or(sent) != body, shares)
    });
    Planned {
        endpoint: first.endpoint.name(),
        key: first.key.as_ref().map(|key| Key {
            id: key.id.clone(),
            name: key.name.clone(),
            team_id: id(&first.team),
            customer_id: id(&first.customer),
        }),
        attempts: attempts.collect(),
        left_out: chain.left_out().to_vec(),
        denial: chain.denial().cloned(),
        routing_rule_id: chain.rule_id().cloned(),
    }
}

fn attempt(plan: &Plan, rewrites_body: bool, shares: &Shares) -> Attempt {
    let key = plan.key.as_ref();
    let config = key.and_then(|key| key.provider_config(&plan.provider));
    // Who is bound to keys goes by the share of the key.
    let bound = config.and_then(|config| config.key_ids.as_ref());
    let key_id = bound.and(plan.provider_key_id.as_deref());
    Attempt {
        fallback_index: plan.fallback_index,
        provider_config_id: plan.provider_config_id.clone(),
        provider: plan.provider.clone(),
        model: plan.model.clone(),
        alias: plan.alias.clone(),
        upstream_path: plan.upstream_path.clone(),
        // What the reservation was made by: the dearest that may be charged.
        price: plan.price.as_ref().map(|pricing| pricing.dearest),
        cost_bound_nanos: plan.cost_bound.get(),
        input_bound: plan.input_bound,
        rewrites_body,
        reservations: plan.reservations.clone(),
        share_ppm: shares.factor(&plan.provider, key_id),
    }
}

impl Planned {
    /// What is taken of each limit.
    pub fn reservations(&self) -> Vec<Reservation> {
        let attempts = self.attempts.iter();
        most_of_each(attempts.map(|attempt| attempt.reservations.as_slice()))
    }

    /// Leaves out the attempts for which a limit has no room, as the filter does. When none is left, gives
    /// what the caller is told, as [`Chain::shortened`] does.
    pub fn leave_out_what_has_no_room(&mut self, usage: &Usage, now_ms: i64) -> Result<(), Denial> {
        loop {
            let reservations = self.reservations();
            let is_full = |of: &&Reservation| room(of, usage.of(&of.limit.id), now_ms) == Room::No;
            let Some(short) = reservations.iter().find(is_full) else {
                return Ok(());
            };
            let mut kept = Vec::new();
            for (place, attempt) in std::mem::take(&mut self.attempts).into_iter().enumerate() {
                let Some(own) = lacking(&attempt.reservations, short) else {
                    kept.push(attempt);
                    continue;
                };
                let denial = refuse(own, usage.of(&own.limit.id), now_ms);
                if place == 0 && self.denial.is_none() {
                    self.denial = Some(denial.clone());
                }
                self.left_out.push(LeftOut {
                    provider: attempt.provider,
                    model: attempt.model,
                    reason: Reason::NoRoom(denial),
                });
            }
            self.attempts = kept;
            if self.attempts.is_empty() {
                let denial = self.denial.take();
                return Err(
                    denial.unwrap_or_else(|| refuse(short, usage.of(&short.limit.id), now_ms))
                );
            }
        }
    }
}

/// Is there room for a reservation?
pub fn room(reservation: &Reservation, usage: Use, now_ms: i64) -> Room {
    let max = usage.max(&reservation.limit, now_ms);
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
        max: usage.max(&reservation.limit, now_ms),
        used: usage.committed(),
        reserved: usage.reserved.saturating_add(usage.suspense),
        resets_at_ms: reservation.limit.window(now_ms).end_ms,
    })
}
