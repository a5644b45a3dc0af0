//! The front door, for tests: requests go through the real router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::app::App;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::ledger;
use crate::router::router;
use crate::secrets::{SealingKey, Secret};
use crate::settings::{self, Settings};

/// The admin token of [`Api`].
pub const TOKEN: &str = "sk-rv-admin-for-tests-0123456789abcdefghij";
/// 2026-01-01T00:00:00Z, where the clock of [`Api`] starts.
pub const START_MS: i64 = 1_767_225_600_000;

/// The admin API on a database.
pub struct Api {
    /// What is behind the router.
    pub app: Arc<App>,
    router: Router,
    /// Removed with the value.
    pub data_dir: TempDir,
}

/// What a request was answered with.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `null` for a body that is not JSON.
    pub json: Value,
    pub text: String,
}

impl Api {
    /// A control plane that has just started on an empty database, governance on.
    pub async fn new(db: Db) -> Self {
        Self::with_config(db, |_| {}).await
    }

    /// The same with another configuration.
    pub async fn with_config(db: Db, change: impl FnOnce(&mut Config)) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let mut config = Config::from_env(&|_| None).unwrap();
        config.data_dir = data_dir.path().to_path_buf();
        config.admin_token = Some(Secret::new(TOKEN));
        change(&mut config);
        let app = App::new(
            config,
            db,
            Clock::manual(START_MS),
            SealingKey::new(&[7; 32]).unwrap(),
        );
        let mut tx = app.db.begin_write().await.unwrap();
        settings::store::initialise(&mut tx, &Settings::initial(true))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        tokio::spawn(ledger::run(Arc::clone(&app)));
        Self {
            router: router(Arc::clone(&app)),
            app,
            data_dir,
        }
    }

    /// Moves the clock.
    pub fn advance(&self, by: Duration) {
        self.app.clock.advance(by);
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, None)).await
    }

    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(request(Method::POST, path, Some(body))).await
    }

    pub async fn put(&self, path: &str, body: &str) -> Answer {
        self.send(request(Method::PUT, path, Some(body))).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, None)).await
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}

/// A request of an administrator.
pub fn request(method: Method, path: &str, body: Option<&str>) -> Request<Body> {
    let builder = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"));
    match body {
        Some(text) => builder
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(text.to_owned())),
        None => builder.body(Body::empty()),
    }
    .unwrap()
}

impl Answer {
    /// The answer is a problem with this status; the field it names, or "".
    #[track_caller]
    pub fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(
            self.headers[header::CONTENT_TYPE],
            "application/problem+json"
        );
        assert_eq!(self.json["status"], status);
        assert!(!self.json["detail"].as_str().unwrap().is_empty());
        assert_eq!(
            self.json["request_id"].as_str(),
            self.headers["x-request-id"].to_str().ok()
        );
        self.json["field"].as_str().unwrap_or_default()
    }

    /// The JSON of a success.
    #[track_caller]
    pub fn ok(&self, status: u16) -> &Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        &self.json
    }
}

/// Longer than anything here takes, on the slowest machine with other tests beside it.
pub const AGES: Duration = Duration::from_mins(1);

/// Waits for what happens at some time. What never does fails the test with words, and does not hang it.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(AGES, work).await;
    done.unwrap_or_else(|_| panic!("not within {AGES:?}: {what}"))
}

/// Looks again and again until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    in_time(what, looking).await;
}

/// Makes providers without going through their own rules.
pub async fn configure_providers(app: &App, names: &[&str]) {
    let mut tx = app.db.begin_write().await.unwrap();
    for name in names {
        tx.query(
            "INSERT INTO providers (name, base_provider_type, base_url, allow_private_network,
                                    is_key_less, created_at, updated_at)
             VALUES ($1, 'openai', 'https://llm.example/v1', FALSE, FALSE, 0, 0)",
        )
        .bind(*name)
        .execute()
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
}
