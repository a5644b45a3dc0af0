//! Budgets and rate limits, the children of a customer, a team, a virtual key or a provider config.
//!
//! A budget and a rate limit are one thing inside ([`reeve_policy::limit::Limit`]); the API shows
//! them as Bifrost does: a list of budgets, at most one per `reset_duration`; one rate limit with a
//! request half and a token half, or a list of windows, at most one per metric and `reset_duration`.
//!
//! Invariant: a limit's usage is in another table than its configuration. An edit keeps the limit's
//! id, and with it everything that has been used, as long as the edit names the limit by its id or
//! by its `reset_duration`.

pub mod budget;
pub mod calendar;
pub mod overrides;
pub mod rate_limit;
pub mod rate_limits;
pub mod store;
#[cfg(test)]
mod tests;
mod usage;

use reeve_policy::calendar::Alignment;
use reeve_policy::limit::{Limit, Metric};

pub use budget::{Budget, BudgetChange};
pub use calendar::OwnerCalendar;
pub use overrides::{LimitOverride, LimitOverrideChange};
pub use rate_limit::{RateLimit, RateLimitChange};
pub use rate_limits::{RateLimitWindow, RateLimitWindowChange};
pub use usage::{LimitUsage, Use, amount_of};

use crate::http::field::Field;
use crate::invalid::Invalid;
use crate::random::Ids;

/// What a request says about the limits of one owner.
#[derive(Debug, Default)]
pub struct LimitsChange {
    /// The one budget, as the short form has it.
    pub budget: Field<BudgetChange>,
    /// All budgets.
    pub budgets: Field<Vec<BudgetChange>>,
    /// The rate limit, as the short form has it.
    pub rate_limit: Field<RateLimitChange>,
    /// All windows of all rate limits.
    pub rate_limits: Field<Vec<RateLimitWindowChange>>,
    /// Whether every window is to be as the owner's calendar says.
    pub realign: bool,
}

impl LimitsChange {
    /// The owner's limits after the change. `calendar` is the owner's after it; new limits take it.
    pub fn apply(
        self,
        old: Vec<Limit>,
        calendar: &OwnerCalendar,
        ids: &mut Ids,
    ) -> Result<Vec<Limit>, Invalid> {
        let before = old.clone();
        let mut limits = self.configured(old, calendar, ids)?;
        for limit in &mut limits {
            if let Alignment::Calendar(own) = &mut limit.alignment {
                own.zone.clone_from(&calendar.zone);
            }
        }
        // No edit forgets what was used.
        let limits =
            limits
                .into_iter()
                .map(|limit| match before.iter().find(|old| old.id == limit.id) {
                    Some(old) => limit.after(old, ids.now_ms()),
                    None => limit,
                });
        Ok(limits.collect())
    }

    fn configured(
        self,
        mut old: Vec<Limit>,
        calendar: &OwnerCalendar,
        ids: &mut Ids,
    ) -> Result<Vec<Limit>, Invalid> {
        if self.realign {
            for limit in &mut old {
                let month = budget::quarter_start_month(limit);
                limit.alignment = calendar.alignment(calendar.aligned, month);
            }
        }
        let (old_budgets, old_rates) = old
            .into_iter()
            .partition::<Vec<_>, _>(|limit| limit.metric == Metric::Cost);

        let mut limits = match (self.budget, self.budgets) {
            (Field::Absent, Field::Absent) => old_budgets,
            (Field::Absent, Field::Null) | (Field::Null, Field::Absent) => Vec::new(),
            (Field::Absent, Field::Value(list)) => {
                let path = |index| format!("budgets[{index}]");
                budget::replace(list, &path, &old_budgets, calendar, ids)?
            }
            (Field::Value(one), Field::Absent) => {
                let path = |_| "budget".to_owned();
                budget::replace(vec![one], &path, &old_budgets, calendar, ids)?
            }
            _ => {
                return Err(Invalid::field(
                    "budget",
                    "give `budget` or `budgets`, not both",
                ));
            }
        };
        limits.extend(match (self.rate_limit, self.rate_limits) {
            (Field::Absent, Field::Absent) => old_rates,
            (Field::Absent, Field::Null) | (Field::Null, Field::Absent) => Vec::new(),
            (Field::Absent, Field::Value(list)) => {
                rate_limits::replace(list, &old_rates, calendar, ids)?
            }
            (Field::Value(change), Field::Absent) => change
                .apply(&old_rates, calendar, ids)
                .map_err(|fault| fault.within("rate_limit"))?,
            _ => {
                return Err(Invalid::field(
                    "rate_limit",
                    "give `rate_limit` or `rate_limits`, not both",
                ));
            }
        });
        Ok(limits)
    }
}

/// The limit after a change: the old one's identity and anchor if there is one, else a new one's.
fn renewed(old: Option<&Limit>, ids: &mut Ids) -> (String, i64) {
    match old {
        Some(limit) => (limit.id.clone(), limit.anchor_ms),
        None => (ids.make(), ids.now_ms()),
    }
}
