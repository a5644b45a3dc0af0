//! What a request needs of limits, and what is asked and answered about it.

use super::{LeaseId, Session};
use crate::limit::{Exceeded, Limit};

/// Under which what is held is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tenure {
    /// The session; 0: none yet.
    pub session: Session,
    /// Its divisor; see [`standing`].
    pub divisor: u32,
}

/// What a request needs of a limit.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// How much, in its unit.
    pub amount: i64,
    /// Under which it is taken.
    pub tenure: Tenure,
}

/// A reservation that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Of which lease.
    pub lease: LeaseId,
    /// All that counts against the limit in that window now, as far as it is known here.
    pub used: i64,
}

/// Why nothing was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is too little here: ask for this.
    Short(Vec<Want>),
    /// The need at this index cannot be met.
    Exceeded(usize, Exceeded),
    /// A limit has no pool, or no session has begun: the policy is not whole.
    Unavailable,
}

/// What is wanted of a limit, or only said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The limit.
    pub limit_id: String,
    /// Which lease.
    pub lease: LeaseId,
    /// Lent in all, as it is known here.
    pub lent: i64,
    /// Given back in all.
    pub returned: i64,
    /// How much is missing; 0: nothing, this only tells.
    pub missing: i64,
    /// A request waits for it.
    pub waits: bool,
    /// The how many-th of this worker about this limit.
    pub(super) number: u64,
}

/// What the control plane answers to a [`Want`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lent {
    /// In all.
    pub total: i64,
    /// Little is left.
    pub tight: bool,
    /// Used by all sessions.
    pub posted: i64,
    /// What counts against the limit.
    pub committed: i64,
}
