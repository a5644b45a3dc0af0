//! SQL of sessions: lives of Envoy processes.

use std::collections::BTreeMap;

use reeve_policy::lease::{Session, divisor};

use crate::db::{Error, Tx};
use crate::usage::Boot;

/// A process that has not been heard of for so long has gone. Those that are connected are noted every
/// 10 s.
pub const GONE_AFTER_MS: i64 = 30_000;

/// A session that is counted, with what it holds.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Counted {
    /// Its number.
    pub id: Session,
    /// Envoy's node id.
    pub node_id: String,
    /// Which life of it.
    pub boot_id: String,
    /// Milliseconds since the Unix epoch.
    pub joined_at: i64,
    /// Milliseconds since the Unix epoch.
    pub heard_at: i64,
    /// Of how many limits' windows it holds something that it has not spent.
    pub holds: i64,
}

/// A life of an Envoy process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub id: Session,
    /// See [`reeve_policy::lease::standing`].
    pub standing_divisor: u32,
    /// How far its usage is stored.
    pub acknowledged: i64,
    /// What it holds no longer counts.
    pub is_released: bool,
}

/// The newest session of a boot, if it has ever joined.
pub async fn find(tx: &mut Tx, boot: &Boot) -> Result<Option<Row>, Error> {
    let row: Option<(i64, i64, i64, Option<i64>)> = tx
        .query(
            "SELECT id, standing_divisor, acknowledged_sequence, released_at FROM sessions
             WHERE node_id = $1 AND boot_id = $2 AND slots_of IS NULL ORDER BY id DESC LIMIT 1",
        )
        .bind(boot.node_id.as_str())
        .bind(boot.boot_id.as_str())
        .fetch_optional()
        .await?;
    row.map(|(id, divisor, acknowledged, released_at)| {
        Ok(Row {
            id,
            standing_divisor: stored_divisor(divisor)?,
            acknowledged,
            is_released: released_at.is_some(),
        })
    })
    .transpose()
}

/// Whose a session is, whether it is counted or not.
pub async fn node_of(tx: &mut Tx, session: Session) -> Result<Option<String>, Error> {
    let row: Option<(String,)> = tx
        .query("SELECT node_id FROM sessions WHERE id = $1")
        .bind(session)
        .fetch_optional()
        .await?;
    Ok(row.map(|(node_id,)| node_id))
}

/// Every session that is counted, with its divisor.
pub async fn counted(tx: &mut Tx) -> Result<BTreeMap<Session, u32>, Error> {
    let rows: Vec<(i64, i64)> = tx
        .query(
            "SELECT id, standing_divisor FROM sessions
             WHERE released_at IS NULL AND slots_of IS NULL",
        )
        .fetch_all()
        .await?;
    rows.into_iter()
        .map(|(id, divisor)| Ok((id, stored_divisor(divisor)?)))
        .collect()
}

/// Every session that is counted, by number; or the one of this number.
pub async fn list(tx: &mut Tx, only: Option<Session>) -> Result<Vec<Counted>, Error> {
    tx.query(
        "SELECT s.id, s.node_id, s.boot_id, s.joined_at, s.heard_at,
                (SELECT COUNT(*) FROM holdings h
                 WHERE h.session_id = s.id AND h.lent - h.returned > h.posted) AS holds
         FROM sessions s WHERE s.released_at IS NULL AND s.slots_of IS NULL
           AND ($1 IS NULL OR s.id = $1) ORDER BY s.id",
    )
    .bind(only)
    .fetch_all()
    .await
}

/// A new session, beside those that are `counted` already. The boot's usage is stored up to
/// `acknowledged`.
pub async fn insert(
    tx: &mut Tx,
    boot: &Boot,
    counted: usize,
    acknowledged: i64,
    now_ms: i64,
) -> Result<Row, Error> {
    let row = Row {
        id: next_id(tx).await?,
        standing_divisor: divisor(u32::try_from(counted).unwrap_or(u32::MAX)),
        acknowledged,
        is_released: false,
    };
    tx.query(
        "INSERT INTO sessions (id, node_id, boot_id, standing_divisor, joined_at, heard_at,
                               acknowledged_sequence)
         VALUES ($1, $2, $3, $4, $5, $5, $6)",
    )
    .bind(row.id)
    .bind(boot.node_id.as_str())
    .bind(boot.boot_id.as_str())
    .bind(i64::from(row.standing_divisor))
    .bind(now_ms)
    .bind(acknowledged)
    .execute()
    .await?;
    Ok(row)
}

pub(super) async fn next_id(tx: &mut Tx) -> Result<Session, Error> {
    let (last,): (i64,) = tx
        .query("SELECT COALESCE(MAX(id), 0) FROM sessions")
        .fetch_one()
        .await?;
    Ok(last.saturating_add(1))
}

/// Its usage is stored up to this number.
pub async fn acknowledge(tx: &mut Tx, session: Session, sequence: i64) -> Result<(), Error> {
    tx.query("UPDATE sessions SET acknowledged_sequence = $2 WHERE id = $1")
        .bind(session)
        .bind(sequence)
        .execute()
        .await?;
    Ok(())
}

/// A boot lives.
pub async fn hear(tx: &mut Tx, boot: &Boot, now_ms: i64) -> Result<(), Error> {
    tx.query(
        "UPDATE sessions SET heard_at = $3
         WHERE node_id = $1 AND boot_id = $2 AND slots_of IS NULL",
    )
    .bind(boot.node_id.as_str())
    .bind(boot.boot_id.as_str())
    .bind(now_ms)
    .execute()
    .await?;
    Ok(())
}

/// Sessions that are counted and have not been heard of since.
pub async fn silent_since(tx: &mut Tx, before_ms: i64) -> Result<Vec<Session>, Error> {
    let rows: Vec<(i64,)> = tx
        .query(
            "SELECT id FROM sessions
             WHERE released_at IS NULL AND slots_of IS NULL AND heard_at < $1 ORDER BY id",
        )
        .bind(before_ms)
        .fetch_all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Sessions that are counted and have been heard of since, with their boots.
pub async fn heard_since(tx: &mut Tx, since_ms: i64) -> Result<Vec<(Session, Boot)>, Error> {
    let rows: Vec<(i64, String, String)> = tx
        .query(
            "SELECT id, node_id, boot_id FROM sessions
             WHERE released_at IS NULL AND slots_of IS NULL AND heard_at >= $1",
        )
        .bind(since_ms)
        .fetch_all()
        .await?;
    let with_boot = |(id, node_id, boot_id)| (id, Boot { node_id, boot_id });
    Ok(rows.into_iter().map(with_boot).collect())
}

/// When somebody was last heard of. `None`: nobody has ever been.
pub(super) async fn last_heard(tx: &mut Tx) -> Result<Option<i64>, Error> {
    let (heard_ms,): (Option<i64>,) = tx
        .query("SELECT MAX(heard_at) FROM sessions")
        .fetch_one()
        .await?;
    Ok(heard_ms)
}

/// What it holds no longer counts.
pub async fn release(tx: &mut Tx, session: Session, now_ms: i64) -> Result<(), Error> {
    tx.query("UPDATE sessions SET released_at = $2 WHERE id = $1")
        .bind(session)
        .bind(now_ms)
        .execute()
        .await?;
    Ok(())
}

fn stored_divisor(divisor: i64) -> Result<u32, Error> {
    u32::try_from(divisor).map_err(|error| Error::corrupt("sessions.standing_divisor", error))
}
