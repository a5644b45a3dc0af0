//! Two replicas on one database, each with an Envoy of its own.

use std::sync::Arc;
use std::time::Duration;

use reeve_policy::lease::{Answer, Ask, standing};
use tokio::sync::broadcast::Receiver;
use tokio::task::JoinHandle;

use super::testing::{BUDGET, budget};
use super::{Key, Recall, Unavailable, follow_replicas, replicas};
use crate::db::Db;
use crate::db::testing::on_every_database;
use crate::policy_sync::nodes::Seat;
use crate::testing::{Api, in_time, until};
use crate::usage::tests::boot;

/// How long a request is held that must not have to wait for the end of it.
const HOUR: Duration = Duration::from_hours(1);

/// A replica with an Envoy that is connected to it.
struct Replica {
    api: Api,
    session: i64,
    standing: i64,
    _seat: Seat,
}

impl Replica {
    async fn new(db: Db, node: &str) -> Self {
        let api = Api::new(db).await;
        let seat = api.app.policy_sync.seat_for_tests(boot(node, "b"));
        let joined = api.app.ledger.join(boot(node, "b")).await.unwrap();
        Self {
            api,
            session: joined.session,
            standing: standing(BUDGET, joined.standing_divisor),
            _seat: seat,
        }
    }

    /// Two, and a budget.
    async fn two(db: Db) -> (Self, Self, Key) {
        let (one, two) = (Self::new(db.clone(), "a").await, Self::new(db, "b").await);
        let budget = budget(&one.api).await;
        (one, two, budget)
    }

    fn ask(&self, returned: i64, want: i64) -> Ask {
        Ask {
            session: self.session,
            lent: self.standing,
            returned,
            want,
            waits: want > 0,
        }
    }

    /// Looks for what is new at other replicas.
    fn follow(&self) {
        tokio::spawn(follow_replicas(Arc::clone(&self.api.app)));
    }

    /// A request of its Envoy needs all that there is, and is held.
    fn hold_request(&self, budget: &Key) -> JoinHandle<Result<Vec<(Key, Answer)>, Unavailable>> {
        let asks = vec![(budget.clone(), self.ask(0, BUDGET - self.standing))];
        let app = Arc::clone(&self.api.app);
        tokio::spawn(async move { app.ledger.ask_patiently(asks, HOUR).await })
    }

    /// Its Envoy gives back what stood ready for it.
    async fn give_back(&self, budget: &Key) {
        let back = vec![(budget.clone(), self.ask(self.standing, 0))];
        self.api.app.ledger.ask(back).await.unwrap();
    }

    /// Its Envoy is told to give back.
    async fn told(&self, recalls: &mut Receiver<Recall>, budget: &Key) {
        let told = async {
            loop {
                let recall = recalls.recv().await.unwrap();
                if recall
                    .holder
                    .is_some_and(|holder| holder.session == self.session)
                {
                    assert_eq!((&recall.key, recall.base), (budget, BUDGET));
                    return;
                }
            }
        };
        in_time("a recall", told).await;
    }

    async fn recalls_passed_on(&self) -> i64 {
        let mut tx = self.api.app.db.begin_read().await.unwrap();
        let (rows,): (i64,) = tx
            .query("SELECT COUNT(*) FROM recalls")
            .fetch_one()
            .await
            .unwrap();
        rows
    }
}

on_every_database! {
    async fn a_request_gets_what_an_envoy_of_another_replica_holds(db: Db) {
        let (one, two, budget) = Replica::two(db).await;
        let mut recalls = two.api.app.policy_sync.recalls_for_tests();
        one.follow();
        two.follow();
        let held = one.hold_request(&budget);
        two.told(&mut recalls, &budget).await;
        two.give_back(&budget).await;
        let answers = in_time("an answer", held).await.unwrap().unwrap();
        assert_eq!(answers[0].1.lent, BUDGET);
    }

    async fn a_replica_that_starts_after_a_recall_hears_of_it_while_the_request_is_held(db: Db) {
        let (one, two, budget) = Replica::two(db).await;
        let mut recalls = two.api.app.policy_sync.recalls_for_tests();
        one.follow();
        let held = one.hold_request(&budget);
        until("the recall is passed on", async || one.recalls_passed_on().await > 0).await;
        two.follow();
        two.told(&mut recalls, &budget).await;
        two.give_back(&budget).await;
        let answers = in_time("an answer", held).await.unwrap().unwrap();
        assert_eq!(answers[0].1.lent, BUDGET);
    }

    async fn one_look_finds_every_recall_once(db: Db) {
        let (one, two, budget) = Replica::two(db).await;
        let app = &two.api.app;
        let mut recalls = app.policy_sync.recalls_for_tests();
        let seen = replicas::begin(app).await.unwrap();
        let asks = vec![(budget.clone(), one.ask(0, BUDGET - one.standing))];
        for _ in 0..2 {
            assert!(one.api.app.ledger.ask(asks.clone()).await.unwrap()[0].1.recall);
        }
        let seen = replicas::look(app, seen).await.unwrap();
        assert_eq!(recalls.try_recv().unwrap().holder.unwrap().session, two.session);
        replicas::look(app, seen).await.unwrap();
        assert!(recalls.is_empty(), "asked for twice, and told once");
    }

    async fn what_was_returned_elsewhere_wakes_who_waits_though_its_envoy_is_here_by_now(db: Db) {
        let (one, two, budget) = Replica::two(db).await;
        let app = &one.api.app;
        let freed = app.ledger.freed.subscribe();
        let seen = replicas::begin(app).await.unwrap();
        let seen = replicas::look(app, seen).await.unwrap();
        assert!(!freed.has_changed().unwrap(), "nothing was returned");
        two.give_back(&budget).await;
        let _moved = app.policy_sync.seat_for_tests(boot("b", "b"));
        replicas::look(app, seen).await.unwrap();
        assert!(freed.has_changed().unwrap());
    }

    async fn what_concerns_nobody_elsewhere_is_not_passed_on(db: Db) {
        let one = Replica::new(db, "a").await;
        let budget = budget(&one.api).await;
        let asks = vec![(budget, one.ask(0, BUDGET + 1))];
        let answers = one.api.app.ledger.ask(asks).await.unwrap();
        assert!(answers[0].1.recall);
        assert_eq!(one.recalls_passed_on().await, 0);
    }
}
