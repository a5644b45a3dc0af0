//! What has become of a limit in its current window.

use reeve_policy::limit::{Limit, Metric};
use reeve_policy::money::Nanos;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::number::Number;
use crate::http::timestamp::Timestamp;

/// Amounts in the limit's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct Use {
    /// Added to the limit for this window.
    pub added: i64,
    /// In the ledger.
    pub used: i64,
    /// Held by Envoys that live, and not spent.
    pub reserved: i64,
    /// Held by Envoys that have gone: nobody knows whether it was spent.
    pub suspense: i64,
    /// By how much it can be overspent; `None`: that depends on what is in flight.
    #[sqlx(skip)]
    pub max_overspend: Option<i64>,
}

impl Use {
    /// The most in this window.
    pub fn max(self, limit: &Limit, now_ms: i64) -> i64 {
        limit.max_at(now_ms).saturating_add(self.added)
    }

    /// Everything that counts against the limit.
    pub const fn committed(self) -> i64 {
        self.used
            .saturating_add(self.reserved)
            .saturating_add(self.suspense)
    }
}

/// A limit's current window. Amounts are US dollars, requests or tokens, as the limit's are.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitUsage {
    /// The most in this window: the limit, an override, and what was added to it for this window.
    #[schema(value_type = f64)]
    limit: Number,
    /// What finished requests used.
    #[schema(value_type = f64)]
    used: Number,
    /// Held by Envoys that are connected, and not used yet: requests under way, and leases to serve
    /// the next ones from. A standing lease that an Envoy has not touched is not counted.
    #[schema(value_type = f64)]
    reserved: Number,
    /// Held by Envoys that have not been connected for 30 s. Nobody knows whether it was used, so it
    /// counts until the window ends, an administrator releases the session, or an hour has passed.
    #[schema(value_type = f64)]
    suspense: Number,
    /// The limit less all of these; never below 0.
    #[schema(value_type = f64)]
    remaining: Number,
    /// By how much the limit can be overspent: with `fail_open_capped`, an emergency allowance for each Envoy
    /// that holds a part of limits; otherwise 0. Null: it is overspent by no more than what is in flight at one
    /// moment, which nobody bounds (a token limit; a budget with balanced reservations).
    #[schema(value_type = Option<f64>)]
    max_overspend: Option<Number>,
    /// When the window ends; null: never.
    #[schema(value_type = Option<String>, format = DateTime)]
    resets_at: Option<Timestamp>,
}

impl LimitUsage {
    /// Of a limit.
    pub fn of(limit: &Limit, usage: Use, now_ms: i64) -> Self {
        let number = |amount| amount_of(limit.metric, amount);
        let max = usage.max(limit, now_ms);
        Self {
            limit: number(max),
            used: number(usage.used),
            reserved: number(usage.reserved),
            suspense: number(usage.suspense),
            remaining: number(max.saturating_sub(usage.committed()).max(0)),
            max_overspend: usage.max_overspend.map(number),
            resets_at: Timestamp::known(limit.window(now_ms).end_ms),
        }
    }

    /// What is left.
    pub fn remaining(&self) -> Number {
        self.remaining.clone()
    }
}

/// An amount as the API writes it.
pub fn amount_of(metric: Metric, amount: i64) -> Number {
    match metric {
        Metric::Cost => Number::from_display(Nanos::new(amount)),
        Metric::Requests | Metric::Tokens | Metric::InFlight => Number::from_display(amount),
    }
}
