//! The ledger through its queue, on both databases.

mod released_sessions;

use std::sync::Arc;
use std::time::Duration;

use reeve_policy::lease::{Ask, standing};
use reeve_proto::v1::UsageRecord;
use serde_json::{Value, json};

use super::books::Books;
use super::testing::{BUDGET, Fleet};
use super::{Joined, Key, Unavailable, writer};
use crate::app::App;
use crate::db::testing::on_every_database;
use crate::testing::{Api, START_MS, in_time};
use crate::usage::tests::{boot, charge, record};

on_every_database! {
    async fn a_session_keeps_its_number_and_its_part_for_as_long_as_its_process_lives(db: Db) {
        let fleet = Fleet::new(db).await;
        let first = fleet.join("a").await;
        assert_eq!((first.session, first.standing_divisor, first.acknowledged), (1, 16, 0));
        fleet.spend("a", 1, 5).await;
        let again = fleet.join("a").await;
        assert_eq!(again, Joined { acknowledged: 1, ..first });
        assert_eq!(fleet.join("b").await.session, 2);
    }

    async fn no_more_is_lent_than_the_limit_allows(db: Db) {
        let fleet = Fleet::new(db).await;
        let (a, b) = (fleet.join("a").await, fleet.join("b").await);
        let of_b = standing(BUDGET, b.standing_divisor);
        let of_a = standing(BUDGET, a.standing_divisor);
        let rest = BUDGET - of_a - of_b;
        // More than there is: nothing is lent, as half of what is needed helps nobody.
        let answer = fleet.ask(a.session, [of_a, 0], rest + 1).await;
        assert_eq!((answer.lent, answer.committed), (of_a, of_a + of_b));
        assert!(answer.tight && answer.recall);
        let answer = fleet.ask(a.session, [of_a, 0], rest).await;
        assert_eq!(answer.lent, BUDGET - of_b, "all but what stands for the other");
        assert_eq!((answer.committed, answer.posted), (BUDGET, 0));
        // The other gives back what it does not need; then the first can have it.
        let answer = fleet.ask(b.session, [of_b, of_b], 0).await;
        assert_eq!(answer.committed, BUDGET - of_b);
        let answer = fleet.ask(a.session, [BUDGET - of_b, 0], of_b).await;
        assert_eq!((answer.lent, answer.recall), (BUDGET, false));
        let answer = fleet.ask(b.session, [of_b, of_b], 1).await;
        assert_eq!((answer.lent, answer.recall), (of_b, true));
        assert_eq!(
            fleet.transfers().await,
            [
                ("lend".to_owned(), 1, of_a),
                ("lend".to_owned(), 1, rest),
                ("lend".to_owned(), 2, of_b),
                ("return".to_owned(), 2, of_b),
                ("lend".to_owned(), 1, of_b),
            ]
        );
    }

    async fn what_is_said_twice_or_late_changes_nothing(db: Db) {
        let fleet = Fleet::new(db).await;
        let a = fleet.join("a").await.session;
        let lent = fleet.ask(a, [0, 0], 3_000_000_000).await.lent;
        fleet.ask(a, [lent, 1_000], 0).await;
        let told = fleet.ask(a, [lent, 1_000], 0).await;
        assert_eq!(fleet.ask(a, [0, 0], 0).await, told);
        assert_eq!(told.committed, lent - 1_000);
    }

    async fn a_session_that_joins_when_little_is_left_has_no_part_unasked(db: Db) {
        let fleet = Fleet::new(db).await;
        fleet.join("a").await;
        fleet.spend("a", 1, BUDGET - 10).await;
        let late = fleet.join("b").await;
        assert_eq!(late.withheld, std::slice::from_ref(&fleet.budget));
        let answer = fleet.ask(late.session, [0, 0], 11).await;
        assert_eq!((answer.lent, answer.committed), (0, BUDGET - 10));
        let answer = fleet.ask(late.session, [0, 0], 10).await;
        assert_eq!((answer.lent, answer.committed), (10, BUDGET));
        // In the next minute it has.
        fleet.api.advance(Duration::from_mins(1));
        assert_eq!(fleet.join("c").await.withheld, []);
    }

    async fn a_session_is_told_again_where_it_has_no_part(db: Db) {
        let fleet = Fleet::new(db).await;
        fleet.join("a").await;
        fleet.spend("a", 1, BUDGET - 10).await;
        let first = fleet.join("b").await;
        assert_eq!(first.withheld, std::slice::from_ref(&fleet.budget));
        assert_eq!(fleet.join("b").await, first, "the first time may have been lost");
        let app = fleet.app();
        let posted = app.ledger.post(boot("b", "b"), vec![record(1)]).await.unwrap();
        assert_eq!(fleet.join("b").await, Joined { acknowledged: posted.acknowledged, ..first.clone() });
        fleet.ask(first.session, [0, 0], 10).await;
        assert_eq!(fleet.join("b").await.withheld, [], "it was lent something");
        // In the next minute it has its part.
        let c = fleet.join("c").await;
        assert_eq!(c.withheld, std::slice::from_ref(&fleet.budget));
        fleet.api.advance(Duration::from_mins(1));
        assert_eq!(fleet.join("c").await, Joined { withheld: Vec::new(), ..c });
    }

    async fn who_joins_in_the_transaction_that_uses_a_limit_up_has_no_part_of_it(db: Db) {
        let fleet = Fleet::new(db.clone()).await;
        let mut tx = db.begin_write().await.unwrap();
        let mut books = Books::default();
        books.open(&mut tx).await.unwrap();
        let of_a = UsageRecord {
            charges: vec![charge(&fleet.budget.limit_id, START_MS, BUDGET - 10)],
            ..record(1)
        };
        writer::post(&mut tx, &mut books, &boot("a", "b"), vec![of_a], START_MS).await.unwrap();
        let first = writer::join(&mut tx, &mut books, &boot("b", "b"), START_MS).await.unwrap();
        assert_eq!(first.withheld, std::slice::from_ref(&fleet.budget));
        let again = writer::join(&mut tx, &mut books, &boot("b", "b"), START_MS).await.unwrap();
        assert_eq!(again, first);
        books.save(&mut tx, START_MS).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(fleet.ask(first.session, [0, 0], 10).await.committed, BUDGET);
    }

    async fn what_is_added_to_a_window_can_be_lent_in_it_and_in_no_other(db: Db) {
        let fleet = Fleet::new(db).await;
        fleet.join("a").await;
        fleet.spend("a", 1, BUDGET).await;
        let b = fleet.join("b").await.session;
        let path = format!("/api/governance/limits/{}", fleet.budget.limit_id);
        let top_up = |amount: &'static str| {
            let path = format!("{path}/top-up");
            let api = &fleet.api;
            async move { api.post(&path, &format!(r#"{{"amount": {amount}}}"#)).await }
        };
        assert_eq!(top_up("2.5").await.ok(200)["added"].to_string(), "2.5");
        assert_eq!(fleet.ask(b, [0, 0], 2_500_000_001).await.lent, 0);
        let answer = fleet.ask(b, [0, 0], 2_500_000_000).await;
        assert_eq!((answer.lent, answer.committed), (2_500_000_000, BUDGET + 2_500_000_000));
        // What was used, no more, is forgiven, and once.
        let reset = fleet.api.post(&format!("{path}/reset"), "{}").await;
        assert_eq!(reset.ok(200)["added"].to_string(), "16");
        let reset = fleet.api.post(&format!("{path}/reset"), "{}").await;
        assert_eq!(reset.ok(200)["added"].to_string(), "0");
        let told = fleet.transfers_by_hand().await;
        let expected = [("top_up", 2_500_000_000), ("reset", BUDGET), ("reset", 0)];
        assert_eq!(told, expected.map(|(kind, amount)| (kind.to_owned(), amount, Some("admin".to_owned()))));
        for amount in ["0", "-1", "1e30", "\"5\""] {
            assert_eq!(top_up(amount).await.problem(400), "amount", "{amount}");
        }
        assert_eq!(fleet.api.post("/api/governance/limits/none/reset", "{}").await.problem(404), "");
        // The next minute is as configured.
        fleet.api.advance(Duration::from_mins(1));
        let budgets = fleet.api.get("/api/governance/teams").await;
        let usage = &budgets.ok(200)["teams"][0]["budgets"][0]["usage"];
        assert_eq!((usage["limit"].to_string(), usage["used"].to_string()), ("16".into(), "0".into()));
    }

    async fn what_an_override_adds_can_be_lent_by_every_replica_in_its_windows_and_in_no_other(db: Db) {
        let fleet = Fleet::new(db.clone()).await;
        let other = Api::new(db).await;
        let a = fleet.join("a").await.session;
        fleet.spend("a", 1, BUDGET).await;
        // Both replicas have the account in memory.
        let ask = |window_start_ms| {
            let key = Key { window_start_ms, ..fleet.budget.clone() };
            let ask = Ask { session: a, lent: BUDGET, returned: 0, want: 1_000_000_000, waits: true };
            vec![(key, ask)]
        };
        let lent = async |app: &App, window_start_ms| {
            let answers = app.ledger.ask(ask(window_start_ms)).await;
            answers.unwrap().remove(0).1.lent
        };
        assert_eq!(lent(fleet.app(), START_MS).await, BUDGET);
        assert_eq!(lent(&other.app, START_MS).await, BUDGET);
        let path = format!("/api/governance/limits/{}/override", fleet.budget.limit_id);
        let body = r#"{"amount": 1, "mode": "cycles", "cycles": 2}"#;
        fleet.api.put(&path, body).await.ok(200);
        assert_eq!(lent(&other.app, START_MS).await, BUDGET + 1_000_000_000);
        for (minutes, most) in [(1, BUDGET + 1_000_000_000), (2, BUDGET)] {
            let start_ms = START_MS + minutes * 60_000;
            fleet.api.advance(Duration::from_mins(1));
            let key = Key { window_start_ms: start_ms, ..fleet.budget.clone() };
            let ask = |want| Ask { session: a, lent: 0, returned: 0, want, waits: true };
            let too_much = vec![(key.clone(), ask(most + 1))];
            let answers = fleet.app().ledger.ask(too_much).await.unwrap();
            assert!(answers[0].1.lent < BUDGET, "{minutes}");
            let all = vec![(key, ask(most - answers[0].1.lent))];
            let answers = fleet.app().ledger.ask(all).await.unwrap();
            assert_eq!(answers[0].1.lent, most, "{minutes}");
        }
    }

    async fn a_top_up_is_known_to_every_replica(db: Db) {
        let fleet = Fleet::new(db.clone()).await;
        let other = Api::new(db).await;
        let a = fleet.join("a").await.session;
        fleet.spend("a", 1, BUDGET).await;
        let ask = Ask { session: a, lent: BUDGET, returned: 0, want: 1, waits: true };
        let asks = vec![(fleet.budget.clone(), ask)];
        let before = other.app.ledger.ask(asks.clone()).await.unwrap();
        assert_eq!(before[0].1.lent, BUDGET);
        let path = format!("/api/governance/limits/{}/top-up", fleet.budget.limit_id);
        fleet.api.post(&path, r#"{"amount": 1}"#).await.ok(200);
        let after = other.app.ledger.ask(asks).await.unwrap();
        assert!(after[0].1.lent > BUDGET);
    }

    async fn usage_beyond_the_lease_is_counted_and_nothing_is_lent_on_top(db: Db) {
        let fleet = Fleet::new(db).await;
        let a = fleet.join("a").await.session;
        fleet.spend("a", 1, BUDGET + 7).await;
        let answer = fleet.ask(a, [0, 0], 1).await;
        assert_eq!((answer.posted, answer.committed), (BUDGET + 7, BUDGET + 7));
        assert!(answer.lent < BUDGET && answer.tight);
    }

    async fn what_a_silent_session_held_is_available_again_after_an_hour(db: Db) {
        let fleet = Fleet::new(db).await;
        let (a, b) = (fleet.join("a").await, fleet.join("b").await);
        let lent = fleet.ask(a.session, [0, 0], 4_000_000_000).await.lent;
        fleet.spend("a", 1, 1_000).await;
        assert!(fleet.release(&["b"]).await.is_empty());
        fleet.api.advance(Duration::from_secs(3_601));
        assert_eq!(fleet.release(&["b"]).await, [a.session]);
        assert_eq!(
            fleet.transfers().await.last(),
            Some(&("release".to_owned(), a.session, lent - 1_000))
        );
        // It is not counted any more, and is not lent anything.
        let ask = Ask { session: a.session, lent, returned: 0, want: 1, waits: true };
        let refused = fleet.app().ledger.ask(vec![(fleet.budget.clone(), ask)]).await;
        assert_eq!(refused, Err(Unavailable));
        // Its late usage counts, and if it lives after all it begins anew.
        fleet.spend("a", 2, 500).await;
        let again = fleet.join("a").await;
        assert!(again.session > b.session);
        assert_eq!(again.acknowledged, 2);
    }

    async fn nothing_is_lent_of_a_window_that_is_not_now(db: Db) {
        let fleet = Fleet::new(db).await;
        let a = fleet.join("a").await.session;
        for (offset_ms, lent) in [(0, true), (60_000, true), (30_000, false), (3_600_000, false), (-3_600_000, false)] {
            let key = Key { window_start_ms: START_MS + offset_ms, ..fleet.budget.clone() };
            let ask = Ask { session: a, lent: 0, returned: 0, want: 2_000_000_000, waits: true };
            let answers = fleet.app().ledger.ask(vec![(key, ask)]).await.unwrap();
            assert_eq!(answers[0].1.lent >= 2_000_000_000, lent, "{offset_ms}");
        }
        let unknown = Key { limit_id: "none".into(), window_start_ms: START_MS };
        let ask = Ask { session: a, lent: 0, returned: 0, want: 1, waits: true };
        let answers = fleet.app().ledger.ask(vec![(unknown, ask)]).await.unwrap();
        assert_eq!(answers[0].1.lent, 0);
    }

    async fn many_who_ask_at_once_share_what_there_is(db: Db) {
        let fleet = Fleet::new(db).await;
        let mut sessions = Vec::new();
        for node in 0..8 {
            sessions.push(fleet.join(&format!("n{node}")).await.session);
        }
        let asks = (0..200).map(|index: usize| {
            let app = Arc::clone(fleet.app());
            let (session, key) = (sessions[index % 8], fleet.budget.clone());
            tokio::spawn(async move {
                let ask = Ask { session, lent: 0, returned: 0, want: 500_000_000, waits: true };
                app.ledger.ask(vec![(key, ask)]).await.unwrap()
            })
        });
        for ask in asks.collect::<Vec<_>>() {
            assert!(ask.await.unwrap()[0].1.committed <= BUDGET);
        }
        let rows: Vec<(i64,)> = {
            let mut tx = fleet.app().db.begin_read().await.unwrap();
            tx.query("SELECT lent - returned FROM holdings").fetch_all().await.unwrap()
        };
        assert_eq!(rows.iter().map(|(held,)| held).sum::<i64>(), BUDGET);
    }

    /// No edit of the configuration touches what is counted.
    async fn two_replicas_on_one_database_lend_no_more_together(db: Db) {
        let fleet = Fleet::new(db.clone()).await;
        let other = Api::new(db).await;
        let ledgers = [&fleet.app().ledger, &other.app.ledger];
        let mut lent = [0; 2];
        let mut sessions = [0; 2];
        for (index, node) in ["a", "b"].into_iter().enumerate() {
            sessions[index] = ledgers[index].join(boot(node, "b")).await.unwrap().session;
        }
        // Each replica has the accounts in memory, and the other changes them under it.
        for round in 0..40 {
            let index = round % 2;
            let session = sessions[index];
            let ask = Ask { session, lent: lent[index], returned: 0, want: 700_000_000, waits: true };
            let asks = vec![(fleet.budget.clone(), ask)];
            let answers = ledgers[index].ask(asks).await.unwrap();
            lent[index] = answers[0].1.lent;
            assert!(answers[0].1.committed <= BUDGET);
            assert!(lent[0] + lent[1] <= BUDGET, "{lent:?}");
        }
        assert!(lent[0] + lent[1] > BUDGET - 2 * 700_000_000, "{lent:?}");
    }

    async fn a_database_that_cannot_be_written_refuses_who_waits_and_keeps_what_was_used(db: Db) {
        let fleet = Fleet::new(db).await;
        let a = fleet.join("a").await.session;
        let of_a = fleet.ask(a, [0, 0], 0).await.lent;
        // As if the disk were full.
        fleet.change_schema("ALTER TABLE holdings RENAME TO nowhere").await;
        let ask = Ask { session: a, lent: of_a, returned: 0, want: 1, waits: true };
        let refused = fleet.app().ledger.ask(vec![(fleet.budget.clone(), ask)]).await;
        assert_eq!(refused, Err(Unavailable), "nobody is held up");
        let app = Arc::clone(fleet.app());
        let record = UsageRecord {
            charges: vec![charge(&fleet.budget.limit_id, START_MS, 77)],
            ..record(1)
        };
        let posting =
            tokio::spawn(async move { app.ledger.post(boot("a", "b"), vec![record]).await });
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert!(!posting.is_finished(), "nothing is acknowledged that is not stored");
        fleet.change_schema("ALTER TABLE nowhere RENAME TO holdings").await;
        assert_eq!(posting.await.unwrap().unwrap().acknowledged, 1);
        assert_eq!(fleet.ask(a, [of_a, 0], 0).await.posted, 77, "once");
    }

    async fn an_answer_is_held_back_until_others_have_returned_what_is_needed(db: Db) {
        let fleet = Fleet::new(db).await;
        let (a, b) = (fleet.join("a").await, fleet.join("b").await);
        let of_a = standing(BUDGET, a.standing_divisor);
        let of_b = standing(BUDGET, b.standing_divisor);
        let app = Arc::clone(fleet.app());
        let (session, key, want) = (a.session, fleet.budget.clone(), BUDGET - of_a);
        let waiting = tokio::spawn(async move {
            let ask = Ask { session, lent: of_a, returned: 0, want, waits: true };
            app.ledger.ask_patiently(vec![(key, ask)], Duration::from_hours(1)).await
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        fleet.ask(b.session, [of_b, of_b], 0).await;
        let answers = in_time("an answer", waiting).await.unwrap().unwrap();
        assert_eq!(answers[0].1.lent, BUDGET);
    }

    async fn a_limit_that_is_lowered_keeps_its_usage(db: Db) {
        let fleet = Fleet::new(db).await;
        let a = fleet.join("a").await.session;
        fleet.spend("a", 1, 12_000_000_000).await;
        let teams = fleet.api.get("/api/governance/teams").await;
        let id = teams.ok(200)["teams"][0]["id"].as_str().unwrap().to_owned();
        let body = r#"{"budget": {"max_limit": 10, "reset_duration": "1m"}}"#;
        let team = fleet.api.put(&format!("/api/governance/teams/{id}"), body).await;
        let budget: &Value = &team.ok(200)["team"]["budgets"][0];
        assert_eq!(budget["id"], fleet.budget.limit_id.as_str());
        assert_eq!(budget["current_usage"], 12.0);
        let answer = fleet.ask(a, [0, 0], 1).await;
        assert_eq!((answer.posted, answer.tight), (12_000_000_000, true));
        assert!(answer.lent < 12_000_000_000);
    }

    async fn what_becomes_of_a_limit_is_shown_in_its_three_parts(db: Db) {
        let fleet = Fleet::new(db).await;
        let a = fleet.join("a").await.session;
        let fresh = json!({
            "limit": 16, "used": 0, "reserved": 0, "suspense": 0, "remaining": 16,
            "max_overspend": 0, "resets_at": "2026-01-01T00:01:00.000Z",
        });
        assert_eq!(fleet.usage().await, fresh, "a standing lease that is not touched is not told");
        let lent = fleet.ask(a, [0, 0], 4_000_000_000).await.lent;
        assert_eq!(lent, 5_000_000_000);
        fleet.spend("a", 1, 1_500_000_000).await;
        let lives = json!({
            "limit": 16, "used": 1.5, "reserved": 3.5, "suspense": 0, "remaining": 11,
            "max_overspend": 0, "resets_at": "2026-01-01T00:01:00.000Z",
        });
        assert_eq!(fleet.usage().await, lives);
        fleet.api.advance(Duration::from_secs(31));
        let gone = json!({
            "limit": 16, "used": 1.5, "reserved": 0, "suspense": 3.5, "remaining": 11,
            "max_overspend": 0, "resets_at": "2026-01-01T00:01:00.000Z",
        });
        assert_eq!(fleet.usage().await, gone);
        // It comes back.
        fleet.join("a").await;
        assert_eq!(fleet.usage().await, lives);
        fleet.api.advance(Duration::from_secs(30));
        assert_eq!(fleet.usage().await["remaining"], 16, "another window");
    }

    async fn by_how_much_a_limit_can_be_overspent_is_shown(db: Db) {
        let fleet = Fleet::new(db).await;
        fleet.join("a").await;
        fleet.join("b").await;
        for (config, most) in [
            (r#""when_unreachable": "fail_open_capped", "emergency_allowance_percent": 25"#, json!(8)),
            (r#""reservation": "balanced""#, json!(null)),
            (r#""when_unreachable": "fail_closed", "reservation": "strict""#, json!(0)),
        ] {
            let body = format!(r#"{{"client_config": {{{config}}}}}"#);
            fleet.api.put("/api/config", &body).await.ok(200);
            assert_eq!(fleet.usage().await["max_overspend"], most, "{config}");
        }
    }
}
