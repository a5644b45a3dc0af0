//! Tokens from an endpoint on this machine to what Envoy is configured with.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use reeve_xds::{Credential, Key};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::refresher::once;
use crate::ads;
use crate::db::Db;
use crate::db::testing::on_every_database;
use crate::testing::Api;

/// A token endpoint, which numbers its tokens. They live for a hundred seconds.
#[derive(Default)]
struct Endpoint {
    asked: AtomicUsize,
    forms: Mutex<Vec<String>>,
    /// 0: well.
    failing_with: AtomicU16,
}

async fn token(State(of): State<Arc<Endpoint>>, form: String) -> (StatusCode, String) {
    let number = of.asked.fetch_add(1, Ordering::Relaxed) + 1;
    of.forms.lock().unwrap().push(form);
    match StatusCode::from_u16(of.failing_with.load(Ordering::Relaxed)) {
        Ok(status) => (
            status,
            json!({"error": "invalid_client", "secret": "planted"}).to_string(),
        ),
        Err(_) => {
            let answer = json!({
                "token_type": "Bearer", "expires_in": 100, "access_token": format!("token-{number}"),
            });
            (StatusCode::OK, answer.to_string())
        }
    }
}

impl Endpoint {
    async fn start() -> (Arc<Self>, String) {
        let endpoint = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = axum::Router::new()
            .route("/tenant-1/oauth2/v2.0/token", post(token))
            .with_state(Arc::clone(&endpoint));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (endpoint, url)
    }
}

/// A control plane that may ask on its own networks, with a provider whose key needs tokens.
async fn plane(db: Db, authority: &str) -> Api {
    let networks = "127.0.0.1".parse().unwrap();
    let api = Api::with_config(db, |config| config.private_networks = networks).await;
    let body = json!({
        "name": "azure",
        "network_config": {"base_url": "https://x.openai.azure.com/openai/v1", "allow_private_network": true},
        "keys": [{"azure_key_config": {
            "client_id": "client-1",
            "client_secret": "planted-secret-1234",
            "tenant_id": "tenant-1",
            "authority_host": authority,
        }}],
    });
    let made = api.post("/api/providers", &body.to_string()).await;
    assert_eq!(made.ok(201)["provider"]["status"], "no_token");
    assert!(!made.text.contains("planted"), "{}", made.text);
    api
}

/// What requests carry.
async fn carried(api: &Api) -> Option<Credential> {
    let mut tx = api.app.db.begin_read().await.unwrap();
    let input = ads::load::input(&mut tx, &api.app).await.unwrap();
    input.providers.into_iter().next()?.credential
}

fn bearer(token: &str) -> Credential {
    Credential::Header {
        header: "authorization",
        openai_side: None,
        prefix: "Bearer ",
        key: Key::new(token),
    }
}

async fn provider(api: &Api) -> Value {
    let answer = api.get("/api/providers/azure").await;
    assert!(!answer.text.contains("planted"), "{}", answer.text);
    answer.ok(200)["provider"].clone()
}

on_every_database! {
    async fn a_token_is_got_and_replaced_before_it_ends(db: Db) {
        let (endpoint, url) = Endpoint::start().await;
        let api = plane(db, &url).await;
        assert_eq!(carried(&api).await, None);
        once(&api.app).await.unwrap();
        assert_eq!(carried(&api).await, Some(bearer("token-1")));
        assert_eq!(provider(&api).await["status"], "ready");
        let form = endpoint.forms.lock().unwrap()[0].clone();
        assert_eq!(
            form,
            "grant_type=client_credentials&client_id=client-1&client_secret=planted-secret-1234\
             &scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
        );
        let revision = api.app.tokens.revision();
        api.advance(Duration::from_secs(69));
        once(&api.app).await.unwrap();
        assert_eq!(endpoint.asked.load(Ordering::Relaxed), 1);
        api.advance(Duration::from_secs(12));
        once(&api.app).await.unwrap();
        assert_eq!(carried(&api).await, Some(bearer("token-2")));
        assert!(api.app.tokens.revision() > revision, "Envoy is to be told");
    }

    async fn an_endpoint_that_is_down_leaves_the_token_to_its_end_and_is_told(db: Db) {
        let (endpoint, url) = Endpoint::start().await;
        let api = plane(db, &url).await;
        once(&api.app).await.unwrap();
        endpoint.failing_with.store(401, Ordering::Relaxed);
        api.advance(Duration::from_secs(81));
        once(&api.app).await.unwrap();
        assert_eq!(carried(&api).await, Some(bearer("token-1")));
        let shown = provider(&api).await;
        assert_eq!(shown["status"], "ready");
        assert_eq!(
            shown["keys"][0]["token"]["error"],
            "the token endpoint answered 401: `invalid_client`"
        );
        let revision = api.app.tokens.revision();
        api.advance(Duration::from_secs(19));
        once(&api.app).await.unwrap();
        assert_eq!(carried(&api).await, None);
        assert!(api.app.tokens.revision() > revision, "Envoy is to be told");
        let shown = provider(&api).await;
        assert_eq!((&shown["status"], &shown["keys"][0]["token"]["expires_at"]), (&json!("no_token"), &Value::Null));
        // It comes back.
        endpoint.failing_with.store(0, Ordering::Relaxed);
        api.advance(Duration::from_secs(100));
        once(&api.app).await.unwrap();
        let asked = endpoint.asked.load(Ordering::Relaxed);
        assert_eq!(carried(&api).await, Some(bearer(&format!("token-{asked}"))));
        let token = provider(&api).await["keys"][0]["token"].clone();
        assert_eq!(token["error"], Value::Null);
    }

    async fn another_secret_is_asked_with_at_once_and_a_deleted_key_is_forgotten(db: Db) {
        let (endpoint, url) = Endpoint::start().await;
        let api = plane(db, &url).await;
        once(&api.app).await.unwrap();
        let id = provider(&api).await["keys"][0]["id"].as_str().unwrap().to_owned();
        let path = format!("/api/providers/azure/keys/{id}");
        let change = json!({"azure_key_config": {
            "client_id": "client-1", "client_secret": "planted-another", "tenant_id": "tenant-1",
            "authority_host": url,
        }});
        api.put(&path, &change.to_string()).await.ok(200);
        assert_eq!(carried(&api).await, Some(bearer("token-1")), "until there is one for it");
        once(&api.app).await.unwrap();
        assert_eq!(carried(&api).await, Some(bearer("token-2")));
        assert!(endpoint.forms.lock().unwrap()[1].contains("planted-another"));
        api.delete(&path).await.ok(200);
        once(&api.app).await.unwrap();
        assert!(api.app.tokens.with(|held| held.is_empty()));
    }

    async fn a_token_is_asked_for_nowhere_that_a_provider_may_not_be(db: Db) {
        let (endpoint, url) = Endpoint::start().await;
        let api = plane(db, &url).await;
        let mut config = json!({
            "client_id": "c", "client_secret": "planted-secret", "tenant_id": "t",
        });
        for authority in [
            "http://169.254.169.254",
            "http://10.0.0.1",
            "http://login.example.com",
            "https://u:p@login.example.com",
            "login.example.com",
        ] {
            config["authority_host"] = json!(authority);
            let body = json!({"azure_key_config": config}).to_string();
            let answer = api.post("/api/providers/azure/keys", &body).await;
            assert_eq!(answer.problem(400), "azure_key_config.authority_host", "{authority}");
        }
        // It was admitted when it was written, and is no more.
        let body = r#"{"network_config": {"allow_private_network": false}}"#;
        api.put("/api/providers/azure", body).await.ok(200);
        once(&api.app).await.unwrap();
        assert_eq!(endpoint.asked.load(Ordering::Relaxed), 0);
        let error = provider(&api).await["keys"][0]["token"]["error"].clone();
        assert!(error.as_str().unwrap().contains("private network"), "{error}");
    }
}
