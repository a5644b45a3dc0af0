//! Adaptive shares: by how much a provider's weight is lowered while it fails, refuses or is slow.
//!
//! Envoys [count](Counts) what came of each attempt; a control plane [judges](judge::Judge) what it is told and
//! publishes a [factor](Shares) for each provider and key that is not as good as it should be. A factor only
//! changes how often a provider is drawn, never whether it may be asked.

pub mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

/// The whole of a configured share, parts per million.
pub const WHOLE_PPM: u32 = 1_000_000;
/// What a provider keeps of its share however bad it is, so that its recovery is seen.
pub const FLOOR_PPM: u32 = 50_000;
/// How long factors hold while nobody is there to raise them again: after this long without a word of the
/// control plane every share is as it is configured.
pub const KEPT_MS: i64 = 300_000;

/// Who was asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The provider.
    pub provider: String,
    /// One of its keys; `None`: the provider, with whatever key.
    pub key_id: Option<String>,
}

impl Target {
    /// A provider, with whatever key.
    pub fn provider(name: &str) -> Self {
        Self {
            provider: name.to_owned(),
            key_id: None,
        }
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// An answer, or a refusal for which the request itself is to blame.
    Answered,
    /// It says that it has failed, or is overloaded.
    Failed,
    /// No connection, or no answer in time.
    Unanswered,
    /// It says that its key, or the account behind it, is no good.
    KeyRefused,
    /// It says that it is asked too often.
    RateLimited,
}

/// What came of attempts. As a total it only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All of them.
    pub attempts: u64,
    /// Of these: [`Seen::Failed`].
    pub failed: u64,
    /// [`Seen::Unanswered`].
    pub unanswered: u64,
    /// An answer that began and was not finished.
    pub broken_off: u64,
    /// [`Seen::KeyRefused`].
    pub key_refused: u64,
    /// [`Seen::RateLimited`].
    pub rate_limited: u64,
    /// Answers whose first byte was timed.
    pub timed: u64,
    /// How long those first bytes took together, milliseconds.
    pub first_byte_ms: u64,
}

impl Counts {
    /// Counts an attempt. `first_byte_ms`: how long a good answer took to begin.
    pub const fn count(&mut self, seen: Seen, first_byte_ms: Option<u64>) {
        self.attempts = self.attempts.saturating_add(1);
        let of = match seen {
            Seen::Answered => {
                if let Some(ms) = first_byte_ms {
                    self.timed = self.timed.saturating_add(1);
                    self.first_byte_ms = self.first_byte_ms.saturating_add(ms);
                }
                return;
            }
            Seen::Failed => &mut self.failed,
            Seen::Unanswered => &mut self.unanswered,
            Seen::KeyRefused => &mut self.key_refused,
            Seen::RateLimited => &mut self.rate_limited,
        };
        *of = of.saturating_add(1);
    }

    /// An answer that was counted as one has broken off.
    pub const fn break_off(&mut self) {
        self.broken_off = self.broken_off.saturating_add(1);
    }

    /// Adds others to them.
    pub const fn add(&mut self, more: Self) {
        self.attempts = self.attempts.saturating_add(more.attempts);
        self.failed = self.failed.saturating_add(more.failed);
        self.unanswered = self.unanswered.saturating_add(more.unanswered);
        self.broken_off = self.broken_off.saturating_add(more.broken_off);
        self.key_refused = self.key_refused.saturating_add(more.key_refused);
        self.rate_limited = self.rate_limited.saturating_add(more.rate_limited);
        self.timed = self.timed.saturating_add(more.timed);
        self.first_byte_ms = self.first_byte_ms.saturating_add(more.first_byte_ms);
    }

    /// What is new since an earlier total.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            attempts: self.attempts.saturating_sub(before.attempts),
            failed: self.failed.saturating_sub(before.failed),
            unanswered: self.unanswered.saturating_sub(before.unanswered),
            broken_off: self.broken_off.saturating_sub(before.broken_off),
            key_refused: self.key_refused.saturating_sub(before.key_refused),
            rate_limited: self.rate_limited.saturating_sub(before.rate_limited),
            timed: self.timed.saturating_sub(before.timed),
            first_byte_ms: self.first_byte_ms.saturating_sub(before.first_byte_ms),
        }
    }

    /// Failures of every kind, but for those that only say that it is asked too often.
    pub const fn errors(self) -> u64 {
        self.failed
            .saturating_add(self.unanswered)
            .saturating_add(self.broken_off)
            .saturating_add(self.key_refused)
    }

    /// How long a first byte took on average, milliseconds. `None`: none was timed.
    pub const fn mean_first_byte_ms(self) -> Option<u64> {
        self.first_byte_ms.checked_div(self.timed)
    }
}

/// Counts by whom they are of. Attempts with a key stand under that key, and nowhere else.
pub type Totals = BTreeMap<Target, Counts>;

/// The factors in force. What is not in it has its whole share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shares {
    providers: BTreeMap<String, Factors>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Factors {
    whole: u32,
    keys: BTreeMap<String, u32>,
}

impl Shares {
    /// Of these factors, parts per million.
    pub fn new(factors: impl IntoIterator<Item = (Target, u32)>) -> Self {
        let mut shares = Self::default();
        for (target, factor) in factors {
            let of = shares.providers.entry(target.provider).or_insert(Factors {
                whole: WHOLE_PPM,
                keys: BTreeMap::new(),
            });
            match target.key_id {
                None => of.whole = factor,
                Some(id) => {
                    of.keys.insert(id, factor);
                }
            }
        }
        shares
    }

    /// All that are in it.
    pub fn factors(&self) -> impl Iterator<Item = (Target, u32)> {
        self.providers.iter().flat_map(|(name, of)| {
            let whole = (Target::provider(name), of.whole);
            let keys = of.keys.iter().map(move |(id, factor)| {
                let key_id = Some(id.clone());
                let provider = name.clone();
                (Target { provider, key_id }, *factor)
            });
            std::iter::once(whole)
                .filter(|(_, factor)| *factor != WHOLE_PPM)
                .chain(keys)
        })
    }

    /// Has everybody its whole share?
    pub fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    /// What a provider keeps of its share, or one of its keys of that key's, parts per million.
    pub fn factor(&self, provider: &str, key_id: Option<&str>) -> u32 {
        let Some(of) = self.providers.get(provider) else {
            return WHOLE_PPM;
        };
        match key_id {
            None => of.whole,
            Some(id) => of.keys.get(id).copied().unwrap_or(WHOLE_PPM),
        }
    }

    /// A configured weight as it counts in the draw. What can be drawn at all stays so.
    pub fn weight(&self, provider: &str, key_id: Option<&str>, configured: u32) -> u32 {
        let factor = self.factor(provider, key_id);
        let weight = u64::from(configured)
            .saturating_mul(u64::from(factor))
            .checked_div(u64::from(WHOLE_PPM))
            .and_then(|weight| u32::try_from(weight).ok())
            .unwrap_or(configured);
        weight.max(configured.min(1))
    }
}
