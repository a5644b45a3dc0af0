//! Budgets: how many dollars in a window.

use reeve_policy::calendar::Alignment;
use reeve_policy::limit::{Limit, Metric};
use reeve_policy::money::Nanos;
use reeve_policy::period::{Period, Unit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::calendar::OwnerCalendar;
use super::store::Usage;
use super::{LimitOverride, LimitUsage, renewed};
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
    /// When it starts afresh: a count and one of s, m, h, d, w, M, Q, Y; or `never`.
    #[schema(example = "1M")]
    reset_duration: String,
    /// Windows start where the calendar does, in the owner's time zone; default: as the owner has it.
    #[serde(default)]
    calendar_aligned: Option<bool>,
    /// The fiscal year, for a `reset_duration` in quarters. Left out: as it was.
    #[serde(default)]
    reset_config: Option<ResetConfig>,
}

/// The fiscal year of a budget.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct ResetConfig {
    /// Month in which a quarter starts, 1 to 12.
    #[schema(minimum = 1, maximum = 12)]
    quarter_start_month: u8,
}

/// A budget and what has been used of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Budget {
    id: String,
    /// US dollars.
    #[schema(value_type = f64)]
    max_limit: Number,
    reset_duration: String,
    /// US dollars used in the current window: `usage.used`, by Bifrost's name.
    #[schema(value_type = f64)]
    current_usage: Number,
    /// Start of the current window.
    #[schema(value_type = String, format = DateTime)]
    last_reset: Timestamp,
    calendar_aligned: bool,
    /// What has become of it in the current window.
    usage: LimitUsage,
    #[serde(flatten)]
    raised_by: LimitOverride,
    /// For a `reset_duration` in quarters that follows the calendar.
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_config: Option<ResetConfig>,
}

impl Budget {
    /// The budgets among an owner's limits.
    pub fn all_of(limits: &[Limit], usage: &Usage, now_ms: i64) -> Vec<Self> {
        let budgets = limits.iter().filter(|limit| limit.metric == Metric::Cost);
        budgets
            .map(|limit| Self::of(limit, usage, now_ms))
            .collect()
    }

    /// The budget that a limit on cost is.
    pub fn of(limit: &Limit, usage: &Usage, now_ms: i64) -> Self {
        let of_quarters = limit.period.unit() == Unit::Quarter && limit.alignment.is_calendar();
        Self {
            id: limit.id.clone(),
            max_limit: Number::from_display(Nanos::new(limit.max)),
            reset_duration: limit.period.to_string(),
            current_usage: Number::from_display(Nanos::new(usage.of(&limit.id).used)),
            last_reset: Timestamp(limit.window(now_ms).start_ms),
            usage: LimitUsage::of(limit, usage.of(&limit.id), now_ms),
            raised_by: LimitOverride::of(limit, now_ms),
            calendar_aligned: limit.alignment.is_calendar(),
            reset_config: of_quarters.then(|| ResetConfig {
                quarter_start_month: quarter_start_month(limit),
            }),
        }
    }

    /// What is left of it.
    pub fn remaining(&self) -> Number {
        self.usage.remaining()
    }
}

/// A whole new list of budgets; those that were there before keep their identity.
pub(super) fn replace(
    list: Vec<BudgetChange>,
    path: &dyn Fn(usize) -> String,
    old: &[Limit],
    calendar: &OwnerCalendar,
    ids: &mut Ids,
) -> Result<Vec<Limit>, Invalid> {
    let mut budgets: Vec<Limit> = Vec::with_capacity(list.len());
    // Budgets that are named by their id are not up for grabs by `reset_duration`.
    let named: Vec<String> = list.iter().filter_map(|change| change.id.clone()).collect();
    for (index, change) in list.into_iter().enumerate() {
        let budget = change
            .apply(old, &named, calendar, ids)
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
        calendar: &OwnerCalendar,
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
        let aligned = self.calendar_aligned.unwrap_or(calendar.aligned);
        let quarter_start_month = match self.reset_config {
            None => before.map_or(1, quarter_start_month),
            Some(_) if period.unit() != Unit::Quarter => {
                return Err(Invalid::field(
                    "reset_config",
                    "is only for a `reset_duration` in quarters, such as `1Q`",
                ));
            }
            Some(_) if !aligned => {
                return Err(Invalid::field(
                    "reset_config",
                    "is only for windows that follow the calendar; add `calendar_aligned: true`",
                ));
            }
            Some(config) if !(1..=12).contains(&config.quarter_start_month) => {
                let field = "reset_config.quarter_start_month";
                return Err(Invalid::field(field, "must be a month, 1 to 12"));
            }
            Some(config) => config.quarter_start_month,
        };
        Ok(Limit {
            id,
            metric: Metric::Cost,
            max: max.get(),
            period,
            anchor_ms,
            alignment: calendar.alignment(aligned, quarter_start_month),
            open: None,
            raised_by: None,
        })
    }
}

/// The month in which a quarter of the limit's calendar starts.
pub(super) const fn quarter_start_month(limit: &Limit) -> u8 {
    match &limit.alignment {
        Alignment::Calendar(calendar) => calendar.quarter_start_month,
        Alignment::Rolling | Alignment::Known(_) => 1,
    }
}
