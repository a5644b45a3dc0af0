//! What has been spent of limits, as one Envoy must be told it: by everyone but itself.
//!
//! Only windows that are current are told. Word of another window would make the filter start that
//! one, and what it has counted in the right one would be gone.

use reeve_policy::calendar::Alignment;
use reeve_policy::lease::Session;
use reeve_policy::period::Period;
use reeve_proto::v1::SpentByOthers;

use crate::db::{Error, Tx};
use crate::limits;

/// What was spent in one window of one limit that is configured.
#[derive(sqlx::FromRow)]
struct Row {
    #[sqlx(flatten)]
    limit: limits::store::Row,
    window_start_ms: i64,
    amount: i64,
}

/// The revision of the newest change of what sessions hold and have spent; 0: nothing has ever changed.
pub async fn latest(tx: &mut Tx) -> Result<i64, Error> {
    let (revision,): (i64,) = tx
        .query("SELECT COALESCE(MAX(revision), 0) FROM holdings")
        .fetch_one()
        .await?;
    Ok(revision)
}

/// What everyone but `session` has spent in the windows that `now_ms` falls into: every limit of which
/// something is spent.
pub async fn by_others(
    tx: &mut Tx,
    session: Session,
    now_ms: i64,
) -> Result<Vec<SpentByOthers>, Error> {
    let periods: Vec<(String,)> = tx
        .query("SELECT DISTINCT period FROM limits")
        .fetch_all()
        .await?;
    let mut spent = Vec::new();
    for (period,) in periods {
        let rows: Vec<Row> = tx
            .query(
                "SELECT l.*, u.window_start_ms,
                        CAST(SUM(u.posted) AS BIGINT) AS amount
                 FROM limits l JOIN holdings u ON u.limit_id = l.id
                 WHERE l.period = $1
                   AND (u.window_start_ms BETWEEN $2 AND $3
                        OR u.window_start_ms = l.open_start_ms)
                   AND NOT (u.session_id = $4)
                 GROUP BY l.id, u.window_start_ms",
            )
            .bind(period.as_str())
            .bind(earliest_start(&period, now_ms)?)
            .bind(now_ms)
            .bind(session)
            .fetch_all()
            .await?;
        spent.append(&mut current(rows, now_ms)?);
    }
    Ok(spent)
}

/// The same, but only for windows in which someone else has spent something after `revision`.
pub async fn by_others_since(
    tx: &mut Tx,
    session: Session,
    revision: i64,
    now_ms: i64,
) -> Result<Vec<SpentByOthers>, Error> {
    let rows: Vec<Row> = tx
        .query(
            "SELECT l.*, u.window_start_ms,
                    CAST(SUM(u.posted) AS BIGINT) AS amount
             FROM holdings u JOIN limits l ON l.id = u.limit_id
             WHERE (u.limit_id, u.window_start_ms) IN
                   (SELECT c.limit_id, c.window_start_ms FROM holdings c
                    WHERE c.revision > $1 AND NOT (c.session_id = $2))
               AND NOT (u.session_id = $2)
             GROUP BY l.id, u.window_start_ms",
        )
        .bind(revision)
        .bind(session)
        .fetch_all()
        .await?;
    current(rows, now_ms)
}

/// The rows whose window is the one that `now_ms` falls into, for their limit as it is now.
fn current(rows: Vec<Row>, now_ms: i64) -> Result<Vec<SpentByOthers>, Error> {
    let mut spent = Vec::with_capacity(rows.len());
    for row in rows {
        let limit = row.limit.into_limit()?;
        if limit.window(now_ms).start_ms == row.window_start_ms {
            spent.push(SpentByOthers {
                limit_id: limit.id,
                window_start_ms: row.window_start_ms,
                amount: row.amount,
            });
        }
    }
    Ok(spent)
}

/// No window of this period that `now_ms` falls into starts before this, rolling or aligned: a calendar's
/// months and quarters are a little longer than those that roll, and days are 25 hours at most.
fn earliest_start(period: &str, now_ms: i64) -> Result<i64, Error> {
    const TWO_DAYS: i64 = 172_800_000;
    let rolling = parse(period)?.window(now_ms, &Alignment::Rolling, now_ms);
    let length = rolling.end_ms.saturating_sub(rolling.start_ms);
    let slack = length.checked_div(20).unwrap_or(0).saturating_add(TWO_DAYS);
    Ok(now_ms.saturating_sub(length).saturating_sub(slack))
}

fn parse(period: &str) -> Result<Period, Error> {
    Period::parse(period).map_err(|error| Error::corrupt("limits.period", error))
}
