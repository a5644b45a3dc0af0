//! What administrators add to limits, through the front door, on both databases.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request};
use serde_json::{Value, json};

use crate::db::testing::on_every_database;
use crate::testing::{Answer, Api, START_MS, configure_providers, request};

/// A limit of a team, and how to change it.
struct Team {
    api: Api,
    budget: String,
    requests: String,
}

impl Team {
    async fn new(db: crate::db::Db) -> Self {
        let api = Api::new(db).await;
        let body = r#"{"name": "t", "budget": {"max_limit": 16, "reset_duration": "1m"},
                       "rate_limit": {"request_max_limit": 5, "request_reset_duration": "1h"}}"#;
        let team = api.post("/api/governance/teams", body).await;
        let team = &team.ok(201)["team"];
        let id = |limit: &Value| limit["id"].as_str().unwrap().to_owned();
        Self {
            budget: id(&team["budgets"][0]),
            requests: id(&team["rate_limits"][0]),
            api,
        }
    }

    async fn shown(&self) -> Value {
        let teams = self.api.get("/api/governance/teams").await;
        teams.ok(200)["teams"][0].clone()
    }

    /// Every movement that an administrator made: kind, amount, what else.
    async fn movements(&self) -> Vec<(String, i64, Option<String>)> {
        let mut tx = self.api.app.db.begin_read().await.unwrap();
        tx.query("SELECT kind, amount, reason FROM transfers WHERE actor = 'admin' ORDER BY id")
            .fetch_all()
            .await
            .unwrap()
    }
}

fn overridden(limit: &Value) -> [Value; 5] {
    [
        limit["usage"]["limit"].clone(),
        limit["override_amount"].clone(),
        limit["override_mode"].clone(),
        limit["override_cycles_total"].clone(),
        limit["override_cycles_remaining"].clone(),
    ]
}

fn keyed(method: Method, path: &str, body: &str, key: &str) -> Request<Body> {
    let mut request = request(method, path, Some(body));
    let key = HeaderValue::from_str(key).unwrap();
    request.headers_mut().insert("idempotency-key", key);
    request
}

on_every_database! {
    async fn an_override_for_some_windows_lapses_at_the_end_of_the_last(db: Db) {
        let team = Team::new(db).await;
        let path = format!("/api/governance/limits/{}/override", team.budget);
        team.api.advance(Duration::from_secs(20));
        let body = r#"{"amount": 2.5, "mode": "cycles", "cycles": 2}"#;
        let set = team.api.put(&path, body).await;
        assert_eq!(set.ok(200)["effective_max_limit"], 18.5);
        assert_eq!(set.json["override_cycles_remaining"], 2);
        let first = [json!(18.5), json!(2.5), json!("cycles"), json!(2), json!(2)];
        assert_eq!(overridden(&team.shown().await["budgets"][0]), first);
        assert_eq!(team.shown().await["budgets"][0]["max_limit"], 16);
        team.api.advance(Duration::from_mins(1));
        let second = [json!(18.5), json!(2.5), json!("cycles"), json!(2), json!(1)];
        assert_eq!(overridden(&team.shown().await["budgets"][0]), second);
        team.api.advance(Duration::from_millis(39_999));
        assert_eq!(overridden(&team.shown().await["budgets"][0]), second, "the last millisecond");
        team.api.advance(Duration::from_millis(1));
        let none = [json!(16), Value::Null, Value::Null, Value::Null, Value::Null];
        assert_eq!(overridden(&team.shown().await["budgets"][0]), none);
        assert_eq!(team.api.delete(&path).await.problem(404), "", "there is none any more");
        let moved = ("override".to_owned(), 2_500_000_000, Some("cycles 2".to_owned()));
        assert_eq!(team.movements().await, [moved]);
    }

    async fn an_override_for_ever_holds_until_it_is_removed_and_no_edit_forgets_it(db: Db) {
        let team = Team::new(db).await;
        let path = format!("/api/governance/limits/{}/override", team.requests);
        let set = team.api.put(&path, r#"{"amount": 3, "mode": "forever"}"#).await;
        assert_eq!(set.ok(200)["effective_max_limit"], 8);
        let body = r#"{"rate_limit": {"request_max_limit": 6, "request_reset_duration": "1h"}}"#;
        let id = team.shown().await["id"].as_str().unwrap().to_owned();
        team.api.put(&format!("/api/governance/teams/{id}"), body).await.ok(200);
        team.api.advance(Duration::from_hours(1_000));
        let raised = [json!(9), json!(3), json!("forever"), Value::Null, Value::Null];
        assert_eq!(overridden(&team.shown().await["rate_limits"][0]), raised);
        let removed = team.api.delete(&path).await;
        assert_eq!(removed.ok(200)["effective_max_limit"], 6);
        assert_eq!(removed.json["override_amount"], Value::Null);
        let movements = team.movements().await;
        let kinds: Vec<_> = movements.iter().map(|(kind, amount, _)| (kind.as_str(), *amount)).collect();
        assert_eq!(kinds, [("override", 3), ("override_removed", 3)]);
    }

    async fn an_override_that_makes_no_sense_is_refused_by_its_field(db: Db) {
        let team = Team::new(db).await;
        let path = format!("/api/governance/limits/{}/override", team.requests);
        for (body, field) in [
            (r#"{"amount": 0, "mode": "forever"}"#, "amount"),
            (r#"{"amount": 1.5, "mode": "forever"}"#, "amount"),
            (r#"{"amount": 1, "mode": "cycles"}"#, "cycles"),
            (r#"{"amount": 1, "mode": "cycles", "cycles": 0}"#, "cycles"),
            (r#"{"amount": 1, "mode": "cycles", "cycles": 1001}"#, "cycles"),
            (r#"{"amount": 1, "mode": "forever", "cycles": 1}"#, "cycles"),
            (r#"{"amount": 1, "mode": "always"}"#, "mode"),
        ] {
            assert_eq!(team.api.put(&path, body).await.problem(400), field, "{body}");
        }
        assert_eq!(team.movements().await, []);
        let nowhere = "/api/governance/limits/none/override";
        team.api.put(nowhere, r#"{"amount": 1, "mode": "forever"}"#).await.problem(404);
        let body = r#"{"name": "u", "budget": {"max_limit": 1, "reset_duration": "never"}}"#;
        let other = team.api.post("/api/governance/teams", body).await;
        let id = other.ok(201)["team"]["budgets"][0]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/governance/limits/{id}/override");
        let body = r#"{"amount": 1, "mode": "cycles", "cycles": 1}"#;
        assert_eq!(team.api.put(&path, body).await.problem(400), "mode");
        team.api.put(&path, r#"{"amount": 1, "mode": "forever"}"#).await.ok(200);
    }

    async fn a_virtual_keys_budget_is_overridden_under_the_key_and_no_other(db: Db) {
        let api = Api::new(db).await;
        configure_providers(&api.app, &["openai"]).await;
        let budget = r#""budget": {"max_limit": 1, "reset_duration": "1d"}"#;
        let config = format!(r#"{{"provider": "openai", "allowed_models": ["*"], {budget}}}"#);
        let body = format!(r#"{{"name": "k", {budget}, "provider_configs": [{config}]}}"#);
        let made = api.post("/api/governance/virtual-keys", &body).await;
        let key = &made.ok(201)["virtual_key"];
        let of_key = key["budgets"][0]["id"].as_str().unwrap();
        let of_config = key["provider_configs"][0]["budgets"][0]["id"].as_str().unwrap();
        let id = key["id"].as_str().unwrap();
        let change = r#"{"amount": 4, "mode": "cycles", "cycles": 1}"#;
        for budget in [of_key, of_config] {
            let path = format!("/api/governance/virtual-keys/{id}/budgets/{budget}/override");
            let set = api.put(&path, change).await;
            assert_eq!(set.ok(200)["effective_max_limit"], 5);
            assert_eq!(set.json["budget"]["id"], budget);
            assert_eq!(set.json["budget"]["usage"]["limit"], 5);
            assert_eq!(api.delete(&path).await.ok(200)["effective_max_limit"], 1);
        }
        let other = api.post("/api/governance/virtual-keys", r#"{"name": "l"}"#).await;
        let other = other.ok(201)["virtual_key"]["id"].as_str().unwrap().to_owned();
        for path in [
            format!("/api/governance/virtual-keys/{other}/budgets/{of_key}/override"),
            format!("/api/governance/virtual-keys/{id}/budgets/none/override"),
        ] {
            assert_eq!(api.put(&path, change).await.problem(404), "");
            assert_eq!(api.delete(&path).await.problem(404), "");
        }
    }

    async fn limits_of_models_are_overridden_too(db: Db) {
        let api = Api::new(db).await;
        let key = api.post("/api/governance/virtual-keys", r#"{"name": "k"}"#).await;
        let key = key.ok(201)["virtual_key"]["id"].as_str().unwrap().to_owned();
        for scope in [r#""scope": "global""#.to_owned(), format!(r#""scope": "virtual_key", "scope_id": "{key}""#)] {
            let body = format!(r#"{{"model_name": "gpt-4o", {scope},
                                   "budget": {{"max_limit": 1, "reset_duration": "1d"}}}}"#);
            let made = api.post("/api/governance/model-configs", &body).await;
            let id = made.ok(201)["model_config"]["budgets"][0]["id"].as_str().unwrap().to_owned();
            let path = format!("/api/governance/limits/{id}/override");
            let set = api.put(&path, r#"{"amount": 4, "mode": "forever"}"#).await;
            assert_eq!(set.ok(200)["effective_max_limit"], 5);
        }
    }

    async fn what_is_sent_twice_under_one_key_is_done_once(db: Db) {
        let team = Team::new(db).await;
        let path = format!("/api/governance/limits/{}", team.budget);
        let raise = r#"{"amount": 1, "mode": "forever"}"#;
        for (method, path, body, key) in [
            (Method::POST, format!("{path}/top-up"), r#"{"amount": 2}"#, "a"),
            (Method::POST, format!("{path}/reset"), "{}", "b"),
            (Method::PUT, format!("{path}/override"), raise, "c"),
            (Method::DELETE, format!("{path}/override"), "", "\"d\""),
        ] {
            let send = || team.api.send(keyed(method.clone(), &path, body, key));
            let first: Answer = send().await;
            first.ok(200);
            let moved = team.movements().await.len();
            team.api.advance(Duration::from_mins(1));
            let again = send().await;
            assert_eq!(again.ok(200), &first.json);
            assert_eq!(again.headers["content-type"], "application/json");
            assert_eq!(team.movements().await.len(), moved, "{path}");
        }
        assert_eq!(team.movements().await.len(), 4);
    }

    async fn a_key_is_for_one_request(db: Db) {
        let team = Team::new(db).await;
        let path = format!("/api/governance/limits/{}/top-up", team.budget);
        let send = |body: &'static str| team.api.send(keyed(Method::POST, &path, body, "k"));
        // What was refused was not done, and may be mended.
        assert_eq!(send(r#"{"amount": 0}"#).await.problem(400), "amount");
        send(r#"{"amount": 2}"#).await.ok(200);
        send(r#"{"amount": 3}"#).await.problem(422);
        let elsewhere = format!("/api/governance/limits/{}/top-up", team.requests);
        let elsewhere = keyed(Method::POST, &elsewhere, r#"{"amount": 2}"#, "k");
        team.api.send(elsewhere).await.problem(422);
        let unreadable = keyed(Method::POST, &path, r#"{"amount": 2}"#, "a b");
        assert_eq!(team.api.send(unreadable).await.problem(400), "Idempotency-Key");
        assert_eq!(team.movements().await.len(), 1);
        assert_eq!(team.shown().await["budgets"][0]["usage"]["limit"], 18);
        assert_eq!(START_MS, team.api.app.clock.now_ms());
    }
}
