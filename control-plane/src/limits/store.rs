//! SQL of limits.

use std::collections::HashMap;

use reeve_policy::calendar::{Alignment, Calendar};
use reeve_policy::lease::emergency_allowance;
use reeve_policy::limit::{Level, Limit, Metric, Override};
use reeve_policy::period::{Period, Window};
use reeve_policy::reservation::Sizing;

use super::budget;
use super::calendar;

use super::Use;
use crate::db::{Error, Tx, Values};
use crate::ledger::sessions::GONE_AFTER_MS;
use crate::policy_changes::Kind;
use crate::settings::Settings;
use crate::{ledger, settings};

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
    override_amount: Option<i64>,
    override_from_ms: Option<i64>,
    override_until_ms: Option<i64>,
    override_cycles: Option<i64>,
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
                                 open_start_ms, open_end_ms, override_amount, override_from_ms,
                                 override_until_ms, override_cycles)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
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
        .bind(limit.raised_by.map(|raised_by| raised_by.amount))
        .bind(limit.raised_by.map(|raised_by| raised_by.from_ms))
        .bind(limit.raised_by.map(|raised_by| raised_by.until_ms))
        .bind(cycles(limit.raised_by))
        .execute()
        .await?;
    }
    Ok(())
}

/// What a limit is raised by from now on; `None`: nothing.
pub async fn set_override(
    tx: &mut Tx,
    limit_id: &str,
    raised_by: Option<Override>,
) -> Result<(), Error> {
    tx.query(
        "UPDATE limits SET override_amount = $2, override_from_ms = $3, override_until_ms = $4,
                           override_cycles = $5
         WHERE id = $1",
    )
    .bind(limit_id)
    .bind(raised_by.map(|raised_by| raised_by.amount))
    .bind(raised_by.map(|raised_by| raised_by.from_ms))
    .bind(raised_by.map(|raised_by| raised_by.until_ms))
    .bind(cycles(raised_by))
    .execute()
    .await?;
    Ok(())
}

/// What has to be compiled again when a limit changes.
pub async fn compiled_in(tx: &mut Tx, limit_id: &str) -> Result<Option<(Kind, String)>, Error> {
    let row: Option<(String, String, Option<String>, Option<String>)> = tx
        .query(
            "SELECT l.owner_kind, l.owner_id, p.virtual_key_id, m.scope_id
             FROM limits l
             LEFT JOIN provider_configs p ON p.id = l.owner_id
             LEFT JOIN model_configs m ON m.id = l.owner_id
             WHERE l.id = $1",
        )
        .bind(limit_id)
        .fetch_optional()
        .await?;
    let Some((owner_kind, owner_id, of_config, of_model)) = row else {
        return Ok(None);
    };
    let level = [
        Level::Customer,
        Level::Team,
        Level::VirtualKey,
        Level::ProviderConfig,
        Level::Model,
    ]
    .into_iter()
    .find(|level| level.as_str() == owner_kind);
    let of_key = |id: Option<String>, column| {
        id.map(|id| (Kind::VirtualKey, id))
            .ok_or_else(|| Error::corrupt(column, limit_id))
    };
    let entity = match level {
        Some(Level::Customer) => (Kind::Customer, owner_id),
        Some(Level::Team) => (Kind::Team, owner_id),
        Some(Level::VirtualKey) => (Kind::VirtualKey, owner_id),
        Some(Level::ProviderConfig) => of_key(of_config, "provider_configs.virtual_key_id")?,
        Some(Level::Model) => match of_model.filter(|id| !id.is_empty()) {
            Some(id) => (Kind::VirtualKey, id),
            None => (Kind::Settings, "settings".into()),
        },
        _ => return Err(Error::corrupt("limits.owner_kind", owner_kind)),
    };
    Ok(Some(entity))
}

fn cycles(raised_by: Option<Override>) -> Option<i64> {
    raised_by
        .and_then(|raised_by| raised_by.cycles)
        .map(i64::from)
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
    if limits.is_empty() {
        return Ok(usage);
    }
    let settings = settings::store::get(tx).await?;
    let sessions = ledger::sessions::counted(tx).await?.len();
    for limit in limits {
        let start_ms = limit.window(now_ms).start_ms;
        let mut row: Use = tx
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
        row.max_overspend = max_overspend(limit, &settings, sessions);
        usage.0.insert(limit.id.clone(), row);
    }
    Ok(usage)
}

/// By how much a limit can be overspent; `None`: that depends on what is in flight.
fn max_overspend(limit: &Limit, settings: &Settings, sessions: usize) -> Option<i64> {
    let is_bounded = match limit.metric {
        Metric::Cost => settings.reserving.sizing == Sizing::Strict,
        Metric::Requests | Metric::InFlight => true,
        Metric::Tokens => false,
    };
    let allowance = emergency_allowance(limit, settings.unreachable.allowed_percent());
    let sessions = i64::try_from(sessions).unwrap_or(i64::MAX);
    is_bounded.then(|| allowance.saturating_mul(sessions))
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
        let cycles = self.override_cycles.map(u32::try_from).transpose();
        let cycles = cycles.map_err(|error| Error::corrupt("limits.override_cycles", error))?;
        let of_override = self.override_amount.zip(self.override_from_ms);
        let raised_by =
            of_override
                .zip(self.override_until_ms)
                .map(|((amount, from_ms), until_ms)| Override {
                    amount,
                    from_ms,
                    until_ms,
                    cycles,
                });
        Ok(Limit {
            id: self.id,
            metric: parse_metric(&self.metric)?,
            max: self.max,
            period: Period::parse(&self.period)
                .map_err(|error| Error::corrupt("limits.period", error))?,
            anchor_ms: self.anchor_ms,
            alignment,
            open: open.map(|(start_ms, end_ms)| Window { start_ms, end_ms }),
            raised_by,
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
        // Of a key, in a column of its own (`virtual_keys::in_flight`).
        Metric::InFlight => "in_flight",
    }
}

fn parse_metric(word: &str) -> Result<Metric, Error> {
    [Metric::Cost, Metric::Requests, Metric::Tokens]
        .into_iter()
        .find(|metric| metric_word(*metric) == word)
        .ok_or_else(|| Error::corrupt("limits.metric", word))
}
