//! Pricing overrides through the router.

use serde_json::{Value, json};

use crate::db::testing::on_every_database;
use crate::policy_changes::{self, Kind};
use crate::testing::Api;

const OVERRIDES: &str = "/api/governance/pricing-overrides";
const GIVEN: &str = r#"{"name": "our contract", "pattern": "gpt-4*",
    "input_cost_per_million_tokens": 1.5, "output_cost_per_million_tokens": 6}"#;

async fn create(api: &Api, body: &str) -> Value {
    api.post(OVERRIDES, body).await.ok(201)["pricing_override"].clone()
}

fn path(own: &Value) -> String {
    format!("{OVERRIDES}/{}", own["id"].as_str().unwrap())
}

on_every_database! {
    async fn an_override_is_made_changed_and_deleted(db: Db) {
        let api = Api::new(db).await;
        let own = create(&api, GIVEN).await;
        assert_eq!(
            (&own["scope_kind"], &own["match_type"], &own["pattern"]),
            (&json!("global"), &json!("wildcard"), &json!("gpt-4*"))
        );
        assert_eq!(own["input_cost_per_million_tokens"].to_string(), "1.5");
        assert_eq!(own["cache_read_cost_per_million_tokens"], Value::Null);
        assert_eq!(api.get(&path(&own)).await.ok(200)["pricing_override"], own);

        let change = r#"{"pattern": "gpt-4o", "cache_read_cost_per_million_tokens": 0.1}"#;
        let changed = api.put(&path(&own), change).await;
        let changed = &changed.ok(200)["pricing_override"];
        assert_eq!(
            (&changed["id"], &changed["match_type"], &changed["name"]),
            (&own["id"], &json!("exact"), &own["name"])
        );
        assert_eq!(changed["cache_read_cost_per_million_tokens"].to_string(), "0.1");
        let listed = api.get(OVERRIDES).await;
        assert_eq!(listed.ok(200)["pricing_overrides"], json!([changed]));

        api.delete(&path(&own)).await.ok(200);
        for answer in [
            api.get(&path(&own)).await,
            api.put(&path(&own), "{}").await,
            api.delete(&path(&own)).await,
        ] {
            answer.problem(404);
        }
        let mut tx = api.app.db.begin_read().await.unwrap();
        let kinds: Vec<Kind> =
            policy_changes::since(&mut tx, 0).await.unwrap().iter().map(|c| c.kind).collect();
        assert_eq!(kinds, [Kind::Settings; 3]);
    }

    async fn a_malformed_override_is_refused_by_field(db: Db) {
        let api = Api::new(db).await;
        for (field, value) in [
            ("name", "null"),
            ("pattern", "null"),
            ("pattern", r#""gpt*4""#),
            ("pattern", r#""a b""#),
            ("input_cost_per_million_tokens", "-1"),
            ("output_cost_per_million_tokens", "null"),
            ("cache_write_cost_per_million_tokens", "0.0000000001"),
            ("virtual_key_id", r#""nobody""#),
            ("provider", r#""nobody""#),
            ("request_types", "[]"),
        ] {
            let mut body: Value = serde_json::from_str(GIVEN).unwrap();
            let value = serde_json::value::RawValue::from_string(value.to_owned()).unwrap();
            body.as_object_mut().unwrap().remove(field);
            let text = body.to_string();
            let text = format!(r#"{{"{field}": {value}, {}"#, text.trim_start_matches('{'));
            assert_eq!(api.post(OVERRIDES, &text).await.problem(400), field, "{text}");
        }
        assert_eq!(api.get(OVERRIDES).await.ok(200)["total_count"], 0);
    }

    async fn two_overrides_do_not_hold_for_the_same(db: Db) {
        let api = Api::new(db).await;
        create(&api, GIVEN).await;
        assert_eq!(api.post(OVERRIDES, GIVEN).await.problem(409), "pattern");
        let other = create(&api, &GIVEN.replace("gpt-4*", "gpt-4")).await;
        let clash = api.put(&path(&other), r#"{"pattern": "gpt-4*"}"#).await;
        assert_eq!(clash.problem(409), "pattern");
        assert_eq!(api.get(&path(&other)).await.ok(200)["pricing_override"], other);
    }
}
