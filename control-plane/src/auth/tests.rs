//! Who gets in, through the router.

use axum::body::Body;
use axum::http::{Method, Request, header};

use super::admin_token;
use crate::db::testing::on_every_database;
use crate::router;
use crate::testing::{Api, TOKEN, request};

/// A request without a login.
fn anonymous(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::from("{}")).unwrap()
}

/// Every documented operation, with its path's parameters filled in.
fn operations() -> Vec<(Method, String)> {
    let document = serde_json::to_value(router::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            operations.push((method, path.replace(['{', '}'], "x")));
        }
    }
    assert!(operations.len() >= 18, "{operations:?}");
    operations
}

on_every_database! {
    async fn every_operation_needs_a_login(db: Db) {
        let api = Api::new(db).await;
        let mut paths = operations();
        paths.push((Method::GET, "/api/openapi.json".into()));
        for (method, path) in paths {
            // Neither the body nor anything else is looked at first.
            let answer = api.send(anonymous(method.clone(), &path, &[])).await;
            assert_eq!(answer.status.as_u16(), 401, "{method} {path}");
            answer.problem(401);
            assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"reeve\"");
            let wrong = [("authorization", "Bearer sk-rv-admin-wrong")];
            let answer = api.send(anonymous(method.clone(), &path, &wrong)).await;
            assert_eq!(answer.status.as_u16(), 401, "{method} {path}");
        }
    }

    async fn a_token_must_come_once_and_as_a_bearer(db: Db) {
        let api = Api::new(db).await;
        let good = format!("Bearer {TOKEN}");
        let lower = format!("bearer {TOKEN}");
        let basic = format!("Basic {TOKEN}");
        let longer = format!("Bearer {TOKEN}x");
        for (headers, status) in [
            (vec![("authorization", good.as_str())], 200),
            (vec![("authorization", lower.as_str())], 200),
            (vec![("authorization", TOKEN)], 401),
            (vec![("authorization", basic.as_str())], 401),
            (vec![("authorization", longer.as_str())], 401),
            (vec![("authorization", good.as_str()), ("authorization", good.as_str())], 401),
            (vec![("x-api-key", TOKEN)], 401),
        ] {
            let answer = api.send(anonymous(Method::GET, "/api/config", &headers)).await;
            assert_eq!(answer.status.as_u16(), status, "{headers:?}");
        }
    }

    async fn the_first_token_is_made_once_and_only_its_digest_is_kept(db: Db) {
        let api = Api::with_config(db, |config| config.admin_token = None).await;
        let token = admin_token::ensure(&api.app).await.unwrap().unwrap();
        assert!(token.expose().starts_with("sk-rv-admin-"));
        assert_eq!(token.expose().len(), 62);
        assert!(admin_token::ensure(&api.app).await.unwrap().is_none());

        let bearer = format!("Bearer {}", token.expose());
        let headers = [("authorization", bearer.as_str())];
        let answer = api.send(anonymous(Method::GET, "/api/config", &headers)).await;
        answer.ok(200);
        // The token of other tests is none here.
        api.get("/api/config").await.problem(401);

        let mut tx = api.app.db.begin_read().await.unwrap();
        let (digest,): (Vec<u8>,) =
            tx.query("SELECT digest FROM admin_tokens").fetch_one().await.unwrap();
        assert_eq!(digest.len(), 32);
    }

    async fn dev_mode_needs_no_login_but_a_local_caller(db: Db) {
        let api = Api::with_config(db, |config| config.dev = true).await;
        assert!(admin_token::ensure(&api.app).await.unwrap().is_none());
        let local = ("host", "localhost:8080");
        api.send(anonymous(Method::GET, "/api/config", &[local])).await.ok(200);
        let rebound = [("host", "evil.example:8080")];
        api.send(anonymous(Method::GET, "/api/config", &rebound)).await.problem(403);
        let form = [local, ("content-type", "text/plain")];
        api.send(anonymous(Method::PUT, "/api/config", &form)).await.problem(415);
        let foreign = [local, ("origin", "https://evil.example")];
        api.send(anonymous(Method::GET, "/api/config", &foreign)).await.problem(403);
    }

    async fn health_needs_no_login(db: Db) {
        let api = Api::new(db).await;
        assert_eq!(api.send(anonymous(Method::GET, "/healthz", &[])).await.text, "ok\n");
        api.send(anonymous(Method::GET, "/readyz", &[])).await.problem(503);
        api.app.set_policy_published();
        assert_eq!(api.send(anonymous(Method::GET, "/readyz", &[])).await.text, "ready\n");
    }

    async fn an_administrator_is_let_in(db: Db) {
        let api = Api::new(db).await;
        api.send(request(Method::GET, "/api/openapi.json", None)).await.ok(200);
    }
}
