//! Routing rules through the router.

use std::sync::Arc;

use reeve_policy::view::PolicyView;
use serde_json::{Value, json};

use crate::db::testing::on_every_database;
use crate::policy_changes::{self, Kind};
use crate::policy_sync::publisher;
use crate::testing::{Api, configure_providers, until};

const RULES: &str = "/api/governance/routing-rules";

fn given() -> Value {
    json!({
        "name": "premium", "description": "who pays", "priority": 10,
        "cel_expression": "headers['x-tier'] == 'premium' && budget_used < 80.0",
        "targets": [{"provider": "openai", "model": "gpt-4o", "weight": 0.8},
                    {"provider": "anthropic", "weight": 0.2}],
        "fallbacks": ["anthropic/claude-sonnet-4", {"provider": "openai"}],
        "query": {"combinator": "and", "rules": []},
    })
}

async fn new_api(db: &crate::db::Db) -> Api {
    let api = Api::new(db.clone()).await;
    configure_providers(&api.app, &["openai", "anthropic"]).await;
    api
}

async fn create(api: &Api, body: &Value) -> Value {
    api.post(RULES, &body.to_string()).await.ok(201)["rule"].clone()
}

fn path(rule: &Value) -> String {
    format!("{RULES}/{}", rule["id"].as_str().unwrap())
}

async fn made(api: &Api, kind: &str, body: Value) -> String {
    let answer = api
        .post(&format!("/api/governance/{kind}s"), &body.to_string())
        .await;
    let made = &answer.ok(201)[kind.replace('-', "_")];
    made["id"].as_str().unwrap().to_owned()
}

on_every_database! {
    async fn a_rule_is_made_changed_and_deleted(db: Db) {
        let api = new_api(&db).await;
        let rule = create(&api, &given()).await;
        for (field, expected) in [
            ("enabled", json!(true)),
            ("scope", json!("global")),
            ("scope_id", Value::Null),
            ("priority", json!(10)),
            ("chain_rule", json!(false)),
            ("fallbacks", json!(["anthropic/claude-sonnet-4", "openai/"])),
            ("query", json!({"combinator": "and", "rules": []})),
            ("targets", json!([
                {"provider": "openai", "model": "gpt-4o", "weight": 0.8},
                {"provider": "anthropic", "model": null, "weight": 0.2},
            ])),
        ] {
            assert_eq!(rule[field], expected, "{field}");
        }
        assert_eq!(api.get(&path(&rule)).await.ok(200)["rule"], rule);

        let change = json!({"enabled": false, "targets": [{"model": "o3"}], "query": null});
        let changed = api.put(&path(&rule), &change.to_string()).await;
        let changed = &changed.ok(200)["rule"];
        assert_eq!(changed["targets"], json!([{"provider": null, "model": "o3", "weight": 1}]));
        for (field, expected) in [("enabled", &json!(false)), ("query", &Value::Null)] {
            assert_eq!(&changed[field], expected);
        }
        for field in ["id", "name", "cel_expression", "fallbacks", "created_at"] {
            assert_eq!(changed[field], rule[field], "{field} stays");
        }
        let listed = api.get(RULES).await;
        assert_eq!(listed.ok(200)["rules"], json!([changed]));

        api.delete(&path(&rule)).await.ok(200);
        for answer in [
            api.get(&path(&rule)).await,
            api.put(&path(&rule), "{}").await,
            api.delete(&path(&rule)).await,
        ] {
            answer.problem(404);
        }
    }

    async fn a_malformed_rule_is_refused_by_field(db: Db) {
        let api = new_api(&db).await;
        for (field, value, at) in [
            ("name", json!(null), "name"),
            ("description", json!("x".repeat(1_025)), "description"),
            ("cel_expression", json!("modle == 'a'"), "cel_expression"),
            ("cel_expression", json!("model == 3"), "cel_expression"),
            ("cel_expression", json!("model =="), "cel_expression"),
            ("targets", json!(null), "targets"),
            ("targets", json!([]), "targets"),
            ("targets", json!([{"provider": "openai", "weight": 0.5}]), "targets"),
            ("targets", json!([{"weight": 0.5}, {"weight": 0.6}]), "targets"),
            ("targets", json!([{"weight": 1}, {"model": "o3"}]), "targets[1].weight"),
            ("targets", json!([{"weight": 1}, {"weight": 0}]), "targets[1].weight"),
            ("targets", json!([{"weight": -1}]), "targets[0].weight"),
            ("targets", json!([{"provider": "nobody"}]), "targets[0].provider"),
            ("targets", json!([{"model": "a b"}]), "targets[0].model"),
            ("targets", json!([{"model": "openai/gpt-4o"}]), "targets[0].model"),
            ("targets", json!([{"provider": "openai", "key_id": "k"}]), "targets[0].key_id"),
            ("targets", json!([{"providr": "openai"}]), "targets[0].providr"),
            ("targets", json!(vec![json!({"weight": 0.05}); 20]), "targets"),
            ("fallbacks", json!(["gpt-4o"]), "fallbacks[0]"),
            ("fallbacks", json!(["openai/", "nobody/gpt-4o"]), "fallbacks[1].provider"),
            ("fallbacks", json!([3]), "fallbacks[0]"),
            ("fallbacks", json!(vec!["openai/"; 9]), "fallbacks"),
            ("scope", json!("user"), "scope"),
            ("scope", json!("team"), "scope_id"),
            ("scope_id", json!("t"), "scope_id"),
            ("priority", json!(0.5), "priority"),
            ("query", json!([]), "query"),
            ("apply_to", json!("input"), "apply_to"),
        ] {
            let mut body = given();
            body[field] = value;
            let answer = api.post(RULES, &body.to_string()).await;
            assert_eq!(answer.problem(400), at, "{}: {}", body[field], answer.text);
        }
        for scope in ["team", "customer", "virtual_key"] {
            let body = json!({"name": "a", "targets": [{}], "scope": scope, "scope_id": "nobody"});
            assert_eq!(api.post(RULES, &body.to_string()).await.problem(400), "scope_id");
        }
        assert_eq!(api.get(RULES).await.ok(200)["total_count"], 0);
    }

    async fn an_expression_is_refused_where_it_is_wrong(db: Db) {
        let api = new_api(&db).await;
        let body = json!({"name": "a", "targets": [{}], "cel_expression": "true &&\n modle == 'a'"});
        let answer = api.post(RULES, &body.to_string()).await;
        answer.problem(400);
        assert!(answer.text.contains("line 2, column 2: there is no variable `modle`"), "{}", answer.text);
    }

    async fn weights_may_miss_one_by_what_thirds_lose(db: Db) {
        let api = new_api(&db).await;
        let third = json!({"weight": 0.333});
        let body = json!({"name": "a", "targets": [third, third, third]});
        create(&api, &body).await;
    }

    async fn two_rules_do_not_have_one_name(db: Db) {
        let api = new_api(&db).await;
        create(&api, &given()).await;
        let other = create(&api, &json!({"name": "other", "targets": [{}]})).await;
        assert_eq!(api.post(RULES, &given().to_string()).await.problem(409), "name");
        assert_eq!(api.put(&path(&other), r#"{"name": "premium"}"#).await.problem(409), "name");
    }

    async fn rules_are_listed_by_scope_in_the_order_in_which_they_look(db: Db) {
        let api = new_api(&db).await;
        let team = made(&api, "team", json!({"name": "t"})).await;
        for (name, priority, scope, scope_id) in [
            ("late", 5, "global", Value::Null),
            ("first", 0, "global", Value::Null),
            ("second", 0, "global", Value::Null),
            ("theirs", 9, "team", json!(team)),
        ] {
            let body = json!({"name": name, "targets": [{}], "priority": priority, "scope": scope,
                              "scope_id": scope_id});
            create(&api, &body).await;
            // Age is counted in milliseconds.
            api.advance(std::time::Duration::from_millis(1));
        }
        let names = async |query: &str| -> Vec<String> {
            let answer = api.get(&format!("{RULES}{query}")).await;
            let rules = answer.ok(200)["rules"].as_array().unwrap().clone();
            rules.iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("").await, ["first", "second", "late", "theirs"]);
        assert_eq!(names("?scope=team").await, ["theirs"]);
        assert_eq!(names(&format!("?scope_id={team}")).await, ["theirs"]);
        assert_eq!(names("?scope=global&search=e&limit=1&offset=1").await, ["late"]);
        assert_eq!(api.get(&format!("{RULES}?scope=user")).await.problem(400), "scope");
    }

    async fn a_scope_has_so_many_rules_and_no_more(db: Db) {
        let api = new_api(&db).await;
        let rule = |number: i64| json!({"name": format!("r{number}"), "targets": [{}]});
        let mut last = Value::Null;
        for number in 0..crate::routing_rules::MOST {
            last = create(&api, &rule(number)).await;
        }
        api.post(RULES, &rule(99).to_string()).await.problem(409);
        api.put(&path(&last), r#"{"priority": 1}"#).await.ok(200);
    }

    async fn a_change_of_a_rule_is_one_of_whoever_it_is_about(db: Db) {
        let api = new_api(&db).await;
        let team = made(&api, "team", json!({"name": "t"})).await;
        let customer = made(&api, "customer", json!({"name": "c"})).await;
        let key = made(&api, "virtual-key", json!({"name": "k"})).await;
        let mut tx = api.app.db.begin_read().await.unwrap();
        let before = policy_changes::latest(&mut tx).await.unwrap();
        drop(tx);
        let rule = create(&api, &json!({"name": "r", "targets": [{}]})).await;
        for (scope, id) in [("team", &team), ("customer", &customer), ("virtual_key", &key)] {
            let change = json!({"scope": scope, "scope_id": id});
            api.put(&path(&rule), &change.to_string()).await.ok(200);
        }
        // Another scope has another id.
        assert_eq!(api.put(&path(&rule), r#"{"scope": "team"}"#).await.problem(400), "scope_id");
        api.put(&path(&rule), r#"{"scope": "global"}"#).await.ok(200);
        let mut tx = api.app.db.begin_read().await.unwrap();
        let changes = policy_changes::since(&mut tx, before).await.unwrap();
        let told: Vec<(Kind, &str)> =
            changes.iter().map(|change| (change.kind, change.entity_id.as_str())).collect();
        let settings = (Kind::Settings, "settings");
        let [team, customer, key] = [
            (Kind::Team, team.as_str()),
            (Kind::Customer, customer.as_str()),
            (Kind::VirtualKey, key.as_str()),
        ];
        assert_eq!(
            told,
            [settings, settings, team, team, customer, customer, key, key, settings],
            "the scope that it leaves, and the one that it has"
        );
    }

    async fn rules_go_with_whom_they_are_about(db: Db) {
        let api = new_api(&db).await;
        for (kind, scope) in [("team", "team"), ("customer", "customer"), ("virtual-key", "virtual_key")] {
            let id = made(&api, kind, json!({"name": "x"})).await;
            let body = json!({"name": kind, "targets": [{}], "scope": scope, "scope_id": id});
            create(&api, &body).await;
            assert_eq!(api.get(RULES).await.ok(200)["total_count"], 1);
            api.put(&format!("/api/governance/{kind}s/{id}"), r#"{"name": "y"}"#).await.ok(200);
            assert_eq!(api.get(RULES).await.ok(200)["total_count"], 1, "a change leaves them alone");
            api.delete(&format!("/api/governance/{kind}s/{id}")).await.ok(200);
            assert_eq!(api.get(RULES).await.ok(200)["total_count"], 0);
        }
    }

    async fn a_provider_that_rules_name_stays(db: Db) {
        let api = new_api(&db).await;
        let rule = create(&api, &given()).await;
        api.delete("/api/providers/anthropic").await.problem(409);
        let change = r#"{"targets": [{"provider": "openai"}], "fallbacks": []}"#;
        api.put(&path(&rule), change).await.ok(200);
        api.delete("/api/providers/anthropic").await.ok(200);
    }

    async fn what_is_published_are_the_rules_that_are_switched_on_in_order(db: Db) {
        let api = new_api(&db).await;
        let team = made(&api, "team", json!({"name": "t"})).await;
        let key = made(&api, "virtual-key", json!({"name": "k"})).await;
        tokio::spawn(publisher::run(Arc::clone(&api.app)));
        let rule = |name: &str, priority: i64, scope: &str, id: &Value| {
            json!({"name": name, "targets": [{}], "priority": priority, "scope": scope, "scope_id": id})
        };
        let none = Value::Null;
        let off = create(&api, &rule("off", 0, "global", &none)).await;
        create(&api, &rule("g2", 2, "global", &none)).await;
        create(&api, &rule("g1", 1, "global", &none)).await;
        create(&api, &rule("t1", 1, "team", &json!(team))).await;
        create(&api, &rule("k1", 1, "virtual_key", &json!(key))).await;
        api.put(&path(&off), r#"{"enabled": false}"#).await.ok(200);
        let expected = [vec!["g1", "g2"], vec!["t1"], vec!["k1"]];
        let is_published = async || {
            let published = api.app.policy_sync.look(|view| {
                let names = |rules: &[reeve_policy::routing_rules::Rule]| -> Vec<String> {
                    rules.iter().map(|rule| rule.name.clone()).collect()
                };
                vec![
                    view.settings().map(|it| names(&it.routing_rules)).unwrap_or_default(),
                    view.team(&team).map(|it| names(&it.routing_rules)).unwrap_or_default(),
                    view.key_of(&key).map(|it| names(&it.routing_rules)).unwrap_or_default(),
                ]
            });
            published == expected
        };
        until("the rules are published, each where it belongs", is_published).await;
    }
}
