//! Settings through the router.

use serde_json::json;

use super::{Settings, store};
use crate::db::testing::on_every_database;
use crate::policy_changes::{self, Kind};
use crate::testing::Api;

on_every_database! {
    async fn governance_is_switched_as_in_the_quick_start(db: Db) {
        let api = Api::new(db).await;
        for on in [false, true] {
            let body = format!(r#"{{"client_config": {{"enable_governance": {on}}}}}"#);
            let answer = api.put("/api/config", &body).await;
            assert_eq!(answer.ok(200)["client_config"]["enable_governance"], on);
        }
        let mut tx = api.app.db.begin_read().await.unwrap();
        let kinds: Vec<Kind> =
            policy_changes::since(&mut tx, 0).await.unwrap().iter().map(|c| c.kind).collect();
        assert_eq!(kinds, [Kind::Settings; 2]);
    }

    async fn what_is_left_out_stays_and_null_is_the_default(db: Db) {
        let api = Api::new(db).await;
        let body = r#"{"client_config": {"enable_governance": false,
            "required_headers": ["X-Tenant", "X-Env:prod|dev-[0-9]+", "x-bf-team"],
            "max_request_body_size_mb": 20, "reservation": "balanced", "when_short": "clamp",
            "when_unreachable": "fail_open_capped", "emergency_allowance_percent": 25,
            "unpriced_model_ceiling": {"input_cost_per_million_tokens": 20,
                "output_cost_per_million_tokens": 0.5}, "adaptive_routing": false,
            "time_zone": "europe/berlin"}}"#;
        api.put("/api/config", body).await.ok(200);
        api.put("/api/config", r#"{"client_config": {}}"#).await.ok(200);
        let shown = api.get("/api/config").await;
        assert_eq!(
            shown.ok(200)["client_config"],
            json!({"enable_governance": false,
                   "required_headers": ["x-tenant", "x-env: prod|dev-[0-9]+", "x-bf-team"],
                   "max_request_body_size_mb": 20, "reservation": "balanced",
                   "when_short": "clamp", "when_unreachable": "fail_open_capped",
                   "emergency_allowance_percent": 25, "unpriced_model_ceiling": {
                       "input_cost_per_million_tokens": 20,
                       "output_cost_per_million_tokens": 0.5},
                   "adaptive_routing": false, "time_zone": "Europe/Berlin"})
        );
        let stored = store::get(&mut api.app.db.begin_read().await.unwrap()).await.unwrap();
        assert_eq!(stored.max_request_body_bytes, 20 * 1024 * 1024);
        let reset = r#"{"client_config": {"enable_governance": null, "required_headers": null,
            "max_request_body_size_mb": null, "reservation": null, "when_short": null,
            "when_unreachable": null, "emergency_allowance_percent": null,
            "unpriced_model_ceiling": null, "adaptive_routing": null, "time_zone": null}}"#;
        api.put("/api/config", reset).await.ok(200);
        let stored = store::get(&mut api.app.db.begin_read().await.unwrap()).await.unwrap();
        assert_eq!(stored, Settings::initial(true));
    }

    async fn malformed_settings_are_refused_by_field_and_nothing_changes(db: Db) {
        let api = Api::new(db).await;
        for (config, field) in [
            (r#"{"enable_governance": "no"}"#, ".enable_governance"),
            (r#"{"adaptive_routing": 1}"#, ".adaptive_routing"),
            (r#"{"when_unreachable": "open"}"#, ".when_unreachable"),
            (r#"{"emergency_allowance_percent": 0}"#, ".emergency_allowance_percent"),
            (r#"{"emergency_allowance_percent": 101}"#, ".emergency_allowance_percent"),
            (r#"{"max_request_body_size_mb": 0}"#, ".max_request_body_size_mb"),
            (r#"{"max_request_body_size_mb": 1025}"#, ".max_request_body_size_mb"),
            (r#"{"max_request_body_size_mb": 1.5}"#, ".max_request_body_size_mb"),
            (r#"{"required_headers": ["x tenant"]}"#, ".required_headers[0]"),
            (r#"{"required_headers": ["x-a", ""]}"#, ".required_headers[1]"),
            (r#"{"required_headers": ["x-a", "X-A"]}"#, ".required_headers[1]"),
            (r#"{"required_headers": ["x-a", "X-A: b"]}"#, ".required_headers[1]"),
            (r#"{"required_headers": ["x-a:"]}"#, ".required_headers[0]"),
            (r#"{"required_headers": ["x-a", "x-b: ("]}"#, ".required_headers[1]"),
            (r#"{"required_headers": ["x-api-key: sk-.*"]}"#, ".required_headers[0]"),
            (r#"{"required_headers": ["x-bf-vk"]}"#, ".required_headers[0]"),
            (r#"{"required_headers": ["Authorization"]}"#, ".required_headers[0]"),
            (r#"{"required_headers": ["x-reeve-cluster"]}"#, ".required_headers[0]"),
            (r#"{"required_headers": ["x-envoy-peer"]}"#, ".required_headers[0]"),
            (r#"{"reservation": "loose"}"#, ".reservation"),
            (r#"{"when_short": true}"#, ".when_short"),
            (r#"{"unpriced_model_ceiling": {"input_cost_per_million_tokens": 1}}"#,
             ".unpriced_model_ceiling.output_cost_per_million_tokens"),
            (r#"{"unpriced_model_ceiling": {"input_cost_per_million_tokens": 1,
                 "output_cost_per_million_tokens": -1}}"#,
             ".unpriced_model_ceiling.output_cost_per_million_tokens"),
            (r#"{"enable_governance": false, "allow_direct_keys": true}"#, ".allow_direct_keys"),
        ] {
            let answer = api.put("/api/config", &format!(r#"{{"client_config": {config}}}"#)).await;
            assert_eq!(answer.problem(400), format!("client_config{field}"), "{config}");
        }
        assert_eq!(api.put("/api/config", "{}").await.problem(400), "client_config");
        let stored = store::get(&mut api.app.db.begin_read().await.unwrap()).await.unwrap();
        assert_eq!(stored, Settings::initial(true));
    }

    async fn as_many_headers_as_there_is_room_for_can_be_required(db: Db) {
        let api = Api::new(db).await;
        let body = |count: u32| {
            let names: Vec<String> = (0..count).map(|n| format!("x-{n}: [a-z]+")).collect();
            json!({"client_config": {"required_headers": names}}).to_string()
        };
        api.put("/api/config", &body(32)).await.ok(200);
        let refused = api.put("/api/config", &body(33)).await;
        assert_eq!(refused.problem(400), "client_config.required_headers");
    }

    async fn a_database_is_new_once(db: Db) {
        let api = Api::new(db).await;
        let mut tx = api.app.db.begin_write().await.unwrap();
        assert!(!store::initialise(&mut tx, &Settings::initial(false)).await.unwrap());
        assert!(store::get(&mut tx).await.unwrap().enable_governance);
    }
}
