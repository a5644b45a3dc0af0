//! What holds for every URL.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request, header};

use super::openapi;
use crate::db::testing::on_every_database;
use crate::testing::{Api, TOKEN, request};

#[test]
fn the_openapi_document_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let current = format!("{}\n", openapi().to_pretty_json().unwrap());
    if update_wanted() {
        std::fs::write(path, &current).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == current,
        "control-plane/openapi.json is stale; refresh it with\n\n  \
         UPDATE_OPENAPI=1 cargo test -p reeve-control-plane openapi\n"
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "a switch of this test, not configuration"
)]
fn update_wanted() -> bool {
    std::env::var("UPDATE_OPENAPI").is_ok()
}

#[test]
fn every_operation_documents_a_summary_and_a_tag() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(operation["tags"][0].is_string(), "{method} {path}");
        }
    }
}

/// Types of the same name would be one schema: that of whichever came last.
#[test]
fn no_two_resources_document_the_same_request_body() {
    let document = serde_json::to_value(openapi()).unwrap();
    let mut owners = BTreeMap::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let body = "/requestBody/content/application~1json/schema/$ref";
            if let Some(schema) = operation.pointer(body) {
                let tag = &operation["tags"][0];
                assert_eq!(owners.entry(schema.to_string()).or_insert(tag), &tag);
            }
        }
    }
    assert!(owners.len() > 5, "{owners:?}");
}

on_every_database! {
    async fn what_is_not_there_is_a_problem(db: Db) {
        let api = Api::new(db).await;
        api.get("/api/nothing").await.problem(404);
        let answer = api.delete("/api/config").await;
        answer.problem(405);
        let allowed = answer.headers[header::ALLOW].to_str().unwrap();
        assert!(allowed.contains("GET") && allowed.contains("PUT"), "{allowed}");
    }

    async fn a_path_that_is_not_utf8_is_a_problem(db: Db) {
        let api = Api::new(db).await;
        api.get("/api/governance/virtual-keys/%ff").await.problem(400);
    }

    async fn every_answer_carries_the_callers_request_id_or_a_new_one(db: Db) {
        let api = Api::new(db).await;
        let with_id = |id: &str| {
            let mut request = request(Method::GET, "/api/config", None);
            request.headers_mut().insert("x-request-id", id.parse().unwrap());
            request
        };
        assert_eq!(api.send(with_id("abc-1")).await.headers["x-request-id"], "abc-1");
        let replaced = api.send(with_id("a b")).await;
        assert_eq!(replaced.headers["x-request-id"].len(), 36);
    }

    async fn a_body_must_be_declared_and_be_strict_json(db: Db) {
        let api = Api::new(db).await;
        let send = |content_type: Option<&str>, encoding: Option<&str>, body: Vec<u8>| {
            let mut builder = Request::builder()
                .method(Method::PUT)
                .uri("/api/config")
                .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
            if let Some(value) = content_type {
                builder = builder.header(header::CONTENT_TYPE, value);
            }
            if let Some(value) = encoding {
                builder = builder.header(header::CONTENT_ENCODING, value);
            }
            api.send(builder.body(Body::from(body)).unwrap())
        };
        let json = Some("application/json");
        let good = br#"{"client_config": {}}"#.to_vec();
        send(json, None, good.clone()).await.ok(200);
        send(Some("application/json; charset=utf-8"), None, good.clone()).await.ok(200);
        send(None, None, good.clone()).await.problem(415);
        send(Some("text/plain"), None, good.clone()).await.problem(415);
        send(json, Some("gzip"), good).await.problem(415);
        send(json, None, vec![b' '; 1024 * 1024 + 1]).await.problem(413);
        send(json, None, b"".to_vec()).await.problem(400);
        send(json, None, b"{\"client_config\":".to_vec()).await.problem(400);
        send(json, None, b"\xff\xfe".to_vec()).await.problem(400);
        let unknown = send(json, None, br#"{"client_config": {"x": 1}}"#.to_vec()).await;
        assert_eq!(unknown.problem(400), "client_config.x");
    }

    async fn a_fault_of_ours_tells_nothing_of_its_cause(db: Db) {
        let api = Api::new(db).await;
        let mut tx = api.app.db.begin_write().await.unwrap();
        tx.query("DROP TABLE settings").execute().await.unwrap();
        tx.commit().await.unwrap();
        let answer = api.get("/api/config").await;
        answer.problem(500);
        assert!(!answer.text.contains("settings"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_and_not_the_end() {
    use tower::ServiceExt as _;

    async fn handler() -> &'static str {
        panic!("a secret detail")
    }
    let router = axum::Router::new()
        .route("/", axum::routing::get(handler))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(
            super::panicked,
        ))
        .layer(axum::middleware::from_fn(crate::error::render));
    let request = Request::builder().uri("/").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 500);
    let body = axum::body::to_bytes(response.into_body(), 10_000)
        .await
        .unwrap();
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(
        text.contains("urn:reeve:problem:internal") && !text.contains("secret"),
        "{text}"
    );
}

on_every_database! {
    async fn an_answer_that_leaves_the_body_unread_says_that_the_connection_ends(db: Db) {
        let api = Api::new(db).await;
        let refused = api.post("/api/nothing", "{}").await;
        assert_eq!(refused.headers[header::CONNECTION], "close");
        let read = api.post("/api/governance/teams", r#"{"nonsense":1}"#).await;
        assert_eq!(read.status.as_u16(), 400);
        assert!(!read.headers.contains_key(header::CONNECTION));
    }
}
