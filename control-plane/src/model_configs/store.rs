//! SQL of model configs.

use std::collections::HashMap;

use reeve_policy::limit::{Level, Limit};

use super::{EVERY_MODEL, ModelConfig, Scope, Subject};
use crate::db::{self, Tx};
use crate::http::page::{Page, PageRequest};
use crate::limits::{self, OwnerCalendar};

/// Where the limits of every model config are, whatever its scope.
const LEVEL: Level = Level::Model;
const GLOBAL: &str = "global";
const VIRTUAL_KEY: &str = "virtual_key";

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    model_name: String,
    provider: String,
    scope: String,
    scope_id: String,
    calendar_aligned: bool,
    time_zone: String,
    created_at: i64,
    updated_at: i64,
}

/// Configs by the id of the virtual key that they are about.
pub type ByKey = HashMap<String, Vec<ModelConfig>>;

/// The config with this id.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<ModelConfig>, db::Error> {
    let rows = tx
        .query("SELECT * FROM model_configs WHERE id = $1")
        .bind(id)
        .fetch_all()
        .await?;
    Ok(with_limits(tx, rows).await?.pop())
}

/// The config about this.
pub async fn about(tx: &mut Tx, subject: &Subject) -> Result<Option<ModelConfig>, db::Error> {
    let (scope, scope_id) = words(&subject.scope);
    let rows = tx
        .query(
            "SELECT * FROM model_configs
             WHERE scope = $1 AND scope_id = $2 AND provider = $3 AND model_name = $4",
        )
        .bind(scope)
        .bind(scope_id)
        .bind(subject.provider.as_deref().unwrap_or_default())
        .bind(subject.model.as_deref().unwrap_or(EVERY_MODEL))
        .fetch_all()
        .await?;
    Ok(with_limits(tx, rows).await?.pop())
}

/// Every config that is about everyone, by age.
pub async fn global(tx: &mut Tx) -> Result<Vec<ModelConfig>, db::Error> {
    let rows = tx
        .query("SELECT * FROM model_configs WHERE scope = 'global' ORDER BY id")
        .fetch_all()
        .await?;
    with_limits(tx, rows).await
}

/// Every config that is about a virtual key, or about this one.
pub async fn of_keys(tx: &mut Tx, key_id: Option<&str>) -> Result<ByKey, db::Error> {
    let rows = tx
        .query(
            "SELECT * FROM model_configs
             WHERE scope = 'virtual_key' AND ($1 IS NULL OR scope_id = $1) ORDER BY id",
        )
        .bind(key_id)
        .fetch_all()
        .await?;
    let mut by_key = ByKey::new();
    for config in with_limits(tx, rows).await? {
        if let Scope::VirtualKey(id) = &config.subject.scope {
            by_key.entry(id.clone()).or_default().push(config);
        }
    }
    Ok(by_key)
}

/// A part of the list of configs, by age.
pub async fn page(tx: &mut Tx, request: &PageRequest) -> Result<Page<ModelConfig>, db::Error> {
    let pattern = request.search_pattern();
    let (total,): (i64,) = tx
        .query(
            "SELECT COUNT(*) FROM model_configs
             WHERE ($1 IS NULL OR LOWER(model_name) LIKE $1 ESCAPE '\\')",
        )
        .bind(pattern.as_deref())
        .fetch_one()
        .await?;
    let rows = tx
        .query(
            "SELECT * FROM model_configs
             WHERE ($1 IS NULL OR LOWER(model_name) LIKE $1 ESCAPE '\\')
             ORDER BY id LIMIT $2 OFFSET $3",
        )
        .bind(pattern.as_deref())
        .bind(i64::from(request.limit))
        .bind(i64::from(request.offset))
        .fetch_all()
        .await?;
    Ok(Page {
        items: with_limits(tx, rows).await?,
        total,
    })
}

/// Stores a new config.
pub async fn insert(tx: &mut Tx, config: &ModelConfig) -> Result<(), db::Error> {
    let subject = &config.subject;
    let (scope, scope_id) = words(&subject.scope);
    tx.query(
        "INSERT INTO model_configs (id, model_name, provider, scope, scope_id, calendar_aligned,
                                    time_zone, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(config.id.as_str())
    .bind(subject.model.as_deref().unwrap_or(EVERY_MODEL))
    .bind(subject.provider.as_deref().unwrap_or_default())
    .bind(scope)
    .bind(scope_id)
    .bind(config.calendar.aligned)
    .bind(limits::calendar::name(&config.calendar.zone))
    .bind(config.created_at_ms)
    .bind(config.updated_at_ms)
    .execute()
    .await?;
    limits::store::replace(tx, LEVEL, &config.id, &config.limits).await
}

/// Stores a changed config under its id.
pub async fn update(tx: &mut Tx, config: &ModelConfig) -> Result<(), db::Error> {
    tx.query(
        "UPDATE model_configs SET calendar_aligned = $2, time_zone = $3, updated_at = $4
         WHERE id = $1",
    )
    .bind(config.id.as_str())
    .bind(config.calendar.aligned)
    .bind(limits::calendar::name(&config.calendar.zone))
    .bind(config.updated_at_ms)
    .execute()
    .await?;
    limits::store::replace(tx, LEVEL, &config.id, &config.limits).await
}

/// Deletes a config; what was used stays on record.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<(), db::Error> {
    limits::store::delete(tx, LEVEL, id).await?;
    tx.query("DELETE FROM model_configs WHERE id = $1")
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

/// Deletes the configs of a virtual key that is deleted.
pub async fn delete_of_key(tx: &mut Tx, key_id: &str) -> Result<(), db::Error> {
    let configs = of_keys(tx, Some(key_id)).await?;
    for config in configs.into_values().flatten() {
        delete(tx, &config.id).await?;
    }
    Ok(())
}

fn words(scope: &Scope) -> (&'static str, &str) {
    match scope {
        Scope::Global => (GLOBAL, ""),
        Scope::VirtualKey(id) => (VIRTUAL_KEY, id),
    }
}

/// Adds limits to rows that are sorted by id.
async fn with_limits(tx: &mut Tx, rows: Vec<Row>) -> Result<Vec<ModelConfig>, db::Error> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(Vec::new());
    };
    let mut limits = limits::store::of_owners(tx, LEVEL, &first.id, &last.id).await?;
    let configs = rows.into_iter().map(|row| {
        let limits = limits.remove(&row.id).unwrap_or_default();
        row.into_config(limits)
    });
    configs.collect()
}

impl Row {
    fn into_config(self, limits: Vec<Limit>) -> Result<ModelConfig, db::Error> {
        let scope = match self.scope.as_str() {
            GLOBAL => Scope::Global,
            VIRTUAL_KEY => Scope::VirtualKey(self.scope_id),
            other => return Err(db::Error::corrupt("model_configs.scope", other)),
        };
        Ok(ModelConfig {
            id: self.id,
            subject: Subject {
                model: Some(self.model_name).filter(|name| name != EVERY_MODEL),
                provider: Some(self.provider).filter(|name| !name.is_empty()),
                scope,
            },
            calendar: OwnerCalendar::stored(
                self.calendar_aligned,
                &self.time_zone,
                "model_configs.time_zone",
            )?,
            limits,
            created_at_ms: self.created_at,
            updated_at_ms: self.updated_at,
        })
    }
}
