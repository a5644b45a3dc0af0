//! What is left under the limits of a request, in the header fields that clients look for.
//!
//! | field | says |
//! |---|---|
//! | `x-ratelimit-limit`, `-remaining`, `-reset` | the tightest rate limit; the reset in seconds (Envoy's form) |
//! | `x-ratelimit-limit-requests`, `-remaining-requests`, `-reset-requests`, and `…-tokens` | the tightest of each; the reset as `6m0s` (OpenAI's form, in its dialect only) |
//! | `x-reeve-budget-limit`, `-remaining`, `-reset` | the tightest budget, in US dollars; the reset in seconds |
//!
//! The tightest limit is the one of which the smallest part is left.

use reeve_llm::WireFormat;
use reeve_policy::limit::Metric;
use reeve_policy::money::Nanos;

use crate::denial::LimitExceeded;
use crate::request::Reservation;

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    metric: Metric,
    max: i64,
    remaining: i64,
    resets_at_ms: i64,
}

impl Allowance {
    /// Under a limit from which a reservation has just been taken. `used`: everything that counts
    /// against the limit now.
    pub fn after(reservation: &Reservation, used: i64, now_ms: i64) -> Self {
        let limit = &reservation.limit;
        let window = limit.window(now_ms);
        let max = limit.max_in(window.start_ms);
        Self {
            metric: limit.metric,
            max,
            remaining: max.saturating_sub(used).max(0),
            resets_at_ms: window.end_ms,
        }
    }

    /// Under a limit that had no room.
    pub fn exceeded(limit: &LimitExceeded) -> Self {
        Self {
            metric: limit.metric,
            max: limit.max,
            remaining: limit.max.saturating_sub(limit.used).max(0),
            resets_at_ms: limit.resets_at_ms,
        }
    }

    /// Is a smaller part of it left than of the other?
    fn is_tighter_than(&self, other: &Self) -> bool {
        if self.max <= 0 || other.max <= 0 {
            return self.max < other.max;
        }
        // self.remaining / self.max < other.remaining / other.max
        let product = |remaining: i64, max: i64| i128::from(remaining).saturating_mul(max.into());
        product(self.remaining, other.max) < product(other.remaining, self.max)
    }
}

/// The fields that tell what is left.
pub fn headers(
    allowances: impl IntoIterator<Item = Allowance>,
    dialect: WireFormat,
    now_ms: i64,
) -> Vec<(&'static str, String)> {
    let [mut requests, mut tokens, mut cost] = [None::<Allowance>; 3];
    for allowance in allowances {
        let place = match allowance.metric {
            Metric::Requests => &mut requests,
            Metric::Tokens => &mut tokens,
            Metric::Cost => &mut cost,
            // It says nothing of what a caller may send in a while.
            Metric::InFlight => continue,
        };
        if place.is_none_or(|known| allowance.is_tighter_than(&known)) {
            *place = Some(allowance);
        }
    }
    let mut headers = Vec::new();
    let tightest = match (requests, tokens) {
        (Some(requests), Some(tokens)) if tokens.is_tighter_than(&requests) => Some(tokens),
        (requests, tokens) => requests.or(tokens),
    };
    if let Some(limit) = tightest {
        headers.push(("x-ratelimit-limit", limit.max.to_string()));
        headers.push(("x-ratelimit-remaining", limit.remaining.to_string()));
        if let Some(reset) = seconds_until(limit.resets_at_ms, now_ms) {
            headers.push(("x-ratelimit-reset", reset.to_string()));
        }
    }
    if dialect == WireFormat::OpenAi {
        let names = [
            (
                requests,
                "x-ratelimit-limit-requests",
                "x-ratelimit-remaining-requests",
                "x-ratelimit-reset-requests",
            ),
            (
                tokens,
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
            ),
        ];
        for (limit, max, remaining, reset) in names {
            if let Some(limit) = limit {
                headers.push((max, limit.max.to_string()));
                headers.push((remaining, limit.remaining.to_string()));
                if let Some(seconds) = seconds_until(limit.resets_at_ms, now_ms) {
                    headers.push((reset, duration(seconds)));
                }
            }
        }
    }
    if let Some(budget) = cost {
        headers.push(("x-reeve-budget-limit", Nanos::new(budget.max).to_string()));
        let remaining = Nanos::new(budget.remaining).to_string();
        headers.push(("x-reeve-budget-remaining", remaining));
        if let Some(reset) = seconds_until(budget.resets_at_ms, now_ms) {
            headers.push(("x-reeve-budget-reset", reset.to_string()));
        }
    }
    headers
}

/// Whole seconds, rounded up, at least one: a client that waits that long is past the reset. `None`:
/// there is none, as for prepaid credits.
pub(crate) fn seconds_until(then_ms: i64, now_ms: i64) -> Option<i64> {
    if then_ms == i64::MAX {
        return None;
    }
    let left = then_ms.saturating_sub(now_ms).max(1);
    left.saturating_add(999).checked_div(1000)
}

/// `42s`, `6m0s`, `1h0m0s`.
fn duration(seconds: i64) -> String {
    let [minutes, seconds] = [seconds.div_euclid(60), seconds.rem_euclid(60)];
    let [hours, minutes] = [minutes.div_euclid(60), minutes.rem_euclid(60)];
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const fn left(metric: Metric, max: i64, remaining: i64) -> Allowance {
        Allowance {
            metric,
            max,
            remaining,
            resets_at_ms: 360_000,
        }
    }

    fn told(allowances: &[Allowance], dialect: WireFormat) -> Vec<String> {
        headers(allowances.iter().copied(), dialect, 0)
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    #[test]
    fn the_tightest_limit_is_the_one_of_which_the_smallest_part_is_left() {
        let allowances = [
            left(Metric::Requests, 100, 50),
            left(Metric::Requests, 10, 6),
            left(Metric::Tokens, 1_000, 400),
        ];
        assert_eq!(
            told(&allowances, WireFormat::Gemini),
            [
                "x-ratelimit-limit: 1000",
                "x-ratelimit-remaining: 400",
                "x-ratelimit-reset: 360"
            ]
        );
        let openai = told(&allowances, WireFormat::OpenAi);
        for expected in [
            "x-ratelimit-limit: 1000",
            "x-ratelimit-limit-requests: 100",
            "x-ratelimit-remaining-requests: 50",
            "x-ratelimit-reset-tokens: 6m0s",
        ] {
            assert!(openai.iter().any(|header| header == expected), "{openai:?}");
        }
    }

    #[test]
    fn a_budget_is_told_in_dollars() {
        let budget = [left(Metric::Cost, 1_500_000_000, 20_000_000)];
        assert_eq!(
            told(&budget, WireFormat::OpenAi),
            [
                "x-reeve-budget-limit: 1.5",
                "x-reeve-budget-remaining: 0.02",
                "x-reeve-budget-reset: 360"
            ]
        );
    }

    #[test]
    fn without_limits_nothing_is_told() {
        assert!(told(&[], WireFormat::OpenAi).is_empty());
    }

    #[test]
    fn a_limit_of_zero_is_the_tightest_of_all() {
        let zero = left(Metric::Requests, 0, 0);
        assert_eq!(
            told(&[left(Metric::Requests, 5, 5), zero], WireFormat::Gemini)[0],
            "x-ratelimit-limit: 0"
        );
        assert_eq!(
            told(&[zero, left(Metric::Requests, 5, 5)], WireFormat::Gemini)[0],
            "x-ratelimit-limit: 0"
        );
    }

    #[test]
    fn durations_are_written_as_openai_writes_them() {
        for (seconds, text) in [(1, "1s"), (59, "59s"), (60, "1m0s"), (3_661, "1h1m1s")] {
            assert_eq!(duration(seconds), text);
        }
    }
}
