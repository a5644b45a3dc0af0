//! Leases: how a fleet shares a limit and cannot overspend it.
//!
//! A limit's window is an [`Account`] in the control plane. Nobody spends from it; it **lends**. Each
//! life of an Envoy process (a session) has been lent so much of it in all, and has returned so much
//! of that in all. What it holds is the difference, and is counted against the limit as if it were
//! spent:
//!
//! ```text
//! sum over all sessions of max(lent - returned, posted) <= max
//! ```
//!
//! So however late, often or out of order anybody hears of anybody, no more can be spent than the limit
//! allows. In the process a [`Pool`] (in shared data) holds what was lent, and each worker's VM takes
//! [`Block`]s from it (into its own memory), so that the usual request asks nobody:
//!
//! ```text
//! control plane   Account   lends to            (a message)
//! Envoy process   Pool      hands blocks to     (a compare-and-swap)
//! worker's VM     Block     reserves for        (an addition)
//! request
//! ```
//!
//! Three rules make that robust:
//!
//! * What is told between control plane and process are **totals that only grow** (lent, returned), per
//!   session, limit and window. A message that comes twice, late or never does no harm.
//! * A session that has asked for nothing yet has a [`standing`] lease already, a small part of the limit:
//!   the first request of a quiet key need not wait. The account counts it for every session; one that
//!   joins when it no longer fits has none, and is told so before it serves.
//! * What a dead session held **stays counted** until the window ends or somebody releases it: nobody can
//!   know whether it was spent.
//!
//! A reservation belongs to the window it was made in, whenever it is settled.
//!
//! Slots ([`Metric::InFlight`](crate::limit::Metric::InFlight)) are lent in the same way, in a window that
//! never ends, and nothing of them is ever used: settled with zero, a slot is free again. So that a process
//! that was killed does not keep them, they are held under a session of their own, which [ends](term) after
//! seconds of silence.

mod account;
mod block;
mod need;
mod pool;
pub mod pools;
pub mod term;
mod worker;

pub use account::{Account, Answer, Ask, Holding, Session, Terms};
pub use block::Block;
pub use need::{Lent, Need, Refused, Taken, Tenure, Want};
pub use pool::{Pool, Short};
pub use worker::Worker;

use crate::limit::{Limit, Metric};

/// Whose lease it is, and in which window. A later one is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeaseId {
    /// The session; 0: none yet.
    pub session: Session,
    /// The window, by its start; milliseconds since the Unix epoch.
    pub window_start_ms: i64,
}

/// What a session may use of a limit in a window without having asked. `divisor` is the session's own
/// and does not change while it lives; 0: nothing.
pub fn standing(max: i64, divisor: u32) -> i64 {
    max.max(0)
        .checked_div(i64::from(divisor))
        .unwrap_or_default()
}

/// What a session may use of a limit beyond what it holds in a window, while the control plane cannot be asked.
pub fn emergency_allowance(limit: &Limit, percent: u32) -> i64 {
    if limit.metric == Metric::InFlight {
        return 0;
    }
    let part = i128::from(limit.max.max(0)).saturating_mul(percent.min(100).into());
    i64::try_from(part.div_euclid(100)).unwrap_or_default()
}

/// The [`standing`] divisor of a session that joins when `others` sessions are counted already. However
/// many join, all standing leases together are no more than three quarters of a limit; a session beyond
/// the 64th has none.
pub fn divisor(others: u32) -> u32 {
    const FEW: u32 = 4;
    const MANY: u32 = 64;
    let Some(sessions) = others.checked_add(1).filter(|sessions| *sessions <= MANY) else {
        return 0;
    };
    sessions.max(FEW).next_power_of_two().saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn all_standing_leases_together_leave_a_quarter_of_the_limit() {
        let max = 256_000;
        let all: i64 = (0..1_000)
            .map(|others| standing(max, divisor(others)))
            .sum();
        assert_eq!(all, max * 3 / 4);
    }

    #[test]
    fn nothing_stands_of_a_limit_of_nothing() {
        assert_eq!(standing(0, divisor(0)), 0);
        assert_eq!(standing(-5, divisor(0)), 0);
        assert_eq!(standing(100, 0), 0);
        assert_eq!(standing(15, divisor(0)), 0);
        assert_eq!(standing(16, divisor(0)), 1);
    }
}
