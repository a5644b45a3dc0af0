//! SQL of limits.

use std::collections::HashMap;

use reeve_policy::calendar::{Alignment, Calendar};
use reeve_policy::limit::{Level, Limit, Metric};
use reeve_policy::period::{Period, Window};

use super::budget;
use super::calendar;

use super::Use;
use crate::db::{Error, Tx, Values};
use crate::ledger::sessions::GONE_AFTER_MS;

/// Limits by the id of their owner.
pub type ByOwner = HashMap<String, Vec<Limit>>;

/// What has become of limits in their current windows.
#[derive(Debug, Default)]
pub struct Usage(HashMap<String, Use>);

impl Usage {
    /// In the limit's unit; nothing is known of: nothing used.
    pub fn of(&self, limit_id: &str) -> Use {
        self.0.get(limit_id).copied().unwrap_or_default()
    }
}

/// A row of `limits`.
#[derive(Debug, sqlx::FromRow)]
pub struct Row {
    id: String,
    owner_id: String,
    metric: String,
    max: i64,
    period: String,
    anchor_ms: i64,
    calendar_aligned: bool,
    time_zone: String,
    quarter_start_month: i64,
    open_start_ms: Option<i64>,
    open_end_ms: Option<i64>,
}

/// Limits of the owners of one level whose ids are from `first` to `last`.
pub async fn of_owners(
    tx: &mut Tx,
    level: Level,
    first: &str,
    last: &str,
) -> Result<ByOwner, Error> {
    let rows = tx
        .query(
            "SELECT * FROM limits
             WHERE owner_kind = $1 AND owner_id BETWEEN $2 AND $3 ORDER BY owner_id, position",
        )
        .bind(level.as_str())
        .bind(first)
        .bind(last)
        .fetch_all()
        .await?;
    by_owner(rows)
}

/// Limits of the provider configs of the virtual keys whose ids are from `first` to `last`.
pub async fn of_provider_configs(tx: &mut Tx, first: &str, last: &str) -> Result<ByOwner, Error> {
    let rows = tx
        .query(
            "SELECT l.* FROM limits l JOIN provider_configs p ON p.id = l.owner_id
             WHERE l.owner_kind = 'provider_config' AND p.virtual_key_id BETWEEN $1 AND $2
             ORDER BY l.owner_id, l.position",
        )
        .bind(first)
        .bind(last)
        .fetch_all()
        .await?;
    by_owner(rows)
}

/// The limits of these ids, as far as there are any.
pub async fn find_all(tx: &mut Tx, ids: &[&str]) -> Result<Vec<Limit>, Error> {
    static FIND: Values = Values::new("SELECT * FROM limits WHERE id IN (", 1, ")");
    let mut limits = Vec::with_capacity(ids.len());
    for (statement, run) in FIND.runs(ids) {
        let find = tx.values(statement);
        let find = run.iter().fold(find, |find, id| find.bind(*id));
        let rows: Vec<Row> = find.fetch_all().await?;
        for row in rows {
            limits.push(row.into_limit()?);
        }
    }
    Ok(limits)
}

/// The limit of this id.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<Limit>, Error> {
    let rows = tx
        .query("SELECT * FROM limits WHERE id = $1")
        .bind(id)
        .fetch_all()
        .await?;
    Ok(by_owner(rows)?.into_values().flatten().next())
}

/// Makes `limits` the limits of an owner. What has been used of them is not touched.
pub async fn replace(
    tx: &mut Tx,
    level: Level,
    owner_id: &str,
    limits: &[Limit],
) -> Result<(), Error> {
    delete(tx, level, owner_id).await?;
    for (position, limit) in (0_i64..).zip(limits) {
        tx.query(
            "INSERT INTO limits (id, owner_kind, owner_id, position, metric, max, period,
                                 anchor_ms, calendar_aligned, time_zone, quarter_start_month,
                                 open_start_ms, open_end_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(limit.id.as_str())
        .bind(level.as_str())
        .bind(owner_id)
        .bind(position)
        .bind(metric_word(limit.metric))
        .bind(limit.max)
        .bind(limit.period.to_string())
        .bind(limit.anchor_ms)
        .bind(limit.alignment.is_calendar())
        .bind(zone_name(limit))
        .bind(i64::from(budget::quarter_start_month(limit)))
        .bind(limit.open.map(|open| open.start_ms))
        .bind(limit.open.map(|open| open.end_ms))
        .execute()
        .await?;
    }
    Ok(())
}

/// Deletes the limits of an owner. What has been used of them stays on record.
pub async fn delete(tx: &mut Tx, level: Level, owner_id: &str) -> Result<(), Error> {
    tx.query("DELETE FROM limits WHERE owner_kind = $1 AND owner_id = $2")
        .bind(level.as_str())
        .bind(owner_id)
        .execute()
        .await?;
    Ok(())
}

/// What has become of `limits` in the windows that `now_ms` falls into.
pub async fn usage(tx: &mut Tx, limits: &[&Limit], now_ms: i64) -> Result<Usage, Error> {
    let mut usage = Usage::default();
    for limit in limits {
        let start_ms = limit.window(now_ms).start_ms;
        let row: Use = tx
            .query(
                "SELECT (SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM limit_additions
                         WHERE limit_id = $1 AND window_start_ms = $2) AS added,
                        CAST(COALESCE(SUM(posted), 0) AS BIGINT) AS used,
                        CAST(COALESCE(SUM(CASE WHEN heard_at >= $3 THEN unspent ELSE 0 END), 0)
                             AS BIGINT) AS reserved,
                        CAST(COALESCE(SUM(CASE WHEN heard_at >= $3 THEN 0 ELSE unspent END), 0)
                             AS BIGINT) AS suspense
                 FROM (SELECT h.posted, s.heard_at,
                              CASE WHEN h.lent - h.returned > h.posted
                                   THEN h.lent - h.returned - h.posted ELSE 0 END AS unspent
                       FROM holdings h LEFT JOIN sessions s ON s.id = h.session_id
                       WHERE h.limit_id = $1 AND h.window_start_ms = $2) AS held",
            )
            .bind(limit.id.as_str())
            .bind(start_ms)
            .bind(now_ms.saturating_sub(GONE_AFTER_MS))
            .fetch_one()
            .await?;
        usage.0.insert(limit.id.clone(), row);
    }
    Ok(usage)
}

fn by_owner(rows: Vec<Row>) -> Result<ByOwner, Error> {
    let mut limits = ByOwner::new();
    for row in rows {
        let owner_id = row.owner_id.clone();
        limits.entry(owner_id).or_default().push(row.into_limit()?);
    }
    Ok(limits)
}

impl Row {
    /// The limit that it says.
    pub fn into_limit(self) -> Result<Limit, Error> {
        let alignment = if self.calendar_aligned {
            let zone = calendar::find(&self.time_zone)
                .ok_or_else(|| Error::corrupt("limits.time_zone", &self.time_zone))?;
            let quarter_start_month = u8::try_from(self.quarter_start_month)
                .map_err(|error| Error::corrupt("limits.quarter_start_month", error))?;
            Alignment::Calendar(Calendar {
                zone,
                quarter_start_month,
            })
        } else {
            Alignment::Rolling
        };
        let open = self.open_start_ms.zip(self.open_end_ms);
        Ok(Limit {
            id: self.id,
            metric: parse_metric(&self.metric)?,
            max: self.max,
            period: Period::parse(&self.period)
                .map_err(|error| Error::corrupt("limits.period", error))?,
            anchor_ms: self.anchor_ms,
            alignment,
            open: open.map(|(start_ms, end_ms)| Window { start_ms, end_ms }),
        })
    }
}

fn zone_name(limit: &Limit) -> &str {
    match &limit.alignment {
        Alignment::Calendar(calendar) => calendar::name(&calendar.zone),
        Alignment::Rolling | Alignment::Known(_) => calendar::UTC,
    }
}

const fn metric_word(metric: Metric) -> &'static str {
    match metric {
        Metric::Cost => "cost",
        Metric::Requests => "requests",
        Metric::Tokens => "tokens",
    }
}

fn parse_metric(word: &str) -> Result<Metric, Error> {
    [Metric::Cost, Metric::Requests, Metric::Tokens]
        .into_iter()
        .find(|metric| metric_word(*metric) == word)
        .ok_or_else(|| Error::corrupt("limits.metric", word))
}
