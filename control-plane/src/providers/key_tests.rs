//! Which of a provider's keys Envoy gets, and for what, through the router.

use std::fs;

use serde_json::Value;

use super::tests::{
    OPENAI, PROVIDERS, VALUE, add_key, bound_secrets, clusters, envoy_dir, key_path, secrets,
};
use crate::db::testing::on_every_database;
use crate::testing::Api;

/// Of Envoy's clusters.
fn names(api: &Api) -> Vec<String> {
    let name = |cluster: &Value| cluster["name"].as_str().unwrap().to_owned();
    clusters(api).iter().map(name).collect()
}

/// The clusters of a provider with one active key.
fn of_key(key: &Value) -> [String; 2] {
    let id = key["id"].as_str().unwrap();
    [
        "provider_openai".to_owned(),
        format!("provider_openai__{id}"),
    ]
}

on_every_database! {
    async fn of_the_active_keys_the_heaviest_is_used(db: Db) {
        let api = Api::new(db).await;
        api.post(PROVIDERS, OPENAI).await.ok(201);
        let light = add_key(&api, r#"{"value": "sk-light", "weight": 0.5}"#).await;
        assert_eq!(secrets(&api), [VALUE]);
        let heavy = add_key(&api, r#"{"name": "heavy", "value": "sk-heavy", "weight": 1.5}"#).await;
        assert_eq!(secrets(&api), ["sk-heavy"]);
        assert_eq!(light["name"], "key-2");

        api.put(&key_path(&heavy), r#"{"is_active": false}"#).await.ok(200);
        assert_eq!(secrets(&api), [VALUE]);
        api.put(&key_path(&light), r#"{"weight": 3, "value": "sk-light-rotated"}"#).await.ok(200);
        assert_eq!(secrets(&api), ["sk-light-rotated"]);
        api.delete(&key_path(&light)).await.ok(200);
        assert_eq!(secrets(&api), [VALUE]);

        let keys = api.get("/api/providers/openai/keys").await;
        assert_eq!(keys.ok(200)["count"], 2);
        api.get(&key_path(&light)).await.problem(404);
        api.delete(&key_path(&light)).await.problem(404);
        api.put(&key_path(&light), "{}").await.problem(404);
    }

    async fn without_an_active_key_envoy_gets_no_cluster(db: Db) {
        let api = Api::new(db).await;
        api.post(PROVIDERS, r#"{"name": "openai"}"#).await.ok(201);
        assert!(clusters(&api).is_empty());
        let status = api.get("/api/providers/openai").await.ok(200)["provider"]["status"].clone();
        assert_eq!(status, "no_active_key");
        let key = add_key(&api, r#"{"value": "sk-new"}"#).await;
        assert_eq!(names(&api), of_key(&key));
        api.put(&key_path(&key), r#"{"is_active": false}"#).await.ok(200);
        assert!(clusters(&api).is_empty());

        let body = r#"{"custom_provider_config": {"is_key_less": true}}"#;
        let provider = api.put("/api/providers/openai", body).await;
        assert_eq!(provider.ok(200)["provider"]["status"], "ready");
        assert_eq!(names(&api), ["provider_openai"]);
        assert!(secrets(&api).is_empty() && bound_secrets(&api).is_empty());
    }

    async fn each_active_key_has_a_cluster_before_anybody_is_bound_to_it(db: Db) {
        let api = Api::new(db).await;
        let made = api.post(PROVIDERS, OPENAI).await.ok(201)["provider"]["keys"][0].clone();
        assert_eq!(names(&api), of_key(&made));
        let light = add_key(&api, r#"{"value": "sk-light", "weight": 0.5}"#).await;
        let [usual, of_made] = of_key(&made);
        let [_, of_light] = of_key(&light);
        assert_eq!(names(&api), [usual.clone(), of_made.clone(), of_light]);
        assert_eq!((secrets(&api), bound_secrets(&api)), (vec![VALUE.into()], vec!["sk-light".into(), VALUE.into()]));
        api.put(&key_path(&light), r#"{"is_active": false}"#).await.ok(200);
        assert_eq!(names(&api), [usual, of_made]);
        assert_eq!(bound_secrets(&api), [VALUE]);
    }

    async fn a_virtual_key_is_bound_without_a_file_and_its_value_is_not_lost(db: Db) {
        let api = Api::new(db).await;
        let made = api.post(PROVIDERS, OPENAI).await.ok(201)["provider"]["keys"][0]["id"].clone();
        // A disk that is full: no file of Envoy's can be written.
        fs::remove_dir_all(envoy_dir(&api)).unwrap();
        fs::write(envoy_dir(&api), "").unwrap();
        let config = format!(r#"{{"provider": "openai", "key_ids": [{made}]}}"#);
        let body = format!(r#"{{"name": "bound", "provider_configs": [{config}]}}"#);
        let bound = api.post("/api/governance/virtual-keys", &body).await;
        let bound = &bound.ok(201)["virtual_key"];
        assert!(bound["value"].is_string());
        let path = format!("/api/governance/virtual-keys/{}", bound["id"].as_str().unwrap());
        let unbound = r#"{"provider_configs": [{"provider": "openai", "key_ids": ["*"]}]}"#;
        api.put(&path, unbound).await.ok(200);
    }
}
