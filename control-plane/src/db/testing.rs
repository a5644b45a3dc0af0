//! Every test of a store runs on both databases.
//!
//! ```ignore
//! on_every_database! {
//!     async fn a_name_is_taken_once(db: Db) { … }
//! }
//! ```
//! makes the tests `a_name_is_taken_once::sqlite` and `a_name_is_taken_once::postgres`. The
//! `PostgreSQL` server comes from `REEVE_TEST_POSTGRES_URL` (a superuser's URL; `make unit` starts a
//! server and sets it). Without it the `PostgreSQL` half fails: a test that is skipped in silence is
//! a test that nobody runs.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use super::{Db, migrate};

/// Runs a test on a new embedded database.
pub async fn with_sqlite<F: Future<Output = ()>>(behaviour: impl FnOnce(Db) -> F) {
    with_empty_sqlite(|db| migrated(db, behaviour)).await;
}

/// Runs a test on a new database of the server, and drops it whatever the outcome.
pub async fn with_postgres<F: Future<Output = ()>>(behaviour: impl FnOnce(Db) -> F) {
    with_empty_postgres(|db| migrated(db, behaviour)).await;
}

async fn migrated<F: Future<Output = ()>>(db: Db, behaviour: impl FnOnce(Db) -> F) {
    migrate::run(&db).await.unwrap();
    behaviour(db).await;
}

/// [`with_sqlite`] without tables.
pub async fn with_empty_sqlite<F: Future<Output = ()>>(behaviour: impl FnOnce(Db) -> F) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("reeve.db");
    let db = Db::open_sqlite(&path).await.unwrap();
    behaviour(db.clone()).await;
    db.close().await;
}

/// [`with_postgres`] without tables.
pub async fn with_empty_postgres<F: Future<Output = ()>>(behaviour: impl FnOnce(Db) -> F) {
    let server = postgres_server();
    let name = format!("reeve_test_{}", uuid::Uuid::now_v7().simple());
    let mut admin = PgConnection::connect_with(&server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut admin)
        .await
        .unwrap();

    let db = Db::open_postgres(server.database(&name)).await.unwrap();
    let outcome = AssertUnwindSafe(behaviour(db.clone())).catch_unwind().await;

    db.close().await;
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
        .execute(&mut admin)
        .await
        .unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test server's address is no configuration"
)]
fn postgres_server() -> PgConnectOptions {
    let url = std::env::var("REEVE_TEST_POSTGRES_URL").expect(
        "REEVE_TEST_POSTGRES_URL is not set: run `make unit`, which starts a PostgreSQL server, \
         or set it to the URL of a server on which databases may be created",
    );
    url.parse()
        .expect("REEVE_TEST_POSTGRES_URL must be a postgres:// URL")
}

/// Turns `async fn name(db: Db) { … }` into the tests `name::sqlite` and `name::postgres`.
macro_rules! on_every_database {
    ($($(#[$attribute:meta])* async fn $name:ident($db:ident: Db) $behaviour:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$attribute])*
            async fn behaviour($db: $crate::db::Db) $behaviour

            #[tokio::test]
            async fn sqlite() {
                $crate::db::testing::with_sqlite(behaviour).await;
            }

            #[tokio::test]
            async fn postgres() {
                $crate::db::testing::with_postgres(behaviour).await;
            }
        }
    )*};
}
pub(crate) use on_every_database;
