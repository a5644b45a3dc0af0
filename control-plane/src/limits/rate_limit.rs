//! Rate limits: how many requests, how many tokens in a window.

use reeve_policy::limit::{Limit, Metric};
use reeve_policy::period::Period;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::calendar::OwnerCalendar;
use super::store::Usage;
use super::{LimitUsage, renewed};
use crate::http::number::Number;
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::random::Ids;

/// A rate limit as a request gives it: a request half, a token half, or both.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct RateLimitChange {
    /// Most requests in a window, 1 or more.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, example = 60)]
    request_max_limit: Option<Number>,
    /// When the request count starts afresh.
    #[serde(default)]
    #[schema(example = "1m")]
    request_reset_duration: Option<String>,
    /// Most tokens in a window, 1 or more.
    #[serde(default)]
    #[schema(value_type = Option<i64>, minimum = 1, example = 100_000)]
    token_max_limit: Option<Number>,
    /// When the token count starts afresh.
    #[serde(default)]
    #[schema(example = "1h")]
    token_reset_duration: Option<String>,
}

/// A rate limit and what has been used of it.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct RateLimit {
    request_max_limit: Option<i64>,
    request_reset_duration: Option<String>,
    /// Requests in the current window: `request_usage.used`, by Bifrost's name.
    request_current_usage: Option<i64>,
    /// Start of the current window.
    #[schema(value_type = Option<String>, format = DateTime)]
    request_last_reset: Option<Timestamp>,
    token_max_limit: Option<i64>,
    token_reset_duration: Option<String>,
    /// What has become of the request half in the current window.
    request_usage: Option<LimitUsage>,
    /// Tokens in the current window: `token_usage.used`, by Bifrost's name.
    token_current_usage: Option<i64>,
    /// Start of the current window.
    #[schema(value_type = Option<String>, format = DateTime)]
    token_last_reset: Option<Timestamp>,
    /// What has become of the token half in the current window.
    token_usage: Option<LimitUsage>,
}

impl RateLimit {
    /// The rate limit among an owner's limits, if there is one; of several windows the first.
    pub fn of(limits: &[Limit], usage: &Usage, now_ms: i64) -> Option<Self> {
        let half = |metric| limits.iter().find(|limit| limit.metric == metric);
        let (requests, tokens) = (half(Metric::Requests), half(Metric::Tokens));
        if requests.is_none() && tokens.is_none() {
            return None;
        }
        let reset = |limit: &Limit| Timestamp(limit.window(now_ms).start_ms);
        let used = |limit: &Limit| usage.of(&limit.id).used;
        let window = |limit: &Limit| LimitUsage::of(limit, usage.of(&limit.id), now_ms);
        Some(Self {
            request_max_limit: requests.map(|limit| limit.max),
            request_reset_duration: requests.map(|limit| limit.period.to_string()),
            request_current_usage: requests.map(used),
            request_last_reset: requests.map(reset),
            request_usage: requests.map(window),
            token_max_limit: tokens.map(|limit| limit.max),
            token_reset_duration: tokens.map(|limit| limit.period.to_string()),
            token_current_usage: tokens.map(used),
            token_last_reset: tokens.map(reset),
            token_usage: tokens.map(window),
        })
    }
}

/// The names of one half's fields.
struct Half {
    metric: Metric,
    max_field: &'static str,
    period_field: &'static str,
}

const REQUESTS: Half = Half {
    metric: Metric::Requests,
    max_field: "request_max_limit",
    period_field: "request_reset_duration",
};
const TOKENS: Half = Half {
    metric: Metric::Tokens,
    max_field: "token_max_limit",
    period_field: "token_reset_duration",
};

impl RateLimitChange {
    pub(super) fn apply(
        self,
        old: &[Limit],
        calendar: &OwnerCalendar,
        ids: &mut Ids,
    ) -> Result<Vec<Limit>, Invalid> {
        let requests = REQUESTS.limit(
            self.request_max_limit.as_ref(),
            self.request_reset_duration.as_deref(),
            old,
            calendar,
            ids,
        )?;
        let tokens = TOKENS.limit(
            self.token_max_limit.as_ref(),
            self.token_reset_duration.as_deref(),
            old,
            calendar,
            ids,
        )?;
        let halves: Vec<Limit> = requests.into_iter().chain(tokens).collect();
        if halves.is_empty() {
            return Err(Invalid::field(
                REQUESTS.max_field,
                "a rate limit needs `request_max_limit` or `token_max_limit`; \
                 send `rate_limit: null` for none",
            ));
        }
        Ok(halves)
    }
}

impl Half {
    fn limit(
        &self,
        max: Option<&Number>,
        period: Option<&str>,
        old: &[Limit],
        calendar: &OwnerCalendar,
        ids: &mut Ids,
    ) -> Result<Option<Limit>, Invalid> {
        let (max, period) = match (max, period) {
            (None, None) => return Ok(None),
            (Some(max), Some(period)) => (max, period),
            (Some(_), None) => {
                let message = format_args!("is required with `{}`", self.max_field);
                return Err(Invalid::field(self.period_field, message));
            }
            (None, Some(_)) => {
                let message = format_args!("is required with `{}`", self.period_field);
                return Err(Invalid::field(self.max_field, message));
            }
        };
        let max = max
            .whole()
            .filter(|max| *max >= 1)
            .ok_or_else(|| Invalid::field(self.max_field, "must be a whole number, 1 or more"))?;
        let period =
            Period::parse(period).map_err(|error| Invalid::field(self.period_field, error))?;
        // Where there are several windows, this becomes the only one: the one that is most like it.
        let of_metric = || old.iter().filter(|limit| limit.metric == self.metric);
        let before = of_metric().find(|limit| limit.period == period);
        let before = before.or_else(|| of_metric().next());
        let (id, anchor_ms) = renewed(before, ids);
        let metric = self.metric;
        Ok(Some(Limit {
            id,
            metric,
            max,
            period,
            anchor_ms,
            alignment: calendar.alignment(calendar.aligned, 1),
            open: None,
            raised_by: None,
        }))
    }
}
