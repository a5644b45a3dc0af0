//! Teams through the router.

use serde_json::{Value, json};

use super::store;
use crate::db::testing::on_every_database;
use crate::policy_changes::{self, Kind};
use crate::testing::Api;

const TEAMS: &str = "/api/governance/teams";

async fn create(api: &Api, body: &str) -> Value {
    api.post(TEAMS, body).await.ok(201)["team"].clone()
}

fn path(team: &Value) -> String {
    format!("{TEAMS}/{}", team["id"].as_str().unwrap())
}

on_every_database! {
    async fn a_team_is_made_changed_and_deleted(db: Db) {
        let api = Api::new(db).await;
        let team = create(&api, r#"{"name": "research",
            "budgets": [{"max_limit": 0.1, "reset_duration": "1d"}],
            "rate_limit": {"token_max_limit": 1000, "token_reset_duration": "1h"}}"#).await;
        assert_eq!(team["budgets"][0]["max_limit"].to_string(), "0.1");
        assert_eq!(team["rate_limit"]["token_max_limit"], 1000);
        assert_eq!(api.get(&path(&team)).await.ok(200)["team"], team);

        let changed = api.put(&path(&team), r#"{"name": "r&d", "calendar_aligned": true}"#).await;
        let changed = &changed.ok(200)["team"];
        assert_eq!(changed["name"], "r&d");
        assert_eq!(changed["budgets"][0]["id"], team["budgets"][0]["id"]);
        assert_eq!(changed["budgets"][0]["calendar_aligned"], true);

        api.delete(&path(&team)).await.ok(200);
        for answer in [
            api.get(&path(&team)).await,
            api.put(&path(&team), "{}").await,
            api.delete(&path(&team)).await,
        ] {
            answer.problem(404);
        }
        let mut tx = api.app.db.begin_read().await.unwrap();
        let kinds: Vec<Kind> =
            policy_changes::since(&mut tx, 0).await.unwrap().iter().map(|c| c.kind).collect();
        assert_eq!(kinds, [Kind::Team; 3]);
        let (limits,): (i64,) = tx.query("SELECT COUNT(*) FROM limits").fetch_one().await.unwrap();
        assert_eq!(limits, 0);
    }

    async fn a_team_has_the_calendar_of_its_time_zone(db: Db) {
        let api = Api::new(db).await;
        let zone = |name: &str| format!(r#"{{"client_config": {{"time_zone": "{name}"}}}}"#);
        api.put("/api/config", &zone("Asia/Tokyo")).await.ok(200);
        let team = create(&api, r#"{"name": "t", "calendar_aligned": true,
            "budget": {"max_limit": 1, "reset_duration": "1M"}}"#).await;
        assert_eq!(team["time_zone"], "Asia/Tokyo");
        assert_eq!(team["budgets"][0]["last_reset"], "2025-12-31T15:00:00.000Z");
        // It keeps what it has, whatever new ones get.
        api.put("/api/config", &zone("Europe/Berlin")).await.ok(200);
        assert_eq!(api.get(&path(&team)).await.ok(200)["team"], team);

        let moved = api.put(&path(&team), r#"{"time_zone": "America/New_York"}"#).await;
        let moved = &moved.ok(200)["team"];
        assert_eq!(moved["time_zone"], "America/New_York");
        // January has not begun there: the window that is open goes on until it does.
        assert_eq!(moved["budgets"][0]["last_reset"], "2025-12-31T15:00:00.000Z");
        api.advance(std::time::Duration::from_hours(5));
        let later = api.get(&path(&team)).await;
        assert_eq!(later.ok(200)["team"]["budgets"][0]["last_reset"], "2026-01-01T05:00:00.000Z");
        assert_eq!(api.put(&path(&team), r#"{"time_zone": "Mars/Utopia"}"#).await.problem(400), "time_zone");
    }

    async fn a_malformed_team_is_refused_by_field(db: Db) {
        let api = Api::new(db).await;
        for (body, field) in [
            ("{}", "name"),
            (r#"{"name": "t", "customer_id": "nobody"}"#, "customer_id"),
            (r#"{"name": "t", "members": []}"#, "members"),
            (r#"{"name": "t", "budget": {"max_limit": -1, "reset_duration": "1d"}}"#, "budget.max_limit"),
        ] {
            assert_eq!(api.post(TEAMS, body).await.problem(400), field, "{body}");
        }
        assert_eq!(api.get(TEAMS).await.ok(200)["total_count"], 0);
    }

    async fn a_name_is_taken_once(db: Db) {
        let api = Api::new(db).await;
        create(&api, r#"{"name": "a"}"#).await;
        let other = create(&api, r#"{"name": "b"}"#).await;
        assert_eq!(api.post(TEAMS, r#"{"name": "a"}"#).await.problem(409), "name");
        assert_eq!(api.put(&path(&other), r#"{"name": "a"}"#).await.problem(409), "name");
    }

    async fn a_team_with_keys_cannot_be_deleted(db: Db) {
        let api = Api::new(db).await;
        let team = create(&api, r#"{"name": "t"}"#).await;
        let key = json!({"name": "k", "team_id": team["id"]}).to_string();
        api.post("/api/governance/virtual-keys", &key).await.ok(201);
        let answer = api.delete(&path(&team)).await;
        answer.problem(409);
        assert!(answer.json["detail"].as_str().unwrap().contains("virtual keys (1)"));
        api.get(&path(&team)).await.ok(200);
    }

    async fn a_team_joins_and_leaves_a_customer(db: Db) {
        let api = Api::new(db).await;
        let customer = api.post("/api/governance/customers", r#"{"name": "c"}"#).await;
        let customer_id = customer.ok(201)["customer"]["id"].clone();
        let body = json!({"name": "t", "customer_id": customer_id}).to_string();
        let team = create(&api, &body).await;
        assert_eq!(team["customer_id"], customer_id);
        let left = api.put(&path(&team), r#"{"customer_id": null}"#).await;
        assert_eq!(left.ok(200)["team"]["customer_id"], Value::Null);
    }

    async fn teams_are_listed_in_pages(db: Db) {
        let api = Api::new(db).await;
        for name in ["a", "b", "ab"] {
            create(&api, &format!(r#"{{"name": "{name}"}}"#)).await;
            api.advance(std::time::Duration::from_secs(1));
        }
        let list = api.get(&format!("{TEAMS}?search=B&limit=1")).await;
        let list = list.ok(200);
        assert_eq!((&list["total_count"], &list["count"]), (&json!(2), &json!(1)));
        assert_eq!(list["teams"][0]["name"], "b");
        let all = store::all(&mut api.app.db.begin_read().await.unwrap()).await.unwrap();
        assert_eq!(all.len(), 3);
    }
}
