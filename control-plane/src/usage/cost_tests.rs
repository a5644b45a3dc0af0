//! Cost reports through the router, on both databases.

use axum::http::{Method, header};
use reeve_policy::money::Nanos;
use reeve_proto::v1::UsageRecord;
use serde_json::{Value, json};

use super::tests::{EVERY_KIND, boot, record};
use crate::db::testing::on_every_database;
use crate::ledger::testing::post;
use crate::testing::{Api, START_MS, request};

const HOUR_MS: i64 = 3_600_000;

/// Who, what, when (hours after the start of the year), for how much.
fn used(sequence: u64, who: [&str; 3], what: [&str; 2], hour: i64, cost_nanos: i64) -> UsageRecord {
    let [customer, team, key] = who.map(str::to_owned);
    let [provider, model] = what.map(str::to_owned);
    UsageRecord {
        customer_id: customer,
        team_id: team,
        virtual_key_id: key,
        provider,
        model,
        reserved_at_ms: START_MS + hour * HOUR_MS,
        finished_at_ms: START_MS + hour * HOUR_MS + 5,
        cost_nanos,
        ..record(sequence)
    }
}

/// Six exchanges of three days.
async fn six(db: &crate::db::Db) -> Api {
    let api = Api::new(db.clone()).await;
    let [gpt, claude] = [["openai", "gpt-4o"], ["anthropic", "claude"]];
    let batch = vec![
        used(1, ["c1", "t1", "k1"], gpt, 0, 1),
        used(2, ["c1", "t1", "k2"], gpt, 23, 7_500_000_001),
        used(3, ["c1", "t2", "k3"], claude, 24, 30),
        used(4, ["", "", "k4"], claude, 25, 400),
        used(5, ["", "", ""], gpt, 47, 5_000),
        used(6, ["c2", "", "k5"], ["azure", "gpt-4o"], 48, 60_000),
    ];
    post(db, &boot("envoy", "b1"), batch).await;
    api
}

async fn usage(api: &Api, query: &str) -> Value {
    let answer = api.get(&format!("/api/governance/usage{query}")).await;
    answer.ok(200).clone()
}

/// The named fields of every group.
fn rows<'a>(report: &'a Value, names: &[&str]) -> Vec<Vec<&'a Value>> {
    let groups = report["usage"].as_array().unwrap().iter();
    groups
        .map(|group| names.iter().map(|name| &group[name]).collect())
        .collect()
}

fn nanos_of(dollars: &Value) -> i64 {
    let dollars = format!("{:.9}", dollars.as_f64().unwrap());
    Nanos::parse_dollars(&dollars).unwrap().get()
}

on_every_database! {
    async fn without_a_grouping_there_is_one_exact_sum(db: Db) {
        let api = Api::new(db.clone()).await;
        let nothing = usage(&api, "").await;
        assert_eq!((&nothing["usage"], &nothing["total"]["cost"]), (&json!([]), &json!(0)));
        let mut other = record(2);
        other.cost_nanos = 7_500_000_001;
        other.estimated = true;
        let mut every = record(3);
        every.usage = Some(EVERY_KIND);
        post(&db, &boot("envoy", "b1"), vec![record(1), other, every]).await;
        let all = api.get("/api/governance/usage").await;
        let sums = json!({
            "requests": 3, "estimated_requests": 1, "total_tokens": 3_250,
            "input_tokens": 1_200, "cache_read_tokens": 210, "cache_write_5m_tokens": 300,
            "cache_write_1h_tokens": 400, "output_tokens": 1_140, "reasoning_tokens": 6,
            "audio_input_tokens": 10, "audio_output_tokens": 20, "image_input_tokens": 30,
            "image_output_tokens": 40, "cost": 7.500_000_041,
        });
        assert_eq!(all.ok(200)["usage"], json!([sums]));
        assert_eq!(all.ok(200)["total"], sums);
        assert!(all.text.contains("\"cost\":7.500000041"), "{}", all.text);
    }

    async fn every_grouping_adds_up_to_the_total(db: Db) {
        let api = six(&db).await;
        let words = ["customer", "team", "virtual_key", "provider", "model", "day"];
        for chosen in 0_u32..64 {
            let by: Vec<&str> = (0..6).filter(|n| chosen >> n & 1 == 1).map(|n| words[n]).collect();
            let query = if by.is_empty() { String::new() } else { format!("?group_by={}", by.join(",")) };
            let report = api.get(&format!("/api/governance/usage{query}")).await;
            let report = report.ok(200);
            // Exact: a sum of nano-dollars.
            let nanos: i64 = rows(report, &["cost"]).iter().map(|row| nanos_of(row[0])).sum();
            assert_eq!(nanos, 7_500_065_432, "{by:?}");
            let requests: i64 = rows(report, &["requests"]).iter().map(|row| row[0].as_i64().unwrap()).sum();
            assert_eq!(requests, 6, "{by:?}");
            assert_eq!(nanos_of(&report["total"]["cost"]), 7_500_065_432);
            assert_eq!(report["total_count"], report["count"]);
        }
    }

    async fn groups_come_by_day_and_then_dearest_first(db: Db) {
        let api = six(&db).await;
        let report = usage(&api, "?group_by=team").await;
        assert_eq!(
            rows(&report, &["team_id", "cost"]),
            [
                [&json!("t1"), &json!(7.500_000_002)],
                [&json!(null), &json!(0.000_065_4)],
                [&json!("t2"), &json!(0.000_000_03)],
            ]
        );
        assert_eq!(report["usage"][0].get("model"), None, "it is told what it is grouped by");
        let report = usage(&api, "?group_by=model,day,provider").await;
        assert_eq!(
            rows(&report, &["day", "provider", "model", "requests"]),
            [
                [&json!("2026-01-01"), &json!("openai"), &json!("gpt-4o"), &json!(2)],
                [&json!("2026-01-02"), &json!("openai"), &json!("gpt-4o"), &json!(1)],
                [&json!("2026-01-02"), &json!("anthropic"), &json!("claude"), &json!(2)],
                [&json!("2026-01-03"), &json!("azure"), &json!("gpt-4o"), &json!(1)],
            ]
        );
    }

    async fn days_are_those_of_the_time_zone(db: Db) {
        let api = six(&db).await;
        let report = usage(&api, "?group_by=day&time_zone=Europe/Berlin").await;
        let days = rows(&report, &["day", "requests"]);
        assert_eq!(days, [
            [&json!("2026-01-01"), &json!(1)],
            [&json!("2026-01-02"), &json!(3)],
            [&json!("2026-01-03"), &json!(2)],
        ]);
        let report = usage(&api, "?group_by=day&time_zone=America/New_York").await;
        assert_eq!(rows(&report, &["day"])[0], [&json!("2025-12-31")]);
        // Through a change of the clock: summer time begins on 29 March at 01:00 UTC.
        let midnight = |hours: i64| used(7 + u64::try_from(hours).unwrap(), ["", "", ""], ["p", "m"], 87 * 24 - 1 + hours, 1);
        post(&db, &boot("envoy", "b1"), (0..26).map(midnight).collect()).await;
        let report = usage(&api, "?group_by=day&time_zone=Europe/Berlin&from=2026-03-01T00:00:00Z").await;
        assert_eq!(
            rows(&report, &["day", "requests"]),
            [[&json!("2026-03-29"), &json!(23)], [&json!("2026-03-30"), &json!(3)]]
        );
    }

    async fn a_report_is_of_what_the_filter_names(db: Db) {
        let api = six(&db).await;
        for (query, requests) in [
            ("?customer_id=c1", 3),
            ("?team_id=t1", 2),
            ("?virtual_key_id=k3", 1),
            ("?provider=openai", 3),
            ("?model=gpt-4o", 4),
            ("?model=gpt-4o&provider=azure", 1),
            ("?from=2026-01-02T00:00:00Z", 4),
            ("?from=2026-01-02T00:00:00Z&to=2026-01-03T00:00:00Z", 3),
        ] {
            let report = usage(&api, query).await;
            assert_eq!(report["total"]["requests"], requests, "{query}");
            assert_eq!(report["usage"][0]["requests"], requests, "{query}");
        }
        assert_eq!(usage(&api, "?team_id=none").await["total"]["requests"], 0);
    }

    async fn a_report_has_pages(db: Db) {
        let api = six(&db).await;
        let page = usage(&api, "?group_by=virtual_key&limit=2&offset=1").await;
        assert_eq!((&page["count"], &page["total_count"]), (&json!(2), &json!(6)));
        assert_eq!(rows(&page, &["virtual_key_id"]), [[&json!("k5")], [&json!(null)]]);
        let beyond = usage(&api, "?group_by=virtual_key&offset=9").await;
        assert_eq!((&beyond["count"], &beyond["total_count"]), (&json!(0), &json!(6)));
        assert_eq!(beyond["total"]["requests"], 6);
    }

    async fn a_group_has_the_name_that_its_team_has_now(db: Db) {
        let api = six(&db).await;
        let team = api.post("/api/governance/teams", r#"{"name": "=cmd|x"}"#).await;
        let id = team.ok(201)["team"]["id"].as_str().unwrap().to_owned();
        post(&db, &boot("envoy", "b1"), vec![used(7, ["", &id, ""], ["p", "=1+1,\"x\""], 1, 99_000_000_000)]).await;
        let report = usage(&api, "?group_by=team").await;
        assert_eq!(report["usage"][0]["team_name"], "=cmd|x");
        assert_eq!(report["usage"][1]["team_name"], json!(null));
        // And no spreadsheet takes it for a formula.
        let csv = api.get("/api/governance/usage?group_by=team,model&limit=1&format=csv").await;
        assert_eq!(csv.headers[header::CONTENT_TYPE], "text/csv; charset=utf-8; header=present");
        let expected = format!(
            "team_id,team_name,model,requests,estimated_requests,total_tokens,input_tokens,\
             cache_read_tokens,cache_write_5m_tokens,cache_write_1h_tokens,output_tokens,\
             reasoning_tokens,audio_input_tokens,audio_output_tokens,image_input_tokens,\
             image_output_tokens,cost\r\n\
             {id},\"'=cmd|x\",\"'=1+1,\"\"x\"\"\",1,0,125,100,5,0,0,20,3,0,0,0,0,99\r\n"
        );
        assert_eq!(csv.text, expected);
    }

    async fn csv_is_given_to_who_accepts_it_and_has_every_row(db: Db) {
        let api = six(&db).await;
        let path = "/api/governance/usage?group_by=virtual_key";
        for (accept, lines) in [("text/csv", 7), ("text/html, text/csv;q=0.9", 7), ("*/*", 0)] {
            let mut asked = request(Method::GET, path, None);
            asked.headers_mut().insert(header::ACCEPT, accept.parse().unwrap());
            let answer = api.send(asked).await;
            answer.ok(200);
            assert_eq!(answer.text.matches("\r\n").count(), lines, "{accept}");
        }
        let json = api.get(&format!("{path}&format=json")).await;
        assert_eq!(json.ok(200)["count"], 6);
    }

    async fn a_report_that_makes_no_sense_names_the_parameter(db: Db) {
        let api = Api::new(db).await;
        for (query, field) in [
            ("group_by=colour", "group_by"),
            ("group_by=team,", "group_by"),
            ("group_by=team,team", "group_by"),
            ("group_by=day&time_zone=Mars/Base", "time_zone"),
            ("group_by=team&time_zone=Europe/Berlin", "time_zone"),
            ("from=yesterday", "from"),
            ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("search=x", "search"),
            ("format=pdf", "format"),
        ] {
            let answer = api.get(&format!("/api/governance/usage?{query}")).await;
            assert_eq!(answer.problem(400), field, "{query}");
        }
    }
}
