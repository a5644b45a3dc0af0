//! What a process that is gone for good held, given back by an administrator.

use std::time::Duration;

use reeve_policy::lease::{Ask, standing};
use serde_json::json;

use super::{BUDGET, Fleet, Unavailable};
use crate::db::testing::on_every_database;
use crate::usage::tests::boot;

on_every_database! {
    async fn an_administrator_releases_what_an_envoy_that_has_gone_holds(db: Db) {
        let fleet = Fleet::new(db).await;
        let a = fleet.join("a").await.session;
        fleet.ask(a, [0, 0], 4_000_000_000).await;
        fleet.spend("a", 1, 1_500_000_000).await;
        let path = format!("/api/governance/sessions/{a}/release");
        assert_eq!(fleet.api.post(&path, "").await.problem(409), "");
        assert_eq!(fleet.usage().await["reserved"], 3.5);
        let listed = fleet.api.get("/api/governance/sessions").await;
        assert_eq!(listed.ok(200)["sessions"][0]["state"], "connected");

        fleet.api.advance(Duration::from_secs(31));
        let listed = fleet.api.get("/api/governance/sessions").await;
        let session = &listed.ok(200)["sessions"][0];
        assert_eq!((&session["state"], &session["holds"]), (&json!("gone"), &json!(1)));
        let released = fleet.api.post(&path, "").await;
        assert_eq!(released.ok(200)["released"], 1);
        let usage = fleet.usage().await;
        assert_eq!((&usage["suspense"], &usage["remaining"]), (&json!(0), &json!(14.5)));
        let mut tx = fleet.app().db.begin_read().await.unwrap();
        let by: (String, i64, Option<String>) = tx
            .query("SELECT kind, amount, actor FROM transfers ORDER BY id DESC LIMIT 1")
            .fetch_one()
            .await
            .unwrap();
        assert_eq!(by, ("release".into(), 3_500_000_000, Some("admin".into())));
        drop(tx);
        // Once is enough, and what it used all the same counts.
        fleet.api.post(&path, "").await.problem(404);
        fleet.api.post("/api/governance/sessions/x/release", "").await.problem(404);
        fleet.spend("a", 2, 500_000_000).await;
        assert_eq!(fleet.usage().await["used"], 2);
    }

    async fn what_is_told_of_a_session_that_is_over_keeps_nothing_else_from_the_ledger(db: Db) {
        let fleet = Fleet::new(db).await;
        let (a, b) = (fleet.join("a").await.session, fleet.join("b").await);
        fleet.api.advance(Duration::from_secs(31));
        fleet.api.post(&format!("/api/governance/sessions/{a}/release"), "").await.ok(200);
        let of_b = standing(BUDGET, b.standing_divisor);
        let tell = |session, lent, waits| {
            let ask = Ask { session, lent, returned: lent, want: 0, waits };
            (fleet.budget.clone(), ask)
        };
        let ledger = &fleet.app().ledger;
        let told = ledger.ask(vec![tell(a, 7, false), tell(b.session, of_b, false)]).await.unwrap();
        assert_eq!((told[0].1.lent, told[0].1.recall), (7, false), "the last word about it");
        assert_eq!(told[1].1.committed, 0, "everything has come back");
        let waits = ledger.ask(vec![tell(b.session, of_b, true), tell(a, 7, true)]).await;
        assert_eq!(waits, Err(Unavailable), "a request does not go on under it");
    }

    async fn an_envoy_whose_stream_is_open_cannot_be_released(db: Db) {
        let fleet = Fleet::new(db).await;
        let a = fleet.join("a").await.session;
        let seat = fleet.app().policy_sync.seat_for_tests(boot("a", "b"));
        fleet.api.advance(Duration::from_hours(1));
        let path = format!("/api/governance/sessions/{a}/release");
        fleet.api.post(&path, "").await.problem(409);
        drop(seat);
        fleet.api.post(&path, "").await.ok(200);
    }
}
