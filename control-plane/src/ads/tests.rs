//! Configuration over real gRPC, down to what the admin API says of it.

use std::time::{Duration, Instant};

use reeve_xds::ResourceType::{Clusters, Routes, Secrets};
use tonic::Code;

use super::testing::{Envoy, PATIENCE, Plane};
use crate::db::testing::on_every_database;
use crate::testing::Api;

const OPENAI: &str = r#"{"name": "openai", "keys": [{"value": "sk-planted-0123456789"}]}"#;

async fn node(api: &Api) -> serde_json::Value {
    let list = api.get("/api/nodes").await;
    let nodes = list.ok(200)["nodes"].as_array().unwrap().clone();
    assert_eq!(nodes.len(), 1, "{nodes:?}");
    nodes[0].clone()
}

/// Repeats a look until it pleases.
async fn eventually(api: &Api, pleases: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = node(api).await;
        if pleases(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "{seen}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn envoy_chooses_a_cluster_for_as_many_attempts_as_the_filter_plans() {
    let most = reeve_exchange::chain::MAX_ATTEMPTS;
    assert_eq!(usize::from(reeve_xds::SLOTS), most);
}

on_every_database! {
    async fn a_provider_is_in_force_when_the_answer_is_sent(db: Db) {
        let plane = Plane::start(&db).await;
        let mut envoy = Envoy::connect(&plane, "envoy-1").await;
        let none = envoy.told(Clusters).await;
        assert!(none.resources.is_empty());
        envoy.accept(&none).await;
        envoy.ask(Routes, &[reeve_xds::ROUTES]).await;
        let routes = envoy.told(Routes).await;
        envoy.accept(&routes).await;
        eventually(&plane.api, |it| it["configuration"]["lag_ms"] == 0).await;

        let taken = Duration::from_millis(50);
        let follow = async {
            for (of, count) in [(Clusters, 2), (Routes, 1)] {
                let response = envoy.told(of).await;
                assert_eq!(response.resources.len(), count);
                if of == Routes {
                    tokio::time::sleep(taken).await;
                }
                envoy.accept(&response).await;
            }
        };
        let start = Instant::now();
        let ask = async {
            plane.api.post("/api/providers", OPENAI).await.ok(201);
            start.elapsed()
        };
        let (answered, ()) = tokio::join!(ask, follow);
        assert!(answered >= taken, "{answered:?}");
        let seen = node(&plane.api).await;
        assert_eq!(seen["configuration"]["accepted_version"], 2);
        assert_eq!(seen["configuration"]["lag_ms"], 0);
        let list = plane.api.get("/api/nodes").await;
        assert_eq!(list.json["published_configuration_version"], 2);
    }

    async fn a_provider_key_is_in_envoy_before_a_filter_can_choose_it(db: Db) {
        let plane = Plane::start(&db).await;
        plane.api.post("/api/providers", OPENAI).await.ok(201);
        let mut envoy = Envoy::connect(&plane, "envoy-1").await;
        let clusters = envoy.told(Clusters).await;
        envoy.accept(&clusters).await;
        envoy.ask(Routes, &[reeve_xds::ROUTES]).await;
        let routes = envoy.told(Routes).await;
        envoy.accept(&routes).await;
        eventually(&plane.api, |it| it["configuration"]["lag_ms"] == 0).await;

        let before = plane.api.app.policy_sync.position();
        let follow = async {
            let clusters = envoy.told(Clusters).await;
            assert_eq!(clusters.resources.len(), 3);
            envoy.accept(&clusters).await;
            let routes = envoy.told(Routes).await;
            assert_eq!(plane.api.app.policy_sync.position(), before);
            envoy.accept(&routes).await;
        };
        let ask = plane.api.post("/api/providers/openai/keys", r#"{"value": "sk-second"}"#);
        let (answer, ()) = tokio::join!(ask, follow);
        let id = answer.ok(201)["key"]["id"].as_str().unwrap().to_owned();
        let name = format!("provider_openai__{id}");
        assert!(plane.cluster_names().contains(&name));

        drop(envoy);
        plane.api.delete(&format!("/api/providers/openai/keys/{id}")).await.ok(200);
        assert!(!plane.cluster_names().contains(&name));
    }

    async fn an_envoy_that_refuses_is_shown_with_its_reason_and_not_waited_for(db: Db) {
        let plane = Plane::start(&db).await;
        let mut envoy = Envoy::connect(&plane, "envoy-1").await;
        let none = envoy.told(Clusters).await;
        envoy.accept(&none).await;
        eventually(&plane.api, |it| it["configuration"]["lag_ms"] == 0).await;
        let refuse = async {
            let clusters = envoy.told(Clusters).await;
            envoy.refuse(&clusters, "no such CA bundle").await;
        };
        let ask = plane.api.post("/api/providers", OPENAI);
        let (answer, ()) = tokio::join!(ask, refuse);
        answer.ok(201);
        let seen = node(&plane.api).await;
        let configuration = &seen["configuration"];
        assert_eq!(configuration["accepted_version"], 1);
        assert_eq!(configuration["rejected"][0]["resources"], "clusters");
        assert_eq!(configuration["rejected"][0]["version"], 2);
        assert_eq!(configuration["rejected"][0]["error"], "no such CA bundle");
        assert_eq!(seen["up_to_date"], false);
        plane.api.advance(Duration::from_secs(3));
        assert_eq!(node(&plane.api).await["configuration"]["lag_ms"], 3_000);
    }

    async fn an_envoy_that_hangs_delays_an_answer_for_a_second_only(db: Db) {
        let plane = Plane::start(&db).await;
        let mut hangs = Envoy::connect(&plane, "envoy-1").await;
        hangs.told(Clusters).await;
        let start = Instant::now();
        plane.api.post("/api/providers", OPENAI).await.ok(201);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(900), "{took:?}");
        assert!(took < Duration::from_secs(4), "{took:?}");
        drop(hangs);
        let deadline = Instant::now() + PATIENCE;
        while !plane.api.app.ads.connected().is_empty() {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(plane.api.get("/api/nodes").await.ok(200)["count"], 0);
    }

    async fn a_rotated_key_comes_to_whoever_asked_for_it_by_name(db: Db) {
        let plane = Plane::start(&db).await;
        let made = plane.api.post("/api/providers", OPENAI).await;
        let id = made.ok(201)["provider"]["keys"][0]["id"].as_str().unwrap().to_owned();
        let mut envoy = Envoy::connect(&plane, "envoy-1").await;
        let clusters = envoy.told(Clusters).await;
        envoy.accept(&clusters).await;
        let name = plane.secret_names().remove(0);
        envoy.ask(Secrets, &[&name]).await;
        let secrets = envoy.told(Secrets).await;
        envoy.accept(&secrets).await;
        let follow = async {
            let rotated = envoy.told(Secrets).await;
            envoy.accept(&rotated).await;
            rotated
        };
        let path = format!("/api/providers/openai/keys/{id}");
        let ask = plane.api.put(&path, r#"{"value": "sk-second"}"#);
        let (answer, rotated) = tokio::join!(ask, follow);
        answer.ok(200);
        let holds = |key: &str| {
            let bytes = &rotated.resources[0].value;
            bytes.windows(key.len()).any(|window| window == key.as_bytes())
        };
        assert!(holds("sk-second") && !holds("planted"));
    }

    async fn who_does_not_say_who_it_is_gets_nothing(db: Db) {
        let plane = Plane::start(&db).await;
        for node_id in ["", "with space", &"x".repeat(257)] {
            let mut envoy = Envoy::connect(&plane, node_id).await;
            let refused = envoy.next().await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{node_id}");
            assert!(refused.message().contains("node.id"));
        }
        let mut nameless = Envoy::open(&plane).await;
        nameless.ask(Clusters, &[]).await;
        assert!(nameless.next().await.is_err());
        assert_eq!(plane.api.app.ads.connected(), []);
    }

    async fn a_control_plane_that_stops_ends_the_streams(db: Db) {
        let plane = Plane::start(&db).await;
        let mut envoy = Envoy::connect(&plane, "envoy-1").await;
        envoy.told(Clusters).await;
        plane.api.app.stop();
        assert_eq!(envoy.next().await.unwrap_err().code(), Code::Unavailable);
    }

    async fn a_change_made_at_another_replica_reaches_this_ones_envoys(db: Db) {
        let (here, there) = (Plane::start(&db).await, Api::new(db.clone()).await);
        let mut envoy = Envoy::connect(&here, "envoy-1").await;
        let none = envoy.told(Clusters).await;
        envoy.accept(&none).await;
        there.post("/api/providers", OPENAI).await.ok(201);
        assert_eq!(envoy.told(Clusters).await.resources.len(), 2);
    }
}
