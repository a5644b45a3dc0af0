use reeve_proto::v1;
use serde_json::json;

use super::report::{self, RecordFilter, StoredRecord};
use super::{Boot, spent};
use crate::db::testing::on_every_database;
use crate::db::{Db, Tx};
use crate::http::page::PageRequest;
use crate::ledger;
use crate::testing::{Api, START_MS};

/// The n-th record of an Envoy: costs n × 10 nano-dollars, charged to two limits.
pub(crate) fn record(sequence: u64) -> v1::UsageRecord {
    let amount = i64::try_from(sequence).unwrap() * 10;
    v1::UsageRecord {
        sequence,
        request_id: format!("request-{sequence}"),
        reserved_at_ms: START_MS,
        finished_at_ms: START_MS + 250,
        virtual_key_id: "vk-1".into(),
        team_id: "team-1".into(),
        provider_config_id: "pc-1".into(),
        provider: "openai".into(),
        model: "gpt-4o".into(),
        operation: "chat".into(),
        usage: Some(v1::TokenUsage {
            input_tokens: Some(100),
            output_tokens: Some(20),
            cache_read_tokens: Some(5),
            reasoning_tokens: Some(3),
            ..v1::TokenUsage::default()
        }),
        cost_nanos: amount,
        status: 200,
        charges: vec![
            charge("budget", 1_000, amount),
            charge("requests", 1_000, 1),
        ],
        outcome: "complete".into(),
        price_version: 7,
        service_tier: "flex".into(),
        attempts: 2,
        fallback_index: 1,
        alias: "fast".into(),
        ..v1::UsageRecord::default()
    }
}

pub(super) const EVERY_KIND: v1::TokenUsage = v1::TokenUsage {
    input_tokens: Some(1_000),
    cache_read_tokens: Some(200),
    cache_write_5m_tokens: Some(300),
    cache_write_1h_tokens: Some(400),
    output_tokens: Some(1_100),
    reasoning_tokens: Some(0),
    audio_input_tokens: Some(10),
    audio_output_tokens: Some(20),
    image_input_tokens: Some(30),
    image_output_tokens: Some(40),
};

pub(crate) fn charge(limit_id: &str, window_start_ms: i64, amount: i64) -> v1::Charge {
    v1::Charge {
        limit_id: limit_id.into(),
        window_start_ms,
        amount,
    }
}

pub(crate) fn boot(node_id: &str, boot_id: &str) -> Boot {
    Boot {
        node_id: node_id.into(),
        boot_id: boot_id.into(),
    }
}

/// Posts a batch and commits; what is acknowledged then.
pub(crate) async fn post(db: &Db, boot: &Boot, batch: Vec<v1::UsageRecord>) -> i64 {
    ledger::testing::post(db, boot, batch).await.acknowledged
}

/// Everything the ledger holds, in an order of its own: the records and what limits were charged.
async fn kept(tx: &mut Tx) -> (Vec<StoredRecord>, Vec<(String, i64, String, String, i64)>) {
    let everything = PageRequest {
        limit: 100_000,
        ..PageRequest::default()
    };
    let records = report::records(tx, &RecordFilter::default(), &everything)
        .await
        .unwrap();
    let charges = tx
        .query(
            "SELECT h.limit_id, h.window_start_ms, s.node_id, s.boot_id, h.posted
             FROM holdings h JOIN sessions s ON s.id = h.session_id
             ORDER BY h.limit_id, h.window_start_ms, s.node_id, s.boot_id",
        )
        .fetch_all()
        .await
        .unwrap();
    (records.items, charges)
}

/// A small generator (xorshift), so that a failing run can be repeated by its seed.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

on_every_database! {
    async fn what_is_sent_again_counts_once(db: Db) {
        let boot = boot("envoy", "b1");
        assert_eq!(post(&db, &boot, (1..=3).map(record).collect()).await, 3);
        let once = kept(&mut db.begin_read().await.unwrap()).await;
        assert_eq!(post(&db, &boot, (1..=3).map(record).collect()).await, 3);
        assert_eq!(kept(&mut db.begin_read().await.unwrap()).await, once);
        let (records, charges) = once;
        assert_eq!(records.len(), 3);
        let amounts: Vec<(&str, i64)> =
            charges.iter().map(|charge| (charge.0.as_str(), charge.4)).collect();
        assert_eq!(amounts, [("budget", 60), ("requests", 3)]);
    }

    /// Streams break and begin again, batches overlap, two lives of two Envoys interleave, some
    /// transactions never commit: in the end the ledger is what a run without any fault leaves.
    async fn faults_leave_no_trace_in_the_ledger(db: Db) {
        for seed in 1..=12u64 {
            let mut draws = Draws(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let clean = [format!("clean-{seed}-a"), format!("clean-{seed}-b")];
            let faulty = [format!("faulty-{seed}-a"), format!("faulty-{seed}-b")];
            let last: u64 = 80;
            for node in &clean {
                post(&db, &boot(node, "b"), (1..=last).map(record).collect()).await;
            }
            let mut acknowledged = [0u64; 2];
            while acknowledged.iter().any(|sequence| *sequence < last) {
                let which = usize::try_from(draws.below(2)).unwrap();
                // A new stream begins at what is acknowledged or, when the answer was lost, before.
                let from = acknowledged[which].saturating_sub(draws.below(20));
                let to = (acknowledged[which] + 1 + draws.below(40)).min(last);
                let batch: Vec<_> = (from.max(1)..=to).map(record).collect();
                let boot = boot(&faulty[which], "b");
                if draws.below(4) == 0 {
                    drop(ledger::testing::post_without_commit(&db, &boot, batch).await);
                } else {
                    acknowledged[which] = u64::try_from(post(&db, &boot, batch).await).unwrap();
                }
            }
            let (records, charges) = kept(&mut db.begin_read().await.unwrap()).await;
            for (clean, faulty) in clean.iter().zip(&faulty) {
                let of = |node: &str| {
                    let of_node = records.iter().filter(|record| record.node_id == node);
                    let mut of_node: Vec<StoredRecord> = of_node
                        .map(|record| StoredRecord { node_id: String::new(), ..record.clone() })
                        .collect();
                    of_node.sort_by_key(|record| record.sequence);
                    let charged = charges.iter().filter(|charge| charge.2 == node);
                    let charged: Vec<_> =
                        charged.map(|charge| (charge.0.clone(), charge.1, charge.4)).collect();
                    (of_node, charged)
                };
                assert_eq!(of(clean).0.len(), 80);
                assert_eq!(of(clean), of(faulty), "seed {seed}");
            }
        }
    }

    async fn a_batch_that_was_not_committed_was_never_there(db: Db) {
        let boot = boot("envoy", "b1");
        drop(ledger::testing::post_without_commit(&db, &boot, vec![record(1)]).await);
        let mut tx = db.begin_read().await.unwrap();
        assert_eq!(kept(&mut tx).await, (Vec::new(), Vec::new()));
    }

    async fn a_hole_in_the_numbers_holds_up_nothing(db: Db) {
        let boot = boot("envoy", "b1");
        assert_eq!(post(&db, &boot, vec![record(1), record(4)]).await, 4);
        // Too late: what is acknowledged is closed.
        assert_eq!(post(&db, &boot, vec![record(2)]).await, 4);
        let (records, _) = kept(&mut db.begin_read().await.unwrap()).await;
        assert_eq!(records.len(), 2);
    }

    async fn the_next_life_of_an_envoy_counts_from_one_again(db: Db) {
        post(&db, &boot("envoy", "b1"), vec![record(1)]).await;
        assert_eq!(post(&db, &boot("envoy", "b2"), vec![record(1)]).await, 1);
        let (records, _) = kept(&mut db.begin_read().await.unwrap()).await;
        assert_eq!(records.len(), 2);
    }

    async fn a_record_that_cannot_be_filed_is_kept_and_shown(db: Db) {
        let mut bad = record(2);
        bad.model = "gpt\0".into();
        let batch = vec![record(1), bad, record(3)];
        assert_eq!(post(&db, &boot("envoy", "b1"), batch).await, 3);
        let (records, charges) = kept(&mut db.begin_read().await.unwrap()).await;
        assert_eq!(records.len(), 2);
        assert_eq!(charges[0].4, 60, "what it cost is charged all the same");

        let api = Api::new(db).await;
        let answer = api.get("/api/governance/usage/rejected").await;
        let list = answer.ok(200);
        assert_eq!(list["total_count"], 1);
        assert_eq!(list["records"][0]["sequence"], 2);
        assert_eq!(list["records"][0]["received_at"], "2026-01-01T00:00:00.000Z");
        let reason = "model is longer than 256 bytes or holds control characters";
        assert_eq!(list["records"][0]["reason"], reason);
    }

    async fn an_envoy_is_told_what_all_others_spent_in_windows_that_are_current(db: Db) {
        let api = Api::new(db.clone()).await;
        let body = r#"{"name": "t", "budget": {"max_limit": 5, "reset_duration": "1M"},
            "rate_limit": {"request_max_limit": 9, "request_reset_duration": "1m"}}"#;
        api.post("/api/governance/teams", body).await.ok(201);
        let mut tx = db.begin_read().await.unwrap();
        let limits: Vec<(String,)> =
            tx.query("SELECT id FROM limits ORDER BY metric").fetch_all().await.unwrap();
        drop(tx);
        let (budget, rate) = (limits[0].0.as_str(), limits[1].0.as_str());
        let next_month = START_MS + 30 * 86_400_000;
        let charged = |sequence, charges: &[(&str, i64, i64)]| {
            let charges = charges.iter().map(|(id, start, amount)| charge(id, *start, *amount));
            v1::UsageRecord { charges: charges.collect(), ..record(sequence) }
        };
        let (us, them, before) = (boot("us", "2"), boot("them", "1"), boot("us", "1"));
        post(&db, &us, vec![charged(1, &[(budget, START_MS, 1_000), (rate, START_MS, 1)])]).await;
        post(&db, &before, vec![charged(1, &[(budget, START_MS, 20), (rate, START_MS, 1)])]).await;
        let charges = [
            (budget, START_MS, 3),
            (budget, START_MS - 1, 500),
            // Their clock is ahead.
            (budget, next_month, 900),
            ("deleted", START_MS, 7),
        ];
        post(&db, &them, vec![charged(1, &charges)]).await;
        let session = ledger::testing::session(&db, &us).await;

        let mut tx = db.begin_read().await.unwrap();
        for (now_ms, expected) in [
            (START_MS + 5, vec![(budget, START_MS, 23), (rate, START_MS, 1)]),
            (START_MS + 60_000, vec![(budget, START_MS, 23)]),
            (next_month, vec![(budget, next_month, 900)]),
            (next_month * 2, vec![]),
        ] {
            let told = spent::by_others(&mut tx, session, now_ms).await.unwrap();
            let mut told: Vec<_> =
                told.iter().map(|l| (l.limit_id.as_str(), l.window_start_ms, l.amount)).collect();
            told.sort_unstable_by_key(|(id, _, _)| *id != budget);
            assert_eq!(told, expected);
        }
    }

    async fn only_what_someone_else_changed_is_told_again(db: Db) {
        let api = Api::new(db.clone()).await;
        let mut ids = Vec::new();
        for name in ["t1", "t2"] {
            let body = format!(
                r#"{{"name": "{name}", "budget": {{"max_limit": 5, "reset_duration": "1d"}}}}"#
            );
            let team = api.post("/api/governance/teams", &body).await;
            ids.push(team.ok(201)["team"]["budgets"][0]["id"].as_str().unwrap().to_owned());
        }
        let spend = |sequence, id: &str, amount| v1::UsageRecord {
            charges: vec![charge(id, START_MS, amount)],
            ..record(sequence)
        };
        let (us, them) = (boot("us", "1"), boot("them", "1"));
        post(&db, &them, vec![spend(1, &ids[0], 5), spend(2, &ids[1], 5)]).await;
        let mut tx = db.begin_read().await.unwrap();
        let revision = spent::latest(&mut tx).await.unwrap();
        drop(tx);
        post(&db, &us, vec![spend(1, &ids[0], 100)]).await;
        post(&db, &them, vec![spend(3, &ids[1], 2)]).await;
        let session = ledger::testing::session(&db, &us).await;
        let mut tx = db.begin_read().await.unwrap();
        let told = spent::by_others_since(&mut tx, session, revision, START_MS).await.unwrap();
        let told: Vec<_> = told.iter().map(|l| (l.limit_id.as_str(), l.amount)).collect();
        assert_eq!(told, [(ids[1].as_str(), 7)]);
        assert!(spent::latest(&mut tx).await.unwrap() > revision);
    }

    async fn single_records_can_be_found(db: Db) {
        let api = Api::new(db.clone()).await;
        let mut other = record(2);
        other.virtual_key_id = "vk-2".into();
        post(&db, &boot("envoy", "b1"), vec![record(1), other]).await;
        let found = api.get("/api/governance/usage/records?request_id=request-1").await;
        let found = found.ok(200);
        assert_eq!(found["total_count"], 1);
        assert_eq!(
            found["records"][0],
            json!({
                "request_id": "request-1",
                "admitted_at": "2026-01-01T00:00:00.000Z",
                "finished_at": "2026-01-01T00:00:00.250Z",
                "virtual_key_id": "vk-1", "team_id": "team-1", "customer_id": null,
                "provider_config_id": "pc-1", "provider": "openai", "model": "gpt-4o",
                "alias": "fast", "operation": "chat",
                "usage": {
                    "input_tokens": 100, "cache_read_tokens": 5, "cache_write_5m_tokens": null,
                    "cache_write_1h_tokens": null, "output_tokens": 20, "reasoning_tokens": 3,
                    "audio_input_tokens": null, "audio_output_tokens": null,
                    "image_input_tokens": null, "image_output_tokens": null,
                },
                "cost": 0.000_000_01, "estimated": false, "status": 200, "streamed": false,
                "outcome": "complete", "price_version": 7, "service_tier": "flex",
                "attempts": 2, "fallback_index": 1,
                "node_id": "envoy", "boot_id": "b1", "sequence": 1,
            })
        );
        let of_key = api.get("/api/governance/usage/records?virtual_key_id=vk-2&limit=5").await;
        assert_eq!(of_key.ok(200)["records"][0]["sequence"], 2);
        let none = api.get("/api/governance/usage/records?request_id=nobody").await;
        assert_eq!(none.ok(200)["total_count"], 0);
    }

    async fn every_kind_of_token_is_kept_and_shown(db: Db) {
        let api = Api::new(db.clone()).await;
        let mut trapped = record(1);
        trapped.usage = Some(EVERY_KIND);
        trapped.outcome = "filter_trap".into();
        post(&db, &boot("envoy", "b1"), vec![trapped]).await;
        let found = api.get("/api/governance/usage/records").await;
        let found = &found.ok(200)["records"][0];
        assert_eq!(found["outcome"], "filter_trap");
        assert_eq!(
            found["usage"],
            json!({
                "input_tokens": 1_000, "cache_read_tokens": 200, "cache_write_5m_tokens": 300,
                "cache_write_1h_tokens": 400, "output_tokens": 1_100, "reasoning_tokens": 0,
                "audio_input_tokens": 10, "audio_output_tokens": 20, "image_input_tokens": 30,
                "image_output_tokens": 40,
            })
        );
    }

    async fn a_question_that_makes_no_sense_names_the_parameter(db: Db) {
        let api = Api::new(db).await;
        for (query, field) in [
            ("usage/records?key=x", "key"),
            ("usage/records?search=x", "search"),
            ("usage/rejected?offset=-1", "offset"),
        ] {
            let answer = api.get(&format!("/api/governance/{query}")).await;
            assert_eq!(answer.problem(400), field, "{query}");
        }
    }
}
