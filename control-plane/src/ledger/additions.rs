//! What is added to a limit for one window, by an administrator: a top-up, or a reset, which forgives what
//! was used. The limit itself stays as it is, and so does what was used.

use super::Key;
use super::transfers::{self, Kind, Transfer};
use crate::db::{Error, Tx};

/// What is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    /// So much, in the limit's unit.
    TopUp(i64),
    /// As much as has been used, and was not forgiven before.
    Reset,
}

/// Stores an addition; gives how much it is. `posted`: used in the window.
pub(super) async fn add(
    tx: &mut Tx,
    key: &Key,
    addition: Addition,
    posted: i64,
    actor: &'static str,
    now_ms: i64,
) -> Result<i64, Error> {
    let (kind, amount) = match addition {
        Addition::TopUp(amount) => (Kind::TopUp, amount.max(0)),
        Addition::Reset => {
            let forgiven = forgiven(tx, key).await?;
            (Kind::Reset, posted.saturating_sub(forgiven).max(0))
        }
    };
    let transfer = Transfer {
        kind,
        key,
        session: None,
        amount,
        actor: Some(actor),
    };
    transfers::insert(tx, &[transfer], now_ms).await?;
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

async fn forgiven(tx: &mut Tx, key: &Key) -> Result<i64, Error> {
    let (amount,): (i64,) = tx
        .query(
            "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM transfers
             WHERE limit_id = $1 AND window_start_ms = $2 AND kind = 'reset'",
        )
        .bind(key.limit_id.as_str())
        .bind(key.window_start_ms)
        .fetch_one()
        .await?;
    Ok(amount)
}
