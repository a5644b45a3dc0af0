//! The table through the router. That each line is true is shown end to end.

use serde_json::{Value, json};

use crate::db::testing::on_every_database;
use crate::testing::Api;

on_every_database! {
    async fn the_coverage_table_says_how_each_path_is_governed(db: Db) {
        let api = Api::new(db).await;
        let answer = api.get("/api/governance/coverage").await;
        let table = answer.ok(200)["coverage"].as_array().unwrap().clone();
        let line = |method: &str, path: &str| -> Value {
            let found = table.iter().find(|line| line["method"] == method && line["path"] == path);
            found.unwrap_or_else(|| panic!("{method} {path} is not in the table")).clone()
        };
        assert_eq!(
            line("POST", "/genai/v1beta/models/{model}:streamGenerateContent"),
            json!({"method": "POST", "path": "/genai/v1beta/models/{model}:streamGenerateContent",
                   "dialect": "gemini", "provider": "gemini", "api": "stream_generate_content",
                   "formats": ["gemini"],
                   "model": "path", "authenticated": true, "model_filtered": true,
                   "metered": true, "streamed": true, "refused": null})
        );
        let all_but_bedrock = json!(["openai", "anthropic", "gemini", "cohere"]);
        assert_eq!(line("POST", "/v1/chat/completions")["formats"], all_but_bedrock);
        assert_eq!(line("POST", "/v1/responses")["formats"], json!(["openai"]));
        assert_eq!(line("GET", "/v1/models")["formats"], json!([]));
        assert_eq!(line("POST", "/v1/audio/transcriptions")["model"], "multipart");
        assert_eq!(line("POST", "/v1/moderations")["metered"], false);
        assert_eq!(line("GET", "/v1/models")["metered"], false);
        let files = line("*", "/v1/files/…");
        assert_eq!(files["api"], Value::Null);
        assert!(files["refused"].as_str().unwrap().starts_with("files are not served"));
    }
}
