//! How much of a request's output is reserved.
//!
//! The whole bound is the safe answer ([`Sizing::Strict`]): no answer can cost more. But callers set
//! bounds far above what they get, and near the end of a budget they are refused for money that nobody
//! would have spent. [`Sizing::Balanced`] reserves what the key's answers from that model have needed
//! lately ([`OutputHistory`]). What an answer uses beyond that is charged all the same, so a budget can
//! be overspent by no more than the requests in flight can use beyond their reservations.

use std::collections::HashMap;

/// How reservations are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reserving {
    /// How much is reserved.
    pub sizing: Sizing,
    /// What becomes of a request that finds too little money left.
    pub when_short: WhenShort,
    /// How much of each limit an Envoy may use beyond what it holds of it, while the control plane cannot
    /// be asked; 0: nothing.
    pub emergency_percent: u32,
}

/// How much of a request's output is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sizing {
    /// All that it can be.
    #[default]
    Strict,
    /// What it will be, as far as earlier answers tell.
    Balanced,
}

/// What becomes of a request that finds too little money left for what it may produce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenShort {
    /// It is refused.
    #[default]
    Reject,
    /// Its bound is lowered to what the money is enough for, if that is [`LEAST_CLAMPED`] at least.
    Clamp,
}

/// A bound is not lowered below this many tokens: an answer that breaks off at once helps nobody.
pub const LEAST_CLAMPED: u64 = 256;
/// Of a bound, the part that is reserved when no answer has been seen: one in so many tokens.
const UNSEEN_PART: u64 = 8;
/// And this many at least.
const UNSEEN_LEAST: u64 = 1_024;
/// When answers have been seen: this many at least.
const SEEN_LEAST: u64 = 64;
/// And of the longest of them so much more: one part in so many.
const HEADROOM_PART: u64 = 4;
/// How long a period is whose longest answer is remembered.
const PERIOD_MS: i64 = 600_000;
/// Most pairs of key and model that are remembered.
const MOST_PAIRS: usize = 4_096;

/// Tokens to reserve for the output of one choice, which can have `bound`, when the longest answer seen
/// lately had `longest`.
pub fn balanced(bound: u64, longest: Option<u64>) -> u64 {
    let part = |tokens: u64, of: u64| tokens.checked_div(of).unwrap_or_default();
    let expected = match longest {
        Some(longest) => longest
            .saturating_add(part(longest, HEADROOM_PART))
            .max(SEEN_LEAST),
        None => part(bound, UNSEEN_PART).max(UNSEEN_LEAST),
    };
    expected.min(bound)
}

/// Whose answers are alike: those of one key from one model.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// The virtual key.
    pub key_id: &'a str,
    /// The provider.
    pub provider: &'a str,
    /// Its model.
    pub model: &'a str,
}

/// The longest answers of late, by key and model. Of each, that of the period that runs, and that of
/// the last one before it in which there was an answer: a decaying maximum.
#[derive(Debug, Default)]
pub struct OutputHistory {
    pairs: HashMap<String, Longest>,
}

#[derive(Debug, Clone, Copy)]
struct Longest {
    since_ms: i64,
    now: u64,
    before: u64,
}

impl OutputHistory {
    /// The longest answer of late. `None`: none was seen.
    pub fn longest(&self, pair: Pair<'_>) -> Option<u64> {
        let longest = self.pairs.get(&pair.name())?;
        Some(longest.now.max(longest.before))
    }

    /// Takes in an answer of so many tokens.
    pub fn observe(&mut self, pair: Pair<'_>, tokens: u64, now_ms: i64) {
        let name = pair.name();
        if let Some(longest) = self.pairs.get_mut(&name) {
            longest.observe(tokens, now_ms);
            return;
        }
        if self.pairs.len() >= MOST_PAIRS {
            self.pairs.retain(|_, longest| longest.is_running(now_ms));
        }
        if self.pairs.len() >= MOST_PAIRS {
            // All of them are in use. To forget is safe: more is reserved than needed, for a while.
            self.pairs.clear();
        }
        let first = Longest {
            since_ms: now_ms,
            now: tokens,
            before: 0,
        };
        self.pairs.insert(name, first);
    }
}

impl Longest {
    const fn is_running(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.since_ms) < PERIOD_MS
    }

    fn observe(&mut self, tokens: u64, now_ms: i64) {
        if !self.is_running(now_ms) {
            *self = Self {
                since_ms: now_ms,
                now: 0,
                before: self.now,
            };
        }
        self.now = self.now.max(tokens);
    }
}

impl Pair<'_> {
    /// Neither ids nor names hold a line's end.
    fn name(self) -> String {
        [self.key_id, self.provider, self.model].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const PAIR: Pair<'static> = Pair {
        key_id: "k",
        provider: "openai",
        model: "gpt-4o",
    };

    #[test]
    fn an_answer_is_reserved_with_a_quarter_more_than_the_longest_of_late() {
        let mut history = OutputHistory::default();
        for tokens in [480, 500, 20] {
            history.observe(PAIR, tokens, 1_000);
        }
        assert_eq!(balanced(64_000, history.longest(PAIR)), 625);
        assert_eq!(balanced(600, history.longest(PAIR)), 600);
        assert_eq!(balanced(64_000, Some(0)), 64);
    }

    #[test]
    fn with_no_answer_seen_an_eighth_of_the_bound_is_reserved_and_no_less_than_1024() {
        assert_eq!(balanced(64_000, None), 8_000);
        assert_eq!(balanced(4_000, None), 1_024);
        assert_eq!(balanced(100, None), 100);
        assert_eq!(balanced(0, None), 0);
    }

    #[test]
    fn a_long_answer_is_forgotten_after_two_periods_with_shorter_ones() {
        let mut history = OutputHistory::default();
        history.observe(PAIR, 9_000, 0);
        history.observe(PAIR, 10, PERIOD_MS);
        assert_eq!(history.longest(PAIR), Some(9_000));
        history.observe(PAIR, 20, 2 * PERIOD_MS);
        assert_eq!(history.longest(PAIR), Some(20));
    }

    #[test]
    fn a_quiet_night_and_a_clock_that_steps_back_forget_nothing() {
        let mut history = OutputHistory::default();
        history.observe(PAIR, 9_000, 10 * PERIOD_MS);
        history.observe(PAIR, 10, 100 * PERIOD_MS);
        assert_eq!(history.longest(PAIR), Some(9_000));
        history.observe(PAIR, 11, 0);
        assert_eq!(history.longest(PAIR), Some(9_000));
    }

    #[test]
    fn keys_and_models_are_remembered_apart_and_not_without_end() {
        let mut history = OutputHistory::default();
        history.observe(PAIR, 500, 0);
        let other = Pair {
            model: "o3",
            ..PAIR
        };
        assert_eq!(history.longest(other), None);
        for number in 0..3 * MOST_PAIRS {
            let key_id = number.to_string();
            let pair = Pair {
                key_id: &key_id,
                ..PAIR
            };
            history.observe(pair, 1, 0);
        }
        assert!(history.pairs.len() <= MOST_PAIRS);
    }
}
