//! Sessions of slots: a process holds what it has of `max_in_flight` under a session of its own, which ends
//! after [seconds of silence](reeve_policy::lease::term), because a slot that a dead process holds is out of
//! reach for ever.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reeve_policy::lease::Session;
use reeve_policy::lease::term::Watch;
use tokio::time::Instant;

use super::sessions;
use crate::app::App;
use crate::db::{Error, Tx};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// Every session of slots that is counted, with that of its process.
pub(super) async fn counted(tx: &mut Tx) -> Result<BTreeMap<Session, Session>, Error> {
    let rows: Vec<(i64, i64)> = tx
        .query(
            "SELECT id, slots_of FROM sessions
             WHERE released_at IS NULL AND slots_of IS NOT NULL",
        )
        .fetch_all()
        .await?;
    Ok(rows.into_iter().collect())
}

/// A process is heard: gives its session of slots, and whether that is new.
pub(super) async fn renew(
    tx: &mut Tx,
    process: Session,
    now_ms: i64,
) -> Result<(Session, bool), Error> {
    let live: Option<(i64,)> = tx
        .query("SELECT id FROM sessions WHERE slots_of = $1 AND released_at IS NULL")
        .bind(process)
        .fetch_optional()
        .await?;
    if let Some((session,)) = live {
        // It changes, whatever the clock does: that is how a renewal is seen.
        tx.query(
            "UPDATE sessions SET heard_at = CASE WHEN heard_at < $2 THEN $2 ELSE heard_at + 1 END
             WHERE id = $1",
        )
        .bind(session)
        .bind(now_ms)
        .execute()
        .await?;
        return Ok((session, false));
    }
    let session = sessions::next_id(tx).await?;
    tx.query(
        "INSERT INTO sessions (id, node_id, boot_id, standing_divisor, joined_at, heard_at,
                               acknowledged_sequence, slots_of)
         SELECT $1, node_id, boot_id, 0, $3, $3, 0, id FROM sessions WHERE id = $2",
    )
    .bind(session)
    .bind(process)
    .bind(now_ms)
    .execute()
    .await?;
    Ok((session, true))
}

/// When each was last renewed.
async fn marks(tx: &mut Tx) -> Result<Vec<(Session, i64)>, Error> {
    tx.query(
        "SELECT id, heard_at FROM sessions
         WHERE released_at IS NULL AND slots_of IS NOT NULL ORDER BY id",
    )
    .fetch_all()
    .await
}

/// Of these the ones that have still not been renewed.
pub(super) async fn still_silent(
    tx: &mut Tx,
    silent: &[(Session, i64)],
) -> Result<Vec<Session>, Error> {
    let marks = marks(tx).await?;
    let is_still = |session: &&(Session, i64)| marks.contains(session);
    let still = silent.iter().filter(is_still);
    Ok(still.map(|(session, _)| *session).collect())
}

/// Ends sessions that are silent, until the application stops.
pub async fn run(app: Arc<App>) {
    let mut watch = Watch::default();
    let start = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.stopped() => return,
        }
        let now_ms = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
        // While the database does not answer nobody is renewed, and nobody ends.
        let Ok(marks) = look(&app).await else {
            watch = Watch::default();
            continue;
        };
        let silent = watch.silent(&marks, now_ms);
        if silent.is_empty() {
            continue;
        }
        for session in app.ledger.end_slots(silent).await.unwrap_or_default() {
            tracing::warn!(
                session,
                "slots are free again: their Envoy has fallen silent"
            );
        }
    }
}

async fn look(app: &App) -> Result<Vec<(Session, i64)>, Error> {
    let mut tx = app.db.begin_read().await?;
    marks(&mut tx).await
}
