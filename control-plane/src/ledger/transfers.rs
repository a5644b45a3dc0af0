//! SQL of transfers: every movement but usage.

use reeve_policy::lease::Session;

use super::Key;
use crate::db::{Error, Tx, Values};

/// What kind of movement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// From what is available to a session.
    Lend,
    /// Back from a session.
    Return,
    /// Taken from a session that is over.
    Release,
    /// Added by an administrator.
    TopUp,
    /// Forgiven by an administrator.
    Reset,
    /// Added by an administrator, for several windows.
    Override,
    /// That is over before its time.
    OverrideRemoved,
}

impl Kind {
    /// The word in the database.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Lend => "lend",
            Self::Return => "return",
            Self::Release => "release",
            Self::TopUp => "top_up",
            Self::Reset => "reset",
            Self::Override => "override",
            Self::OverrideRemoved => "override_removed",
        }
    }
}

/// A movement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub(super) kind: Kind,
    pub(super) key: &'a Key,
    /// `None`: it is not about one.
    pub(super) session: Option<Session>,
    pub(super) amount: i64,
    /// Who did it; `None`: the protocol.
    pub(super) actor: Option<&'a str>,
    /// What else is to be known.
    pub(super) reason: Option<&'a str>,
}

static INSERT: Values = Values::new(
    "INSERT INTO transfers (id, at, kind, limit_id, window_start_ms, session_id, amount, actor, reason)",
    9,
    "",
);

/// Stores movements.
pub(super) async fn insert(
    tx: &mut Tx,
    transfers: &[Transfer<'_>],
    now_ms: i64,
) -> Result<(), Error> {
    if transfers.is_empty() {
        return Ok(());
    }
    let (last,): (i64,) = tx
        .query("SELECT COALESCE(MAX(id), 0) FROM transfers")
        .fetch_one()
        .await?;
    let numbered: Vec<(i64, &Transfer<'_>)> = (last.saturating_add(1)..).zip(transfers).collect();
    for (statement, run) in INSERT.runs(&numbered) {
        let mut insert = tx.values(statement);
        for (id, transfer) in run {
            insert = insert
                .bind(*id)
                .bind(now_ms)
                .bind(transfer.kind.as_str())
                .bind(transfer.key.limit_id.as_str())
                .bind(transfer.key.window_start_ms)
                .bind(transfer.session)
                .bind(transfer.amount)
                .bind(transfer.actor)
                .bind(transfer.reason);
        }
        insert.execute().await?;
    }
    Ok(())
}
