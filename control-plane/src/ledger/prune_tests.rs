//! What is deleted, and what is not, on both databases.

use std::time::Duration;

use reeve_policy::lease::{Answer, Ask};
use reeve_proto::v1::UsageRecord;
use serde_json::Value;

use super::Key;
use super::prune::prune;
use crate::db::testing::on_every_database;
use crate::testing::{Api, START_MS};
use crate::usage::tests::{boot, charge, record};

const DAY: Duration = Duration::from_hours(24);
/// All limits are for so much.
const MAX: i64 = 100_000_000_000;

struct Ledger {
    api: Api,
    /// Of each minute; for ever.
    minute: Key,
    ever: Key,
}

impl Ledger {
    async fn new(db: crate::db::Db) -> Self {
        let api = Api::new(db).await;
        let body = r#"{"name": "t", "budgets": [{"max_limit": 100, "reset_duration": "1m"},
                                                {"max_limit": 100, "reset_duration": "never"}]}"#;
        let team = api.post("/api/governance/teams", body).await;
        let key = |index: usize| Key {
            limit_id: team.ok(201)["team"]["budgets"][index]["id"]
                .as_str()
                .unwrap()
                .into(),
            window_start_ms: START_MS,
        };
        Self {
            minute: key(0),
            ever: key(1),
            api,
        }
    }

    async fn join(&self, node: &str) -> i64 {
        let joined = self.api.app.ledger.join(boot(node, "b")).await;
        joined.unwrap().session
    }

    /// Uses so much of both, in the window of now.
    async fn spend(&self, node: &str, sequence: u64, amount: i64) {
        let now_ms = self.api.app.clock.now_ms();
        let minute_ms = now_ms - (now_ms - START_MS) % 60_000;
        let record = UsageRecord {
            charges: vec![
                charge(&self.minute.limit_id, minute_ms, amount),
                charge(&self.ever.limit_id, START_MS, amount),
            ],
            ..record(sequence)
        };
        let posted = self
            .api
            .app
            .ledger
            .post(boot(node, "b"), vec![record])
            .await;
        assert_eq!(posted.unwrap().rejected.len(), 0);
    }

    async fn ask(&self, session: i64, key: &Key, want: i64) -> Answer {
        let ask = Ask {
            session,
            lent: 0,
            returned: 0,
            want,
            waits: true,
        };
        let answers = self.api.app.ledger.ask(vec![(key.clone(), ask)]).await;
        answers.unwrap().remove(0).1
    }

    async fn prune(&self) {
        let now_ms = self.api.app.clock.now_ms();
        prune(&self.api.app.db, now_ms, Duration::ZERO)
            .await
            .unwrap();
    }

    async fn release_silent(&self) {
        let before = self.api.app.clock.now_ms() - super::release::SILENCE_MS;
        self.api
            .app
            .ledger
            .release(Vec::new(), before)
            .await
            .unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let mut tx = self.api.app.db.begin_read().await.unwrap();
        let (count,): (i64,) = tx.query(sql).fetch_one().await.unwrap();
        count
    }

    async fn used(&self) -> [Value; 2] {
        let teams = self.api.get("/api/governance/teams").await;
        let budgets = &teams.ok(200)["teams"][0]["budgets"];
        [0, 1].map(|index| budgets[index]["current_usage"].clone())
    }
}

on_every_database! {
    async fn holdings_of_windows_that_are_over_go_after_a_day_and_usage_stays(db: Db) {
        let ledger = Ledger::new(db).await;
        ledger.join("a").await;
        for sequence in 1..=3 {
            ledger.spend("a", sequence, 1_000_000_000).await;
            ledger.api.advance(Duration::from_mins(1));
        }
        ledger.api.advance(Duration::from_mins(24 * 60 - 2));
        ledger.prune().await;
        // The first minute ended a day ago, the others less than that.
        assert_eq!(ledger.count("SELECT COUNT(*) FROM holdings").await, 3);
        ledger.spend("a", 4, 1_000_000_000).await;
        assert_eq!(ledger.used().await, [1, 4]);
        ledger.api.advance(DAY * 400);
        ledger.spend("a", 5, 1_000_000_000).await;
        ledger.prune().await;
        assert_eq!(ledger.count("SELECT COUNT(*) FROM holdings").await, 2);
        assert_eq!(ledger.used().await, [1, 5], "a window without an end is not over");
        assert_eq!(ledger.count("SELECT COUNT(*) FROM usage_records").await, 5);
    }

    async fn what_was_used_counts_when_the_session_that_used_it_is_forgotten(db: Db) {
        let ledger = Ledger::new(db).await;
        for node in ["a", "b", "c"] {
            let session = ledger.join(node).await;
            ledger.ask(session, &ledger.ever, 5_000_000_000).await;
            ledger.spend(node, 1, 2_000_000_000).await;
        }
        ledger.api.advance(Duration::from_secs(3_601));
        ledger.release_silent().await;
        ledger.api.advance(DAY * 31);
        let live = ledger.join("d").await;
        let before = ledger.ask(live, &ledger.ever, 1).await;
        ledger.prune().await;
        assert_eq!(ledger.count("SELECT COUNT(*) FROM sessions").await, 1);
        assert_eq!(ledger.count("SELECT COUNT(*) FROM holdings").await, 2, "forgotten, and live");
        assert_eq!(ledger.used().await, [0, 6]);
        // The writer knows at once, and lends no more than there is.
        let after = ledger.ask(live, &ledger.ever, MAX).await;
        assert_eq!((after.posted, after.lent), (6_000_000_000, before.lent));
        let rest = MAX - after.committed;
        let all = ledger.ask(live, &ledger.ever, rest).await;
        assert_eq!((all.committed, all.lent), (MAX, before.lent + rest));
        // One that comes back all the same is known by its usage, which is counted once.
        ledger.spend("b", 1, 2_000_000_000).await;
        ledger.spend("b", 2, 1_000_000_000).await;
        assert_eq!(ledger.used().await[1], 7);
        assert!(ledger.join("b").await > live, "no number comes twice");
    }

    async fn movements_of_administrators_stay_and_others_go_after_a_month(db: Db) {
        let ledger = Ledger::new(db).await;
        let session = ledger.join("a").await;
        ledger.ask(session, &ledger.minute, 5_000_000_000).await;
        let path = format!("/api/governance/limits/{}/top-up", ledger.ever.limit_id);
        ledger.api.post(&path, r#"{"amount": 1}"#).await.ok(200);
        ledger.api.advance(DAY * 30);
        ledger.ask(session, &ledger.ever, 5_000_000_000).await;
        ledger.prune().await;
        let kept = "SELECT COUNT(*) FROM transfers WHERE kind = 'top_up'";
        let lent = "SELECT COUNT(*) FROM transfers WHERE kind = 'lend'";
        assert_eq!((ledger.count(kept).await, ledger.count(lent).await), (1, 2));
        ledger.api.advance(Duration::from_millis(1));
        ledger.prune().await;
        assert_eq!((ledger.count(kept).await, ledger.count(lent).await), (1, 1));
        assert_eq!(ledger.count("SELECT MIN(id) FROM transfers").await, 2);
    }
}
