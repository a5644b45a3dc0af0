//! With real gRPC, over a socket.

use std::time::Duration;

use prost::Message as _;
use reeve_proto::v1::control_message::Kind as Down;
use reeve_proto::v1::filter_message::Kind as Up;
use reeve_proto::v1::{self, PolicyApplied};
use tonic::Code;

use super::entries::Position;
use super::testing::{Filter, Plane, TIMING, entry_of, keys, names_of, position};
use crate::db::testing::on_every_database;
use crate::testing::{Api, START_MS, in_time, until};
use crate::usage::tests::{charge, record};

on_every_database! {
    async fn a_new_filter_is_sent_everything_and_then_what_changes(db: Db) {
        let plane = Plane::start(&db).await;
        let (value, id) = plane.key("first").await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        assert_eq!(filter.welcome().await, 0);
        let mut full = filter.update().await;
        if full.entries.len() == 1 {
            // It was faster than the publisher; the key comes as the first change.
            full.entries.extend(filter.update().await.entries);
        }
        assert!(full.last);
        assert_ne!(full.epoch, 0);
        assert!(keys(&full).contains(&"settings"));
        let entry = full.entries.iter().find(|entry| entry.key == entry_of(&value)).unwrap();
        let key = v1::VirtualKey::decode(entry.value.as_slice()).unwrap();
        assert_eq!((key.id.as_str(), key.name.as_str(), key.is_active), (&*id, "first", true));

        let path = format!("/api/governance/virtual-keys/{id}");
        plane.api.put(&path, r#"{"is_active": false}"#).await.ok(200);
        let changed = filter.update().await;
        assert_eq!(keys(&changed), [entry_of(&value)]);
        assert!(changed.removed.is_empty() && changed.last);
        let key = v1::VirtualKey::decode(changed.entries[0].value.as_slice()).unwrap();
        assert!(!key.is_active);

        plane.api.delete(&path).await.ok(200);
        let gone = filter.update().await;
        assert_eq!(gone.removed, [entry_of(&value)]);
        assert!(gone.entries.is_empty() && gone.version > changed.version);
    }

    async fn a_rotated_key_is_found_under_its_new_value_only(db: Db) {
        let plane = Plane::start(&db).await;
        let (old, id) = plane.key("k").await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        while !keys(&filter.update().await).contains(&entry_of(&old).as_str()) {}
        let path = format!("/api/governance/virtual-keys/{id}/rotate");
        let answer = plane.api.post(&path, "{}").await;
        let new = answer.ok(200)["virtual_key"]["value"].as_str().unwrap().to_owned();
        let update = filter.update().await;
        assert_eq!(keys(&update), [entry_of(&new)]);
        assert_eq!(update.removed, [entry_of(&old)]);
    }

    async fn teams_customers_providers_and_settings_are_published(db: Db) {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        filter.update().await;
        let body = r#"{"name": "acme", "budget": {"max_limit": 1.5, "reset_duration": "1M"}}"#;
        let customer = plane.api.post("/api/governance/customers", body).await;
        let customer = customer.ok(201)["customer"]["id"].as_str().unwrap().to_owned();
        let update = filter.update().await;
        assert_eq!(keys(&update), [format!("owner/customer/{customer}")]);
        let owner = v1::Owner::decode(update.entries[0].value.as_slice()).unwrap();
        assert_eq!(owner.limits[0].max, 1_500_000_000);

        let body = format!(r#"{{"name": "research", "customer_id": "{customer}"}}"#);
        let team = plane.api.post("/api/governance/teams", &body).await;
        let team = team.ok(201)["team"]["id"].as_str().unwrap().to_owned();
        let update = filter.update().await;
        assert_eq!(keys(&update), [format!("owner/team/{team}")]);
        let owner = v1::Owner::decode(update.entries[0].value.as_slice()).unwrap();
        assert_eq!(owner.customer_id, customer);

        let body = r#"{"client_config": {"enable_governance": false}}"#;
        plane.api.put("/api/config", body).await.ok(200);
        let update = filter.update().await;
        assert_eq!(keys(&update), ["settings"]);
        let settings = v1::Settings::decode(update.entries[0].value.as_slice()).unwrap();
        assert!(!settings.enable_governance);
    }

    async fn a_provider_comes_and_goes_with_its_models(db: Db) {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        filter.update().await;
        let body = r#"{"provider": "openai", "keys": [{"name": "main", "value": "sk-test-1234"}]}"#;
        plane.api.post("/api/providers", body).await.ok(201);
        let update = filter.update().await;
        let settings = update.entries.iter().find(|entry| entry.key == "settings").unwrap();
        let settings = v1::Settings::decode(settings.value.as_slice()).unwrap();
        assert_eq!(settings.providers[0].cluster, "provider_openai");
        let model = update.entries.iter().find(|e| e.key == "model/openai/gpt-4o").unwrap();
        let model = v1::Model::decode(model.value.as_slice()).unwrap();
        assert_eq!(model.input_price, Some(2_500_000_000));
        assert_eq!(model.max_input_tokens, Some(128_000));
        let models = update.entries.len() - 1;
        assert!(models > 50, "{models}");
        let names = names_of("openai", &update);
        assert!(names.is_sorted());
        assert!(names.iter().all(|name| keys(&update).contains(&&*format!("model/openai/{name}"))));
        // The settings and the list itself are no models.
        assert_eq!(names.len(), update.entries.len() - 2);

        plane.api.delete("/api/providers/openai").await.ok(200);
        let update = filter.update().await;
        assert_eq!(keys(&update), ["settings"]);
        assert_eq!(update.removed.len(), models);
    }

    async fn a_model_that_an_operator_adds_joins_the_list_of_its_provider(db: Db) {
        let plane = Plane::start(&db).await;
        plane.api.post("/api/providers", r#"{"name": "cohere"}"#).await.ok(201);
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        while !keys(&filter.update().await).contains(&"models/cohere") {}
        let own = r#"{"provider": "cohere", "model": "a-model-of-ours",
            "input_cost_per_million_tokens": 1, "output_cost_per_million_tokens": 2,
            "cache_write_cost_per_million_tokens": 3, "max_input_tokens": 1000}"#;
        plane.api.post("/api/models", own).await.ok(201);
        let update = filter.update().await;
        assert_eq!(keys(&update), ["model/cohere/a-model-of-ours", "models/cohere"]);
        let expected = v1::Model {
            name: "a-model-of-ours".into(),
            input_price: Some(1_000_000_000),
            output_price: Some(2_000_000_000),
            cache_write_5m_price: Some(3_000_000_000),
            max_input_tokens: Some(1_000),
            price_version: u64::try_from(START_MS).unwrap(),
            ..v1::Model::default()
        };
        assert_eq!(v1::Model::decode(update.entries[0].value.as_slice()), Ok(expected));
        let names = names_of("cohere", &update);
        assert_eq!(names[0], "a-model-of-ours");
        assert!(names.len() > 10, "{names:?}");
    }

    async fn a_filter_that_comes_back_is_sent_only_what_it_missed(db: Db) {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        let at = position(&filter.update().await);
        drop(filter);
        let (value, _) = plane.key("while it was away").await;
        let mut filter = Filter::connect(&plane, "b1", at).await;
        filter.welcome().await;
        let update = filter.update().await;
        assert_eq!(keys(&update), [entry_of(&value)]);
        assert_eq!(update.epoch, at.epoch);
    }

    async fn a_new_life_of_the_control_plane_sends_everything_and_knows_what_was_stored(db: Db) {
        let plane = Plane::start(&db).await;
        let (value, _) = plane.key("k").await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        let at = position(&filter.update().await);
        filter.report(vec![record(1), record(2)]).await;
        while !matches!(filter.hear().await.unwrap(), Down::UsageAck(ack) if ack.sequence == 2) {}
        plane.kill();

        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", at).await;
        assert_eq!(filter.welcome().await, 2);
        let update = filter.update().await;
        assert_ne!(update.epoch, at.epoch);
        assert!(keys(&update).contains(&"settings"));
        assert!(keys(&update).contains(&entry_of(&value).as_str()));
    }

    async fn usage_that_is_sent_twice_is_acknowledged_twice_and_counted_once(db: Db) {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        filter.update().await;
        filter.report(vec![record(1), record(2), record(3)]).await;
        assert_eq!(filter.acknowledged().await, 3);
        filter.report(vec![record(2), record(3), record(4)]).await;
        assert_eq!(filter.acknowledged().await, 4);
        let sums = plane.api.get("/api/governance/usage").await;
        assert_eq!(sums.ok(200)["usage"][0]["requests"], 4);
        assert!(sums.text.contains("\"cost\":0.0000001"), "{}", sums.text);
    }

    async fn what_one_envoy_spends_the_others_are_told(db: Db) {
        let plane = Plane::start(&db).await;
        let body = r#"{"name": "t", "budget": {"max_limit": 5, "reset_duration": "1d"}}"#;
        let team = plane.api.post("/api/governance/teams", body).await;
        let budget = team.ok(201)["team"]["budgets"][0]["id"].as_str().unwrap().to_owned();
        let spend = |sequence, amount| v1::UsageRecord {
            charges: vec![charge(&budget, START_MS, amount)],
            ..record(sequence)
        };
        let mut first = Filter::connect(&plane, "b1", Position::default()).await;
        let mut second = Filter::connect(&plane, "b2", Position::default()).await;
        for filter in [&mut first, &mut second] {
            filter.welcome().await;
            filter.update().await;
        }
        first.report(vec![spend(1, 70)]).await;
        loop {
            // The policy of the team may still be on its way.
            if let Down::Spent(spent) = second.hear().await.unwrap() {
                assert_eq!(spent.limits[0].amount, 70);
                break;
            }
        }
        second.report(vec![spend(1, 5)]).await;
        first.report(vec![spend(2, 1)]).await;

        // A third is told at its start what both have spent, a new stream of the first what the
        // second has.
        while !matches!(first.hear().await.unwrap(), Down::UsageAck(ack) if ack.sequence == 2) {}
        while !matches!(second.hear().await.unwrap(), Down::UsageAck(_)) {}
        let mut third = Filter::connect(&plane, "b3", Position::default()).await;
        third.welcome().await;
        assert_eq!(third.spent().await, [(budget.clone(), START_MS, 76)]);
        let mut first = Filter::connect(&plane, "b1", Position::default()).await;
        assert_eq!(first.welcome().await, 2);
        assert_eq!(first.spent().await, [(budget.clone(), START_MS, 5)]);
    }
}

#[tokio::test]
async fn a_filter_that_falls_silent_loses_its_stream() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::open(&plane).await;
        filter.hello("envoy", "b1", Position::default()).await;
        filter.welcome().await;
        let status = filter.end().await;
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert!(
            plane.api.get("/api/nodes").await.ok(200)["nodes"]
                .as_array()
                .unwrap()
                .is_empty()
        );
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_never_says_who_it_is_loses_its_stream() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::open(&plane).await;
        assert_eq!(filter.end().await.code(), Code::DeadlineExceeded);
    })
    .await;
}

#[tokio::test]
async fn the_newer_stream_of_a_process_ends_the_older_one() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut zombie = Filter::connect(&plane, "b1", Position::default()).await;
        zombie.welcome().await;
        let mut other = Filter::connect(&plane, "b2", Position::default()).await;
        other.welcome().await;
        let mut heir = Filter::connect(&plane, "b1", Position::default()).await;
        heir.welcome().await;
        assert_eq!(zombie.end().await.code(), Code::Aborted);
        heir.report(vec![record(1)]).await;
        while !matches!(heir.hear().await.unwrap(), Down::UsageAck(_)) {}
        assert_eq!(plane.api.get("/api/nodes").await.ok(200)["count"], 2);
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_a_proper_hello_is_refused() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut rude = Filter::open(&plane).await;
        rude.report(vec![record(1)]).await;
        assert_eq!(rude.end().await.code(), Code::InvalidArgument);
        let long = "x".repeat(257);
        for (node_id, boot_id, field) in [
            ("", "b", "node_id"),
            ("n", "", "boot_id"),
            ("a b", "b", "node_id"),
            ("n\n", "b", "node_id"),
            ("n", long.as_str(), "boot_id"),
            ("n", "\u{e9}", "boot_id"),
        ] {
            let mut filter = Filter::open(&plane).await;
            filter.hello(node_id, boot_id, Position::default()).await;
            let status = filter.end().await;
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().contains(field), "{status:?}");
        }
        let mut twice = Filter::connect(&plane, "b1", Position::default()).await;
        twice.hello("envoy", "b1", Position::default()).await;
        assert_eq!(twice.end().await.code(), Code::InvalidArgument);
    })
    .await;
}

#[tokio::test]
async fn a_message_beyond_the_size_limit_ends_the_stream() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        let huge = v1::UsageRecord {
            model: "x".repeat(5 * 1024 * 1024),
            ..record(1)
        };
        filter.report(vec![huge]).await;
        let status = filter.end().await;
        assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    })
    .await;
}

#[tokio::test]
async fn the_list_of_nodes_says_who_is_up_to_date() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        let update = filter.update().await;
        let answer = plane.api.get("/api/nodes").await;
        let node = &answer.ok(200)["nodes"][0];
        assert_eq!(
            (&node["node_id"], &node["boot_id"]),
            (&"envoy".into(), &"b1".into())
        );
        assert_eq!(node["up_to_date"], false);
        assert!(node["applied_version"].is_null());
        let Position { epoch, version } = position(&update);
        filter
            .say(Up::PolicyApplied(PolicyApplied { epoch, version }))
            .await;
        let is_up_to_date = async || {
            let answer = plane.api.get("/api/nodes").await;
            let nodes = answer.ok(200);
            let node = &nodes["nodes"][0];
            let is_so = node["up_to_date"] == true;
            assert!(!is_so || node["applied_version"] == nodes["published_version"]);
            is_so
        };
        until("the node is up to date", is_up_to_date).await;
    })
    .await;
}

#[tokio::test]
async fn streams_end_when_the_control_plane_stops() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        plane.api.app.stop();
        assert_eq!(filter.end().await.code(), Code::Unavailable);
    })
    .await;
}

#[tokio::test]
async fn a_change_of_another_replica_is_published_too() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        filter.update().await;
        // The same database, another process: nobody wakes the publisher.
        let replica = Api::new(db.clone()).await;
        let body = r#"{"client_config": {"required_headers": ["X-Tenant"]}}"#;
        replica.put("/api/config", body).await.ok(200);
        let update = filter.update().await;
        let settings = v1::Settings::decode(update.entries[0].value.as_slice()).unwrap();
        assert_eq!(settings.required_headers, ["x-tenant"]);
    })
    .await;
}

/// While the database does not answer, the stream stays: heartbeats go on, and usage is stored and
/// acknowledged when it answers again.
#[tokio::test]
async fn a_database_that_is_away_for_a_while_costs_no_stream_and_no_usage() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        filter.update().await;
        // One writer at a time: who holds it keeps everyone else out.
        let held = db.begin_write().await.unwrap();
        filter.report(vec![record(1)]).await;
        let silent = tokio::time::timeout(TIMING.silence * 2, filter.hear()).await;
        assert!(
            silent.is_err(),
            "neither an end nor an acknowledgement: {silent:?}"
        );
        drop(held);
        assert_eq!(filter.acknowledged().await, 1);
    })
    .await;
}

/// The look at the database once a second is for other replicas; what this process changes does not
/// wait for it.
#[tokio::test]
async fn a_change_is_published_at_once() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        filter.update().await;
        let mut took = Vec::new();
        for number in 0..6 {
            let start = std::time::Instant::now();
            // The change is answered when this filter has it in force.
            let name = format!("key-{number}");
            tokio::join!(plane.key(&name), filter.apply_update());
            took.push(start.elapsed());
        }
        // Each begins just after a look, so one that waited for the next would take a second; and on a machine
        // that is slow for a moment not all six are.
        let quickest = *took.iter().min().unwrap();
        assert!(quickest < Duration::from_millis(500), "{took:?}");
    })
    .await;
}

/// It says that it is there, but takes nothing: its messages must not pile up.
#[tokio::test]
async fn a_filter_that_takes_no_messages_loses_its_stream() {
    crate::db::testing::with_sqlite(|db| async move {
        let plane = Plane::start(&db).await;
        let mut filter = Filter::connect(&plane, "b1", Position::default()).await;
        filter.welcome().await;
        let (_, id) = plane.key("large").await;
        let path = format!("/api/governance/virtual-keys/{id}");
        let body = r#"{"provider": "openai", "keys": [{"name": "main", "value": "sk-test-1234"}]}"#;
        plane.api.post("/api/providers", body).await.ok(201);
        let ended = async {
            for round in 0.. {
                let models: Vec<String> = (0..1_000)
                    .map(|n| format!("{round}-{n}-{}", "x".repeat(200)))
                    .collect();
                let config = serde_json::json!({
                    "provider_configs": [{"provider": "openai", "allowed_models": models}],
                });
                plane.api.put(&path, &config.to_string()).await.ok(200);
                if plane.api.get("/api/nodes").await.ok(200)["count"] == 0 {
                    return;
                }
                tokio::time::sleep(TIMING.heartbeat).await;
            }
        };
        in_time("the stream has ended", ended).await;
        drop(filter);
    })
    .await;
}
