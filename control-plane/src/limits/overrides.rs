//! Overrides: more of a limit for some windows, or for ever, by an administrator's word.

use reeve_policy::limit::{Limit, Metric, Override};
use reeve_policy::money::Nanos;
use reeve_policy::period::Unit;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount_of;
use crate::http::number::Number;
use crate::invalid::Invalid;

/// The most that is added at once: far below what an amount can be, so that sums stay sums.
const MOST: i64 = 1_000_000_000_000_000;
/// The most windows of one override: each is looked at to find where the last one ends.
const MOST_CYCLES: i64 = 1_000;

/// For how long an override holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OverrideMode {
    /// For the current window and the next ones, `cycles` in all.
    Cycles,
    /// Until it is removed.
    Forever,
}

/// An override as a request gives it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct LimitOverrideChange {
    /// US dollars, requests or tokens, as the limit counts; more than 0.
    #[schema(value_type = f64, example = 25.0)]
    amount: Number,
    mode: OverrideMode,
    /// How many windows, the current one included; for `cycles` only.
    #[serde(default)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    cycles: Option<Number>,
}

impl LimitOverrideChange {
    /// What a limit is raised by from now on.
    pub fn apply(&self, limit: &Limit, now_ms: i64) -> Result<Override, Invalid> {
        let amount = added(&self.amount, limit.metric)?;
        let cycles = match (self.mode, &self.cycles) {
            (OverrideMode::Forever, None) => None,
            (OverrideMode::Forever, Some(_)) => {
                return Err(Invalid::field("cycles", "is only for `mode: cycles`"));
            }
            (OverrideMode::Cycles, _) if limit.period.unit() == Unit::Never => {
                return Err(Invalid::field(
                    "mode",
                    "must be `forever`: the window of this limit does not end",
                ));
            }
            (OverrideMode::Cycles, cycles) => {
                let cycles = cycles.as_ref().and_then(Number::whole);
                let cycles = cycles.filter(|cycles| (1..=MOST_CYCLES).contains(cycles));
                let cycles = cycles.and_then(|cycles| u32::try_from(cycles).ok());
                Some(cycles.ok_or_else(|| {
                    Invalid::field("cycles", "must be a whole number of windows, 1 to 1000")
                })?)
            }
        };
        Ok(limit.override_from(now_ms, amount, cycles))
    }
}

/// An amount that is added to a limit, in its unit.
pub fn added(amount: &Number, metric: Metric) -> Result<i64, Invalid> {
    let given = match metric {
        Metric::Cost => Nanos::parse_dollars(amount.as_str()).ok().map(Nanos::get),
        Metric::Requests | Metric::Tokens | Metric::InFlight => amount.whole(),
    };
    given
        .filter(|given| (1..=MOST).contains(given))
        .ok_or_else(|| {
            Invalid::field(
                "amount",
                "must be more than 0, and at most 1,000,000 dollars or 10^15 requests or tokens, which \
                 are whole",
            )
        })
}

/// The override of a limit that holds now; all null: there is none.
#[derive(Debug, Default, Serialize, ToSchema)]
#[expect(
    clippy::struct_field_names,
    reason = "names of the API, where they stand among a limit's fields"
)]
pub struct LimitOverride {
    /// US dollars, requests or tokens: what is added to the limit.
    #[schema(value_type = Option<f64>)]
    override_amount: Option<Number>,
    override_mode: Option<OverrideMode>,
    /// Windows it was set for.
    override_cycles_total: Option<u32>,
    /// Windows it still holds in, the current one included.
    override_cycles_remaining: Option<u32>,
}

impl LimitOverride {
    /// Of a limit.
    pub fn of(limit: &Limit, now_ms: i64) -> Self {
        let holds = |raised_by: &Override| raised_by.holds_in(limit.window(now_ms).start_ms);
        let Some(raised_by) = limit.raised_by.filter(holds) else {
            return Self::default();
        };
        Self {
            override_amount: Some(amount_of(limit.metric, raised_by.amount)),
            override_mode: Some(match raised_by.cycles {
                Some(_) => OverrideMode::Cycles,
                None => OverrideMode::Forever,
            }),
            override_cycles_total: raised_by.cycles,
            override_cycles_remaining: limit.cycles_left(now_ms),
        }
    }

    /// Whether there is one.
    pub const fn is_some(&self) -> bool {
        self.override_amount.is_some()
    }
}
