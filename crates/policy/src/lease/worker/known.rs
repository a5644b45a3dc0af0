//! How much of a limit is used, as far as it is known here. It decides nothing about the limit itself:
//! routing rules look at it.

use super::Worker;
use crate::lease::pools::{self, Of, Pools};
use crate::lease::{Block, LeaseId, Pool, Tenure};
use crate::limit::Limit;

impl Worker {
    /// What counts against a limit in the window of now. `others`: what everyone but this process has
    /// used in it. What other workers have taken and not used yet counts as used.
    pub fn used(
        &self,
        pools: &impl Pools,
        tenure: Tenure,
        limit: &Limit,
        others: impl FnOnce(i64) -> i64,
        now_ms: i64,
    ) -> i64 {
        let lease = LeaseId {
            session: tenure.session,
            window_start_ms: limit.window(now_ms).start_ms,
        };
        let of = Of {
            limit_id: &limit.id,
            lease,
            standing: 0,
            exactly: false,
        };
        let pool = pools::look(pools, of).filter(|pool| pool.id == lease);
        let pool = pool.unwrap_or_else(|| Pool::default().at(lease, 0));
        let held = self.limits.get(&limit.id).map(|held| held.now);
        let block = held
            .filter(|block| block.id == lease)
            .unwrap_or_else(|| Block::empty(lease));
        let elsewhere = pool.taken.saturating_sub(block.size);
        others(lease.window_start_ms)
            .max(pool.others)
            .saturating_add(elsewhere)
            .saturating_add(block.used)
            .saturating_add(block.reserved)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::calendar::Alignment;
    use crate::lease::Need;
    use crate::limit::Metric;
    use crate::period::Period;

    #[derive(Default)]
    pub(in super::super) struct Memory(RefCell<HashMap<String, Pool>>);

    impl Pools for Memory {
        type Version = ();

        fn read(&self, limit_id: &str) -> Option<(Pool, ())> {
            self.0.borrow().get(limit_id).map(|pool| (*pool, ()))
        }

        fn swap(&self, limit_id: &str, pool: Pool, (): ()) -> bool {
            self.0.borrow_mut().insert(limit_id.to_owned(), pool);
            true
        }
    }

    pub(in super::super) const TENURE: Tenure = Tenure {
        session: 1,
        divisor: 1,
    };

    pub(in super::super) fn limit() -> Limit {
        Limit {
            id: "l".into(),
            metric: Metric::Requests,
            max: 1_000,
            period: Period::parse("1h").unwrap(),
            anchor_ms: 0,
            alignment: Alignment::Rolling,
            open: None,
            raised_by: None,
        }
    }

    #[test]
    fn what_this_process_and_all_others_have_used_counts() {
        let (pools, limit) = (Memory::default(), limit());
        pools.swap("l", Pool::default(), ());
        let [mut one, mut two] = [Worker::default(), Worker::default()];
        assert_eq!(one.used(&pools, TENURE, &limit, |_| 0, 5), 0);
        assert_eq!(one.used(&pools, TENURE, &limit, |_| 40, 5), 40);
        let need = [Need {
            limit: &limit,
            amount: 10,
            tenure: TENURE,
        }];
        let taken = one.reserve_all(&pools, &need, 0, 5).unwrap();
        assert_eq!(one.used(&pools, TENURE, &limit, |_| 40, 5), 50);
        one.settle(&pools, "l", taken[0].lease, 10, 3);
        assert_eq!(one.used(&pools, TENURE, &limit, |_| 40, 5), 43);
        // The block that the other one took counts as used here, for it may be.
        let block = pools.read("l").unwrap().0.taken;
        assert_eq!(two.used(&pools, TENURE, &limit, |_| 0, 5), block);
        two.reserve_all(&pools, &need, 0, 5).unwrap();
        assert!(two.used(&pools, TENURE, &limit, |_| 0, 5) >= 13);
    }

    #[test]
    fn a_window_that_is_over_does_not_count() {
        let (pools, limit) = (Memory::default(), limit());
        pools.swap("l", Pool::default(), ());
        let mut worker = Worker::default();
        let need = [Need {
            limit: &limit,
            amount: 10,
            tenure: TENURE,
        }];
        worker.reserve_all(&pools, &need, 0, 5).unwrap();
        let later = 3_600_000;
        let others = |start_ms| i64::from(start_ms == later);
        assert_eq!(worker.used(&pools, TENURE, &limit, others, later), 1);
        assert_eq!(worker.used(&pools, TENURE, &limit, others, later - 1), 10);
    }
}
