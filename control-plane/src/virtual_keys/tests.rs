//! Virtual keys through the router.

use std::time::Duration;

use reeve_policy::virtual_key::KeyDigest;
use serde_json::{Value, json};

use super::store;
use crate::db::Db;
use crate::db::testing::on_every_database;
use crate::policy_changes::{self, Change, Kind};
use crate::testing::{Answer, Api, configure_providers};

const KEYS: &str = "/api/governance/virtual-keys";

/// The key of the quick start.
const PROD_API: &str = r#"{"name": "prod-api",
    "provider_configs": [{"provider": "openai", "allowed_models": ["gpt-4o"]}],
    "budget": {"max_limit": 100.00, "reset_duration": "1M"}}"#;

async fn api(db: Db) -> Api {
    let api = Api::new(db).await;
    configure_providers(&api.app, &["anthropic", "openai"]).await;
    api
}

async fn create(api: &Api, body: &str) -> Value {
    api.post(KEYS, body).await.ok(201)["virtual_key"].clone()
}

async fn update(api: &Api, key: &Value, body: &str) -> Value {
    api.put(&path(key), body).await.ok(200)["virtual_key"].clone()
}

async fn show(api: &Api, key: &Value) -> Value {
    api.get(&path(key)).await.ok(200)["virtual_key"].clone()
}

fn path(key: &Value) -> String {
    format!("{KEYS}/{}", key["id"].as_str().unwrap())
}

async fn changes(api: &Api) -> Vec<Change> {
    policy_changes::since(&mut api.app.db.begin_read().await.unwrap(), 0)
        .await
        .unwrap()
}

/// Books usage as the ledger does.
async fn spend(api: &Api, limit: &Value, window_start_ms: i64, amount: i64) {
    let mut tx = api.app.db.begin_write().await.unwrap();
    tx.query(
        "INSERT INTO holdings (limit_id, window_start_ms, session_id, lent, returned, posted,
                               revision)
         VALUES ($1, $2, 1, 0, 0, $3, 1)",
    )
    .bind(limit["id"].as_str())
    .bind(window_start_ms)
    .bind(amount)
    .execute()
    .await
    .unwrap();
    tx.commit().await.unwrap();
}

async fn rows(api: &Api) -> (i64, i64, i64) {
    let mut tx = api.app.db.begin_read().await.unwrap();
    tx.query(
        "SELECT (SELECT COUNT(*) FROM virtual_keys), (SELECT COUNT(*) FROM provider_configs),
                (SELECT COUNT(*) FROM limits)",
    )
    .fetch_one()
    .await
    .unwrap()
}

on_every_database! {
    async fn a_config_can_be_bound_to_keys_of_its_provider(db: Db) {
        let api = api(db).await;
        let made = api.post("/api/providers/openai/keys", r#"{"value": "sk-of-mine"}"#).await;
        let id = made.ok(201)["key"]["id"].as_str().unwrap().to_owned();
        let body = |key_ids: &str| {
            let config = format!(r#"{{"provider": "openai", "key_ids": {key_ids}}}"#);
            format!(r#"{{"name": "bound", "provider_configs": [{config}]}}"#)
        };
        let made = api.post(KEYS, &body(&format!(r#"["{id}"]"#))).await;
        let key = made.ok(201)["virtual_key"].clone();
        let shown = |answer: &Answer| answer.ok(200)["virtual_key"]["provider_configs"][0]["key_ids"].clone();
        assert_eq!(shown(&api.get(&path(&key)).await), json!([id]));
        // What is left out stays, and a key that is gone binds still.
        let unchanged = r#"{"provider_configs": [{"provider": "openai"}]}"#;
        assert_eq!(shown(&api.put(&path(&key), unchanged).await), json!([id]));
        api.delete(&format!("/api/providers/openai/keys/{id}")).await.ok(200);
        assert_eq!(shown(&api.put(&path(&key), &body(&format!(r#"["{id}"]"#))).await), json!([id]));
        assert_eq!(shown(&api.put(&path(&key), &body("[]")).await), json!([]));
        for any in [r#"["*"]"#, "null"] {
            assert_eq!(shown(&api.put(&path(&key), &body(any)).await), json!(["*"]));
        }
        for (key_ids, field) in [
            (format!(r#"["{id}"]"#), "provider_configs[0].key_ids[0]"),
            (r#"["*", "x"]"#.to_owned(), "provider_configs[0].key_ids[0]"),
            (r#"["x", "x"]"#.to_owned(), "provider_configs[0].key_ids[1]"),
        ] {
            assert_eq!(api.put(&path(&key), &body(&key_ids)).await.problem(400), field);
        }
    }

    async fn the_key_of_the_quick_start_is_made(db: Db) {
        let api = api(db).await;
        let answer = api.post(KEYS, PROD_API).await;
        let key = &answer.ok(201)["virtual_key"];
        assert_eq!(answer.headers["location"].to_str().unwrap(), path(key));
        assert_eq!(key["is_active"], true);
        assert_eq!(key["provider_configs"][0]["allowed_models"], json!(["gpt-4o"]));
        assert_eq!(key["provider_configs"][0]["weight"], 1);
        assert_eq!(key["budgets"][0]["reset_duration"], "1M");
        assert_eq!(key["budgets"][0]["last_reset"], "2026-01-01T00:00:00.000Z");
        assert!(answer.text.contains(r#""max_limit":100,"#), "{}", answer.text);

        let id = key["id"].as_str().unwrap().to_owned();
        assert_eq!(
            changes(&api).await.into_iter().map(|c| (c.kind, c.entity_id)).collect::<Vec<_>>(),
            [(Kind::VirtualKey, id)]
        );
    }

    async fn a_value_is_shown_once_and_kept_as_a_digest(db: Db) {
        let api = api(db).await;
        let key = create(&api, PROD_API).await;
        let value = key["value"].as_str().unwrap();
        assert!(value.starts_with("sk-bf-") && value.len() == 56, "{value}");
        assert_eq!(value.get(6..16).unwrap(), key["kid"]);
        assert!(value.ends_with(key["last4"].as_str().unwrap()));

        let shown = api.get(&path(&key)).await;
        assert!(!shown.text.contains(value) && shown.json["virtual_key"]["value"].is_null());
        assert!(!api.get(KEYS).await.text.contains(value));
        let mut tx = api.app.db.begin_read().await.unwrap();
        let stored = store::find(&mut tx, key["id"].as_str().unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.digest, KeyDigest::of(value.as_bytes()));
    }

    async fn rotation_replaces_the_value_and_nothing_else(db: Db) {
        let api = api(db).await;
        let key = create(&api, PROD_API).await;
        api.advance(Duration::from_secs(1));
        let rotated = api.post(&format!("{}/rotate", path(&key)), "{}").await;
        let rotated = &rotated.ok(200)["virtual_key"];
        assert_ne!(rotated["value"], key["value"]);
        assert_eq!(rotated["budgets"], key["budgets"]);
        assert_eq!(rotated["created_at"], key["created_at"]);
        assert_ne!(rotated["updated_at"], key["updated_at"]);
        assert_eq!(show(&api, &key).await["last4"], rotated["last4"]);
        assert_eq!(changes(&api).await.len(), 2);
        let unknown = format!("{}/rotate", path(&key));
        let answer = api.post(&unknown, r#"{"overlap": "1h"}"#).await;
        assert_eq!(answer.problem(400), "overlap");
        api.post(&format!("{KEYS}/none/rotate"), "{}").await.problem(404);
    }

    async fn every_malformed_key_is_refused_by_field_and_nothing_is_stored(db: Db) {
        let api = api(db).await;
        let long = format!(r#"{{"name": "{}"}}"#, "x".repeat(129));
        for (body, field) in [
            ("{}", "name"),
            (r#"{"name": ""}"#, "name"),
            (r#"{"name": 7}"#, "name"),
            (r#"{"name": "a\u202eb"}"#, "name"),
            (&long, "name"),
            (r#"{"name": "k", "colour": "red"}"#, "colour"),
            (r#"{"name": "k", "name": "l"}"#, "name"),
            (r#"{"name": "k", "value": "sk-bf-mine"}"#, "value"),
            (r#"{"name": "k", "is_active": "yes"}"#, "is_active"),
            (r#"{"name": "k", "team_id": "t", "customer_id": "c"}"#, "customer_id"),
            (r#"{"name": "k", "team_id": "t"}"#, "team_id"),
            (r#"{"name": "k", "customer_id": "c"}"#, "customer_id"),
            (r#"{"name": "k", "expires_at": "2025-12-31T23:59:59Z"}"#, "expires_at"),
            (r#"{"name": "k", "expires_at": "2026-01-01T00:00:00Z"}"#, "expires_at"),
            (r#"{"name": "k", "expires_at": "soon"}"#, "expires_at"),
            (r#"{"name": "k", "provider_configs": {}}"#, "provider_configs"),
            (r#"{"name": "k", "provider_configs": [{}]}"#, "provider_configs[0].provider"),
            (
                r#"{"name": "k", "provider_configs": [{"provider": "nobody"}]}"#,
                "provider_configs[0].provider",
            ),
            (
                r#"{"name": "k", "provider_configs": [{"provider": "openai"}, {"provider": "openai"}]}"#,
                "provider_configs[1].provider",
            ),
            (
                r#"{"name": "k", "provider_configs": [{"provider": "openai", "weight": -1}]}"#,
                "provider_configs[0].weight",
            ),
            (
                r#"{"name": "k", "provider_configs": [{"provider": "openai", "weight": "1"}]}"#,
                "provider_configs[0].weight",
            ),
            (
                r#"{"name": "k", "provider_configs": [{"provider": "openai", "allowed_models": ["*", "gpt-4o"]}]}"#,
                "provider_configs[0].allowed_models",
            ),
            (
                r#"{"name": "k", "provider_configs": [{"provider": "openai", "allowed_models": ["regex:("]}]}"#,
                "provider_configs[0].allowed_models",
            ),
            (
                r#"{"name": "k", "provider_configs": [{"provider": "openai", "blacklisted_models": [""]}]}"#,
                "provider_configs[0].blacklisted_models",
            ),
            (
                r#"{"name": "k", "provider_configs": [{"provider": "openai", "budgets": [{"max_limit": -1, "reset_duration": "1d"}]}]}"#,
                "provider_configs[0].budgets[0].max_limit",
            ),
            (r#"{"name": "k", "budget": {"max_limit": -0.01, "reset_duration": "1M"}}"#, "budget.max_limit"),
            (r#"{"name": "k", "budget": {"max_limit": "1", "reset_duration": "1M"}}"#, "budget.max_limit"),
            (r#"{"name": "k", "budget": {"max_limit": 1, "reset_duration": "1Mo"}}"#, "budget.reset_duration"),
            (r#"{"name": "k", "budget": {"max_limit": 1}}"#, "budget.reset_duration"),
            (
                r#"{"name": "k", "budgets": [{"max_limit": 1, "reset_duration": "1d"}, {"max_limit": 2, "reset_duration": "1d"}]}"#,
                "budgets[1].reset_duration",
            ),
            (
                r#"{"name": "k", "budget": {"max_limit": 1, "reset_duration": "1d"}, "budgets": []}"#,
                "budget",
            ),
            (r#"{"name": "k", "rate_limit": {"request_max_limit": 5}}"#, "rate_limit.request_reset_duration"),
            (r#"{"name": "k", "rate_limit": {}}"#, "rate_limit.request_max_limit"),
            ("[]", ""),
            ("null", ""),
        ] {
            assert_eq!(api.post(KEYS, body).await.problem(400), field, "{body}");
        }
        assert_eq!(rows(&api).await, (0, 0, 0));
        assert_eq!(changes(&api).await, []);
    }

    async fn a_child_that_fails_leaves_nothing_of_the_key(db: Db) {
        let api = api(db).await;
        let mut tx = api.app.db.begin_write().await.unwrap();
        tx.query("DROP TABLE limits").execute().await.unwrap();
        tx.commit().await.unwrap();
        api.post(KEYS, PROD_API).await.problem(500);
        let mut tx = api.app.db.begin_read().await.unwrap();
        let (keys,): (i64,) =
            tx.query("SELECT COUNT(*) FROM virtual_keys").fetch_one().await.unwrap();
        assert_eq!(keys, 0);
        assert_eq!(changes(&api).await, []);
    }

    async fn a_name_is_taken_once(db: Db) {
        let api = api(db).await;
        let key = create(&api, r#"{"name": "a"}"#).await;
        let other = create(&api, r#"{"name": "b"}"#).await;
        assert_eq!(api.post(KEYS, r#"{"name": "a"}"#).await.problem(409), "name");
        assert_eq!(api.put(&path(&other), r#"{"name": "a"}"#).await.problem(409), "name");
        // Its own name is no obstacle.
        update(&api, &key, r#"{"name": "a"}"#).await;
        assert_eq!(show(&api, &other).await["name"], "b");
    }

    async fn what_an_update_leaves_out_stays(db: Db) {
        let api = api(db).await;
        let key = create(&api, r#"{"name": "a", "description": "d",
            "expires_at": "2027-01-01T00:00:00Z", "allow_all_providers": true,
            "provider_configs": [{"provider": "openai", "weight": 0.7, "allowed_models": ["gpt-4o"],
                "budgets": [{"max_limit": 5, "reset_duration": "1d"}]}],
            "budgets": [{"max_limit": 10, "reset_duration": "1M"}],
            "rate_limit": {"request_max_limit": 60, "request_reset_duration": "1m"}}"#).await;
        api.advance(Duration::from_secs(1));
        let mut updated = update(&api, &key, r#"{"is_active": false}"#).await;
        assert_eq!(updated["is_active"], false);
        assert_ne!(updated["updated_at"], key["updated_at"]);
        for field in ["is_active", "updated_at", "value"] {
            updated[field] = key[field].clone();
        }
        assert_eq!(updated, key);

        let nested = update(
            &api, &key, r#"{"provider_configs": [{"provider": "openai", "weight": null}]}"#,
        ).await;
        let (before, after) = (&key["provider_configs"][0], &nested["provider_configs"][0]);
        assert_eq!(after["weight"], Value::Null);
        for field in ["id", "allowed_models", "budgets"] {
            assert_eq!(after[field], before[field], "{field}");
        }

        let cleared = update(
            &api, &key,
            r#"{"budgets": [], "rate_limit": null, "expires_at": "", "provider_configs": []}"#,
        ).await;
        assert_eq!(cleared["budgets"], json!([]));
        assert_eq!(cleared["rate_limit"], Value::Null);
        assert_eq!(cleared["expires_at"], Value::Null);
        assert_eq!(rows(&api).await, (1, 0, 0));
    }

    async fn an_edit_never_touches_what_was_used(db: Db) {
        let api = api(db).await;
        let key = create(&api, PROD_API).await;
        let start = crate::testing::START_MS;
        spend(&api, &key["budgets"][0], start, 12_345_678_901).await;
        assert!(api.get(&path(&key)).await.text.contains(r#""current_usage":12.345678901"#));

        let raised = update(
            &api, &key, r#"{"budgets": [{"max_limit": 200, "reset_duration": "1M"}]}"#,
        ).await;
        assert_eq!(raised["budgets"][0]["id"], key["budgets"][0]["id"]);
        assert_eq!(raised["budgets"][0]["current_usage"].to_string(), "12.345678901");

        // A new window starts at nothing, without any job.
        api.advance(Duration::from_hours(30 * 24));
        assert_eq!(show(&api, &key).await["budgets"][0]["current_usage"].to_string(), "0");
    }

    async fn only_a_budget_of_the_key_itself_can_be_named_by_id(db: Db) {
        let api = api(db).await;
        let key = create(&api, PROD_API).await;
        let other = create(&api, r#"{"name": "other"}"#).await;
        let id = key["budgets"][0]["id"].as_str().unwrap();
        let steal = format!(r#"{{"budgets": [{{"id": "{id}", "max_limit": 1, "reset_duration": "1M"}}]}}"#);
        assert_eq!(api.put(&path(&other), &steal).await.problem(400), "budgets[0].id");
        let config = key["provider_configs"][0]["id"].as_str().unwrap();
        let steal = format!(r#"{{"provider_configs": [{{"id": "{config}", "provider": "openai"}}]}}"#);
        assert_eq!(api.put(&path(&other), &steal).await.problem(400), "provider_configs[0].id");
    }

    async fn a_key_moves_between_owners_but_never_has_two(db: Db) {
        let api = api(db).await;
        let team = api.post("/api/governance/teams", r#"{"name": "t"}"#).await;
        let team = team.ok(201)["team"]["id"].as_str().unwrap().to_owned();
        let customer = api.post("/api/governance/customers", r#"{"name": "c"}"#).await;
        let customer = customer.ok(201)["customer"]["id"].as_str().unwrap().to_owned();

        let key = create(&api, &format!(r#"{{"name": "k", "team_id": "{team}"}}"#)).await;
        assert_eq!(key["team_id"], team.as_str());
        let to_customer = format!(r#"{{"customer_id": "{customer}"}}"#);
        assert_eq!(api.put(&path(&key), &to_customer).await.problem(400), "customer_id");
        let move_over = format!(r#"{{"customer_id": "{customer}", "team_id": null}}"#);
        let moved = update(&api, &key, &move_over).await;
        assert_eq!(moved["team_id"], Value::Null);

        let of_customer = api.get(&format!("{KEYS}?customer_id={customer}")).await;
        assert_eq!(of_customer.ok(200)["total_count"], 1);
        assert_eq!(api.get(&format!("{KEYS}?team_id={team}")).await.ok(200)["total_count"], 0);
        let free = update(&api, &key, r#"{"customer_id": ""}"#).await;
        assert_eq!(free["customer_id"], Value::Null);
    }

    async fn keys_are_listed_in_pages(db: Db) {
        let api = api(db).await;
        for name in ["alpha", "Beta", "gamma", "alphabet"] {
            create(&api, &format!(r#"{{"name": "{name}",
                "provider_configs": [{{"provider": "openai"}}],
                "budgets": [{{"max_limit": 1, "reset_duration": "1d"}}]}}"#)).await;
            api.advance(Duration::from_secs(1));
        }
        let list = api.get(&format!("{KEYS}?limit=2&offset=1")).await;
        let list = list.ok(200);
        let names: Vec<&Value> =
            list["virtual_keys"].as_array().unwrap().iter().map(|key| &key["name"]).collect();
        assert_eq!(names, ["Beta", "gamma"]);
        assert_eq!(list["virtual_keys"][1]["provider_configs"][0]["provider"], "openai");
        assert_eq!(list["virtual_keys"][1]["budgets"][0]["reset_duration"], "1d");
        for (field, value) in [("count", 2), ("total_count", 4), ("limit", 2), ("offset", 1)] {
            assert_eq!(list[field], value, "{field}");
        }
        for (search, found) in [("ALPHA", 2), ("eta", 1), ("%25", 0), ("_", 0), ("", 4)] {
            let list = api.get(&format!("{KEYS}?search={search}")).await;
            assert_eq!(list.ok(200)["total_count"], found, "{search}");
        }
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("offset=-1", "offset"),
            ("limit=1&limit=2", "limit"),
            ("page=2", "page"),
        ] {
            assert_eq!(api.get(&format!("{KEYS}?{query}")).await.problem(400), field, "{query}");
        }
    }

    async fn a_deleted_key_is_gone_with_its_configuration(db: Db) {
        let api = api(db).await;
        let key = create(&api, PROD_API).await;
        api.delete(&path(&key)).await.ok(200);
        assert_eq!(rows(&api).await, (0, 0, 0));
        api.get(&path(&key)).await.problem(404);
        api.put(&path(&key), "{}").await.problem(404);
        api.delete(&path(&key)).await.problem(404);
        assert_eq!(changes(&api).await.len(), 2);
    }

    async fn the_publisher_is_woken_by_every_change(db: Db) {
        let api = api(db).await;
        create(&api, PROD_API).await;
        let woken = tokio::time::timeout(Duration::from_secs(1), api.app.policy_changed.notified());
        woken.await.unwrap();
    }

    async fn all_keys_come_with_their_own_children(db: Db) {
        let api = api(db).await;
        let first = create(&api, PROD_API).await;
        api.advance(Duration::from_secs(1));
        create(&api, r#"{"name": "bare"}"#).await;
        api.advance(Duration::from_secs(1));
        let third = create(&api, r#"{"name": "third", "provider_configs": [{"provider": "anthropic",
            "rate_limit": {"token_max_limit": 9, "token_reset_duration": "1h"}}]}"#).await;
        let all = store::all(&mut api.app.db.begin_read().await.unwrap()).await.unwrap();
        let names: Vec<&str> = all.iter().map(|stored| stored.key.name.as_str()).collect();
        assert_eq!(names, ["prod-api", "bare", "third"]);
        assert_eq!(all[0].key.limits[0].id, first["budgets"][0]["id"].as_str().unwrap());
        assert!(all[1].key.limits.is_empty() && all[1].key.provider_configs.is_empty());
        let config = &all[2].key.provider_configs[0];
        assert_eq!(config.id, third["provider_configs"][0]["id"].as_str().unwrap());
        assert_eq!(config.limits[0].max, 9);
    }
}
