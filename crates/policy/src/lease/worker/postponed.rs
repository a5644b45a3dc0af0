//! What a request lacks and does not wait for: the worker asks for it by itself.

use super::Worker;
use crate::lease::Want;
use crate::lease::pools::{self, Pools};

impl Worker {
    /// Nobody waits for these, and nobody has asked for them: the next [tick](Self::tick) does.
    pub fn postpone(&mut self, pools: &impl Pools, wants: &[Want]) {
        for want in wants {
            let Some(held) = self.limits.get_mut(&want.limit_id) else {
                continue;
            };
            held.open.remove(&want.number);
            let pool = pools::look(pools, held.of(&want.limit_id));
            if let Some(pool) = pool.filter(|pool| pool.id == want.lease) {
                // The tick takes the pool into account once more.
                let missing = want.missing.saturating_sub(pool.emergency);
                held.ahead = held.ahead.max(missing.saturating_add(pool.free()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::super::known::tests::{Memory, TENURE, limit};
    use super::*;
    use crate::lease::{Lent, Need, Pool, Refused, Tenure};

    #[test]
    fn what_nobody_waits_for_is_asked_for_once_and_then_is_there() {
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
        let short = |worker: &mut Worker| match worker.reserve_all(&pools, &need, 0, 5) {
            Err(Refused::Short(wants)) => wants,
            other => panic!("{other:?}"),
        };
        for _ in 0..3 {
            let wants = short(&mut worker);
            assert_eq!((wants[0].missing, wants[0].waits), (150, true));
            worker.postpone(&pools, &wants);
        }
        let wants = worker.tick(&pools, false);
        let [want] = wants.as_slice() else {
            panic!("{wants:?}")
        };
        assert_eq!((want.missing, want.waits), (150, false));
        assert_eq!(worker.tick(&pools, false), [], "it is under way");
        let lent = Lent {
            total: want.lent + 150,
            tight: false,
            posted: 0,
            committed: 0,
        };
        worker.on_lent(&pools, want, lent, 6);
        assert!(worker.limits["l"].open.is_empty(), "nothing is said again");
        worker.reserve_all(&pools, &need, 0, 7).unwrap();
    }
}
