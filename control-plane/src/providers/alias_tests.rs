//! Aliases, through the router.

use serde_json::{Value, json};

use super::tests::PROVIDERS;
use crate::db::testing::on_every_database;
use crate::testing::Api;

on_every_database! {
    async fn aliases_are_kept_until_they_are_replaced(db: Db) {
        let api = Api::new(db).await;
        let made = r#"{"name": "openai", "aliases": {"fast": "gpt-4o-mini", "team/smart": "gpt-4o"}}"#;
        let aliases = json!({"fast": "gpt-4o-mini", "team/smart": "gpt-4o"});
        assert_eq!(api.post(PROVIDERS, made).await.ok(201)["provider"]["aliases"], aliases);
        let path = "/api/providers/openai";
        assert_eq!(api.put(path, "{}").await.ok(200)["provider"]["aliases"], aliases);
        for (change, after) in [
            (r#"{"aliases": {"fast": "gpt-4o"}}"#, json!({"fast": "gpt-4o"})),
            (r#"{"aliases": null}"#, json!({})),
        ] {
            api.put(path, change).await.ok(200);
            assert_eq!(api.get(path).await.ok(200)["provider"]["aliases"], after);
        }
        let many: serde_json::Map<String, Value> =
            (0..201).map(|n| (format!("a{n}"), json!("gpt-4o"))).collect();
        let many = json!({"aliases": many}).to_string();
        assert_eq!(api.put(path, &many).await.problem(400), "aliases");
    }
}
