//! Whether the clock can be believed when it says that something is old. Pure.
//!
//! A clock that jumped ahead would make the usage of windows that go on look old, and what is deleted is gone.
//! So after a jump nothing is old for a day. That is how long there is to notice it: every limit is in another
//! window from its first moment on.

const DAY_MS: i64 = 86_400_000;
/// Between two looks a clock that is kept right moves by less than this beside the time that passes.
const JUMP_MS: u64 = 60_000;

/// How the clock has gone. `lived_ms` is for how long the process has run, by a clock that nobody sets.
#[derive(Debug)]
pub(super) struct Pace {
    /// What the clock said when the process started, as its last look has it.
    start_ms: i64,
    /// When the clock last jumped, in the life of the process.
    jumped_ms: Option<i64>,
}

impl Pace {
    /// The process starts. `heard_ms`: when an Envoy was last heard, by whatever clock there was then. A start
    /// more than a day after that may be one with a wrong clock.
    pub(super) fn new(now_ms: i64, heard_ms: Option<i64>) -> Self {
        let is_late = heard_ms.is_some_and(|heard| now_ms.saturating_sub(heard) > DAY_MS);
        Self {
            start_ms: now_ms,
            jumped_ms: is_late.then_some(0),
        }
    }

    /// Is what the clock says to be believed?
    pub(super) fn is_even(&mut self, now_ms: i64, lived_ms: i64) -> bool {
        let start_ms = now_ms.saturating_sub(lived_ms);
        if start_ms.abs_diff(self.start_ms) > JUMP_MS {
            self.jumped_ms = Some(lived_ms);
        }
        self.start_ms = start_ms;
        self.jumped_ms
            .is_none_or(|at_ms| lived_ms.saturating_sub(at_ms) >= DAY_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_767_225_600_000;
    const LOOK_MS: i64 = 600_000;

    #[test]
    fn a_clock_that_is_kept_right_is_believed() {
        let mut pace = Pace::new(NOW_MS, Some(NOW_MS - 10_000));
        for look in 1..1_000 {
            // A second too fast in every ten minutes, put right in between.
            let lived_ms = look * LOOK_MS;
            assert!(pace.is_even(NOW_MS + lived_ms + look % 7 * 1_000, lived_ms));
        }
    }

    #[test]
    fn for_a_day_after_a_jump_nothing_is_old() {
        for jump_ms in [3 * DAY_MS, 61_000, -61_000, -3 * DAY_MS] {
            let mut pace = Pace::new(NOW_MS, None);
            assert!(pace.is_even(NOW_MS + LOOK_MS, LOOK_MS));
            let clock = |lived_ms| NOW_MS + lived_ms + jump_ms;
            let mut believed = (2..).map(|look| look * LOOK_MS);
            let believed = believed.find(|lived_ms| pace.is_even(clock(*lived_ms), *lived_ms));
            assert_eq!(believed, Some(2 * LOOK_MS + DAY_MS));
        }
    }

    #[test]
    fn a_jump_and_its_repair_are_two() {
        let mut pace = Pace::new(NOW_MS, None);
        assert!(!pace.is_even(NOW_MS + LOOK_MS + 3 * DAY_MS, LOOK_MS));
        let lived_ms = DAY_MS;
        assert!(!pace.is_even(NOW_MS + lived_ms, lived_ms));
        assert!(!pace.is_even(NOW_MS + 2 * DAY_MS - 1, 2 * DAY_MS - 1));
        assert!(pace.is_even(NOW_MS + 2 * DAY_MS, 2 * DAY_MS));
    }

    #[test]
    fn a_start_long_after_anybody_was_heard_is_like_a_jump() {
        let mut pace = Pace::new(NOW_MS, Some(NOW_MS - DAY_MS - 1));
        assert!(!pace.is_even(NOW_MS + LOOK_MS, LOOK_MS));
        assert!(pace.is_even(NOW_MS + DAY_MS, DAY_MS));
    }
}
