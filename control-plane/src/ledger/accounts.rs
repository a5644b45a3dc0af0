//! SQL of accounts: what sessions hold of a limit in a window, and what was added to it.

use reeve_policy::lease::{Account, Holding, Session};

use super::Key;
use crate::db::{Error, Insert, Tx};
use crate::limits;

/// A holding that has changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed<'a> {
    pub(super) key: &'a Key,
    pub(super) session: Session,
    pub(super) holding: Holding,
}

#[derive(sqlx::FromRow)]
struct CurrentRow {
    #[sqlx(flatten)]
    limit: limits::store::Row,
    window_start_ms: i64,
}

static UPSERT: Insert = Insert::new(
    "INSERT INTO holdings (limit_id, window_start_ms, session_id, lent, returned, posted, revision)",
    7,
    "ON CONFLICT (limit_id, window_start_ms, session_id) DO UPDATE
     SET lent = excluded.lent, returned = excluded.returned, posted = excluded.posted,
         revision = excluded.revision",
);

/// The revision of the newest change; 0: nothing has ever changed.
pub(super) async fn latest(tx: &mut Tx) -> Result<i64, Error> {
    let (revision,): (i64,) = tx
        .query("SELECT COALESCE(MAX(revision), 0) FROM holdings")
        .fetch_one()
        .await?;
    Ok(revision)
}

/// The account of a limit's window; empty where nothing is known.
pub(super) async fn load(tx: &mut Tx, key: &Key) -> Result<Account, Error> {
    let rows: Vec<(i64, i64, i64, i64)> = tx
        .query(
            "SELECT session_id, lent, returned, posted FROM holdings
             WHERE limit_id = $1 AND window_start_ms = $2
               -- Sessions of slots that have ended hold nothing, and nothing was used under them.
               AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.id = session_id
                               AND s.slots_of IS NOT NULL AND s.released_at IS NOT NULL)",
        )
        .bind(key.limit_id.as_str())
        .bind(key.window_start_ms)
        .fetch_all()
        .await?;
    let holdings = rows.into_iter().map(|(session, lent, returned, posted)| {
        let holding = Holding {
            lent,
            returned,
            posted,
        };
        (session, holding)
    });
    Ok(Account::from_holdings(holdings))
}

/// Accounts of which a session holds something that it has not spent.
pub(super) async fn held_by(tx: &mut Tx, session: Session) -> Result<Vec<Key>, Error> {
    let rows: Vec<(String, i64)> = tx
        .query(
            "SELECT limit_id, window_start_ms FROM holdings
             WHERE session_id = $1 AND lent - returned > posted
             ORDER BY limit_id, window_start_ms",
        )
        .bind(session)
        .fetch_all()
        .await?;
    let key = |(limit_id, window_start_ms)| Key {
        limit_id,
        window_start_ms,
    };
    Ok(rows.into_iter().map(key).collect())
}

/// Accounts that sessions hold something of, in windows that are not over.
pub(super) async fn current(tx: &mut Tx, now_ms: i64) -> Result<Vec<Key>, Error> {
    let rows: Vec<CurrentRow> = tx
        .query(
            "SELECT l.*, h.window_start_ms
             FROM (SELECT DISTINCT limit_id, window_start_ms FROM holdings) h
             JOIN limits l ON l.id = h.limit_id
             ORDER BY l.id, h.window_start_ms",
        )
        .fetch_all()
        .await?;
    let mut keys = Vec::new();
    for row in rows {
        let limit = row.limit.into_limit()?;
        if row.window_start_ms >= limit.window(now_ms).start_ms {
            keys.push(Key {
                limit_id: limit.id,
                window_start_ms: row.window_start_ms,
            });
        }
    }
    Ok(keys)
}

/// What was added to a limit for one window.
pub(super) async fn added(tx: &mut Tx, key: &Key) -> Result<i64, Error> {
    let row: Option<(i64,)> = tx
        .query("SELECT amount FROM limit_additions WHERE limit_id = $1 AND window_start_ms = $2")
        .bind(key.limit_id.as_str())
        .bind(key.window_start_ms)
        .fetch_optional()
        .await?;
    Ok(row.map_or(0, |(amount,)| amount))
}

/// Stores holdings.
pub(super) async fn save(tx: &mut Tx, changed: &[Changed<'_>], revision: i64) -> Result<(), Error> {
    for (text, run) in UPSERT.runs(changed) {
        let mut upsert = tx.query(text);
        for Changed {
            key,
            session,
            holding,
        } in run
        {
            upsert = upsert
                .bind(key.limit_id.as_str())
                .bind(key.window_start_ms)
                .bind(*session)
                .bind(holding.lent)
                .bind(holding.returned)
                .bind(holding.posted)
                .bind(revision);
        }
        upsert.execute().await?;
    }
    Ok(())
}
