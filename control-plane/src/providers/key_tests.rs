//! Which of a provider's keys Envoy gets, and for what, through the router.

use serde_json::Value;

use super::tests::{OPENAI, PROVIDERS, VALUE, add_key, bound_keys, input, key_path, keys, of};
use crate::db::testing::on_every_database;
use crate::testing::Api;

/// Of Envoy's clusters.
async fn names(api: &Api) -> Vec<String> {
    let providers = input(api).await.providers;
    providers.iter().map(reeve_xds::Provider::cluster).collect()
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
        assert_eq!(keys(&api).await, of(&[VALUE]));
        let heavy = add_key(&api, r#"{"name": "heavy", "value": "sk-heavy", "weight": 1.5}"#).await;
        assert_eq!(keys(&api).await, of(&["sk-heavy"]));
        assert_eq!(light["name"], "key-2");

        api.put(&key_path(&heavy), r#"{"is_active": false}"#).await.ok(200);
        assert_eq!(keys(&api).await, of(&[VALUE]));
        api.put(&key_path(&light), r#"{"weight": 3, "value": "sk-light-rotated"}"#).await.ok(200);
        assert_eq!(keys(&api).await, of(&["sk-light-rotated"]));
        api.delete(&key_path(&light)).await.ok(200);
        assert_eq!(keys(&api).await, of(&[VALUE]));

        let listed = api.get("/api/providers/openai/keys").await;
        assert_eq!(listed.ok(200)["count"], 2);
        api.get(&key_path(&light)).await.problem(404);
        api.delete(&key_path(&light)).await.problem(404);
        api.put(&key_path(&light), "{}").await.problem(404);
    }

    async fn without_an_active_key_envoy_gets_no_cluster(db: Db) {
        let api = Api::new(db).await;
        api.post(PROVIDERS, r#"{"name": "openai"}"#).await.ok(201);
        assert!(names(&api).await.is_empty());
        let status = api.get("/api/providers/openai").await.ok(200)["provider"]["status"].clone();
        assert_eq!(status, "no_active_key");
        let key = add_key(&api, r#"{"value": "sk-new"}"#).await;
        assert_eq!(names(&api).await, of_key(&key));
        api.put(&key_path(&key), r#"{"is_active": false}"#).await.ok(200);
        assert!(names(&api).await.is_empty());

        let body = r#"{"custom_provider_config": {"is_key_less": true}}"#;
        let provider = api.put("/api/providers/openai", body).await;
        assert_eq!(provider.ok(200)["provider"]["status"], "ready");
        assert_eq!(names(&api).await, ["provider_openai"]);
        assert!(keys(&api).await.is_empty() && bound_keys(&api).await.is_empty());
    }

    async fn each_active_key_has_a_cluster_before_anybody_is_bound_to_it(db: Db) {
        let api = Api::new(db).await;
        let made = api.post(PROVIDERS, OPENAI).await.ok(201)["provider"]["keys"][0].clone();
        assert_eq!(names(&api).await, of_key(&made));
        let light = add_key(&api, r#"{"value": "sk-light", "weight": 0.5}"#).await;
        let [usual, of_made] = of_key(&made);
        let [_, of_light] = of_key(&light);
        let mut all = [usual.clone(), of_made.clone(), of_light];
        all.sort();
        assert_eq!(names(&api).await, all);
        assert_eq!(keys(&api).await, of(&[VALUE]));
        let bound = bound_keys(&api).await;
        assert!(bound == of(&[VALUE, "sk-light"]) || bound == of(&["sk-light", VALUE]));
        api.put(&key_path(&light), r#"{"is_active": false}"#).await.ok(200);
        assert_eq!(names(&api).await, [usual, of_made]);
        assert_eq!(bound_keys(&api).await, of(&[VALUE]));
    }
}
