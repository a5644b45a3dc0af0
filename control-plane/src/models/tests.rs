//! Models through the router.

use serde_json::Value;

use super::builtin::Catalogue;
use super::{effective, effective_for};
use crate::db::testing::on_every_database;
use crate::policy_changes::{self, Kind};
use crate::providers;
use crate::providers::presets::PRESETS;
use crate::testing::{Api, configure_providers};

const MODELS: &str = "/api/models";
const OWN: &str = r#"{"provider": "openai", "model": "team/tuned:v1",
    "input_cost_per_million_tokens": 1.25, "output_cost_per_million_tokens": 10,
    "max_output_tokens": 4096}"#;

async fn gpt_4o(api: &Api) -> Value {
    api.get("/api/models/openai/gpt-4o").await.ok(200)["model"].clone()
}

on_every_database! {
    async fn a_built_in_model_has_its_price_exactly(db: Db) {
        let api = Api::new(db).await;
        let model = gpt_4o(&api).await;
        assert_eq!(model["source"], "builtin");
        assert_eq!(model["input_cost_per_million_tokens"].to_string(), "2.5");
        assert_eq!(model["output_cost_per_million_tokens"].to_string(), "10");
        assert_eq!(model["cache_read_cost_per_million_tokens"].to_string(), "1.25");
    }

    async fn an_own_model_is_made_changed_and_deleted(db: Db) {
        let api = Api::new(db).await;
        let answer = api.post(MODELS, OWN).await;
        let path = "/api/models/openai/team/tuned:v1";
        assert_eq!(answer.headers["location"], path);
        let model = answer.ok(201)["model"].clone();
        assert_eq!(model["source"], "custom");
        assert_eq!(model["max_output_tokens"], 4096);
        assert_eq!(api.get(path).await.ok(200)["model"], model);
        assert_eq!(api.post(MODELS, OWN).await.problem(409), "model");

        let change = r#"{"input_cost_per_million_tokens": 1.0025e-3, "max_output_tokens": null}"#;
        let changed = api.put(path, change).await;
        let changed = changed.ok(200)["model"].clone();
        assert_eq!(changed["input_cost_per_million_tokens"].to_string(), "0.0010025");
        assert_eq!(changed["output_cost_per_million_tokens"].to_string(), "10");
        assert_eq!(changed["max_output_tokens"], Value::Null);

        let deleted = api.delete(path).await;
        assert_eq!(deleted.ok(200)["model"], Value::Null);
        api.get(path).await.problem(404);
        api.put(path, "{}").await.problem(404);
        api.delete(path).await.problem(404);
        let mut tx = api.app.db.begin_read().await.unwrap();
        let changes = policy_changes::since(&mut tx, 0).await.unwrap();
        assert_eq!(changes.len(), 3);
        let named = |c: &policy_changes::Change| (c.kind, c.entity_id.clone());
        let expected = (Kind::Model, "openai/team/tuned:v1".to_owned());
        assert!(changes.iter().all(|change| named(change) == expected));
    }

    async fn an_own_price_stands_above_the_catalogue_until_it_is_deleted(db: Db) {
        let api = Api::new(db).await;
        let before = gpt_4o(&api).await;
        let path = "/api/models/openai/gpt-4o";
        let change = r#"{"output_cost_per_million_tokens": 8}"#;
        let changed = api.put(path, change).await;
        let changed = changed.ok(200)["model"].clone();
        assert_eq!(changed["source"], "custom");
        assert_eq!(changed["input_cost_per_million_tokens"], before["input_cost_per_million_tokens"]);
        assert_eq!(changed["output_cost_per_million_tokens"].to_string(), "8");
        assert_eq!(gpt_4o(&api).await, changed);

        let deleted = api.delete(path).await;
        assert_eq!(deleted.ok(200)["model"], before);
        assert_eq!(gpt_4o(&api).await, before);
        let refused = api.delete(path).await;
        refused.problem(409);
        assert!(refused.text.contains("blacklisted_models"), "{}", refused.text);
    }

    async fn a_malformed_model_is_refused_by_field(db: Db) {
        let api = Api::new(db).await;
        let base = |rest: &str| format!(r#"{{"provider": "openai", "model": "m", {rest}}}"#);
        let priced = |rest: &str| {
            base(&format!(
                r#""input_cost_per_million_tokens": 1, "output_cost_per_million_tokens": 1, {rest}"#
            ))
        };
        for (body, field) in [
            ("{}".to_owned(), "provider"),
            (r#"{"provider": "openai"}"#.to_owned(), "model"),
            (r#"{"provider": "nobody", "model": "m"}"#.to_owned(), "provider"),
            (r#"{"provider": "openai", "model": ""}"#.to_owned(), "model"),
            (r#"{"provider": "openai", "model": "a b"}"#.to_owned(), "model"),
            (r#"{"provider": "openai", "model": "a//b"}"#.to_owned(), "model"),
            (r#"{"provider": "openai", "model": "../b"}"#.to_owned(), "model"),
            (base(r#""output_cost_per_million_tokens": 1"#), "input_cost_per_million_tokens"),
            (base(r#""input_cost_per_million_tokens": 1"#), "output_cost_per_million_tokens"),
            (base(r#""input_cost_per_million_tokens": -1"#), "input_cost_per_million_tokens"),
            (base(r#""input_cost_per_million_tokens": "1""#), "input_cost_per_million_tokens"),
            (base(r#""input_cost_per_million_tokens": 1e-10"#), "input_cost_per_million_tokens"),
            (base(r#""input_cost_per_million_tokens": 1e7"#), "input_cost_per_million_tokens"),
            (priced(r#""max_output_tokens": 0"#), "max_output_tokens"),
            (priced(r#""max_input_tokens": 1.5"#), "max_input_tokens"),
            (priced(r#""price": 1"#), "price"),
        ] {
            assert_eq!(api.post(MODELS, &body).await.problem(400), field, "{body}");
        }
        let rename = api.put("/api/models/openai/gpt-4o", r#"{"model": "gpt-5"}"#).await;
        assert_eq!(rename.problem(400), "model");
        let mut tx = api.app.db.begin_read().await.unwrap();
        assert_eq!(policy_changes::latest(&mut tx).await.unwrap(), 0);
    }

    async fn the_list_is_filtered_searched_and_paged(db: Db) {
        let api = Api::new(db).await;
        let all = api.get(MODELS).await.ok(200).clone();
        let total = all["total_count"].as_u64().unwrap();
        assert!(total > 1_000, "{total}");
        assert_eq!(all["count"], 50);
        api.post(MODELS, OWN).await.ok(201);
        assert_eq!(api.get(MODELS).await.ok(200)["total_count"], total + 1);

        let found = api.get("/api/models?provider=openai&search=TUNED").await.ok(200).clone();
        assert_eq!(found["total_count"], 1);
        assert_eq!(found["models"][0]["model"], "team/tuned:v1");
        let first = api.get("/api/models?provider=openai&limit=2").await.ok(200).clone();
        let second = api.get("/api/models?provider=openai&limit=1&offset=1").await.ok(200).clone();
        assert_eq!(first["models"][1], second["models"][0]);
        assert_eq!(api.get("/api/models?provider=nobody").await.ok(200)["total_count"], 0);
        assert_eq!(api.get("/api/models?mode=chat").await.problem(400), "mode");
    }

    async fn a_provider_has_the_models_of_its_name_or_of_its_kind(db: Db) {
        let api = Api::new(db).await;
        api.post("/api/providers", r#"{"name": "anthropic"}"#).await.ok(201);
        let proxy = r#"{"name": "proxy", "network_config": {"base_url": "https://proxy.example"},
            "custom_provider_config": {"base_provider_type": "openai"}}"#;
        api.post("/api/providers", proxy).await.ok(201);
        let own = r#"{"provider": "proxy", "model": "gpt-4o",
            "input_cost_per_million_tokens": 1, "output_cost_per_million_tokens": 0}"#;
        api.post(MODELS, own).await.ok(201);

        let mut tx = api.app.db.begin_read().await.unwrap();
        let anthropic = providers::store::find(&mut tx, "anthropic").await.unwrap().unwrap();
        let models = effective_for(&mut tx, &anthropic).await.unwrap();
        assert!(models.iter().any(|model| model.model.starts_with("claude-")));
        assert!(models.iter().all(|model| model.provider == "anthropic"));

        let proxy = providers::store::find(&mut tx, "proxy").await.unwrap().unwrap();
        let models = effective_for(&mut tx, &proxy).await.unwrap();
        assert!(models.is_sorted_by_key(|model| &model.model));
        let find = |name: &str| models.iter().find(|model| model.model == name).unwrap();
        assert_eq!(find("gpt-4o").prices.input, Some(1_000_000_000));
        assert_eq!(find("gpt-4o-mini").prices.input, Some(150_000_000));
        assert_ne!(find("gpt-4o").price_version, find("gpt-4o-mini").price_version);
        for model in &models {
            let one = effective(&mut tx, &proxy, &model.model).await.unwrap();
            assert_eq!(one.as_ref(), Some(model));
        }
        assert_eq!(effective(&mut tx, &proxy, "claude-3-haiku-20240307").await.unwrap(), None);

        let azure = providers::Provider {
            name: "azure-in-sweden".into(),
            base_provider_type: providers::BaseProviderType::Azure,
            ..proxy
        };
        let deployed = "global-standard/gpt-4o-2024-08-06";
        assert!(effective(&mut tx, &azure, deployed).await.unwrap().is_some());
        drop(tx);
        let shown = api.get("/api/models/proxy/gpt-4o-mini").await;
        assert_eq!(shown.ok(200)["model"]["provider"], "proxy");
    }

    async fn an_own_entry_has_four_prices_and_the_rest_costs_what_the_wider_kind_does(db: Db) {
        let api = Api::new(db).await;
        let path = "/api/models/anthropic/claude-sonnet-4-5";
        let hour = "cache_write_1h_cost_per_million_tokens";
        let before = api.get(path).await.ok(200)["model"].clone();
        assert_eq!(before[hour].to_string(), "6");
        let changed = api.put(path, r#"{"output_cost_per_million_tokens": 9}"#).await;
        let changed = &changed.ok(200)["model"];
        let write = "cache_write_cost_per_million_tokens";
        assert_eq!(changed[write], before[write]);
        assert_eq!(changed[hour], Value::Null);
        assert_eq!(api.put(path, &format!(r#"{{"{hour}": 1}}"#)).await.problem(400), hour);
    }

    async fn a_model_that_is_not_charged_by_tokens_is_shown_without_a_price(db: Db) {
        let api = Api::new(db).await;
        for path in ["azure_ai/cohere-rerank-v3-english", "openai/whisper-1"] {
            let model = api.get(&format!("/api/models/{path}")).await.ok(200)["model"].clone();
            assert_eq!(model["input_cost_per_million_tokens"], Value::Null, "{path}");
            assert_eq!(model["output_cost_per_million_tokens"], Value::Null, "{path}");
        }
    }

    async fn a_known_provider_has_the_models_that_the_catalogue_has_for_its_name(db: Db) {
        let api = Api::new(db).await;
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        configure_providers(&api.app, &names).await;
        let catalogue = Catalogue::builtin().unwrap();
        let mut tx = api.app.db.begin_read().await.unwrap();
        let mut unknown = Vec::new();
        for name in names {
            let provider = providers::store::find(&mut tx, name).await.unwrap().unwrap();
            let models = effective_for(&mut tx, &provider).await.unwrap();
            let models = models.iter().map(|model| model.model.as_str());
            let listed = catalogue.provider_models(name).map(|entry| entry.model);
            assert!(models.eq(listed), "{name}");
            if catalogue.provider_models(name).next().is_none() {
                unknown.push(name);
            }
        }
        assert_eq!(unknown, ["openrouter", "huggingface", "parasail", "vllm", "sglang"]);
    }

    async fn an_embedding_needs_no_output_price(db: Db) {
        let api = Api::new(db).await;
        let model = api.get("/api/models/openai/text-embedding-3-small").await;
        assert_eq!(model.ok(200)["model"]["output_cost_per_million_tokens"].to_string(), "0");
    }
}

/// With `--dev` all of them are configured, and a model that is named without its provider goes to
/// the first that lists it.
#[test]
fn no_other_provider_of_the_first_start_lists_a_model_of_openai_or_anthropic() {
    let catalogue = Catalogue::builtin().unwrap();
    for vendor in ["openai", "anthropic"] {
        for entry in catalogue.provider_models(vendor) {
            for other in ["gemini", "bedrock", "cohere"] {
                assert_eq!(catalogue.get(other, entry.model), None);
            }
        }
    }
}
