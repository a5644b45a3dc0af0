//! SQL of pricing overrides.

use reeve_policy::price_override::Models;

use super::PricingOverride;
use crate::db::{self, Tx};
use crate::http::page::{Page, PageRequest};

/// Why an override was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another one holds for the same.
    #[error("another override holds for the same key, provider and pattern; change that one")]
    Taken,
    /// The database failed.
    #[error(transparent)]
    Db(db::Error),
}

impl From<db::Error> for Refused {
    fn from(error: db::Error) -> Self {
        if error.violates("pricing_overrides_virtual_key_id_provider_pattern_key") {
            Self::Taken
        } else {
            Self::Db(error)
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    virtual_key_id: String,
    provider: String,
    pattern: String,
    input_price: i64,
    output_price: i64,
    cache_read_price: Option<i64>,
    cache_write_price: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

/// The override with this id.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<PricingOverride>, db::Error> {
    let row: Option<Row> = tx
        .query("SELECT * FROM pricing_overrides WHERE id = $1")
        .bind(id)
        .fetch_optional()
        .await?;
    row.map(PricingOverride::try_from).transpose()
}

/// Every override, by age.
pub async fn all(tx: &mut Tx) -> Result<Vec<PricingOverride>, db::Error> {
    let rows: Vec<Row> = tx
        .query("SELECT * FROM pricing_overrides ORDER BY id")
        .fetch_all()
        .await?;
    rows.into_iter().map(PricingOverride::try_from).collect()
}

/// How many there are.
pub async fn count(tx: &mut Tx) -> Result<i64, db::Error> {
    let (count,): (i64,) = tx
        .query("SELECT COUNT(*) FROM pricing_overrides")
        .fetch_one()
        .await?;
    Ok(count)
}

/// A part of the list, by age.
pub async fn page(tx: &mut Tx, request: &PageRequest) -> Result<Page<PricingOverride>, db::Error> {
    let search = request.search_pattern();
    let (total,): (i64,) = tx
        .query(
            "SELECT COUNT(*) FROM pricing_overrides
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')",
        )
        .bind(search.as_deref())
        .fetch_one()
        .await?;
    let rows: Vec<Row> = tx
        .query(
            "SELECT * FROM pricing_overrides
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')
             ORDER BY id LIMIT $2 OFFSET $3",
        )
        .bind(search.as_deref())
        .bind(i64::from(request.limit))
        .bind(i64::from(request.offset))
        .fetch_all()
        .await?;
    let items = rows.into_iter().map(PricingOverride::try_from);
    Ok(Page {
        items: items.collect::<Result<_, _>>()?,
        total,
    })
}

/// Stores an override, in place of the one of its id that there may be.
pub async fn put(tx: &mut Tx, own: &PricingOverride) -> Result<(), Refused> {
    delete(tx, &own.id).await?;
    tx.query(
        "INSERT INTO pricing_overrides (id, name, virtual_key_id, provider, pattern, input_price,
                                        output_price, cache_read_price, cache_write_price,
                                        created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(own.id.as_str())
    .bind(own.name.as_str())
    .bind(own.virtual_key_id.as_deref().unwrap_or_default())
    .bind(own.provider.as_deref().unwrap_or_default())
    .bind(own.models.pattern())
    .bind(own.input)
    .bind(own.output)
    .bind(own.cache_read)
    .bind(own.cache_write)
    .bind(own.created_at_ms)
    .bind(own.updated_at_ms)
    .execute()
    .await?;
    Ok(())
}

/// Deletes an override; false: there was none.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<bool, db::Error> {
    let deleted = tx
        .query("DELETE FROM pricing_overrides WHERE id = $1")
        .bind(id)
        .execute()
        .await?;
    Ok(deleted > 0)
}

impl TryFrom<Row> for PricingOverride {
    type Error = db::Error;

    fn try_from(row: Row) -> Result<Self, db::Error> {
        let models = Models::parse(&row.pattern).ok_or_else(|| {
            db::Error::corrupt("pricing_overrides.pattern", "is no pattern".to_owned())
        })?;
        let scope = |id: String| Some(id).filter(|id| !id.is_empty());
        Ok(Self {
            id: row.id,
            name: row.name,
            virtual_key_id: scope(row.virtual_key_id),
            provider: scope(row.provider),
            models,
            input: row.input_price,
            output: row.output_price,
            cache_read: row.cache_read_price,
            cache_write: row.cache_write_price,
            created_at_ms: row.created_at,
            updated_at_ms: row.updated_at,
        })
    }
}
