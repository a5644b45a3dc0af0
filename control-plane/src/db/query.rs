//! One SQL text for both databases.
//!
//! A value that can be bound must be encodable for both drivers, a record must be readable from
//! both. The bounds are supertraits of [`Bind`] and [`Record`], because the compiler takes
//! supertraits for granted where a trait is used; `where` clauses it does not.

use sqlx::encode::Encode;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::types::Type;
use sqlx::{Arguments as _, FromRow};

use super::Error;

/// A value that both drivers can send.
pub trait Bind<'v>:
    Encode<'v, Sqlite> + Type<Sqlite> + Encode<'v, Postgres> + Type<Postgres> + Send
{
}

impl<'v, T> Bind<'v> for T where
    T: Encode<'v, Sqlite> + Type<Sqlite> + Encode<'v, Postgres> + Type<Postgres> + Send
{
}

/// A row that both drivers can deliver: `#[derive(sqlx::FromRow)]`, or a tuple.
pub trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// A statement on its way. Placeholders are `$1`, `$2`, …
#[must_use = "a query does nothing until it is executed or fetched"]
pub struct Query<'t>(Prepared<'t>);

enum Prepared<'t> {
    Sqlite(On<'t, SqliteConnection, SqliteArguments>),
    Postgres(On<'t, PgConnection, PgArguments>),
}

struct On<'t, C, A> {
    connection: &'t mut C,
    sql: &'static str,
    /// The first value that could not be encoded is reported when the statement is executed.
    arguments: Result<A, Error>,
}

impl<'t> Query<'t> {
    pub(super) fn sqlite(connection: &'t mut SqliteConnection, sql: &'static str) -> Self {
        Self(Prepared::Sqlite(On {
            connection,
            sql,
            arguments: Ok(SqliteArguments::default()),
        }))
    }

    pub(super) fn postgres(connection: &'t mut PgConnection, sql: &'static str) -> Self {
        Self(Prepared::Postgres(On {
            connection,
            sql,
            arguments: Ok(PgArguments::default()),
        }))
    }

    /// Binds the next placeholder.
    pub fn bind<'v>(mut self, value: impl Bind<'v>) -> Self {
        match &mut self.0 {
            Prepared::Sqlite(on) => add(&mut on.arguments, |arguments| arguments.add(value)),
            Prepared::Postgres(on) => add(&mut on.arguments, |arguments| arguments.add(value)),
        }
        self
    }

    /// Runs the statement; the number of rows it touched.
    pub async fn execute(self) -> Result<u64, Error> {
        Ok(match self.0 {
            Prepared::Sqlite(on) => sqlx::query_with(on.sql, on.arguments?)
                .execute(on.connection)
                .await?
                .rows_affected(),
            Prepared::Postgres(on) => sqlx::query_with(on.sql, on.arguments?)
                .execute(on.connection)
                .await?
                .rows_affected(),
        })
    }

    /// The one row that there must be.
    pub async fn fetch_one<T: Record>(self) -> Result<T, Error> {
        Ok(match self.0 {
            Prepared::Sqlite(on) => {
                sqlx::query_as_with(on.sql, on.arguments?)
                    .fetch_one(on.connection)
                    .await?
            }
            Prepared::Postgres(on) => {
                sqlx::query_as_with(on.sql, on.arguments?)
                    .fetch_one(on.connection)
                    .await?
            }
        })
    }

    /// The row, if there is one.
    pub async fn fetch_optional<T: Record>(self) -> Result<Option<T>, Error> {
        Ok(match self.0 {
            Prepared::Sqlite(on) => {
                sqlx::query_as_with(on.sql, on.arguments?)
                    .fetch_optional(on.connection)
                    .await?
            }
            Prepared::Postgres(on) => {
                sqlx::query_as_with(on.sql, on.arguments?)
                    .fetch_optional(on.connection)
                    .await?
            }
        })
    }

    /// Every row.
    pub async fn fetch_all<T: Record>(self) -> Result<Vec<T>, Error> {
        Ok(match self.0 {
            Prepared::Sqlite(on) => {
                sqlx::query_as_with(on.sql, on.arguments?)
                    .fetch_all(on.connection)
                    .await?
            }
            Prepared::Postgres(on) => {
                sqlx::query_as_with(on.sql, on.arguments?)
                    .fetch_all(on.connection)
                    .await?
            }
        })
    }
}

fn add<A>(
    arguments: &mut Result<A, Error>,
    encode: impl FnOnce(&mut A) -> Result<(), sqlx::error::BoxDynError>,
) {
    let Ok(collected) = arguments else { return };
    if let Err(error) = encode(collected) {
        *arguments = Err(Error::Driver(sqlx::Error::Encode(error)));
    }
}
