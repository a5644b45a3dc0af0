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

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::UNANSWERED_TICKS;
    use super::super::known::tests::{Memory, TENURE, limit};
    use super::*;
    use crate::lease::{Need, Pool, Refused, Tenure};

    const fn lent(total: i64) -> Lent {
        Lent {
            total,
            tight: false,
            posted: 0,
            committed: 0,
        }
    }

    #[test]
    fn what_a_lost_answer_gave_comes_to_light_before_a_limit_is_forgotten() {
        let (pools, limit) = (Memory::default(), limit());
        pools.swap("l", Pool::default(), ());
        let mut worker = Worker::default();
        let need = [Need {
            limit: &limit,
            amount: 400,
            tenure: Tenure {
                divisor: 4,
                ..TENURE
            },
        }];
        let Err(Refused::Short(wants)) = worker.reserve_all(&pools, &need, 0, 5) else {
            panic!("nothing is held");
        };
        worker.on_lent(&pools, &wants[0], lent(400), 6);
        let taken = worker.reserve_all(&pools, &need, 1, 7).unwrap();
        worker.settle(&pools, "l", taken[0].lease, 400, 400);
        for ahead in worker.tick(&pools, false) {
            worker.on_lent(&pools, &ahead, lent(400), 8);
        }
        // The want came twice: 800 is lent, and the answer that says so is lost.
        let mut quiet: Vec<Want> = (0..=UNANSWERED_TICKS)
            .flat_map(|_| worker.tick(&pools, false))
            .collect();
        let last = quiet.pop().unwrap();
        assert_eq!((quiet, last.missing, last.waits), (vec![], 0, false));
        worker.on_lent(&pools, &last, lent(800), 8);
        let back = worker.tick(&pools, false);
        let standing = 250;
        assert_eq!(back[0].returned, 400 - standing);
        worker.on_lent(&pools, &back[0], lent(800), 9);
        assert_eq!(worker.tick(&pools, false), []);
        assert!(worker.limits.is_empty(), "all is said");
    }
}
