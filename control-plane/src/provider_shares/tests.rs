//! What Envoys report, and what comes of it, through the router.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_policy::shares::{Counts, FLOOR_PPM, Seen, Target, Totals, WHOLE_PPM};
use reeve_policy::view::PolicyView as _;
use reeve_proto::v1::Observed;
use serde_json::{Value, json};

use super::{Told, step};
use crate::db::Db;
use crate::db::testing::on_every_database;
use crate::policy_sync::publisher;
use crate::testing::{Api, configure_providers, until};

/// A control plane that publishes, and an Envoy that reports to it.
struct Plane {
    api: Api,
    told: Told,
    totals: Totals,
}

impl Plane {
    async fn start(db: &Db) -> Self {
        let api = Api::new(db.clone()).await;
        configure_providers(&api.app, &["openai", "anthropic"]).await;
        tokio::spawn(publisher::run(Arc::clone(&api.app)));
        until("policy is published", async || api.app.policy_published()).await;
        let mut plane = Self {
            api,
            told: Told::default(),
            totals: Totals::new(),
        };
        plane.report();
        plane
    }

    fn report(&mut self) {
        let now_ms = self.api.app.clock.now_ms();
        let observed = Observed::from(&self.totals);
        let shares = &self.api.app.provider_shares;
        shares.on_observed(&mut self.told, observed, now_ms);
    }

    /// Seconds in which `OpenAI` answers ten times and Anthropic so, with its key `k`.
    fn seconds(&mut self, seconds: u32, of_anthropic: Seen) {
        let key = Target {
            provider: "anthropic".into(),
            key_id: Some("k".into()),
        };
        for _ in 0..seconds {
            let asked = [
                (Target::provider("openai"), Seen::Answered),
                (key.clone(), of_anthropic),
            ];
            for (target, seen) in asked {
                let counts = self.totals.entry(target).or_default();
                (0..10).for_each(|_| counts.count(seen, Some(40)));
            }
            self.report();
            self.api.advance(Duration::from_secs(1));
            step(&self.api.app);
        }
    }

    fn published(&self, key_id: Option<&str>) -> u32 {
        let shares = self.api.app.policy_sync.look(|view| view.shares(0));
        shares.map_or(WHOLE_PPM, |shares| shares.factor("anthropic", key_id))
    }

    async fn shown(&self) -> Value {
        let answer = self.api.get("/api/governance/provider-shares").await;
        answer.ok(200).clone()
    }

    async fn switch(&self, on: bool) {
        let body = json!({"client_config": {"adaptive_routing": on}});
        self.api.put("/api/config", &body.to_string()).await.ok(200);
    }
}

on_every_database! {
    async fn a_provider_that_fails_is_published_and_shown_with_the_reason(db: Db) {
        let mut plane = Plane::start(&db).await;
        plane.seconds(6, Seen::Answered);
        let before = plane.api.app.policy_sync.position();
        assert_eq!(plane.published(None), WHOLE_PPM);
        plane.seconds(6, Seen::Failed);
        assert_eq!((plane.published(None), plane.published(Some("k"))), (FLOOR_PPM, FLOOR_PPM));
        let shown = plane.shown().await;
        assert_eq!((&shown["adaptive_routing"], &shown["count"]), (&json!(true), &json!(2)));
        let [anthropic, openai] = shown["providers"].as_array().unwrap().as_slice() else {
            panic!("{shown}");
        };
        assert_eq!(openai["reason"], "healthy");
        assert_eq!((&openai["factor"], &openai["keys"]), (&json!(1), &json!([])));
        assert_eq!((&anthropic["factor"], &anthropic["reason"]), (&json!(0.05), &json!("errors")));
        assert_eq!(anthropic["message"], "100 % of its attempts fail");
        assert_eq!((&anthropic["attempts"], &anthropic["failed"]), (&json!(40), &json!(40)));
        assert_eq!(anthropic["average_first_byte_ms"], Value::Null);
        assert_eq!(anthropic["keys"][0]["key_id"], "k");
        assert_eq!(anthropic["keys"][0]["reason"], "errors");
        let lowered = plane.api.app.policy_sync.position();
        assert_ne!(lowered, before);
        plane.seconds(30, Seen::Answered);
        assert_eq!(plane.published(None), WHOLE_PPM);
        assert!(plane.shown().await["providers"][0]["message"].is_string());
        assert!(plane.api.app.policy_sync.look(|view| view.shares(0)).is_none(), "no entry is left");
    }

    async fn switched_off_it_is_shown_and_not_published(db: Db) {
        let mut plane = Plane::start(&db).await;
        plane.switch(false).await;
        plane.seconds(6, Seen::Unanswered);
        assert_eq!(plane.published(None), WHOLE_PPM);
        let shown = plane.shown().await;
        assert_eq!(shown["adaptive_routing"], false);
        assert_eq!(shown["providers"][0]["factor"], 0.05);
        plane.switch(true).await;
        plane.seconds(1, Seen::Unanswered);
        assert_eq!(plane.published(None), FLOOR_PPM);
    }

    async fn what_a_process_told_on_an_earlier_stream_counts_once(db: Db) {
        let mut plane = Plane::start(&db).await;
        plane.seconds(6, Seen::Failed);
        plane.told = Told::default();
        let before = plane.shown().await;
        plane.report();
        assert_eq!(plane.shown().await, before);
    }

    async fn what_is_not_configured_is_not_shown(db: Db) {
        let mut plane = Plane::start(&db).await;
        let mut counts = Counts::default();
        counts.count(Seen::Failed, None);
        for name in ["gone".to_owned(), "x".repeat(300), String::new()] {
            plane.totals.insert(Target::provider(&name), counts);
        }
        plane.report();
        assert_eq!(plane.shown().await["providers"], json!([]));
    }

    async fn explain_tells_what_is_left_of_a_share(db: Db) {
        let mut plane = Plane::start(&db).await;
        let config = |name: &str, weight: u32| {
            json!({"provider": name, "weight": weight, "allowed_models": ["*"]})
        };
        let body = json!({"name": "k", "provider_configs": [
            config("openai", 1), config("anthropic", 1),
        ]});
        let key = plane.api.post("/api/governance/virtual-keys", &body.to_string()).await;
        let id = key.ok(201)["virtual_key"]["id"].as_str().unwrap().to_owned();
        // Anthropic has no price for the model.
        let ceiling = r#"{"client_config": {"unpriced_model_ceiling": {
            "input_cost_per_million_tokens": 1, "output_cost_per_million_tokens": 1}}}"#;
        plane.api.put("/api/config", ceiling).await.ok(200);
        plane.seconds(6, Seen::Failed);
        let body = json!({
            "path": "/v1/chat/completions", "virtual_key_id": id,
            "body": {"model": "gpt-4o", "max_tokens": 10, "messages": []},
        });
        let told = plane.api.post("/api/governance/explain", &body.to_string()).await;
        let factors = told.ok(200)["attempts"].as_array().unwrap().iter().map(|attempt| {
            (attempt["provider"].as_str().unwrap(), attempt["share_factor"].as_f64().unwrap())
        });
        let factors: BTreeMap<_, _> = factors.collect();
        assert_eq!(factors, BTreeMap::from([("anthropic", 0.05), ("openai", 1.0)]));
    }
}
