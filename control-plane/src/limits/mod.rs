//! Budgets and rate limits, the children of a customer, a team, a virtual key or a provider config.
//!
//! A budget and a rate limit are one thing inside ([`reeve_policy::limit::Limit`]); the API shows
//! them as Bifrost does: a list of budgets, at most one per `reset_duration`, and one rate limit with
//! a request half and a token half.
//!
//! Invariant: a limit's usage is in another table than its configuration. An edit keeps the limit's
//! id, and with it everything that has been used, as long as the edit names the limit by its id or
//! by its `reset_duration`.

pub mod budget;
pub mod rate_limit;
pub mod store;
#[cfg(test)]
mod tests;

use reeve_policy::limit::{Limit, Metric};

pub use budget::{Budget, BudgetChange};
pub use rate_limit::{RateLimit, RateLimitChange};

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
    /// The rate limit.
    pub rate_limit: Field<RateLimitChange>,
    /// Align every window to the calendar, or none.
    pub calendar_aligned: Field<bool>,
}

impl LimitsChange {
    /// The owner's limits after the change. `aligned` is what the owner's `calendar_aligned` is
    /// after it; new limits take it.
    pub fn apply(
        self,
        mut old: Vec<Limit>,
        aligned: bool,
        ids: &mut Ids,
    ) -> Result<Vec<Limit>, Invalid> {
        if self.calendar_aligned != Field::Absent {
            for limit in &mut old {
                limit.calendar_aligned = aligned;
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
                budget::replace(list, &path, &old_budgets, aligned, ids)?
            }
            (Field::Value(one), Field::Absent) => {
                let path = |_| "budget".to_owned();
                budget::replace(vec![one], &path, &old_budgets, aligned, ids)?
            }
            _ => {
                return Err(Invalid::field(
                    "budget",
                    "give `budget` or `budgets`, not both",
                ));
            }
        };
        limits.extend(match self.rate_limit {
            Field::Absent => old_rates,
            Field::Null => Vec::new(),
            Field::Value(change) => change
                .apply(&old_rates, aligned, ids)
                .map_err(|fault| fault.within("rate_limit"))?,
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
