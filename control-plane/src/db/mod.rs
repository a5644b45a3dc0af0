//! The database: `SQLite` embedded, or `PostgreSQL` for several replicas, behind one SQL text.
//!
//! This folder is the only place that names a driver. What differs between the two goes through
//! [`Db::begin_write`], [`Db::begin_read`] and the two folders of migrations; no other code may ask
//! which database it has.
//!
//! Column conventions: ids `TEXT`, times `BIGINT` milliseconds since the Unix epoch, money `BIGINT`
//! nano-dollars, truth values `BOOLEAN`, digests `BLOB`/`BYTEA`, lists `TEXT` holding JSON. A sum is
//! written `CAST(SUM(x) AS BIGINT)`, because `PostgreSQL` widens it.

mod error;
mod list;
mod migrate;
mod query;
#[cfg(test)]
pub mod testing;
mod values;

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, Postgres};
use sqlx::sqlite::{
    Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

pub use error::Error;
pub use list::{list, list_text};
pub use query::{Bind, Query, Record};
pub use values::{Statement, Values};

use crate::config::DatabaseUrl;

/// How long a writer waits for another, and a caller for a free connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// Readers of the embedded database; WAL lets them work beside the writer.
const SQLITE_READERS: u32 = 4;
/// Pages (of 4 KiB) in the log before they are moved to the database. A page that changes again and again
/// is moved once; what is in the log is read again at the next start, which takes some ten milliseconds.
const SQLITE_CHECKPOINT: &str = "4000";
/// KiB, negative: enough for the indexes that a new record is entered into at random places.
const SQLITE_WRITER_CACHE: &str = "-32768";
const POSTGRES_CONNECTIONS: u32 = 16;
/// The advisory lock that makes writers of all replicas take turns ("reeve" in ASCII).
const WRITE_LOCK: i64 = 0x0072_6565_7665;

/// A handle to the database; clones share the connections.
#[derive(Clone)]
pub enum Db {
    /// Embedded.
    Sqlite {
        /// One connection: `SQLite` has one writer, so waiting happens here and in order.
        writer: SqlitePool,
        /// Connections that cannot write.
        readers: SqlitePool,
    },
    /// A server.
    Postgres(PgPool),
}

/// A transaction. Dropped without [`Tx::commit`], it leaves nothing behind.
pub enum Tx {
    /// On the embedded database.
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    /// On a server.
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Db {
    /// Connects and brings the schema up to date.
    pub async fn open(url: &DatabaseUrl) -> Result<Self, Error> {
        let db = match url {
            DatabaseUrl::Sqlite(path) => Self::open_sqlite(path).await?,
            DatabaseUrl::Postgres(url) => {
                let options: PgConnectOptions = url.expose().parse()?;
                Self::open_postgres(options).await?
            }
        };
        migrate::run(&db).await?;
        Ok(db)
    }

    async fn open_sqlite(path: &Path) -> Result<Self, Error> {
        create_private(path).map_err(sqlx::Error::Io)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit that was acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_with(options.clone().pragma("cache_size", SQLITE_WRITER_CACHE))
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self::Sqlite { writer, readers })
    }

    async fn open_postgres(options: PgConnectOptions) -> Result<Self, Error> {
        // The pool would try until its patience ends, and then say that it timed out. One attempt
        // says at once what is wrong.
        PgConnection::connect_with(&options).await?.close().await?;
        let lock_timeout = format!("{}ms", PATIENCE.as_millis());
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options.options([("lock_timeout", lock_timeout)]))
            .await?;
        Ok(Self::Postgres(pool))
    }

    /// A transaction that may write. Writers take turns, across replicas too: what one reads here
    /// nobody changes before it commits.
    pub async fn begin_write(&self) -> Result<Tx, Error> {
        match self {
            Self::Sqlite { writer, .. } => {
                Ok(Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?))
            }
            Self::Postgres(pool) => {
                let mut tx = Tx::Postgres(pool.begin().await?);
                tx.query("SELECT pg_advisory_xact_lock($1)")
                    .bind(WRITE_LOCK)
                    .execute()
                    .await?;
                Ok(tx)
            }
        }
    }

    /// A transaction that reads one consistent state and cannot write.
    pub async fn begin_read(&self) -> Result<Tx, Error> {
        match self {
            Self::Sqlite { readers, .. } => Ok(Tx::Sqlite(readers.begin().await?)),
            Self::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Ok(Tx::Postgres(pool.begin_with(begin).await?))
            }
        }
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        let mut tx = self.begin_read().await?;
        tx.query("SELECT 1").execute().await?;
        Ok(())
    }

    /// Waits for running statements and closes every connection.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// Makes the file if it is missing, for its owner's eyes only; `SQLite` gives the files beside it the
/// same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map(drop)
}

impl Tx {
    /// A statement to bind values to and run. The text is a literal: values are bound, never pasted.
    pub fn query(&mut self, sql: &'static str) -> Query<'_> {
        match self {
            Self::Sqlite(tx) => Query::sqlite(tx, sql),
            Self::Postgres(tx) => Query::postgres(tx, sql),
        }
    }

    /// A statement for a run of rows ([`Values::runs`]): their values are bound in order.
    pub fn values(&mut self, statement: &'static Statement) -> Query<'_> {
        match self {
            Self::Sqlite(tx) => Query::sqlite(tx, &statement.unnumbered),
            Self::Postgres(tx) => Query::postgres(tx, &statement.numbered),
        }
    }

    /// Makes it so.
    pub async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
