//! Limits: how much may be used in a window.
//!
//! A budget and a rate limit are the same thing with another [`Metric`]: a budget counts
//! nano-dollars, a request limit requests, a token limit tokens. One mechanism counts all of them.
//!
//! A request **reserves** an upper bound under every limit that applies to it (all or none) and
//! **settles** for what it really used. From what it may reserve is the matter of [`crate::lease`]. A
//! reservation that is never settled (its VM died) stays charged until its window ends.

use crate::calendar::Alignment;
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
    /// Requests that are under way: each takes a slot, and gives it back when it ends.
    InFlight,
}

/// Whose limit it is. In the order of the hierarchy, widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// A provider's: everything that is sent to it.
    Provider,
    /// A model's: every request for it, whoever makes it.
    Model,
    /// A customer's: everything its teams and keys do.
    Customer,
    /// A team's: everything its keys do.
    Team,
    /// A virtual key's.
    VirtualKey,
    /// What a virtual key does with one model.
    VirtualKeyModel,
    /// A provider config's: what one key does with one provider.
    ProviderConfig,
}

impl Level {
    /// All of them, widest first.
    pub const ALL: [Self; 7] = [
        Self::Provider,
        Self::Model,
        Self::Customer,
        Self::Team,
        Self::VirtualKey,
        Self::VirtualKeyModel,
        Self::ProviderConfig,
    ];

    /// The word for it in JSON and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Model => "model",
            Self::VirtualKeyModel => "virtual_key_model",
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
    /// Where windows start.
    pub alignment: Alignment,
    /// The window that was open when the three fields above were last changed.
    pub open: Option<Window>,
    /// What an administrator has added to `max` for some windows.
    pub raised_by: Option<Override>,
}

/// What is added to a limit in every window that starts at or after `from_ms` and before `until_ms`. So
/// it lapses at the end of a window, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Override {
    /// In the limit's unit.
    pub amount: i64,
    /// Start of the first of its windows.
    pub from_ms: i64,
    /// End of the last; `i64::MAX`: there is no last one.
    pub until_ms: i64,
    /// How many windows; `None`: for ever.
    pub cycles: Option<u32>,
}

impl Override {
    /// Whether it holds in the window that starts at this moment.
    pub const fn holds_in(self, window_start_ms: i64) -> bool {
        self.from_ms <= window_start_ms && window_start_ms < self.until_ms
    }
}

impl Limit {
    /// The most in the window that starts at `window_start_ms`.
    pub fn max_in(&self, window_start_ms: i64) -> i64 {
        let raised_by = self
            .raised_by
            .filter(|raised_by| raised_by.holds_in(window_start_ms));
        self.max
            .saturating_add(raised_by.map_or(0, |raised_by| raised_by.amount))
    }

    /// The most now.
    pub fn max_at(&self, now_ms: i64) -> i64 {
        self.max_in(self.window(now_ms).start_ms)
    }

    /// An override from the window of now on.
    pub fn override_from(&self, now_ms: i64, amount: i64, cycles: Option<u32>) -> Override {
        let first = self.window(now_ms);
        let until_ms = match cycles {
            None => i64::MAX,
            Some(cycles) => (1..cycles).fold(first.end_ms, |end_ms, _| self.window(end_ms).end_ms),
        };
        Override {
            amount,
            from_ms: first.start_ms,
            until_ms,
            cycles,
        }
    }

    /// In how many windows, that of now included, the override still holds. `None`: there is none, or it
    /// holds for ever.
    pub fn cycles_left(&self, now_ms: i64) -> Option<u32> {
        let raised_by = self.raised_by?;
        let mut window = self.window(now_ms);
        let mut left = 0;
        // No more than there were, also where windows have become shorter meanwhile.
        while left < raised_by.cycles? && raised_by.holds_in(window.start_ms) {
            left = left.saturating_add(1);
            window = self.window(window.end_ms);
        }
        Some(left)
    }

    /// The window that `now_ms` falls into.
    pub fn window(&self, now_ms: i64) -> Window {
        let Window { start_ms, end_ms } =
            self.period.window(self.anchor_ms, &self.alignment, now_ms);
        match self.open {
            Some(open) if now_ms < open.start_ms => Window {
                start_ms,
                end_ms: end_ms.min(open.start_ms),
            },
            Some(open) if now_ms < open.end_ms => open,
            Some(open) => Window {
                start_ms: start_ms.max(open.end_ms),
                end_ms,
            },
            None => Window { start_ms, end_ms },
        }
    }

    /// The same limit as configured anew. The window that is open keeps its start, and with it what was
    /// used in it, and ends where a window of the new configuration does: so no change of a limit's
    /// windows forgets what was used, and none what was added.
    #[must_use]
    pub fn after(mut self, old: &Self, now_ms: i64) -> Self {
        self.raised_by = old.raised_by;
        let same = self.period == old.period
            && self.anchor_ms == old.anchor_ms
            && self.alignment == old.alignment;
        let open = old.window(now_ms);
        let fresh = self.period.window(self.anchor_ms, &self.alignment, now_ms);
        self.open = if same {
            old.open.filter(|open| now_ms < open.end_ms)
        } else if fresh.start_ms == open.start_ms || fresh.end_ms <= open.start_ms {
            None
        } else {
            Some(Window {
                start_ms: open.start_ms,
                end_ms: fresh.end_ms,
            })
        };
        self
    }

    /// The limit as the filter needs it: see [`Alignment::known_at`].
    #[must_use]
    pub fn known_at(&self, now_ms: i64) -> Self {
        Self {
            alignment: self.alignment.known_at(self.period, now_ms),
            ..self.clone()
        }
    }
}

/// A limit with no room for what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// The most in the window.
    pub max: i64,
    /// What counts against the limit: used, or reserved by anybody.
    pub used: i64,
    /// Of that, not in the ledger yet: reserved, or settled a moment ago.
    pub reserved: i64,
    /// When the window ends, milliseconds since the Unix epoch.
    pub resets_at_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const HOUR: i64 = 3_600_000;

    fn limit(period: &str, alignment: Alignment) -> Limit {
        Limit {
            id: "limit".into(),
            metric: Metric::Requests,
            max: 100,
            period: Period::parse(period).unwrap(),
            anchor_ms: 0,
            alignment,
            open: None,
            raised_by: None,
        }
    }

    fn raised(limit: Limit, now_ms: i64, cycles: Option<u32>) -> Limit {
        let raised_by = Some(limit.override_from(now_ms, 50, cycles));
        Limit { raised_by, ..limit }
    }

    #[test]
    fn an_override_holds_in_its_window_and_the_next_and_not_a_millisecond_longer() {
        let limit = raised(limit("1h", Alignment::Rolling), HOUR + 5, Some(2));
        for (now_ms, max, left) in [
            (HOUR - 1, 100, 0),
            (HOUR, 150, 2),
            (2 * HOUR - 1, 150, 2),
            (2 * HOUR, 150, 1),
            (3 * HOUR - 1, 150, 1),
            (3 * HOUR, 100, 0),
        ] {
            assert_eq!(limit.max_at(now_ms), max, "{now_ms}");
            assert_eq!(limit.cycles_left(now_ms), Some(left), "{now_ms}");
        }
    }

    #[test]
    fn an_override_for_ever_does_not_lapse() {
        let limit = raised(limit("1h", Alignment::Rolling), HOUR, None);
        assert_eq!((limit.max_at(HOUR - 1), limit.max_at(HOUR)), (100, 150));
        assert_eq!(limit.max_at(i64::MAX / 2), 150);
        assert_eq!(limit.cycles_left(HOUR), None);
    }

    #[test]
    fn calendar_months_are_counted_by_the_calendar() {
        const JANUARY_2026: i64 = 1_767_225_600_000;
        const APRIL_2026: i64 = 1_775_001_600_000;
        let now_ms = JANUARY_2026 + 20 * 24 * HOUR;
        let limit = raised(limit("1M", Alignment::utc()), now_ms, Some(3));
        assert_eq!(limit.max_at(APRIL_2026 - 1), 150);
        assert_eq!(limit.max_at(APRIL_2026), 100);
    }

    #[test]
    fn no_change_of_the_limit_forgets_what_was_added() {
        let before = raised(limit("1h", Alignment::Rolling), HOUR, Some(24));
        let mut after = limit("1d", Alignment::utc()).after(&before, HOUR + 1);
        assert_eq!(after.max_at(HOUR + 1), 150);
        // A day ends, and begins before the 24th hour is over: the day that begins then is the last.
        assert_eq!(after.max_at(24 * HOUR), 150);
        assert_eq!(after.max_at(48 * HOUR), 100);
        after.max = 10;
        assert_eq!(after.max_at(HOUR + 1), 60);
    }
}
