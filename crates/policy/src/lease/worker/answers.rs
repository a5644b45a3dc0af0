//! What the control plane answers.

use super::{DRY_MS, Told, Worker};
use crate::lease::pools::{self, Pools};
use crate::lease::{LeaseId, Lent, Want};

impl Worker {
    /// What the control plane answers to a want.
    pub fn on_lent(&mut self, pools: &impl Pools, want: &Want, lent: Lent, now_ms: i64) {
        // What was lent is looked after, and returned if nobody uses it.
        let held = self.limits.entry(want.limit_id.clone()).or_default();
        // Of a lease that is over it tells nothing about now.
        if want.lease >= held.now.id {
            held.is_over = held.exactly && lent.committed > held.max;
        }
        let tight = lent.tight || held.is_over;
        // Who asked may have been the first to look at the pool in this window.
        let pool = pools::change(pools, &want.limit_id, |pool| {
            let pool = pool.at(want.lease, want.lent);
            pool.on_lent(want.lease, lent.total, tight)
        });
        if held.now.id == LeaseId::default() {
            held.turn_to(want.lease);
        }
        held.open.remove(&want.number);
        if want.number == held.said {
            // One that is still under way may be granted after this one was answered: say it once more.
            let others = std::mem::take(&mut held.open);
            held.unanswered_ticks = (!others.is_empty()).then_some(0);
        }
        let got = lent.total.saturating_sub(want.lent);
        if want.waits {
            held.told = Some(Told {
                lease: want.lease,
                posted: lent.posted,
                committed: lent.committed,
                dry: (got < want.missing).then_some((want.missing, now_ms.saturating_add(DRY_MS))),
            });
        }
        if let Some(pool) = pool {
            held.see(pool);
        }
    }
}
