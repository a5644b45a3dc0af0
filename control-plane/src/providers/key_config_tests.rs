//! Keys that are made of parts, through the router, down to what Envoy is configured with.

use reeve_xds::{AwsKey, Credential, Key};
use serde_json::{Value, json};

use super::tests::{OPENAI, PROVIDERS, input};
use crate::db::testing::on_every_database;
use crate::testing::Api;

const KEYS: &str = "/api/providers/bedrock/keys";

fn bedrock() -> Value {
    json!({"name": "bedrock", "network_config": {"base_url": "https://bedrock-runtime.eu-central-1.amazonaws.com"}})
}

fn access_key() -> Value {
    json!({
        "access_key": "AKIAIOSFODNN7EXAMPLE",
        "secret_key": "planted/secret+\"key\\",
        "session_token": "planted-token",
        "region": "eu-central-1",
    })
}

async fn credential(api: &Api) -> Option<Credential> {
    input(api).await.providers.remove(0).credential
}

on_every_database! {
    async fn an_access_key_signs_and_is_never_shown_nor_stored_in_the_clear(db: Db) {
        let api = Api::new(db).await;
        let mut body = bedrock();
        body["keys"] = json!([{"bedrock_key_config": access_key()}]);
        let made = api.post(PROVIDERS, &body.to_string()).await;
        let key = made.ok(201)["provider"]["keys"][0].clone();
        assert_eq!(made.json["provider"]["status"], "ready");
        assert_eq!(key["last4"], "MPLE");
        assert_eq!(key["bedrock_key_config"], json!({"region": "eu-central-1"}));
        let signs = |secret_key, session_token: Option<&str>| Some(Credential::Aws(AwsKey {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: Key::new(secret_key),
            session_token: session_token.map(Key::new),
            region: "eu-central-1".to_owned(),
        }));
        assert_eq!(credential(&api).await, signs("planted/secret+\"key\\", Some("planted-token")));

        let path = format!("{KEYS}/{}", key["id"].as_str().unwrap());
        let mut rotated = access_key();
        rotated["secret_key"] = json!("planted-another");
        rotated["session_token"] = Value::Null;
        let change = json!({"bedrock_key_config": rotated}).to_string();
        for answer in [
            made,
            api.put(&path, &change).await,
            api.put(&path, r#"{"weight": 2}"#).await,
            api.get(&path).await,
            api.get(KEYS).await,
            api.get(PROVIDERS).await,
        ] {
            assert!(!answer.text.contains("planted"), "{}", answer.text);
            assert!(!answer.text.contains("AKIA"), "{}", answer.text);
        }
        assert_eq!(credential(&api).await, signs("planted-another", None));
        let mut tx = api.app.db.begin_read().await.unwrap();
        let stored: (String, String) = tx
            .query("SELECT sealed_value, config FROM provider_keys")
            .fetch_one()
            .await
            .unwrap();
        assert!(!format!("{stored:?}").contains("planted"));
        assert_eq!(stored.1, r#"{"bedrock":{"region":"eu-central-1"}}"#);
    }

    async fn a_key_can_become_a_value_and_an_access_key_again(db: Db) {
        let api = Api::new(db).await;
        let mut body = bedrock();
        body["keys"] = json!([{"bedrock_key_config": access_key()}]);
        let made = api.post(PROVIDERS, &body.to_string()).await;
        let id = made.ok(201)["provider"]["keys"][0]["id"].as_str().unwrap().to_owned();
        let path = format!("{KEYS}/{id}");
        let changed = api.put(&path, r#"{"value": "bedrock-api-key-1234"}"#).await;
        let key = changed.ok(200)["key"].clone();
        assert_eq!((&key["last4"], key.get("bedrock_key_config")), (&json!("1234"), None));
        let bearer = Credential::Header {
            header: "authorization",
            openai_side: None,
            prefix: "Bearer ",
            key: Key::new("bedrock-api-key-1234"),
        };
        assert_eq!(credential(&api).await, Some(bearer));
        let change = json!({"bedrock_key_config": access_key()}).to_string();
        api.put(&path, &change).await.ok(200);
        assert!(matches!(credential(&api).await, Some(Credential::Aws(_))));
    }

    async fn an_access_key_is_for_bedrock_alone(db: Db) {
        let api = Api::new(db).await;
        api.post(PROVIDERS, OPENAI).await.ok(201);
        let key = json!({"bedrock_key_config": access_key()}).to_string();
        let answer = api.post("/api/providers/openai/keys", &key).await;
        assert_eq!(answer.problem(400), "bedrock_key_config");

        let mut body = bedrock();
        body["name"] = json!("aws-eu");
        body["custom_provider_config"] = json!({"base_provider_type": "bedrock"});
        body["keys"] = json!([{"bedrock_key_config": access_key()}]);
        api.post(PROVIDERS, &body.to_string()).await.ok(201);
        let kind = r#"{"custom_provider_config": {"base_provider_type": "openai"}}"#;
        let answer = api.put("/api/providers/aws-eu", kind).await;
        assert_eq!(answer.problem(400), "custom_provider_config.base_provider_type");
    }

    async fn a_service_account_or_an_application_that_gets_no_token_is_refused(db: Db) {
        let api = Api::new(db).await;
        let vertex = json!({
            "name": "vertex",
            "custom_provider_config": {"base_provider_type": "gemini"},
            "network_config": {"base_url": "https://europe-west4-aiplatform.googleapis.com/v1"},
        });
        api.post(PROVIDERS, &vertex.to_string()).await.ok(201);
        api.post(PROVIDERS, OPENAI).await.ok(201);
        let keys = "/api/providers/vertex/keys";
        let file = |kind: &str, private_key: &str| json!({
            "type": kind, "private_key": private_key, "private_key_id": "planted",
            "client_email": "reeve@example.com",
        }).to_string();
        let empty = "-----BEGIN PRIVATE KEY-----\nplanted\n-----END PRIVATE KEY-----\n";
        for credentials in [
            Value::Null,
            json!("planted"),
            json!("{}"),
            json!(file("authorized_user", empty)),
            json!(file("service_account", empty)),
            json!(file("service_account", "planted")),
        ] {
            let body = json!({"vertex_key_config": {"auth_credentials": credentials}}).to_string();
            let answer = api.post(keys, &body).await;
            assert_eq!(answer.problem(400), "vertex_key_config.auth_credentials", "{body}");
            assert!(!answer.text.contains("planted"), "{}", answer.text);
        }
        let azure = json!({"client_id": "c", "client_secret": "planted", "tenant_id": "t"});
        for (part, value) in [
            ("client_id", Value::Null),
            ("client_id", json!("a/b")),
            ("client_secret", json!("")),
            ("tenant_id", json!("../t")),
            ("authority_host", json!("http://login.example.com")),
            ("scope", json!("a b")),
        ] {
            let mut config = azure.clone();
            config[part] = value;
            let body = json!({"azure_key_config": config}).to_string();
            let answer = api.post(keys, &body).await;
            assert_eq!(answer.problem(400), format!("azure_key_config.{part}"), "{body}");
            assert!(!answer.text.contains("planted"), "{}", answer.text);
        }
        // Each for its own kind of provider, and one at a time.
        let body = json!({"azure_key_config": azure}).to_string();
        assert_eq!(api.post(keys, &body).await.problem(400), "azure_key_config");
        let body = json!({"azure_key_config": azure, "bedrock_key_config": access_key()});
        api.post(keys, &body.to_string()).await.problem(400);
    }

    async fn an_access_key_that_cannot_sign_is_refused(db: Db) {
        let api = Api::new(db).await;
        api.post(PROVIDERS, &bedrock().to_string()).await.ok(201);
        for (part, value) in [
            ("access_key", Value::Null),
            ("access_key", json!("AKIA")),
            ("access_key", json!("AKIAIOSFODNN7/EXAMPLE")),
            ("secret_key", Value::Null),
            ("secret_key", json!("")),
            ("secret_key", json!("two words")),
            ("session_token", json!("two\nlines")),
            ("region", Value::Null),
            ("region", json!("eu/central")),
            ("region", json!("")),
        ] {
            let mut config = access_key();
            config[part] = value;
            let body = json!({"bedrock_key_config": config}).to_string();
            let answer = api.post(KEYS, &body).await;
            assert_eq!(answer.problem(400), format!("bedrock_key_config.{part}"), "{body}");
            assert!(!answer.text.contains("planted"), "{}", answer.text);
        }
        let both = json!({"value": "sk-1", "bedrock_key_config": access_key()}).to_string();
        assert_eq!(api.post(KEYS, &both).await.problem(400), "bedrock_key_config");
        let none = r#"{"bedrock_key_config": null}"#;
        assert_eq!(api.post(KEYS, none).await.problem(400), "bedrock_key_config");
        assert_eq!(api.post(KEYS, "{}").await.problem(400), "value");
        assert_eq!(api.get(KEYS).await.ok(200)["count"], 0);
    }
}
