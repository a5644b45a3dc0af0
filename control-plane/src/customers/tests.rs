//! Customers through the router.

use serde_json::{Value, json};

use super::store;
use crate::db::testing::on_every_database;
use crate::policy_changes::{self, Kind};
use crate::testing::Api;

const CUSTOMERS: &str = "/api/governance/customers";

async fn create(api: &Api, body: &str) -> Value {
    api.post(CUSTOMERS, body).await.ok(201)["customer"].clone()
}

fn path(customer: &Value) -> String {
    format!("{CUSTOMERS}/{}", customer["id"].as_str().unwrap())
}

on_every_database! {
    async fn a_customer_is_made_changed_and_deleted(db: Db) {
        let api = Api::new(db).await;
        let customer = create(&api, r#"{"name": "acme",
            "budget": {"max_limit": 1000, "reset_duration": "1M"}}"#).await;
        assert_eq!(api.get(&path(&customer)).await.ok(200)["customer"], customer);
        let changed = api.put(&path(&customer), r#"{"budgets": null}"#).await;
        assert_eq!(changed.ok(200)["customer"]["budgets"], json!([]));
        api.delete(&path(&customer)).await.ok(200);
        for answer in [
            api.get(&path(&customer)).await,
            api.put(&path(&customer), "{}").await,
            api.delete(&path(&customer)).await,
        ] {
            answer.problem(404);
        }
        let mut tx = api.app.db.begin_read().await.unwrap();
        let kinds: Vec<Kind> =
            policy_changes::since(&mut tx, 0).await.unwrap().iter().map(|c| c.kind).collect();
        assert_eq!(kinds, [Kind::Customer; 3]);
    }

    async fn a_malformed_customer_is_refused_by_field(db: Db) {
        let api = Api::new(db).await;
        for (body, field) in [
            (r#"{"name": null}"#, "name"),
            (r#"{"name": "c", "team_ids": []}"#, "team_ids"),
            (r#"{"name": "c", "rate_limit": {"request_max_limit": 1}}"#, "rate_limit.request_reset_duration"),
        ] {
            assert_eq!(api.post(CUSTOMERS, body).await.problem(400), field, "{body}");
        }
        assert_eq!(api.get(CUSTOMERS).await.ok(200)["total_count"], 0);
    }

    async fn a_name_is_taken_once(db: Db) {
        let api = Api::new(db).await;
        create(&api, r#"{"name": "a"}"#).await;
        let other = create(&api, r#"{"name": "b"}"#).await;
        assert_eq!(api.post(CUSTOMERS, r#"{"name": "a"}"#).await.problem(409), "name");
        assert_eq!(api.put(&path(&other), r#"{"name": "a"}"#).await.problem(409), "name");
    }

    async fn a_customer_with_teams_or_keys_cannot_be_deleted(db: Db) {
        let api = Api::new(db).await;
        let customer = create(&api, r#"{"name": "c"}"#).await;
        let body = json!({"name": "x", "customer_id": customer["id"]}).to_string();
        let team = api.post("/api/governance/teams", &body).await;
        api.post("/api/governance/virtual-keys", &body).await.ok(201);
        let answer = api.delete(&path(&customer)).await;
        answer.problem(409);
        let detail = answer.json["detail"].as_str().unwrap();
        assert!(detail.contains("teams (1)") && detail.contains("virtual keys (1)"), "{detail}");
        let team_id = team.ok(201)["team"]["id"].as_str().unwrap();
        api.delete(&format!("/api/governance/teams/{team_id}")).await.ok(200);
        api.delete(&path(&customer)).await.problem(409);
    }

    async fn customers_are_listed_in_pages(db: Db) {
        let api = Api::new(db).await;
        for name in ["a", "b", "c"] {
            create(&api, &format!(r#"{{"name": "{name}"}}"#)).await;
            api.advance(std::time::Duration::from_secs(1));
        }
        let list = api.get(&format!("{CUSTOMERS}?offset=2")).await;
        let list = list.ok(200);
        assert_eq!((&list["total_count"], &list["count"]), (&json!(3), &json!(1)));
        assert_eq!(list["customers"][0]["name"], "c");
        let all = store::all(&mut api.app.db.begin_read().await.unwrap()).await.unwrap();
        assert_eq!(all.len(), 3);
    }
}
