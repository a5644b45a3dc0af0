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
}

impl Limit {
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
    /// windows forgets what was used.
    #[must_use]
    pub fn after(mut self, old: &Self, now_ms: i64) -> Self {
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
    /// What counts against the limit: used, or reserved by anybody.
    pub used: i64,
    /// Of that, not in the ledger yet: reserved, or settled a moment ago.
    pub reserved: i64,
    /// When the window ends, milliseconds since the Unix epoch.
    pub resets_at_ms: i64,
}
