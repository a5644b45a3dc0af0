//! Explanations through the router, on both databases.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::db::Db;
use crate::db::testing::on_every_database;
use crate::ledger::testing::post;
use crate::policy_sync::publisher;
use crate::testing::{Answer, Api, START_MS, configure_providers, until};
use crate::usage::tests::{boot, charge, record};

/// A control plane that publishes, with a key of a team.
struct Plane {
    api: Api,
    key_id: String,
    value: String,
    team_budget: String,
}

impl Plane {
    async fn start(db: &Db) -> Self {
        let api = Api::new(db.clone()).await;
        configure_providers(&api.app, &["openai", "anthropic"]).await;
        tokio::spawn(publisher::run(Arc::clone(&api.app)));
        let body = r#"{"name": "t", "budget": {"max_limit": 1, "reset_duration": "1d"}}"#;
        let team = api.post("/api/governance/teams", body).await;
        let team = &team.ok(201)["team"];
        let body = json!({
            "name": "k", "team_id": team["id"],
            "provider_configs": [{"provider": "openai", "allowed_models": ["gpt-4o"]}],
            "rate_limit": {"request_max_limit": 2, "request_reset_duration": "1h"},
        });
        let key = api
            .post("/api/governance/virtual-keys", &body.to_string())
            .await;
        let key = key.ok(201)["virtual_key"].clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let plane = Self {
            key_id: text(&key["id"]),
            value: text(&key["value"]),
            team_budget: text(&team["budgets"][0]["id"]),
            api,
        };
        let hub = &plane.api.app.policy_sync;
        let is_published = async || hub.look(|view| view.key_of(&plane.key_id)).is_some();
        until("the key is published", is_published).await;
        plane
    }

    async fn explain(&self, fields: Value) -> Answer {
        let mut body = json!({
            "path": "/v1/chat/completions", "virtual_key_id": self.key_id,
            "body": {"model": "gpt-4o", "max_tokens": 1_000, "messages": []},
        });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.api
            .post("/api/governance/explain", &body.to_string())
            .await
    }

    async fn told(&self, fields: Value) -> Value {
        let answer = self.explain(fields).await;
        assert!(!answer.text.contains("sk-bf-"), "{}", answer.text);
        answer.ok(200).clone()
    }

    async fn spend(&self, sequence: u64, amount: i64) {
        let mut used = record(sequence);
        used.charges = vec![charge(&self.team_budget, START_MS, amount)];
        post(&self.api.app.db, &boot("envoy", "b1"), vec![used]).await;
    }
}

/// The step that failed, and that all before it passed and none after it was reached.
fn failed(told: &Value) -> &str {
    let steps = told["steps"].as_array().unwrap();
    let at = steps
        .iter()
        .position(|step| step["result"] == "failed")
        .unwrap();
    for (index, step) in steps.iter().enumerate() {
        let expected = match index.cmp(&at) {
            std::cmp::Ordering::Less => "passed",
            std::cmp::Ordering::Equal => "failed",
            std::cmp::Ordering::Greater => "not_reached",
        };
        assert_eq!(step["result"], expected, "{told}");
    }
    assert_eq!(steps[at]["reason"], told["denial"]["message"]);
    steps[at]["step"].as_str().unwrap()
}

on_every_database! {
    async fn a_request_that_passes_is_shown_with_its_plan_and_every_limit(db: Db) {
        let plane = Plane::start(&db).await;
        let told = plane.told(json!({})).await;
        assert_eq!((&told["decision"], &told["denial"]), (&json!("forward"), &json!(null)));
        assert!(told["steps"].as_array().unwrap().iter().all(|step| step["result"] == "passed"));
        assert_eq!(told["virtual_key"]["id"], plane.key_id.as_str());
        assert_eq!(told["plan"]["provider"], "openai");
        assert_eq!(told["plan"]["model"], "gpt-4o");
        assert_eq!(told["plan"]["upstream_path"], "/chat/completions");
        let [budget, requests] = &told["limits"].as_array().unwrap()[..] else { panic!("{told}") };
        assert_eq!((&budget["level"], &budget["id"]), (&json!("team"), &json!(plane.team_budget)));
        assert_eq!(budget["reserves"], told["plan"]["most_cost"]);
        assert_eq!((&budget["room"], &budget["usage"]["remaining"]), (&json!("yes"), &json!(1)));
        assert_eq!((&requests["level"], &requests["reserves"]), (&json!("virtual_key"), &json!(1)));
        // The key itself says the same, and nothing was reserved by asking.
        let by_value = plane.told(json!({"virtual_key_id": null, "headers": {"X-BF-VK": plane.value}})).await;
        assert_eq!(by_value, told);
    }

    async fn each_refusal_names_its_step_and_what_the_caller_would_get(db: Db) {
        let plane = Plane::start(&db).await;
        for (fields, step, status, kind) in [
            (json!({"path": "/v1/nothing"}), "path", 404, "not_found"),
            (json!({"method": "GET"}), "path", 405, "method_not_allowed"),
            (json!({"virtual_key_id": null}), "credential", 401, "virtual_key_required"),
            (json!({"headers": {"content-type": "text/plain"}}), "framing", 415, "unsupported_media_type"),
            (json!({"body": "{\"model\": \"a\", \"model\": \"b\"}"}), "body", 400, "invalid_request"),
            (json!({"body": {"model": "gpt-4o-mini"}}), "access", 403, "model_blocked"),
            (json!({"body": {"model": "anthropic/claude-3"}}), "access", 403, "provider_blocked"),
            (json!({"body": {"model": "gpt-4o", "max_tokens": 16_000, "n": 100}}), "limits", 402, "budget_exceeded"),
        ] {
            let told = plane.told(fields.clone()).await;
            assert_eq!(told["decision"], "deny", "{fields}");
            assert_eq!(failed(&told), step, "{fields}");
            let denial = &told["denial"];
            assert_eq!((&denial["status"], &denial["type"]), (&json!(status), &json!(kind)), "{fields}");
            assert_eq!(denial["body"]["type"], kind, "{fields}");
        }
        let anthropics = plane.told(json!({"path": "/anthropic/v1/messages", "virtual_key_id": null})).await;
        assert_eq!(anthropics["denial"]["body"]["error"]["type"], "authentication_error");
        let key = format!("/api/governance/virtual-keys/{}", plane.key_id);
        plane.api.put(&key, r#"{"is_active": false}"#).await.ok(200);
        let is_blocked =
            async || plane.told(json!({})).await["denial"]["type"] == "virtual_key_blocked";
        until("the key is blocked", is_blocked).await;
    }

    async fn a_refusal_says_of_everyone_why_they_are_not_asked(db: Db) {
        let plane = Plane::start(&db).await;
        let ask = |fallback: &str| json!({"body": {
            "model": "openai/gpt-4o-mini", "max_tokens": 1_000, "messages": [], "fallbacks": [fallback],
        }});
        let left_out = |told: &Value| -> Vec<(String, String)> {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let all = told["left_out"].as_array().unwrap().iter();
            all.map(|it| (text(&it["provider"]), text(&it["type"]))).collect()
        };
        let pair = |provider: &str, kind: &str| (provider.to_owned(), kind.to_owned());
        let told = plane.told(ask("anthropic/claude-3")).await;
        assert_eq!(failed(&told), "access");
        let expected = [pair("openai", "model_blocked"), pair("anthropic", "provider_blocked")];
        assert_eq!(left_out(&told), expected);
        assert_eq!(plane.told(ask("openai/gpt-4o")).await["decision"], "forward");
        // When the fallback has no room either, the caller is told about the first choice.
        plane.spend(1, 995_000_000).await;
        let told = plane.told(ask("openai/gpt-4o")).await;
        assert_eq!((failed(&told), &told["denial"]["type"]), ("access", &json!("model_blocked")));
        let expected = [pair("openai", "model_blocked"), pair("openai", "budget_exceeded")];
        assert_eq!(left_out(&told), expected);
    }

    async fn what_is_spent_decides(db: Db) {
        let plane = Plane::start(&db).await;
        plane.spend(1, 995_000_000).await;
        let told = plane.told(json!({})).await;
        assert_eq!((failed(&told), &told["limits"][0]["room"]), ("limits", &json!("no")));
        assert_eq!(told["denial"]["status"], 402);
        assert_eq!(told["denial"]["body"]["limit_id"], plane.team_budget.as_str());
        assert_eq!(told["denial"]["body"]["used"], 995_000_000);
        assert_eq!(told["limits"][1]["room"], "yes", "every limit is told");
        // It is the request's size that counts.
        let small = plane.told(json!({"body": {"model": "gpt-4o", "max_tokens": 1}})).await;
        assert_eq!(small["decision"], "forward");
    }

    async fn what_an_envoy_holds_and_may_return_is_told_apart(db: Db) {
        let plane = Plane::start(&db).await;
        let session = plane.api.app.ledger.join(boot("envoy", "b1")).await.unwrap().session;
        let key = crate::ledger::Key { limit_id: plane.team_budget.clone(), window_start_ms: START_MS };
        let ask = reeve_policy::lease::Ask { session, lent: 999_000_000, returned: 0, want: 0, waits: false };
        plane.api.app.ledger.ask(vec![(key, ask)]).await.unwrap();
        let told = plane.told(json!({})).await;
        assert_eq!(told["limits"][0]["usage"]["reserved"], 0.999);
        assert_eq!((&told["decision"], &told["limits"][0]["room"]), (&json!("depends"), &json!("if_returned")));
        // Of one that has gone nothing comes back by itself.
        plane.api.advance(Duration::from_secs(31));
        let told = plane.told(json!({})).await;
        assert_eq!((&told["decision"], &told["denial"]["status"]), (&json!("deny"), &json!(402)));
    }

    async fn how_many_are_under_way_is_told_like_every_limit(db: Db) {
        let plane = Plane::start(&db).await;
        let id = plane.told(json!({})).await["virtual_key"]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/governance/virtual-keys/{id}");
        plane.api.put(&path, r#"{"max_in_flight": 3}"#).await.ok(200);
        let mut slots = json!(null);
        let is_told = async || {
            let told = plane.told(json!({})).await;
            let mut limits = told["limits"].as_array().unwrap().iter();
            let found = limits.find(|limit| limit["unit"] == "requests_in_flight");
            slots = found.cloned().unwrap_or_default();
            found.is_some()
        };
        until("the number is in force", is_told).await;
        assert_eq!((&slots["level"], &slots["owner_id"]), (&json!("virtual_key"), &json!(id)));
        assert_eq!((&slots["reserves"], &slots["usage"]["limit"]), (&json!(1), &json!(3)));
        assert_eq!((&slots["room"], &slots["reset_duration"]), (&json!("yes"), &json!("never")));
    }

    async fn a_list_of_models_is_answered_by_the_filter(db: Db) {
        let plane = Plane::start(&db).await;
        let told = plane.told(json!({"method": "GET", "path": "/v1/models", "body": null})).await;
        assert_eq!((&told["decision"], &told["plan"]), (&json!("answer"), &json!(null)));
    }

    async fn a_question_that_makes_no_sense_names_the_field(db: Db) {
        let plane = Plane::start(&db).await;
        for (fields, field) in [
            (json!({"virtual_key_id": "none"}), "virtual_key_id"),
            (json!({"headers": {"x-bf-vk": plane.value}}), "virtual_key_id"),
            (json!({"headers": {"x-team": 3}}), "headers.x-team"),
            (json!({"verb": "GET"}), "verb"),
            (json!({"path": null}), "path"),
        ] {
            let answer = plane.explain(fields.clone()).await;
            assert_eq!(answer.problem(400), field, "{fields}");
        }
    }

    async fn without_a_policy_nothing_is_decided(db: Db) {
        let api = Api::new(db).await;
        let answer = api.post("/api/governance/explain", r#"{"path": "/v1/chat/completions"}"#).await;
        let told = answer.ok(200);
        assert_eq!((failed(told), &told["denial"]["status"]), ("policy", &json!(503)));
    }
}
