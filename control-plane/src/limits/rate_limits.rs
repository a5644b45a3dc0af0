//! Rate limits as a list: several windows for each of requests and tokens.

use reeve_policy::limit::{Limit, Metric};
use reeve_policy::period::Period;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::calendar::OwnerCalendar;
use super::renewed;
use super::store::Usage;
use super::{LimitOverride, LimitUsage};
use crate::http::number::Number;
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::random::Ids;

/// What a rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Requests.
    Requests,
    /// Tokens of every kind.
    Tokens,
}

/// One window of a rate limit as a request gives it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct RateLimitWindowChange {
    /// Which window this is. Left out: the one with the same `metric` and `reset_duration`, or a new one.
    #[serde(default)]
    id: Option<String>,
    metric: Counted,
    /// The most in a window, 1 or more.
    #[schema(value_type = i64, minimum = 1, example = 60)]
    max_limit: Number,
    /// When the count starts afresh: a count and one of s, m, h, d, w, M, Q, Y; or `never`.
    #[schema(example = "1m")]
    reset_duration: String,
}

/// One window of a rate limit, and what has been used in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateLimitWindow {
    id: String,
    metric: Counted,
    max_limit: i64,
    reset_duration: String,
    current_usage: i64,
    /// What has become of it in the current window.
    usage: LimitUsage,
    #[serde(flatten)]
    raised_by: LimitOverride,
    /// Start of the current window.
    #[schema(value_type = String, format = DateTime)]
    last_reset: Timestamp,
    calendar_aligned: bool,
}

impl RateLimitWindow {
    /// The windows among an owner's limits.
    pub fn all_of(limits: &[Limit], usage: &Usage, now_ms: i64) -> Vec<Self> {
        let counted = |limit: &Limit| match limit.metric {
            Metric::Requests => Some(Counted::Requests),
            Metric::Tokens => Some(Counted::Tokens),
            Metric::Cost | Metric::InFlight => None,
        };
        let windows = limits.iter().filter_map(|limit| {
            Some(Self {
                id: limit.id.clone(),
                metric: counted(limit)?,
                max_limit: limit.max,
                reset_duration: limit.period.to_string(),
                current_usage: usage.of(&limit.id).used,
                usage: LimitUsage::of(limit, usage.of(&limit.id), now_ms),
                raised_by: LimitOverride::of(limit, now_ms),
                last_reset: Timestamp(limit.window(now_ms).start_ms),
                calendar_aligned: limit.alignment.is_calendar(),
            })
        });
        windows.collect()
    }
}

/// A whole new list; windows that were there before keep their identity.
pub(super) fn replace(
    list: Vec<RateLimitWindowChange>,
    old: &[Limit],
    calendar: &OwnerCalendar,
    ids: &mut Ids,
) -> Result<Vec<Limit>, Invalid> {
    // Windows that are named by their id are not up for grabs.
    let named: Vec<String> = list.iter().filter_map(|change| change.id.clone()).collect();
    let mut limits: Vec<Limit> = Vec::with_capacity(list.len());
    for (index, change) in list.into_iter().enumerate() {
        let within = |fault: Invalid| fault.within(&format!("rate_limits[{index}]"));
        let limit = change.apply(old, &named, calendar, ids).map_err(within)?;
        if limits.iter().any(|other| other.id == limit.id) {
            return Err(within(Invalid::field("id", "names the same window twice")));
        }
        let is_same = |other: &Limit| other.metric == limit.metric && other.period == limit.period;
        if limits.iter().any(is_same) {
            return Err(within(Invalid::field(
                "reset_duration",
                "another entry of this list has the same `metric` and `reset_duration`; give one",
            )));
        }
        limits.push(limit);
    }
    Ok(limits)
}

impl RateLimitWindowChange {
    fn apply(
        self,
        old: &[Limit],
        named: &[String],
        calendar: &OwnerCalendar,
        ids: &mut Ids,
    ) -> Result<Limit, Invalid> {
        let max = self
            .max_limit
            .whole()
            .filter(|max| *max >= 1)
            .ok_or_else(|| Invalid::field("max_limit", "must be a whole number, 1 or more"))?;
        let period = Period::parse(&self.reset_duration)
            .map_err(|error| Invalid::field("reset_duration", error))?;
        let metric = match self.metric {
            Counted::Requests => Metric::Requests,
            Counted::Tokens => Metric::Tokens,
        };
        let mut of_metric = old.iter().filter(|limit| limit.metric == metric);
        let before = match &self.id {
            Some(id) => Some(of_metric.find(|limit| limit.id == *id).ok_or_else(|| {
                Invalid::field(
                    "id",
                    "no such window of this `metric` here; leave `id` out to make a new one",
                )
            })?),
            None => of_metric.find(|limit| limit.period == period && !named.contains(&limit.id)),
        };
        let (id, anchor_ms) = renewed(before, ids);
        Ok(Limit {
            id,
            metric,
            max,
            period,
            anchor_ms,
            alignment: calendar.alignment(calendar.aligned, 1),
            open: None,
            raised_by: None,
        })
    }
}
