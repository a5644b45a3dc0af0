//! What nothing needs any more is deleted, so that no table grows but with usage and with what
//! administrators do.
//!
//! | rows | go |
//! |---|---|
//! | holdings of a window | a day after it has ended |
//! | sessions | 30 days after they were released; what they used of windows that go on is added up |
//! | movements of the protocol (lend, return, release) | after 30 days; those of an administrator stay |
//! | idempotency keys, recalls | after a day |
//!
//! Of a clock that has jumped [nothing is old](super::pace) for a day.
//!
//! Usage records and rejected ones stay. The newest revision of holdings, the last session, transfer and
//! recall stay too: the next one's number is counted from them, and no number may come twice.

use std::sync::Arc;
use std::time::Duration;

use reeve_policy::lease::Session;
use tokio::time::Instant;

use super::pace::Pace;
use super::sessions;
use crate::app::App;
use crate::db::{Db, Error};
use crate::limits;
use crate::policy_sync::retry::until_ok;
use crate::virtual_keys::in_flight;

const DAY_MS: i64 = 86_400_000;
const KEPT_MS: i64 = 30 * DAY_MS;
/// How often it is looked.
const EVERY: Duration = Duration::from_mins(10);
/// Between two transactions: others have their turn.
const PAUSE: Duration = Duration::from_millis(20);
/// Limits that are looked at in one transaction.
const LIMITS: i64 = 256;
/// Windows, or other rows, that one transaction deletes.
const ROWS: i64 = 512;

/// What holdings of limits that are folded into one belong to: all sessions that are forgotten.
const FORGOTTEN: Session = 0;

/// Works until the application stops.
pub async fn run(app: Arc<App>) {
    let prune = async {
        let start = Instant::now();
        let heard_ms = until_ok("read sessions", || last_heard(&app.db)).await;
        let mut pace = Pace::new(app.clock.now_ms(), heard_ms);
        loop {
            tokio::time::sleep(EVERY).await;
            let now_ms = app.clock.now_ms();
            let lived_ms = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
            if !pace.is_even(now_ms, lived_ms) {
                tracing::warn!(
                    "the clock has jumped; nothing is deleted until it is even for a day"
                );
                continue;
            }
            if let Err(error) = prune(&app.db, now_ms, PAUSE).await {
                tracing::warn!(%error, "cannot delete what is not needed any more; it is tried again");
            }
        }
    };
    tokio::select! {
        () = prune => {}
        () = app.stopped() => {}
    }
}

async fn last_heard(db: &Db) -> Result<Option<i64>, Error> {
    let mut tx = db.begin_read().await?;
    sessions::last_heard(&mut tx).await
}

/// Deletes everything that nothing needs at this time, in small transactions.
pub(super) async fn prune(db: &Db, now_ms: i64, pause: Duration) -> Result<(), Error> {
    let mut after = String::new();
    while let Some(last) = next_limits(db, &mut after, now_ms).await? {
        for (limit_id, before_ms) in last {
            while windows(db, &limit_id, before_ms).await? {
                tokio::time::sleep(pause).await;
            }
        }
    }
    while let Some(session) = forgettable(db, now_ms).await? {
        forget(db, session).await?;
        tokio::time::sleep(pause).await;
    }
    let mut after = 0;
    while let Some(last) = transfers(db, after, now_ms).await? {
        after = last;
        tokio::time::sleep(pause).await;
    }
    let mut tx = db.begin_write().await?;
    tx.query("DELETE FROM idempotency_keys WHERE at < $1")
        .bind(now_ms.saturating_sub(DAY_MS))
        .execute()
        .await?;
    tx.query(
        "DELETE FROM recalls WHERE at < $1 AND sequence < (SELECT MAX(sequence) FROM recalls)",
    )
    .bind(now_ms.saturating_sub(DAY_MS))
    .execute()
    .await?;
    tx.commit().await
}

/// The next limits of which there are holdings that may be old, each with the start of its first window
/// that is kept. `None`: that was all.
async fn next_limits(
    db: &Db,
    after: &mut String,
    now_ms: i64,
) -> Result<Option<Vec<(String, i64)>>, Error> {
    let then_ms = now_ms.saturating_sub(DAY_MS);
    let mut tx = db.begin_read().await?;
    let rows: Vec<(String, i64)> = tx
        .query(
            "SELECT limit_id, MIN(window_start_ms) FROM holdings WHERE limit_id > $1
             GROUP BY limit_id ORDER BY limit_id LIMIT $2",
        )
        .bind(after.as_str())
        .bind(LIMITS)
        .fetch_all()
        .await?;
    let Some((last, _)) = rows.last() else {
        return Ok(None);
    };
    after.clone_from(last);
    let mut found = Vec::new();
    for (limit_id, oldest_ms) in rows {
        // What a session of slots holds goes with it.
        if oldest_ms >= then_ms || in_flight::key_of(&limit_id).is_some() {
            continue;
        }
        // Of a limit that is gone it is not known how long its windows were, and nobody asks.
        let limit = limits::store::find(&mut tx, &limit_id).await?;
        let kept_ms = limit.map_or(then_ms, |limit| limit.window(then_ms).start_ms);
        if oldest_ms < kept_ms {
            found.push((limit_id, kept_ms));
        }
    }
    Ok(Some(found))
}

/// Deletes holdings of a limit in windows that started before; gives whether there may be more.
async fn windows(db: &Db, limit_id: &str, before_ms: i64) -> Result<bool, Error> {
    let mut tx = db.begin_write().await?;
    let deleted = tx
        .query(
            "DELETE FROM holdings
             WHERE limit_id = $1
               AND window_start_ms IN (SELECT DISTINCT window_start_ms FROM holdings
                                       WHERE limit_id = $1 AND window_start_ms < $2
                                       ORDER BY window_start_ms LIMIT $3)
               AND revision < (SELECT MAX(revision) FROM holdings)",
        )
        .bind(limit_id)
        .bind(before_ms)
        .bind(ROWS)
        .execute()
        .await?;
    tx.commit().await?;
    Ok(i64::try_from(deleted).unwrap_or(i64::MAX) >= ROWS)
}

/// A session that was released long ago.
async fn forgettable(db: &Db, now_ms: i64) -> Result<Option<Session>, Error> {
    let mut tx = db.begin_read().await?;
    let row: Option<(Session,)> = tx
        .query(
            "SELECT id FROM sessions
             WHERE released_at < $1 AND id < (SELECT MAX(id) FROM sessions) ORDER BY id LIMIT 1",
        )
        .bind(now_ms.saturating_sub(KEPT_MS))
        .fetch_optional()
        .await?;
    Ok(row.map(|(id,)| id))
}

/// Adds some of what a session used to what all forgotten ones did, and deletes it when that was all. It
/// was released: what counts of it is what it used, neither more nor less.
async fn forget(db: &Db, session: Session) -> Result<(), Error> {
    let mut tx = db.begin_write().await?;
    tx.query(
        "INSERT INTO holdings (limit_id, window_start_ms, session_id, lent, returned, posted, revision)
         SELECT limit_id, window_start_ms, $2, 0, 0, posted,
                (SELECT MAX(revision) + 1 FROM holdings)
         FROM holdings WHERE session_id = $1 ORDER BY limit_id, window_start_ms LIMIT $3
         ON CONFLICT (limit_id, window_start_ms, session_id)
         DO UPDATE SET posted = holdings.posted + excluded.posted, revision = excluded.revision",
    )
    .bind(session)
    .bind(FORGOTTEN)
    .bind(ROWS)
    .execute()
    .await?;
    tx.query(
        "DELETE FROM holdings
         WHERE session_id = $1
           AND (limit_id, window_start_ms) IN (SELECT limit_id, window_start_ms FROM holdings
                                               WHERE session_id = $1
                                               ORDER BY limit_id, window_start_ms LIMIT $2)",
    )
    .bind(session)
    .bind(ROWS)
    .execute()
    .await?;
    tx.query(
        "DELETE FROM sessions
         WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM holdings WHERE session_id = $1)",
    )
    .bind(session)
    .execute()
    .await?;
    tx.commit().await
}

/// Deletes old movements of the protocol among those after `after`; gives how far it has looked. They come
/// by age. `None`: the next is not old.
async fn transfers(db: &Db, after: i64, now_ms: i64) -> Result<Option<i64>, Error> {
    let before_ms = now_ms.saturating_sub(KEPT_MS);
    let mut tx = db.begin_read().await?;
    let rows: Vec<(i64, i64)> = tx
        .query("SELECT id, at FROM transfers WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(after)
        .bind(ROWS)
        .fetch_all()
        .await?;
    drop(tx);
    let old = rows.iter().take_while(|(_, at)| *at < before_ms);
    let Some((last, _)) = old.last() else {
        return Ok(None);
    };
    let mut tx = db.begin_write().await?;
    tx.query(
        "DELETE FROM transfers
         WHERE id > $1 AND id <= $2 AND actor IS NULL AND id < (SELECT MAX(id) FROM transfers)",
    )
    .bind(after)
    .bind(*last)
    .execute()
    .await?;
    tx.commit().await?;
    Ok(Some(*last))
}
