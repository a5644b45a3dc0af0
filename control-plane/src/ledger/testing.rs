//! For tests: the ledger through its queue, and its writer without it.

use std::sync::Arc;

use reeve_policy::lease::{Answer, Ask};
use reeve_proto::v1::UsageRecord;
use serde_json::Value;

use super::books::Books;
use super::{Joined, Key, sessions, writer};
use crate::app::App;
use crate::db::{Db, Tx};
use crate::testing::{Api, START_MS};
use crate::usage::Boot;
use crate::usage::ingest::Posting;
use crate::usage::tests::{boot, charge, record};

/// Posts a batch in a transaction of its own.
pub async fn post(db: &Db, boot: &Boot, batch: Vec<UsageRecord>) -> Posting {
    let (tx, posting) = post_without_commit(db, boot, batch).await;
    tx.commit().await.unwrap();
    posting
}

/// The same, up to the commit.
pub async fn post_without_commit(db: &Db, boot: &Boot, batch: Vec<UsageRecord>) -> (Tx, Posting) {
    let mut tx = db.begin_write().await.unwrap();
    let mut books = Books::default();
    books.open(&mut tx).await.unwrap();
    let posting = writer::post(&mut tx, &mut books, boot, batch, START_MS)
        .await
        .unwrap();
    books.save(&mut tx, START_MS).await.unwrap();
    (tx, posting)
}

/// The session of a boot that has joined.
pub async fn session(db: &Db, boot: &Boot) -> i64 {
    let mut tx = db.begin_read().await.unwrap();
    sessions::find(&mut tx, boot).await.unwrap().unwrap().id
}

/// A budget of 16 dollars for each minute.
pub const BUDGET: i64 = 16_000_000_000;

/// Makes a team with that budget; gives its first window.
pub async fn budget(api: &Api) -> Key {
    let body = r#"{"name": "t", "budget": {"max_limit": 16, "reset_duration": "1m"}}"#;
    let team = api.post("/api/governance/teams", body).await;
    let limit_id = team.ok(201)["team"]["budgets"][0]["id"].as_str().unwrap();
    Key {
        limit_id: limit_id.to_owned(),
        window_start_ms: START_MS,
    }
}

/// A ledger that lends of one budget.
pub struct Fleet {
    pub api: Api,
    pub budget: Key,
}

impl Fleet {
    pub async fn new(db: crate::db::Db) -> Self {
        let api = Api::new(db).await;
        let budget = budget(&api).await;
        Self { api, budget }
    }

    pub fn app(&self) -> &Arc<App> {
        &self.api.app
    }

    pub async fn join(&self, node: &str) -> Joined {
        self.app().ledger.join(boot(node, "b")).await.unwrap()
    }

    pub async fn ask(&self, session: i64, told: [i64; 2], want: i64) -> Answer {
        let [lent, returned] = told;
        let ask = Ask {
            session,
            lent,
            returned,
            want,
            waits: true,
        };
        let answers = self
            .app()
            .ledger
            .ask(vec![(self.budget.clone(), ask)])
            .await;
        answers.unwrap().remove(0).1
    }

    pub async fn spend(&self, node: &str, sequence: u64, amount: i64) {
        let record = UsageRecord {
            charges: vec![charge(&self.budget.limit_id, START_MS, amount)],
            ..record(sequence)
        };
        let posted = self.app().ledger.post(boot(node, "b"), vec![record]).await;
        assert_eq!(
            posted.unwrap().acknowledged,
            i64::try_from(sequence).unwrap()
        );
    }

    /// Every movement of the budget: kind, session, amount.
    pub async fn transfers(&self) -> Vec<(String, i64, i64)> {
        let mut tx = self.app().db.begin_read().await.unwrap();
        tx.query("SELECT kind, session_id, amount FROM transfers WHERE limit_id = $1 ORDER BY id")
            .bind(self.budget.limit_id.as_str())
            .fetch_all()
            .await
            .unwrap()
    }

    /// The budget's current window, as the admin API shows it, and what the team's list says of it.
    pub async fn usage(&self) -> Value {
        let teams = self.api.get("/api/governance/teams").await;
        let budget = &teams.ok(200)["teams"][0]["budgets"][0];
        assert_eq!(budget["current_usage"], budget["usage"]["used"]);
        budget["usage"].clone()
    }

    pub async fn change_schema(&self, statement: &'static str) {
        let mut tx = self.app().db.begin_write().await.unwrap();
        tx.query(statement).execute().await.unwrap();
        tx.commit().await.unwrap();
    }

    /// What administrators did: kind, amount, who.
    pub async fn transfers_by_hand(&self) -> Vec<(String, i64, Option<String>)> {
        let mut tx = self.app().db.begin_read().await.unwrap();
        tx.query("SELECT kind, amount, actor FROM transfers WHERE session_id IS NULL ORDER BY id")
            .fetch_all()
            .await
            .unwrap()
    }

    pub async fn release(&self, connected: &[&str]) -> Vec<i64> {
        let connected: Vec<Boot> = connected.iter().map(|node| boot(node, "b")).collect();
        let before = self.app().clock.now_ms() - super::release::SILENCE_MS;
        self.app().ledger.release(connected, before).await.unwrap()
    }
}
