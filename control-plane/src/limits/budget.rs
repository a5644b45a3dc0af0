//! Budgets: how many dollars in a window.

use reeve_policy::limit::{Limit, Metric};
use reeve_policy::money::Nanos;
use reeve_policy::period::Period;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::renewed;
use super::store::Usage;
use crate::http::number::Number;
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::random::Ids;

/// A budget as a request gives it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct BudgetChange {
    /// Which budget this is. Left out: the one with the same `reset_duration`, or a new one.
    #[serde(default)]
    id: Option<String>,
    /// US dollars, 0 or more, at most 9 decimal places.
    #[schema(value_type = f64, minimum = 0, example = 100.0)]
    max_limit: Number,
    /// When it starts afresh: a count and one of s, m, h, d, w, M, Q, Y.
    #[schema(example = "1M")]
    reset_duration: String,
    /// Windows start where the calendar does (UTC); default: as the owner has it.
    #[serde(default)]
    calendar_aligned: Option<bool>,
}

/// A budget and what has been used of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Budget {
    id: String,
    /// US dollars.
    #[schema(value_type = f64)]
    max_limit: Number,
    reset_duration: String,
    /// US dollars used in the current window.
    #[schema(value_type = f64)]
    current_usage: Number,
    /// Start of the current window.
    #[schema(value_type = String, format = DateTime)]
    last_reset: Timestamp,
    calendar_aligned: bool,
}

impl Budget {
    /// The budgets among an owner's limits.
    pub fn all_of(limits: &[Limit], usage: &Usage, now_ms: i64) -> Vec<Self> {
        let budgets = limits.iter().filter(|limit| limit.metric == Metric::Cost);
        budgets
            .map(|limit| Self {
                id: limit.id.clone(),
                max_limit: Number::from_display(Nanos::new(limit.max)),
                reset_duration: limit.period.to_string(),
                current_usage: Number::from_display(Nanos::new(usage.of(&limit.id))),
                last_reset: Timestamp(limit.window(now_ms).start_ms),
                calendar_aligned: limit.calendar_aligned,
            })
            .collect()
    }
}

/// A whole new list of budgets; those that were there before keep their identity.
pub(super) fn replace(
    list: Vec<BudgetChange>,
    path: &dyn Fn(usize) -> String,
    old: &[Limit],
    aligned: bool,
    ids: &mut Ids,
) -> Result<Vec<Limit>, Invalid> {
    let mut budgets: Vec<Limit> = Vec::with_capacity(list.len());
    // Budgets that are named by their id are not up for grabs by `reset_duration`.
    let named: Vec<String> = list.iter().filter_map(|change| change.id.clone()).collect();
    for (index, change) in list.into_iter().enumerate() {
        let budget = change
            .apply(old, &named, aligned, ids)
            .map_err(|fault| fault.within(&path(index)))?;
        if budgets.iter().any(|other| other.id == budget.id) {
            let fault = Invalid::field("id", "names the same budget twice");
            return Err(fault.within(&path(index)));
        }
        if budgets.iter().any(|other| other.period == budget.period) {
            let message = "another budget of this list has the same `reset_duration`; give one";
            return Err(Invalid::field("reset_duration", message).within(&path(index)));
        }
        budgets.push(budget);
    }
    Ok(budgets)
}

impl BudgetChange {
    fn apply(
        self,
        old: &[Limit],
        named: &[String],
        aligned: bool,
        ids: &mut Ids,
    ) -> Result<Limit, Invalid> {
        let max = Nanos::parse_dollars(self.max_limit.as_str())
            .map_err(|error| Invalid::field("max_limit", error))?;
        if max < Nanos::ZERO {
            return Err(Invalid::field("max_limit", "must not be negative"));
        }
        let period = Period::parse(&self.reset_duration)
            .map_err(|error| Invalid::field("reset_duration", error))?;
        let before = match &self.id {
            Some(id) => Some(old.iter().find(|limit| limit.id == *id).ok_or_else(|| {
                Invalid::field(
                    "id",
                    "no such budget here; leave `id` out to make a new one",
                )
            })?),
            None => old
                .iter()
                .find(|limit| limit.period == period && !named.contains(&limit.id)),
        };
        let (id, anchor_ms) = renewed(before, ids);
        let calendar_aligned = self.calendar_aligned.unwrap_or(aligned);
        Ok(Limit {
            id,
            metric: Metric::Cost,
            max: max.get(),
            period,
            anchor_ms,
            calendar_aligned,
        })
    }
}
