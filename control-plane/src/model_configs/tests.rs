//! Limits of models and providers through the router.

use serde_json::json;

use crate::db::testing::on_every_database;
use crate::policy_changes::{self, Kind};
use crate::testing::Api;

const CONFIGS: &str = "/api/governance/model-configs";

async fn with_provider(api: &Api) {
    let openai = r#"{"name": "openai", "keys": [{"name": "main", "value": "sk-1"}]}"#;
    api.post("/api/providers", openai).await.ok(201);
}

on_every_database! {
    async fn a_model_config_is_made_changed_and_deleted(db: Db) {
        let api = Api::new(db).await;
        let body = r#"{"model_name": "gpt-4o",
            "budgets": [{"max_limit": 5, "reset_duration": "1M"}],
            "rate_limits": [{"metric": "requests", "max_limit": 60, "reset_duration": "1m"},
                            {"metric": "requests", "max_limit": 5000, "reset_duration": "1d"}]}"#;
        let made = api.post(CONFIGS, body).await.ok(201)["model_config"].clone();
        assert_eq!((&made["scope"], &made["provider"]), (&json!("global"), &json!(null)));
        assert_eq!(made["rate_limits"].as_array().unwrap().len(), 2);
        assert_eq!(api.post(CONFIGS, body).await.problem(409), "model_name");

        let path = format!("{CONFIGS}/{}", made["id"].as_str().unwrap());
        let budget = r#"{"budget": {"max_limit": 7, "reset_duration": "1M"}}"#;
        let changed = api.put(&path, budget).await.ok(200)["model_config"].clone();
        assert_eq!(changed["budgets"][0]["id"], made["budgets"][0]["id"]);
        assert_eq!(changed["rate_limits"], made["rate_limits"]);
        assert_eq!(api.get(CONFIGS).await.ok(200)["model_configs"], json!([changed]));
        assert_eq!(api.put(&path, r#"{"model_name": "other"}"#).await.problem(400), "model_name");

        api.delete(&path).await.ok(200);
        api.get(&path).await.problem(404);
        let mut tx = api.app.db.begin_read().await.unwrap();
        let changes = policy_changes::since(&mut tx, 0).await.unwrap();
        assert!(changes.iter().all(|change| change.kind == Kind::Settings));
        let (limits,): (i64,) = tx.query("SELECT COUNT(*) FROM limits").fetch_one().await.unwrap();
        assert_eq!(limits, 0);
    }

    async fn a_config_that_is_about_nothing_is_refused_by_field(db: Db) {
        let api = Api::new(db).await;
        for (body, field) in [
            (r#"{"model_name": ""}"#, "model_name"),
            (r#"{"model_name": "m", "provider": "nobody"}"#, "provider"),
            (r#"{"model_name": "m", "scope": "virtual_key"}"#, "scope_id"),
            (r#"{"model_name": "m", "scope_id": "k"}"#, "scope_id"),
            (r#"{"model_name": "m", "scope": "virtual_key", "scope_id": "k"}"#, "scope_id"),
            (r#"{"model_name": "m", "scope": "team"}"#, "scope"),
            (r#"{"model_name": "m", "budget": {"max_limit": -1, "reset_duration": "1d"}}"#, "budget.max_limit"),
        ] {
            assert_eq!(api.post(CONFIGS, body).await.problem(400), field, "{body}");
        }
        assert_eq!(api.get(CONFIGS).await.ok(200)["total_count"], 0);
    }

    async fn the_configs_of_a_key_go_with_it(db: Db) {
        let api = Api::new(db).await;
        let key = api.post("/api/governance/virtual-keys", r#"{"name": "k"}"#).await;
        let id = key.ok(201)["virtual_key"]["id"].as_str().unwrap().to_owned();
        let body = json!({"model_name": "m", "scope": "virtual_key", "scope_id": id,
            "rate_limit": {"request_max_limit": 1, "request_reset_duration": "1d"}});
        api.post(CONFIGS, &body.to_string()).await.ok(201);
        // A change of the key leaves them alone.
        let path = format!("/api/governance/virtual-keys/{id}");
        api.put(&path, r#"{"name": "k2"}"#).await.ok(200);
        assert_eq!(api.get(CONFIGS).await.ok(200)["total_count"], 1);
        api.delete(&path).await.ok(200);
        assert_eq!(api.get(CONFIGS).await.ok(200)["total_count"], 0);
    }

    async fn the_governance_of_a_provider_is_the_config_of_all_its_models(db: Db) {
        let api = Api::new(db).await;
        with_provider(&api).await;
        let path = "/api/governance/providers/openai";
        assert_eq!(api.get(path).await.ok(200)["provider"]["budgets"], json!([]));
        let budget = r#"{"budget": {"max_limit": 7, "reset_duration": "1M"}}"#;
        let made = api.put(path, budget).await.ok(200)["provider"].clone();
        assert_eq!(made["budgets"][0]["max_limit"].to_string(), "7");
        let again = api.put(path, budget).await.ok(200)["provider"].clone();
        assert_eq!(again, made);
        let config = api.get(CONFIGS).await.ok(200)["model_configs"][0].clone();
        assert_eq!((&config["model_name"], &config["provider"]), (&json!("*"), &json!("openai")));
        assert_eq!(api.get("/api/governance/providers").await.ok(200)["providers"], json!([made]));
        api.delete(path).await.ok(200);
        assert_eq!(api.get(CONFIGS).await.ok(200)["total_count"], 0);
        api.get("/api/governance/providers/nobody").await.problem(404);
    }
}
