//! What can go wrong with the database.

/// A database error. Only [`Error::Unique`] is ever turned into an answer about the caller's input
/// (by a `store.rs`); everything else is a fault of ours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A unique constraint refused a row. The name is `<table>_<column>_key` on every database.
    #[error("unique constraint {constraint} violated")]
    Unique {
        /// Name of the constraint.
        constraint: String,
    },
    /// Another writer held the database for longer than we wait, or no connection became free.
    #[error("database is busy")]
    Busy(#[source] sqlx::Error),
    /// A stored value is not what this program writes.
    #[error("stored {what} is not understood: {reason}")]
    Corrupt {
        /// What was read, e.g. `limits.period`.
        what: &'static str,
        /// Why it is not understood.
        reason: String,
    },
    /// The schema could not be brought up to date.
    #[error("migration failed: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Anything else the driver reports.
    #[error(transparent)]
    Driver(sqlx::Error),
}

impl Error {
    /// A stored value that cannot be read back.
    pub fn corrupt(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt {
            what,
            reason: reason.to_string(),
        }
    }

    /// Whether this is the violation of the named unique constraint.
    pub fn violates(&self, name: &str) -> bool {
        matches!(self, Self::Unique { constraint } if constraint == name)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if inner.is_unique_violation() => {
                let constraint = match inner.constraint() {
                    Some(name) => name.to_owned(),
                    None => sqlite_constraint(inner.message()),
                };
                Self::Unique { constraint }
            }
            sqlx::Error::Database(inner) if is_busy(inner.code().as_deref()) => Self::Busy(error),
            sqlx::Error::PoolTimedOut => Self::Busy(error),
            _ => Self::Driver(error),
        }
    }
}

/// `SQLite` names the columns, not the constraint: `UNIQUE constraint failed: teams.name`. The name
/// that `PostgreSQL` gives such a constraint is made from the same parts.
fn sqlite_constraint(message: &str) -> String {
    let columns = message
        .rsplit_once(": ")
        .map_or(message, |(_, columns)| columns);
    let mut name = String::new();
    for (position, column) in columns.split(", ").enumerate() {
        let (table, column) = column.split_once('.').unwrap_or(("", column));
        if position == 0 {
            name.push_str(table);
        }
        name.push('_');
        name.push_str(column);
    }
    name.push_str("_key");
    name
}

/// `SQLITE_BUSY`, and PostgreSQL's `lock_not_available`.
fn is_busy(code: Option<&str>) -> bool {
    matches!(code, Some("5" | "261" | "517" | "55P03"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constraint_is_named_as_postgresql_names_it() {
        assert_eq!(
            sqlite_constraint("UNIQUE constraint failed: teams.name"),
            "teams_name_key"
        );
        assert_eq!(
            sqlite_constraint("UNIQUE constraint failed: t.a, t.b"),
            "t_a_b_key"
        );
    }
}
