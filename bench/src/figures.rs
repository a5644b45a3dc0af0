//! From what was measured to what is said of it.

use std::time::Duration;

use serde::Serialize;

/// How long something took, each time.
#[derive(Debug, Default)]
pub(crate) struct Durations(Vec<Duration>);

/// Milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Durations {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.0.len()).unwrap_or(u64::MAX)
    }

    pub(crate) fn quantiles(mut self) -> Quantiles {
        self.0.sort_unstable();
        let at = |permille: usize| {
            let last = self.0.len().saturating_sub(1);
            let index = last.saturating_mul(permille).div_ceil(1_000);
            let duration = self.0.get(index).copied().unwrap_or_default();
            as_f64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)) / 1_000.0
        };
        Quantiles {
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p999: at(999),
            max: at(1_000),
        }
    }
}

/// `count` in `time`, per second.
pub(crate) fn rate(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        as_f64(count) / seconds
    } else {
        0.0
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a count for a table, far below 2^53"
)]
pub(crate) const fn as_f64(count: u64) -> f64 {
    count as f64
}

/// The least, the middle and the greatest of several rounds: on a machine with other work the least says
/// what it does at the worst, the greatest what it can do.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        Self {
            min: values.first().copied().unwrap_or_default(),
            median: values.get(middle).copied().unwrap_or_default(),
            max: values.last().copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut durations = Durations::default();
        for milliseconds in (1..=1_001).rev() {
            durations.add(Duration::from_millis(milliseconds));
        }
        let Quantiles { p50, p99, max, .. } = durations.quantiles();
        assert_eq!((p50, p99, max), (501.0, 991.0, 1_001.0));
    }

    #[test]
    fn nothing_took_no_time() {
        assert!(Durations::default().quantiles().max <= 0.0);
    }

    #[test]
    fn a_spread_names_the_middle_round() {
        let spread = Spread::of([3.0, 1.0, 2.0].into_iter());
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
    }
}
