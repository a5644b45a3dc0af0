//! A worker alone with a limit that is lowered.

use std::collections::BTreeMap;

use reeve_policy::lease::term::Term;
use reeve_policy::lease::{Lent, Need, Pool, Refused, Session, Taken, Tenure, Want, Worker};
use reeve_policy::limit::Limit;

use super::SlotsWorld;
use crate::envoy::Shared;

struct Alone {
    limit: Limit,
    shared: Shared,
    worker: Worker,
}

impl Alone {
    fn new(max: i64) -> Self {
        let mut limit = SlotsWorld::new(0).limits.remove(0);
        limit.max = max;
        let pools = BTreeMap::from([(limit.id.clone(), Pool::default())]);
        Self {
            shared: Shared(std::cell::RefCell::new(pools)),
            limit,
            worker: Worker::default(),
        }
    }

    fn take(&mut self, session: Session, asked: u32) -> Result<Vec<Taken>, Refused> {
        let needs = [Need {
            limit: &self.limit,
            amount: 1,
            tenure: tenure(session),
        }];
        self.worker.reserve_all(&self.shared, &needs, asked, 0)
    }

    fn short(&mut self, session: Session) -> Want {
        let Err(Refused::Short(mut wants)) = self.take(session, 0) else {
            panic!("nothing stands ready");
        };
        wants.remove(0)
    }

    fn answer(&mut self, want: &Want, total: i64, tight: bool, committed: i64) {
        let lent = Lent {
            total,
            tight,
            posted: 0,
            committed,
        };
        self.worker.on_lent(&self.shared, want, lent, 0);
    }

    fn settle(&mut self, taken: Taken) {
        let Self {
            limit,
            shared,
            worker,
        } = self;
        worker.settle(shared, &limit.id, taken.lease, 1, 0);
    }

    fn returned(&self) -> i64 {
        self.shared.0.borrow()[&self.limit.id].returned
    }
}

fn tenure(session: Session) -> Tenure {
    Term::default().renewed(session, 0).tenure_at(0).unwrap()
}

#[test]
fn what_was_lent_under_a_higher_limit_does_not_go_round() {
    let mut alone = Alone::new(10);
    let want = alone.short(1);
    alone.answer(&want, 10, false, 10);
    let taken = alone.take(1, 1).unwrap()[0];
    for _ in 1..10 {
        alone.take(1, 0).unwrap();
    }
    alone.limit.max = 3;
    alone.settle(taken);
    // The slot that is free goes back.
    let want = alone.short(1);
    assert_eq!((want.lent, want.returned, want.missing), (10, 1, 1));
    alone.answer(&want, 10, true, 9);
    // One more that ends is not there for the next one either, until the control plane says so.
    alone.settle(taken);
    assert!(matches!(
        alone.take(1, 0),
        Err(Refused::Short(_) | Refused::Exceeded(..))
    ));
    assert_eq!(alone.returned(), 2);
}

#[test]
fn an_answer_about_a_session_that_is_over_is_the_last_word_about_it_and_none_about_now() {
    let mut alone = Alone::new(10);
    let old = alone.short(1);
    // Nobody answers: it is said again.
    let said = (0..30).find_map(|_| alone.worker.tick(&alone.shared, false).pop());
    let said = said.unwrap();
    assert_eq!(
        (said.lease, said.waits, said.missing),
        (old.lease, false, 0)
    );
    alone.answer(&said, said.lent, true, 0);
    let again = (0..30).find_map(|_| alone.worker.tick(&alone.shared, false).pop());
    let again = again.expect("the first one may still be under way");
    alone.answer(&again, again.lent, true, 0);
    for _ in 0..300 {
        assert_eq!(alone.worker.tick(&alone.shared, false), []);
    }

    // Under the next session more is lent than the limit allows by now.
    let want = alone.short(2);
    alone.answer(&want, 4, false, 4);
    let taken = alone.take(2, 1).unwrap()[0];
    alone.limit.max = 3;
    let want = alone.short(2);
    alone.answer(&want, 4, true, 4);
    alone.answer(&again, again.lent, true, 0);
    let before = alone.returned();
    alone.settle(taken);
    assert!(alone.take(2, 0).is_err(), "it does not go round");
    assert!(alone.returned() > before);
}
