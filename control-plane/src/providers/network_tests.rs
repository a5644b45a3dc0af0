//! Where providers may be, through the router.

use std::net::IpAddr;

use axum::http::Method;

use super::tests::{OPENAI, PROVIDERS, input, send_locally};
use crate::db::testing::on_every_database;
use crate::testing::Api;

on_every_database! {
    async fn a_provider_on_a_private_network_needs_two_permissions_or_dev(db: Db) {
        let body = r#"{"name": "vllm", "network_config": {"base_url": "http://10.0.0.7:8000/v1"},
            "custom_provider_config": {"base_provider_type": "openai", "is_key_less": true}}"#;
        let api = Api::with_config(db, |config| config.dev = true).await;
        send_locally(&api, Method::POST, Some(body)).await.ok(201);
        let path = "/api/providers/vllm";
        let asked = r#"{"network_config": {"base_url": "http://10.0.0.8:8000/v1"}}"#;
        let allowed = r#"{"network_config": {"base_url": "http://10.0.0.8:8000/v1",
            "allow_private_network": true}}"#;
        let strict = Api::new(api.app.db.clone()).await;
        for (change, remedy) in [
            (asked, "set `network_config.allow_private_network`"),
            (allowed, "REEVE_PRIVATE_NETWORKS"),
        ] {
            let refused = strict.put(path, change).await;
            assert_eq!(refused.problem(400), "network_config.base_url");
            assert!(refused.text.contains(remedy), "{}", refused.text);
        }
        let listed = Api::with_config(api.app.db.clone(), |config| {
            config.private_networks = "10.0.0.8/31".parse().unwrap();
        })
        .await;
        listed.put(path, asked).await.problem(400);
        listed.put(path, allowed).await.ok(200);
        let elsewhere = r#"{"network_config": {"base_url": "http://10.0.0.10:8000/v1"}}"#;
        listed.put(path, elsewhere).await.problem(400);
    }

    async fn envoy_is_told_where_a_provider_must_not_be(db: Db) {
        let api = Api::with_config(db, |config| {
            config.private_networks = "10.20.0.0/16".parse().unwrap();
        })
        .await;
        api.post(PROVIDERS, OPENAI).await.ok(201);
        let mine = r#"{"name": "vllm", "network_config": {"base_url": "http://10.20.0.7/v1",
            "allow_private_network": true}}"#;
        api.post(PROVIDERS, mine).await.ok(201);
        let providers = input(&api).await.providers;
        let of = |providers: &[reeve_xds::Provider], name: &str| {
            let mut found = providers.iter().filter(|provider| provider.name == name);
            found.next().unwrap().egress.clone()
        };
        let network = |text: &str, bits: u8| (text.parse::<IpAddr>().unwrap(), bits);
        let ten = network("10.0.0.0", 8);
        let by_name = of(&providers, "openai");
        for forbidden in [network("169.254.0.0", 16), network("::ffff:0.0.0.0", 96)] {
            assert!(by_name.forbidden.contains(&forbidden), "{forbidden:?}");
        }
        for private in [network("127.0.0.0", 8), ten, network("fc00::", 7)] {
            assert!(by_name.private.contains(&private), "{private:?}");
        }
        let by_address = of(&providers, "vllm");
        assert_eq!(by_address.forbidden, by_name.forbidden);
        assert!(!by_address.private.contains(&ten));
        // Whoever runs the control plane takes the network out of the list.
        let strict = Api::new(api.app.db.clone()).await;
        assert!(of(&input(&strict).await.providers, "vllm").private.contains(&ten));
    }
}
