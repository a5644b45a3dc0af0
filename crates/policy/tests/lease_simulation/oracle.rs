//! What has really happened, which nobody in the world knows.

use std::collections::BTreeMap;

use crate::network::{LimitNumber, WindowStart};

#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) asked: u64,
    /// Admitted beyond what was held, while the control plane could not be asked.
    pub(crate) alone: u64,
    pub(crate) trapped: u64,
    pub(crate) killed: u64,
    pub(crate) crashed: u64,
    /// Sessions of slots that were silent for too long.
    pub(crate) expired: u64,
    /// Requests that their Envoy has ended, because it was not renewed.
    pub(crate) ended: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.asked += other.asked;
        self.alone += other.alone;
        self.trapped += other.trapped;
        self.killed += other.killed;
        self.crashed += other.crashed;
        self.expired += other.expired;
        self.ended += other.ended;
    }
}

/// Of one limit in one window.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Truth {
    /// Used by requests that have ended.
    pub(crate) used: i64,
    /// The most that requests in flight can use.
    pub(crate) in_flight: i64,
    /// Used by requests whose process died before it could tell, at most.
    pub(crate) untold: i64,
    /// Used beyond what was reserved for it: the provider's doing.
    pub(crate) overrun: i64,
}

#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) truth: BTreeMap<(LimitNumber, WindowStart), Truth>,
    pub(crate) totals: Totals,
}

impl Oracle {
    pub(crate) fn of(&mut self, limit: LimitNumber, window: WindowStart) -> &mut Truth {
        self.truth.entry((limit, window)).or_default()
    }
}
