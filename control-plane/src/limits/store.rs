//! SQL of limits.

use std::collections::HashMap;

use reeve_policy::limit::{Level, Limit, Metric};
use reeve_policy::period::Period;

use crate::db::{Error, Tx};

/// Limits by the id of their owner.
pub type ByOwner = HashMap<String, Vec<Limit>>;

/// What has been used of limits in their current windows.
#[derive(Debug, Default)]
pub struct Usage(HashMap<String, i64>);

impl Usage {
    /// In the limit's unit; nothing is known of: nothing used.
    pub fn of(&self, limit_id: &str) -> i64 {
        self.0.get(limit_id).copied().unwrap_or_default()
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    owner_id: String,
    metric: String,
    max: i64,
    period: String,
    anchor_ms: i64,
    calendar_aligned: bool,
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
            "SELECT id, owner_id, metric, max, period, anchor_ms, calendar_aligned FROM limits
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
            "SELECT l.id, l.owner_id, l.metric, l.max, l.period, l.anchor_ms, l.calendar_aligned
             FROM limits l JOIN provider_configs p ON p.id = l.owner_id
             WHERE l.owner_kind = 'provider_config' AND p.virtual_key_id BETWEEN $1 AND $2
             ORDER BY l.owner_id, l.position",
        )
        .bind(first)
        .bind(last)
        .fetch_all()
        .await?;
    by_owner(rows)
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
                                 anchor_ms, calendar_aligned)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(limit.id.as_str())
        .bind(level.as_str())
        .bind(owner_id)
        .bind(position)
        .bind(metric_word(limit.metric))
        .bind(limit.max)
        .bind(limit.period.to_string())
        .bind(limit.anchor_ms)
        .bind(limit.calendar_aligned)
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

/// What has been used of `limits` in the windows that `now_ms` falls into.
pub async fn usage(tx: &mut Tx, limits: &[&Limit], now_ms: i64) -> Result<Usage, Error> {
    let mut usage = Usage::default();
    for limit in limits {
        let (amount,): (i64,) = tx
            .query(
                "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM limit_usage
                 WHERE limit_id = $1 AND window_start_ms = $2",
            )
            .bind(limit.id.as_str())
            .bind(limit.window(now_ms).start_ms)
            .fetch_one()
            .await?;
        usage.0.insert(limit.id.clone(), amount);
    }
    Ok(usage)
}

fn by_owner(rows: Vec<Row>) -> Result<ByOwner, Error> {
    let mut limits = ByOwner::new();
    for row in rows {
        let limit = Limit {
            id: row.id,
            metric: parse_metric(&row.metric)?,
            max: row.max,
            period: Period::parse(&row.period)
                .map_err(|error| Error::corrupt("limits.period", error))?,
            anchor_ms: row.anchor_ms,
            calendar_aligned: row.calendar_aligned,
        };
        limits.entry(row.owner_id).or_default().push(limit);
    }
    Ok(limits)
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
