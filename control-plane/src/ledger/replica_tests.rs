//! Two replicas on one database, each with an Envoy of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reeve_policy::lease::{Ask, standing};

use super::{Key, follow_replicas};
use crate::db::testing::on_every_database;
use crate::policy_sync::nodes::Seat;
use crate::testing::{Api, START_MS};
use crate::usage::tests::boot;

const BUDGET: i64 = 16_000_000_000;

/// A replica with an Envoy that is connected to it.
struct Replica {
    api: Api,
    session: i64,
    standing: i64,
    _seat: Seat,
}

impl Replica {
    async fn new(db: crate::db::Db, node: &str) -> Self {
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

    fn ask(&self, returned: i64, want: i64) -> Ask {
        Ask {
            session: self.session,
            lent: self.standing,
            returned,
            want,
            waits: want > 0,
        }
    }
}

on_every_database! {
    async fn a_request_gets_what_an_envoy_of_another_replica_holds(db: Db) {
        let (one, two) = (Replica::new(db.clone(), "a").await, Replica::new(db, "b").await);
        for replica in [&one, &two] {
            tokio::spawn(follow_replicas(Arc::clone(&replica.api.app)));
        }
        let body = r#"{"name": "t", "budget": {"max_limit": 16, "reset_duration": "1m"}}"#;
        let team = one.api.post("/api/governance/teams", body).await;
        let limit_id = team.ok(201)["team"]["budgets"][0]["id"].as_str().unwrap().to_owned();
        let budget = Key { limit_id, window_start_ms: START_MS };
        let mut recalls = two.api.app.policy_sync.recalls_for_tests();
        let began = Instant::now();
        let waiting = {
            let (app, budget) = (Arc::clone(&one.api.app), budget.clone());
            let ask = one.ask(0, BUDGET - one.standing);
            tokio::spawn(async move {
                app.ledger.ask_patiently(vec![(budget, ask)], Duration::from_secs(20)).await
            })
        };
        // The other replica's Envoy is told, and gives back what stood ready for it.
        loop {
            let recall = recalls.recv().await.unwrap();
            if recall.holder.is_some_and(|holder| holder.session == two.session) {
                assert_eq!((&recall.key, recall.base), (&budget, BUDGET));
                break;
            }
        }
        let back = two.ask(two.standing, 0);
        two.api.app.ledger.ask(vec![(budget, back)]).await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap()[0].1.lent, BUDGET);
        // Long before the last time that it would have asked anyway.
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    async fn what_concerns_nobody_elsewhere_is_not_passed_on(db: Db) {
        let one = Replica::new(db, "a").await;
        let body = r#"{"name": "t", "budget": {"max_limit": 16, "reset_duration": "1m"}}"#;
        let team = one.api.post("/api/governance/teams", body).await;
        let limit_id = team.ok(201)["team"]["budgets"][0]["id"].as_str().unwrap().to_owned();
        let asks = vec![(Key { limit_id, window_start_ms: START_MS }, one.ask(0, BUDGET + 1))];
        let answers = one.api.app.ledger.ask(asks).await.unwrap();
        assert!(answers[0].1.recall);
        let mut tx = one.api.app.db.begin_read().await.unwrap();
        let (rows,): (i64,) = tx.query("SELECT COUNT(*) FROM recalls").fetch_one().await.unwrap();
        assert_eq!(rows, 0);
    }
}
