//! What an administrator adds to a limit, as movements of the ledger. The configured limit stays as it is,
//! and so does what was used.
//!
//! A top-up and a reset, which forgives what was used, are for one window. An override is for several.
//! Each is a change of policy, so every replica knows it before it lends again.

use reeve_policy::limit::{Limit, Override};

use super::Key;
use super::transfers::{self, Kind, Transfer};
use crate::db::{Error, Tx};
use crate::{limits, policy_changes};

/// Who adds, in the ledger.
const ACTOR: &str = "admin";

/// What is added to a limit for one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Addition {
    /// So much, in the limit's unit.
    TopUp(i64),
    /// As much as has been used, and was not forgiven before.
    Reset,
}

/// Stores an addition; gives how much it is.
pub(super) async fn add(
    tx: &mut Tx,
    key: &Key,
    addition: Addition,
    now_ms: i64,
) -> Result<i64, Error> {
    let (kind, amount) = match addition {
        Addition::TopUp(amount) => (Kind::TopUp, amount.max(0)),
        Addition::Reset => (Kind::Reset, not_forgiven(tx, key).await?),
    };
    note(tx, key, kind, amount, None, now_ms).await?;
    tx.query(
        "INSERT INTO limit_additions (limit_id, window_start_ms, amount) VALUES ($1, $2, $3)
         ON CONFLICT (limit_id, window_start_ms)
         DO UPDATE SET amount = limit_additions.amount + excluded.amount",
    )
    .bind(key.limit_id.as_str())
    .bind(key.window_start_ms)
    .bind(amount)
    .execute()
    .await?;
    Ok(amount)
}

/// A limit is raised by this from now on.
pub(super) async fn set_override(
    tx: &mut Tx,
    limit: &mut Limit,
    raised_by: Override,
    now_ms: i64,
) -> Result<(), Error> {
    let reason = match raised_by.cycles {
        Some(cycles) => format!("cycles {cycles}"),
        None => "forever".into(),
    };
    let key = current(limit, now_ms);
    let amount = raised_by.amount;
    note(tx, &key, Kind::Override, amount, Some(&reason), now_ms).await?;
    limit.raised_by = Some(raised_by);
    limits::store::set_override(tx, &limit.id, limit.raised_by).await
}

/// A limit is raised by nothing from now on.
pub(super) async fn remove_override(
    tx: &mut Tx,
    limit: &mut Limit,
    now_ms: i64,
) -> Result<(), Error> {
    let key = current(limit, now_ms);
    let removed = limit.raised_by.take();
    let amount = removed.map_or(0, |raised_by| raised_by.amount);
    note(tx, &key, Kind::OverrideRemoved, amount, None, now_ms).await?;
    limits::store::set_override(tx, &limit.id, None).await
}

/// The limit's window of now.
pub(super) fn current(limit: &Limit, now_ms: i64) -> Key {
    Key {
        limit_id: limit.id.clone(),
        window_start_ms: limit.window(now_ms).start_ms,
    }
}

async fn note(
    tx: &mut Tx,
    key: &Key,
    kind: Kind,
    amount: i64,
    reason: Option<&str>,
    now_ms: i64,
) -> Result<(), Error> {
    let transfer = Transfer {
        kind,
        key,
        session: None,
        amount,
        actor: Some(ACTOR),
        reason,
    };
    transfers::insert(tx, &[transfer], now_ms).await?;
    if let Some((kind, id)) = limits::store::compiled_in(tx, &key.limit_id).await? {
        policy_changes::record(tx, kind, &id).await?;
    }
    Ok(())
}

/// What has been used in a window, and was not forgiven.
async fn not_forgiven(tx: &mut Tx, key: &Key) -> Result<i64, Error> {
    let (amount,): (i64,) = tx
        .query(
            "SELECT (SELECT CAST(COALESCE(SUM(posted), 0) AS BIGINT) FROM holdings
                     WHERE limit_id = $1 AND window_start_ms = $2)
                  - (SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM transfers
                     WHERE limit_id = $1 AND window_start_ms = $2 AND kind = 'reset')",
        )
        .bind(key.limit_id.as_str())
        .bind(key.window_start_ms)
        .fetch_one()
        .await?;
    Ok(amount.max(0))
}
