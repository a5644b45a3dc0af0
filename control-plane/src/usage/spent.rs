//! What has been spent of limits, as one Envoy must be told it: by everyone but itself.
//!
//! Only windows that are current are told. Word of another window would make the filter start that
//! one, and what it has counted in the right one would be gone.

use reeve_policy::period::Period;
use reeve_proto::v1::SpentByOthers;

use super::Boot;
use crate::db::{Error, Tx};

/// What was spent in one window of one limit that is configured.
#[derive(sqlx::FromRow)]
struct Row {
    limit_id: String,
    period: String,
    anchor_ms: i64,
    calendar_aligned: bool,
    window_start_ms: i64,
    amount: i64,
}

/// The revision of the newest change of what has been spent; 0: nothing has been.
pub async fn latest(tx: &mut Tx) -> Result<i64, Error> {
    let (revision,): (i64,) = tx
        .query("SELECT COALESCE(MAX(revision), 0) FROM limit_usage")
        .fetch_one()
        .await?;
    Ok(revision)
}

/// What everyone but `boot` has spent in the windows that `now_ms` falls into: every limit of which
/// something is spent.
pub async fn by_others(tx: &mut Tx, boot: &Boot, now_ms: i64) -> Result<Vec<SpentByOthers>, Error> {
    let periods: Vec<(String,)> = tx
        .query("SELECT DISTINCT period FROM limits")
        .fetch_all()
        .await?;
    let mut spent = Vec::new();
    for (period,) in periods {
        let rows: Vec<Row> = tx
            .query(
                "SELECT u.limit_id, l.period, l.anchor_ms, l.calendar_aligned, u.window_start_ms,
                        CAST(SUM(u.amount) AS BIGINT) AS amount
                 FROM limits l JOIN limit_usage u ON u.limit_id = l.id
                 WHERE l.period = $1 AND u.window_start_ms BETWEEN $2 AND $3
                   AND NOT (u.node_id = $4 AND u.boot_id = $5)
                 GROUP BY u.limit_id, l.period, l.anchor_ms, l.calendar_aligned, u.window_start_ms",
            )
            .bind(period.as_str())
            .bind(earliest_start(&period, now_ms)?)
            .bind(now_ms)
            .bind(boot.node_id.as_str())
            .bind(boot.boot_id.as_str())
            .fetch_all()
            .await?;
        spent.append(&mut current(rows, now_ms)?);
    }
    Ok(spent)
}

/// The same, but only for windows in which someone else has spent something after `revision`.
pub async fn by_others_since(
    tx: &mut Tx,
    boot: &Boot,
    revision: i64,
    now_ms: i64,
) -> Result<Vec<SpentByOthers>, Error> {
    let rows: Vec<Row> = tx
        .query(
            "SELECT u.limit_id, l.period, l.anchor_ms, l.calendar_aligned, u.window_start_ms,
                    CAST(SUM(u.amount) AS BIGINT) AS amount
             FROM limit_usage u JOIN limits l ON l.id = u.limit_id
             WHERE (u.limit_id, u.window_start_ms) IN
                   (SELECT c.limit_id, c.window_start_ms FROM limit_usage c
                    WHERE c.revision > $1 AND NOT (c.node_id = $2 AND c.boot_id = $3))
               AND NOT (u.node_id = $2 AND u.boot_id = $3)
             GROUP BY u.limit_id, l.period, l.anchor_ms, l.calendar_aligned, u.window_start_ms",
        )
        .bind(revision)
        .bind(boot.node_id.as_str())
        .bind(boot.boot_id.as_str())
        .fetch_all()
        .await?;
    current(rows, now_ms)
}

/// The rows whose window is the one that `now_ms` falls into, for their limit as it is now.
fn current(rows: Vec<Row>, now_ms: i64) -> Result<Vec<SpentByOthers>, Error> {
    let mut spent = Vec::with_capacity(rows.len());
    for row in rows {
        let window = parse(&row.period)?.window(row.anchor_ms, row.calendar_aligned, now_ms);
        if window.start_ms == row.window_start_ms {
            spent.push(SpentByOthers {
                limit_id: row.limit_id,
                window_start_ms: row.window_start_ms,
                amount: row.amount,
            });
        }
    }
    Ok(spent)
}

/// No window of this period that `now_ms` falls into starts before this, rolling or aligned.
fn earliest_start(period: &str, now_ms: i64) -> Result<i64, Error> {
    let period = parse(period)?;
    let rolling = period.window(now_ms, false, now_ms);
    let length = rolling.end_ms.saturating_sub(rolling.start_ms);
    let aligned = period.window(now_ms, true, now_ms);
    Ok(now_ms.saturating_sub(length).min(aligned.start_ms))
}

fn parse(period: &str) -> Result<Period, Error> {
    Period::parse(period).map_err(|error| Error::corrupt("limits.period", error))
}
