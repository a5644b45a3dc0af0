//! Sessions of slots through the ledger's queue, on both databases.

use std::time::Duration;

use reeve_policy::lease::{Answer, Ask, Session};
use serde_json::json;

use super::marks;
use crate::db::Db;
use crate::db::testing::on_every_database;
use crate::ledger::{Key, Unavailable};
use crate::testing::Api;
use crate::usage::tests::boot;
use crate::virtual_keys::in_flight;

struct Fleet {
    api: Api,
    key_id: String,
}

impl Fleet {
    async fn new(db: Db) -> Self {
        let api = Api::new(db).await;
        let body = r#"{"name": "k", "max_in_flight": 10}"#;
        let made = api.post("/api/governance/virtual-keys", body).await;
        let key_id = made.ok(201)["virtual_key"]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        Self { api, key_id }
    }

    /// A process joins; gives its sessions, of everything else and of slots.
    async fn join(&self, node: &str) -> (Session, Session) {
        let ledger = &self.api.app.ledger;
        let process = ledger.join(boot(node, "b")).await.unwrap().session;
        (process, ledger.renew(process).await.unwrap())
    }

    async fn ask(
        &self,
        session: Session,
        told: [i64; 2],
        want: i64,
    ) -> Result<Answer, Unavailable> {
        let [lent, returned] = told;
        let ask = Ask {
            session,
            lent,
            returned,
            want,
            waits: true,
        };
        let key = Key {
            limit_id: in_flight::limit(&self.key_id, 10).id,
            window_start_ms: 0,
        };
        let answers = self.api.app.ledger.ask(vec![(key, ask)]).await;
        answers.map(|mut answers| answers.remove(0).1)
    }

    async fn marks(&self) -> Vec<(Session, i64)> {
        let mut tx = self.api.app.db.begin_read().await.unwrap();
        marks(&mut tx).await.unwrap()
    }

    /// `in_flight` of the key, as the admin API shows it.
    async fn in_flight(&self) -> i64 {
        let path = format!("/api/governance/virtual-keys/{}", self.key_id);
        let shown = self.api.get(&path).await;
        let key = &shown.ok(200)["virtual_key"];
        assert_eq!(key["max_in_flight"], 10);
        key["in_flight"].as_i64().unwrap()
    }
}

on_every_database! {
    async fn slots_are_lent_under_a_session_of_their_own_and_no_more_than_there_are(db: Db) {
        let fleet = Fleet::new(db).await;
        let (a, of_a) = fleet.join("a").await;
        let (_, of_b) = fleet.join("b").await;
        assert_ne!(a, of_a);
        assert_eq!(fleet.join("a").await, (a, of_a), "as long as it lives");
        let lent = fleet.ask(of_a, [0, 0], 1).await.unwrap();
        assert!(!lent.tight && (1..=2).contains(&lent.lent), "{lent:?}");
        let lent = fleet.ask(of_a, [lent.lent, 0], 10 - lent.lent).await.unwrap();
        assert_eq!((lent.lent, lent.committed, lent.tight), (10, 10, false));
        let refused = fleet.ask(of_b, [0, 0], 1).await.unwrap();
        assert!(refused.lent == 0 && refused.recall && refused.tight);
        assert_eq!(fleet.in_flight().await, 10);
        fleet.ask(of_a, [10, 4], 0).await.unwrap();
        assert_eq!(fleet.ask(of_b, [0, 0], 4).await.unwrap().lent, 4);
        // They come and go with every request: none of it is in the books.
        let mut tx = fleet.api.app.db.begin_read().await.unwrap();
        let moved: Vec<(i64,)> = tx.query("SELECT id FROM transfers").fetch_all().await.unwrap();
        assert_eq!(moved, []);
    }

    async fn who_is_not_renewed_loses_its_slots_and_nothing_else(db: Db) {
        let fleet = Fleet::new(db).await;
        let ledger = &fleet.api.app.ledger;
        let (a, of_a) = fleet.join("a").await;
        let (_, of_b) = fleet.join("b").await;
        fleet.ask(of_a, [0, 0], 10).await.unwrap();
        let silent = fleet.marks().await;
        // A renewal at the last moment saves it, on a clock that stands still too.
        assert_eq!(ledger.renew(a).await, Ok(of_a));
        assert_eq!(ledger.end_slots(silent).await, Ok(vec![of_b]));
        assert_eq!(fleet.ask(of_a, [10, 0], 0).await.unwrap().lent, 10);
        let ended = ledger.end_slots(fleet.marks().await).await;
        assert_eq!(ended, Ok(vec![of_a]));
        assert_eq!(fleet.in_flight().await, 0);
        assert_eq!(fleet.ask(of_a, [10, 10], 1).await, Err(Unavailable), "it is over");
        let (again, anew) = fleet.join("a").await;
        assert_eq!(again, a, "what it holds of other limits stays");
        assert!(anew > of_a);
        assert_eq!(fleet.ask(anew, [0, 0], 10).await.unwrap().lent, 10);
        assert_eq!(ledger.renew(999).await, Err(Unavailable), "nobody");
    }

    async fn slots_of_a_process_that_has_gone_are_shown_apart_from_sessions(db: Db) {
        let fleet = Fleet::new(db).await;
        fleet.join("a").await;
        let sessions = fleet.api.get("/api/governance/sessions").await;
        assert_eq!(sessions.ok(200)["count"], 1);
        fleet.api.advance(Duration::from_secs(31));
        assert_eq!(fleet.api.get("/api/governance/sessions").await.ok(200)["sessions"][0]["state"], "gone");
    }

    async fn a_number_is_changed_and_taken_away_and_what_runs_still_counts(db: Db) {
        let fleet = Fleet::new(db).await;
        let (_, of_a) = fleet.join("a").await;
        fleet.ask(of_a, [0, 0], 10).await.unwrap();
        let path = format!("/api/governance/virtual-keys/{}", fleet.key_id);
        let change = async |number: &str| {
            let body = format!(r#"{{"max_in_flight": {number}}}"#);
            fleet.api.put(&path, &body).await
        };
        for wrong in ["0", "-1", "1.5", "1000001", r#""9""#] {
            assert_eq!(change(wrong).await.problem(400), "max_in_flight", "{wrong}");
        }
        let none = change("null").await;
        let none = &none.ok(200)["virtual_key"];
        assert_eq!((&none["max_in_flight"], &none["in_flight"]), (&json!(null), &json!(null)));
        assert_eq!(fleet.ask(of_a, [10, 0], 1).await.unwrap().lent, 10, "no such limit");
        change("12").await.ok(200);
        let lent = fleet.ask(of_a, [10, 0], 1).await.unwrap();
        assert_eq!((lent.lent, lent.committed), (11, 11));
        change("10").await.ok(200);
        assert_eq!(fleet.ask(of_a, [11, 1], 1).await.unwrap().lent, 11);
        assert_eq!(fleet.ask(of_a, [11, 2], 1).await.unwrap().lent, 12);
        // It is no limit that anything could be added to.
        let limit = in_flight::limit(&fleet.key_id, 10).id;
        fleet.api.post(&format!("/api/governance/limits/{limit}/reset"), "").await.problem(404);
    }
}
