//! Limits: how much may be used in a window.
//!
//! A budget and a rate limit are the same thing with another [`Metric`]: a budget counts
//! nano-dollars, a request limit requests, a token limit tokens. One mechanism counts all of them.
//!
//! Per Envoy process and limit there is one [`Counter`]. A request **reserves** an upper bound under
//! every limit that applies to it (all or none) and **settles** for what it really used. A
//! reservation that is never settled (its VM died) stays charged until its window ends.

use core::cmp::Ordering;

use crate::period::{Period, Window};

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Nano-dollars: a budget.
    Cost,
    /// Requests.
    Requests,
    /// Tokens of every kind.
    Tokens,
}

/// Whose limit it is. In the order of the hierarchy, widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// A customer's: everything its teams and keys do.
    Customer,
    /// A team's: everything its keys do.
    Team,
    /// A virtual key's.
    VirtualKey,
    /// A provider config's: what one key does with one provider.
    ProviderConfig,
}

impl Level {
    /// The word for it in JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Team => "team",
            Self::VirtualKey => "virtual_key",
            Self::ProviderConfig => "provider_config",
        }
    }
}

/// A limit as configured. Its usage is elsewhere, so that no edit can touch it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Unique over all limits.
    pub id: String,
    /// What is counted.
    pub metric: Metric,
    /// The most in one window: nano-dollars, requests or tokens.
    pub max: i64,
    /// How long a window is.
    pub period: Period,
    /// Start of the first rolling window, milliseconds since the Unix epoch.
    pub anchor_ms: i64,
    /// Windows start where the calendar does (UTC).
    pub calendar_aligned: bool,
}

impl Limit {
    /// The window that `now_ms` falls into.
    pub fn window(&self, now_ms: i64) -> Window {
        self.period
            .window(self.anchor_ms, self.calendar_aligned, now_ms)
    }
}

/// What has been used of a limit in its current window, as one Envoy process knows it. Units are the
/// limit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counter {
    /// The window counted, by its start.
    pub window_start_ms: i64,
    /// Settled by everyone else, as the control plane last said.
    pub others: i64,
    /// Settled by this process.
    pub mine: i64,
    /// Reserved by this process and not settled.
    pub pending: i64,
}

/// A limit with no room for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Used in the window: settled by all, plus this process's reservations.
    pub used: i64,
    /// Of that, reserved and not settled.
    pub reserved: i64,
    /// When the window ends, milliseconds since the Unix epoch.
    pub resets_at_ms: i64,
}

impl Counter {
    /// Length of the stored form.
    pub const ENCODED_LEN: usize = 32;

    /// The counter as it stands at `now_ms`: empty when its window is over. A clock that steps back
    /// does not reopen a window that has ended.
    #[must_use]
    pub fn at(self, limit: &Limit, now_ms: i64) -> Self {
        let start = limit.window(now_ms).start_ms;
        if start > self.window_start_ms {
            Self {
                window_start_ms: start,
                ..Self::default()
            }
        } else {
            self
        }
    }

    /// Everything that counts against the limit.
    pub const fn used(self) -> i64 {
        self.others
            .saturating_add(self.mine)
            .saturating_add(self.pending)
    }

    /// Takes `amount` if the limit has room for it, and gives the counter to store. The window of
    /// the reservation is the returned counter's.
    pub fn reserve(self, limit: &Limit, amount: i64, now_ms: i64) -> Result<Self, Exceeded> {
        let now = self.at(limit, now_ms);
        let amount = amount.max(0);
        if now.used().saturating_add(amount) > limit.max {
            return Err(Exceeded {
                used: now.used(),
                reserved: now.pending,
                resets_at_ms: limit.window(now_ms.max(now.window_start_ms)).end_ms,
            });
        }
        Ok(Self {
            pending: now.pending.saturating_add(amount),
            ..now
        })
    }

    /// Replaces a reservation by what was really used; zero gives it back. A reservation of a window
    /// that is over is no longer counted here: the ledger books it where it belongs.
    #[must_use]
    pub fn settle(self, window_start_ms: i64, reserved: i64, used: i64) -> Self {
        if window_start_ms != self.window_start_ms {
            return self;
        }
        Self {
            pending: self.pending.saturating_sub(reserved.max(0)).max(0),
            mine: self.mine.saturating_add(used.max(0)),
            ..self
        }
    }

    /// Takes the control plane's word for what everyone else has settled. Word of a window that is
    /// over is dropped; word of a later one starts it.
    #[must_use]
    pub fn with_others(self, window_start_ms: i64, others: i64) -> Self {
        match window_start_ms.cmp(&self.window_start_ms) {
            Ordering::Greater => Self {
                window_start_ms,
                others,
                ..Self::default()
            },
            Ordering::Equal => Self { others, ..self },
            Ordering::Less => self,
        }
    }

    /// The form in shared data: four little-endian `i64` in field order.
    pub fn to_bytes(self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [0; Self::ENCODED_LEN];
        let fields = [self.window_start_ms, self.others, self.mine, self.pending];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Reads [`Counter::to_bytes`]; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::ENCODED_LEN {
            return None;
        }
        let mut fields = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|field| i64::from_le_bytes(*field));
        Some(Self {
            window_start_ms: fields.next()?,
            others: fields.next()?,
            mine: fields.next()?,
            pending: fields.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn limit(max: i64) -> Limit {
        Limit {
            id: "l".into(),
            metric: Metric::Cost,
            max,
            period: Period::parse("1m").unwrap(),
            anchor_ms: 0,
            calendar_aligned: false,
        }
    }

    #[test]
    fn the_last_unit_is_granted_and_not_one_more() {
        let limit = limit(10);
        let counter = Counter::default().reserve(&limit, 7, 0).unwrap();
        let counter = counter.reserve(&limit, 3, 0).unwrap();
        let refused = counter.reserve(&limit, 1, 0).unwrap_err();
        assert_eq!(
            refused,
            Exceeded {
                used: 10,
                reserved: 10,
                resets_at_ms: 60_000
            }
        );
    }

    #[test]
    fn settling_returns_what_was_not_used() {
        let limit = limit(10);
        let counter = Counter::default()
            .reserve(&limit, 10, 0)
            .unwrap()
            .settle(0, 10, 4);
        assert_eq!((counter.pending, counter.mine), (0, 4));
        assert!(counter.reserve(&limit, 6, 0).is_ok());
    }

    #[test]
    fn usage_beyond_the_reservation_is_not_hidden() {
        let limit = limit(10);
        let counter = Counter::default()
            .reserve(&limit, 5, 0)
            .unwrap()
            .settle(0, 5, 50);
        assert_eq!(counter.used(), 50);
        assert!(counter.reserve(&limit, 0, 0).is_err());
    }

    #[test]
    fn what_others_spent_counts() {
        let limit = limit(10);
        let counter = Counter::default().with_others(0, 9);
        assert!(counter.reserve(&limit, 2, 0).is_err());
        assert!(counter.reserve(&limit, 1, 0).is_ok());
    }

    #[test]
    fn a_new_window_starts_empty() {
        let limit = limit(10);
        let counter = Counter::default()
            .with_others(0, 5)
            .reserve(&limit, 5, 59_999)
            .unwrap();
        let counter = counter.reserve(&limit, 10, 60_000).unwrap();
        assert_eq!((counter.window_start_ms, counter.used()), (60_000, 10));
    }

    #[test]
    fn a_reservation_settles_only_in_its_own_window() {
        let limit = limit(10);
        let next = Counter::default()
            .reserve(&limit, 5, 0)
            .unwrap()
            .at(&limit, 60_000);
        assert_eq!(next.settle(0, 5, 5).used(), 0);
    }

    #[test]
    fn a_clock_that_steps_back_reopens_no_window() {
        let limit = limit(10);
        let counter = Counter::default().reserve(&limit, 10, 60_000).unwrap();
        let refused = counter.reserve(&limit, 1, 59_000).unwrap_err();
        assert_eq!((refused.used, refused.resets_at_ms), (10, 120_000));
    }

    #[test]
    fn late_word_of_an_old_window_is_dropped() {
        let counter = Counter {
            window_start_ms: 60_000,
            others: 1,
            mine: 2,
            pending: 3,
        };
        assert_eq!(counter.with_others(0, 99), counter);
        assert_eq!(counter.with_others(120_000, 7).used(), 7);
    }

    #[test]
    fn bytes_that_are_no_counter_are_none() {
        assert_eq!(Counter::from_bytes(&[0; 31]), None);
        assert_eq!(Counter::from_bytes(&[]), None);
        let counter = Counter {
            window_start_ms: 1,
            others: -2,
            mine: i64::MAX,
            pending: 4,
        };
        assert_eq!(Counter::from_bytes(&counter.to_bytes()), Some(counter));
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn no_order_of_reserving_and_settling_overspends(
            max in 0i64..1000,
            steps in proptest::collection::vec((0i64..200, 0i64..=100, proptest::bool::ANY), 1..200),
        ) {
            let limit = limit(max);
            let mut counter = Counter::default();
            let mut open: Vec<i64> = Vec::new();
            for (amount, share, close) in steps {
                if close && !open.is_empty() {
                    let reserved = open.remove(0);
                    counter = counter.settle(0, reserved, reserved * share / 100);
                } else if let Ok(next) = counter.reserve(&limit, amount, 0) {
                    counter = next;
                    open.push(amount);
                }
                proptest::prop_assert!(counter.used() <= max);
                proptest::prop_assert_eq!(counter.pending, open.iter().sum::<i64>());
            }
        }
    }
}
