//! Providers through the router, down to what Envoy is configured with.

use axum::http::{HeaderValue, Method, header};
use reeve_xds::{Credential, Input, Key, Provider};
use serde_json::{Value, json};

use super::key::place;
use super::presets::{Address, PRESETS};
use super::{seed, store};
use crate::ads;
use crate::db::testing::on_every_database;
use crate::policy_changes::{self, Kind};
use crate::secrets::{SealingKey, Secret};
use crate::testing::{Answer, Api, configure_providers, request};

pub(super) const PROVIDERS: &str = "/api/providers";
pub(super) const VALUE: &str = "sk-planted-0123456789";
pub(super) const OPENAI: &str =
    r#"{"name": "openai", "keys": [{"value": "sk-planted-0123456789"}]}"#;

/// What Envoy is configured with.
pub(super) async fn input(api: &Api) -> Input {
    let mut tx = api.app.db.begin_read().await.unwrap();
    ads::load::input(&mut tx, &api.app).await.unwrap()
}

/// The keys that Envoy puts on requests that are bound to none.
pub(super) async fn keys(api: &Api) -> Vec<Key> {
    keys_of(api, |provider| provider.key_id.is_none()).await
}

/// Those of requests that are bound to them.
pub(super) async fn bound_keys(api: &Api) -> Vec<Key> {
    keys_of(api, |provider| provider.key_id.is_some()).await
}

async fn keys_of(api: &Api, is_asked: impl Fn(&Provider) -> bool) -> Vec<Key> {
    let providers = input(api).await.providers.into_iter();
    providers
        .filter(is_asked)
        .filter_map(|provider| match provider.credential? {
            Credential::Header { key, .. } => Some(key),
            Credential::Aws(_) => None,
        })
        .collect()
}

pub(super) fn of(values: &[&str]) -> Vec<Key> {
    values.iter().map(|value| Key::new(value)).collect()
}

async fn count(api: &Api, sql: &'static str) -> i64 {
    let mut tx = api.app.db.begin_read().await.unwrap();
    let (count,): (i64,) = tx.query(sql).fetch_one().await.unwrap();
    count
}

pub(super) async fn add_key(api: &Api, body: &str) -> Value {
    api.post("/api/providers/openai/keys", body).await.ok(201)["key"].clone()
}

pub(super) fn key_path(key: &Value) -> String {
    format!("/api/providers/openai/keys/{}", key["id"].as_str().unwrap())
}

/// A request as `--dev` wants it: to a loopback name.
pub(super) async fn send_locally(api: &Api, method: Method, body: Option<&str>) -> Answer {
    let mut request = request(method, PROVIDERS, body);
    request
        .headers_mut()
        .insert(header::HOST, HeaderValue::from_static("localhost"));
    api.send(request).await
}

on_every_database! {
    async fn when_a_provider_is_left_for_another_is_a_setting(db: Db) {
        let api = Api::new(db).await;
        let made = api.post(PROVIDERS, OPENAI).await.ok(201)["provider"]["network_config"].clone();
        assert_eq!(made["retry_on"], json!(["connect_failure", "5xx", "429", "timeout"]));
        assert_eq!(made["per_try_timeout_ms"], Value::Null);
        let path = "/api/providers/openai";
        for (change, retry_on, timeout) in [
            (json!({"retry_on": ["429", "5xx"]}), json!(["5xx", "429"]), Value::Null),
            (json!({"per_try_timeout_ms": 2_000}), json!(["5xx", "429"]), json!(2_000)),
            (json!({"retry_on": []}), json!([]), json!(2_000)),
            (
                json!({"retry_on": null, "per_try_timeout_ms": null}),
                json!(["connect_failure", "5xx", "429", "timeout"]),
                Value::Null,
            ),
        ] {
            let body = json!({"network_config": change}).to_string();
            let changed = api.put(path, &body).await.ok(200)["provider"]["network_config"].clone();
            assert_eq!((&changed["retry_on"], &changed["per_try_timeout_ms"]), (&retry_on, &timeout));
            assert_eq!(api.get(path).await.ok(200)["provider"]["network_config"], changed);
        }
        for (change, field) in [
            (json!({"retry_on": ["5xx", "503"]}), "network_config.retry_on[1]"),
            (json!({"per_try_timeout_ms": 0}), "network_config.per_try_timeout_ms"),
            (json!({"per_try_timeout_ms": 3_600_001}), "network_config.per_try_timeout_ms"),
        ] {
            let body = json!({"network_config": change}).to_string();
            assert_eq!(api.put(path, &body).await.problem(400), field);
        }
    }

    async fn a_provider_is_made_changed_and_deleted(db: Db) {
        let api = Api::new(db).await;
        let answer = api.post(PROVIDERS, OPENAI).await;
        let provider = answer.ok(201)["provider"].clone();
        assert_eq!(answer.headers["location"], "/api/providers/openai");
        assert_eq!(provider["custom_provider_config"]["base_provider_type"], "openai");
        assert_eq!(provider["network_config"]["base_url"], "https://api.openai.com/v1");
        assert_eq!(provider["keys"][0]["name"], "key-1");
        assert_eq!(provider["keys"][0]["last4"], "6789");
        assert_eq!(provider["status"], "ready");
        assert_eq!(api.get("/api/providers/openai").await.ok(200)["provider"], provider);
        let list = api.get("/api/providers?search=OPEN").await;
        assert_eq!(list.ok(200)["providers"], Value::from(vec![provider.clone()]));

        let body = r#"{"network_config": {"base_url": "https://proxy.example/openai/v1/"}}"#;
        let changed = api.put("/api/providers/openai", body).await;
        let changed = &changed.ok(200)["provider"];
        assert_eq!(changed["network_config"]["base_url"], "https://proxy.example/openai/v1");
        assert_eq!(changed["keys"], provider["keys"]);

        api.delete("/api/providers/openai").await.ok(200);
        for answer in [
            api.get("/api/providers/openai").await,
            api.put("/api/providers/openai", "{}").await,
            api.delete("/api/providers/openai").await,
            api.get("/api/providers/openai/keys").await,
            api.post("/api/providers/openai/keys", r#"{"value": "sk-new"}"#).await,
        ] {
            answer.problem(404);
        }
        assert_eq!(count(&api, "SELECT COUNT(*) FROM provider_keys").await, 0);
        let mut tx = api.app.db.begin_read().await.unwrap();
        let changes = policy_changes::since(&mut tx, 0).await.unwrap();
        assert_eq!(changes.len(), 3);
        assert!(changes.iter().all(|c| c.kind == Kind::Provider && c.entity_id == "openai"));
    }

    async fn envoy_is_configured_with_every_provider_that_is_there(db: Db) {
        let api = Api::new(db).await;
        api.post(PROVIDERS, OPENAI).await.ok(201);
        let provider = input(&api).await.providers.remove(0);
        assert_eq!((provider.name.as_str(), provider.base_path.as_str()), ("openai", "/v1"));
        assert_eq!(keys(&api).await, of(&[VALUE]));

        let body = r#"{"network_config": {"base_url": "https://proxy.example"}}"#;
        api.put("/api/providers/openai", body).await.ok(200);
        let provider = input(&api).await.providers.remove(0);
        assert_eq!(provider.origin.authority(), "proxy.example");
        assert_eq!(keys(&api).await, of(&[VALUE]));

        api.delete("/api/providers/openai").await.ok(200);
        assert!(input(&api).await.providers.is_empty());
    }

    async fn a_key_is_never_shown_and_never_stored_in_the_clear(db: Db) {
        let api = Api::new(db).await;
        let created = api.post(PROVIDERS, OPENAI).await;
        let key = created.json["provider"]["keys"][0].clone();
        for answer in [
            created,
            api.get(PROVIDERS).await,
            api.get("/api/providers/openai").await,
            api.get("/api/providers/openai/keys").await,
            api.get(&key_path(&key)).await,
            api.put(&key_path(&key), r#"{"value": "sk-planted-9999999999"}"#).await,
        ] {
            assert!(!answer.text.contains("sk-planted"), "{}", answer.text);
        }
        let plain = "SELECT COUNT(*) FROM provider_keys WHERE sealed_value LIKE '%planted%'";
        assert_eq!(count(&api, plain).await, 0);
    }

    async fn a_key_sealed_with_another_encryption_key_is_an_error_of_ours(db: Db) {
        let api = Api::new(db).await;
        api.post(PROVIDERS, OPENAI).await.ok(201);
        let other = SealingKey::new(&[8; 32]).unwrap();
        let sealed = other
            .seal(&api.app.random, place("k"), &Secret::new("x"))
            .unwrap();
        let mut tx = api.app.db.begin_write().await.unwrap();
        tx.query("UPDATE provider_keys SET sealed_value = $1")
            .bind(sealed)
            .execute()
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let mut tx = api.app.db.begin_read().await.unwrap();
        assert!(ads::load::input(&mut tx, &api.app).await.is_err());
    }

    async fn a_malformed_provider_is_refused_by_field(db: Db) {
        let api = Api::new(db).await;
        for (body, field) in [
            ("{}", "name"),
            (r#"{"name": "OpenAI"}"#, "name"),
            (r#"{"name": "a/b"}"#, "name"),
            (r#"{"name": "openai__key"}"#, "name"),
            (r#"{"name": "1a"}"#, "name"),
            (r#"{"name": ""}"#, "name"),
            (r#"{"name": "mine"}"#, "custom_provider_config.base_provider_type"),
            (
                r#"{"name": "mine", "custom_provider_config": {"base_provider_type": "vertex"}}"#,
                "custom_provider_config.base_provider_type",
            ),
            (
                r#"{"name": "mine", "custom_provider_config": {"base_provider_type": "openai"}}"#,
                "network_config.base_url",
            ),
            (
                r#"{"name": "openai", "custom_provider_config": {"base_provider_type": "anthropic"}}"#,
                "custom_provider_config.base_provider_type",
            ),
            (
                r#"{"name": "openai", "network_config": {"base_url": "http://127.0.0.1:1"}}"#,
                "network_config.base_url",
            ),
            (
                r#"{"name": "openai", "network_config": {"base_url": "http://169.254.169.254",
                    "allow_private_network": true}}"#,
                "network_config.base_url",
            ),
            (r#"{"name": "openai", "network_config": {"proxy": "x"}}"#, "network_config.proxy"),
            (r#"{"name": "openai", "aliases": {"fast": "fast"}}"#, "aliases"),
            (r#"{"name": "openai", "aliases": {"fa st": "gpt-4o"}}"#, "aliases"),
            (r#"{"name": "openai", "aliases": {"fast": ""}}"#, "aliases"),
            (r#"{"name": "openai", "aliases": {"fast": null}}"#, "aliases.fast"),
            (r#"{"name": "openai", "aliases": {"a": "gpt-4o", "a": "o3"}}"#, "aliases.a"),
            (r#"{"name": "openai", "keys": [{"value": "k"}, {}]}"#, "keys[1].value"),
            (r#"{"name": "openai", "keys": [{"value": ""}]}"#, "keys[0].value"),
            (r#"{"name": "openai", "keys": [{"value": "a b"}]}"#, "keys[0].value"),
            (r#"{"name": "openai", "keys": [{"value": "a\r\nx-evil: 1"}]}"#, "keys[0].value"),
            (r#"{"name": "openai", "keys": [{"value": "k", "weight": -1}]}"#, "keys[0].weight"),
            (
                r#"{"name": "openai", "keys": [{"name": "a", "value": "k"}, {"name": "a", "value": "l"}]}"#,
                "keys[1].name",
            ),
        ] {
            assert_eq!(api.post(PROVIDERS, body).await.problem(400), field, "{body}");
        }
        assert_eq!(count(&api, "SELECT COUNT(*) FROM providers").await, 0);
        assert_eq!(count(&api, "SELECT COUNT(*) FROM policy_changes").await, 0);
    }

    async fn a_known_provider_is_made_by_its_name_and_sent_its_key_as_it_wants_it(db: Db) {
        let api = Api::new(db).await;
        for preset in PRESETS {
            let mut body = json!({"name": preset.name});
            if let Address::Own { example } = preset.address {
                let refused = api.post(PROVIDERS, &body.to_string()).await;
                assert_eq!(refused.problem(400), "network_config.base_url");
                assert!(refused.text.contains(example), "{}", refused.text);
                body["network_config"] = json!({"base_url": "https://llm.example/v1"});
            }
            if !preset.is_key_less {
                body["keys"] = json!([{"value": "sk-test"}]);
            }
            let answer = api.post(PROVIDERS, &body.to_string()).await;
            assert_eq!(answer.ok(201)["provider"]["status"], "ready", "{}", preset.name);
        }
        let mut providers = input(&api).await.providers;
        providers.retain(|provider| provider.key_id.is_none());
        assert_eq!(providers.len(), PRESETS.len());
        for provider in providers {
            let name = provider.name.as_str();
            let (wire_format, header, prefix) = match name {
                "azure" => ("openai", "api-key", ""),
                "anthropic" => ("anthropic", "x-api-key", ""),
                "gemini" => ("gemini", "x-goog-api-key", ""),
                "bedrock" | "cohere" => (name, "authorization", "Bearer "),
                "ollama" | "vllm" | "sglang" => ("openai", "", ""),
                _ => ("openai", "authorization", "Bearer "),
            };
            assert_eq!(provider.wire_format, wire_format, "{name}");
            let injected = match &provider.credential {
                Some(Credential::Header { header, prefix, .. }) => (*header, *prefix),
                Some(Credential::Aws(_)) => panic!("{name} signs"),
                None => ("", ""),
            };
            assert_eq!(injected, (header, prefix), "{name}");
        }
    }

    async fn a_known_providers_address_can_be_another_but_not_its_kind(db: Db) {
        let api = Api::new(db).await;
        let body = r#"{"name": "groq", "network_config": {"base_url": "https://proxy.example"}}"#;
        let made = api.post(PROVIDERS, body).await;
        let network = &made.ok(201)["provider"]["network_config"];
        assert_eq!(network["base_url"], "https://proxy.example");
        let path = "/api/providers/groq";
        let kind = r#"{"custom_provider_config": {"base_provider_type": "cohere"}}"#;
        let field = "custom_provider_config.base_provider_type";
        assert_eq!(api.put(path, kind).await.problem(400), field);
        let changed = api.put(path, r#"{"network_config": {"base_url": null}}"#).await;
        let network = &changed.ok(200)["provider"]["network_config"];
        assert_eq!(network["base_url"], "https://api.groq.com/openai/v1");
    }

    async fn a_provider_that_is_older_than_the_meaning_of_its_name_keeps_its_kind(db: Db) {
        let api = Api::new(db).await;
        configure_providers(&api.app, &["gemini"]).await;
        let kind = |word: &str| {
            format!(r#"{{"custom_provider_config": {{"base_provider_type": "{word}"}}}}"#)
        };
        let path = "/api/providers/gemini";
        for (body, after) in [
            ("{}".to_owned(), "openai"),
            (kind("openai"), "openai"),
            (kind("gemini"), "gemini"),
        ] {
            let changed = api.put(path, &body).await;
            let changed = &changed.ok(200)["provider"]["custom_provider_config"];
            assert_eq!(changed["base_provider_type"], after, "{body}");
        }
        api.put(path, &kind("openai")).await.problem(400);
    }

    async fn a_server_of_ones_own_asks_for_no_key_unless_it_is_said_to(db: Db) {
        let api = Api::with_config(db, |config| {
            config.private_networks = "10.0.0.7".parse().unwrap();
        })
        .await;
        for (kind, status) in [("{}", "ready"), (r#"{"is_key_less": false}"#, "no_active_key")] {
            let body = format!(
                r#"{{"name": "ollama", "custom_provider_config": {kind}, "network_config":
                    {{"base_url": "http://10.0.0.7:11434/v1", "allow_private_network": true}}}}"#
            );
            let made = api.post(PROVIDERS, &body).await;
            assert_eq!(made.ok(201)["provider"]["status"], status);
            api.delete("/api/providers/ollama").await.ok(200);
        }
    }

    async fn a_name_is_taken_once_and_never_changes(db: Db) {
        let api = Api::new(db).await;
        api.post(PROVIDERS, OPENAI).await.ok(201);
        assert_eq!(api.post(PROVIDERS, OPENAI).await.problem(409), "name");
        let path = "/api/providers/openai";
        assert_eq!(api.put(path, r#"{"name": "other"}"#).await.problem(400), "name");
        assert_eq!(api.put(path, r#"{"keys": []}"#).await.problem(400), "keys");
        api.put(path, r#"{"name": "openai"}"#).await.ok(200);
    }

    async fn the_name_bifrost_uses_for_the_name_is_understood(db: Db) {
        let api = Api::new(db).await;
        let answer = api.post(PROVIDERS, r#"{"provider": "anthropic"}"#).await;
        assert_eq!(answer.ok(201)["provider"]["name"], "anthropic");
        let both = r#"{"provider": "openai", "name": "openai"}"#;
        api.post(PROVIDERS, both).await.problem(400);
    }

    async fn a_provider_that_virtual_keys_use_cannot_be_deleted(db: Db) {
        let api = Api::new(db).await;
        api.post(PROVIDERS, OPENAI).await.ok(201);
        let key = r#"{"name": "k", "provider_configs": [{"provider": "openai"}]}"#;
        let key = api.post("/api/governance/virtual-keys", key).await;
        let id = key.ok(201)["virtual_key"]["id"].as_str().unwrap().to_owned();
        let refused = api.delete("/api/providers/openai").await;
        refused.problem(409);
        assert!(refused.text.contains("1 virtual key has"), "{}", refused.text);
        assert_eq!(keys(&api).await, of(&[VALUE]));
        api.delete(&format!("/api/governance/virtual-keys/{id}")).await.ok(200);
        api.delete("/api/providers/openai").await.ok(200);
    }

    async fn the_first_start_in_dev_has_every_provider_that_the_demo_can_be(db: Db) {
        let api = Api::with_config(db, |config| {
            config.dev = true;
            config.demo_port = 9_123;
            config.anthropic_api_key = Some(Secret::new("sk-ant-real-0123456789"));
        })
        .await;
        seed(&api.app).await.unwrap();
        seed(&api.app).await.unwrap();
        let list = send_locally(&api, Method::GET, None).await;
        let list = list.ok(200)["providers"].as_array().unwrap();
        let seeded: Vec<[&str; 3]> = list
            .iter()
            .map(|provider| {
                let kind = &provider["custom_provider_config"]["base_provider_type"];
                let base_url = &provider["network_config"]["base_url"];
                [&provider["name"], kind, base_url].map(|text| text.as_str().unwrap())
            })
            .collect();
        assert_eq!(
            seeded,
            [
                ["anthropic", "anthropic", "https://api.anthropic.com/v1"],
                ["bedrock", "bedrock", "http://127.0.0.1:9123"],
                ["cohere", "cohere", "http://127.0.0.1:9123"],
                ["gemini", "gemini", "http://127.0.0.1:9123/v1beta"],
                ["openai", "openai", "http://127.0.0.1:9123/v1"],
            ]
        );
        let demo = ["sk-ant-real-0123456789", "demo", "demo", "demo", "demo"];
        assert_eq!(keys(&api).await, of(&demo));
    }

    async fn without_dev_nothing_is_seeded(db: Db) {
        let api = Api::new(db).await;
        seed(&api.app).await.unwrap();
        let names = store::names(&mut api.app.db.begin_read().await.unwrap()).await.unwrap();
        assert!(names.is_empty());
    }

    async fn only_in_dev_the_gateway_answers_to_loopback_names_alone(db: Db) {
        for (dev, domains) in [(true, ["localhost", "127.0.0.1", "[::1]"].as_slice()), (false, &["*"])] {
            let api = Api::with_config(db.clone(), |config| config.dev = dev).await;
            assert_eq!(input(&api).await.gateway.domains, domains);
        }
    }

    async fn envoy_holds_back_bodies_as_large_as_the_settings_allow(db: Db) {
        let api = Api::new(db).await;
        for (mib, bytes) in [(1, 33_554_432), (64, 67_108_864)] {
            let body = format!(r#"{{"client_config": {{"max_request_body_size_mb": {mib}}}}}"#);
            api.put("/api/config", &body).await.ok(200);
            assert_eq!(input(&api).await.gateway.max_request_body_bytes, bytes);
        }
    }
}
