//! SQL of the operators' own models. One function per question.

use reeve_policy::units::UnitPrices;

use super::{Model, Prices, Source, version};
use crate::db::{self, Tx};

/// Why a model was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is an entry of the operators for this model.
    #[error("this model has an entry of its own already; change it with PUT")]
    Taken,
    /// The database failed.
    #[error(transparent)]
    Db(db::Error),
}

impl From<db::Error> for Refused {
    fn from(error: db::Error) -> Self {
        if error.violates("models_provider_model_key") {
            Self::Taken
        } else {
            Self::Db(error)
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    provider: String,
    model: String,
    input_price: i64,
    output_price: i64,
    cache_read_price: Option<i64>,
    cache_write_price: Option<i64>,
    max_input_tokens: Option<i64>,
    max_output_tokens: Option<i64>,
    updated_at: i64,
}

/// The entry for a model of a provider.
pub async fn find(tx: &mut Tx, provider: &str, model: &str) -> Result<Option<Model>, db::Error> {
    let row: Option<Row> = tx
        .query("SELECT * FROM models WHERE provider = $1 AND model = $2")
        .bind(provider)
        .bind(model)
        .fetch_optional()
        .await?;
    row.map(Model::try_from).transpose()
}

/// The entries for models of a provider.
pub async fn of_provider(tx: &mut Tx, provider: &str) -> Result<Vec<Model>, db::Error> {
    let rows: Vec<Row> = tx
        .query("SELECT * FROM models WHERE provider = $1")
        .bind(provider)
        .fetch_all()
        .await?;
    rows.into_iter().map(Model::try_from).collect()
}

/// Every entry.
pub async fn all(tx: &mut Tx) -> Result<Vec<Model>, db::Error> {
    let rows: Vec<Row> = tx.query("SELECT * FROM models").fetch_all().await?;
    rows.into_iter().map(Model::try_from).collect()
}

/// Stores a new entry.
pub async fn insert(tx: &mut Tx, model: &Model, now_ms: i64) -> Result<(), Refused> {
    tx.query(
        "INSERT INTO models (provider, model, input_price, output_price, cache_read_price,
                             cache_write_price, max_input_tokens, max_output_tokens,
                             created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)",
    )
    .bind(model.provider.as_str())
    .bind(model.model.as_str())
    .bind(model.prices.input)
    .bind(model.prices.output)
    .bind(model.prices.cache_read)
    .bind(model.prices.cache_write_5m)
    .bind(count(model.max_input_tokens))
    .bind(count(model.max_output_tokens))
    .bind(now_ms)
    .execute()
    .await?;
    Ok(())
}

/// Stores an entry, in place of the one there may be.
pub async fn replace(tx: &mut Tx, model: &Model, now_ms: i64) -> Result<(), Refused> {
    delete(tx, &model.provider, &model.model).await?;
    insert(tx, model, now_ms).await
}

/// Deletes an entry; false: there was none.
pub async fn delete(tx: &mut Tx, provider: &str, model: &str) -> Result<bool, db::Error> {
    let deleted = tx
        .query("DELETE FROM models WHERE provider = $1 AND model = $2")
        .bind(provider)
        .bind(model)
        .execute()
        .await?;
    Ok(deleted > 0)
}

/// The rules keep counts far below the range of the column.
fn count(tokens: Option<u64>) -> Option<i64> {
    tokens.map(|tokens| i64::try_from(tokens).unwrap_or(i64::MAX))
}

impl TryFrom<Row> for Model {
    type Error = db::Error;

    fn try_from(row: Row) -> Result<Self, db::Error> {
        let tokens = |what, count: Option<i64>| {
            count
                .map(|count| u64::try_from(count).map_err(|error| db::Error::corrupt(what, error)))
                .transpose()
        };
        Ok(Self {
            provider: row.provider,
            model: row.model,
            source: Source::Custom,
            prices: Prices {
                input: Some(row.input_price),
                output: Some(row.output_price),
                cache_read: row.cache_read_price,
                cache_write_5m: row.cache_write_price,
                ..Prices::default()
            },
            cards: Vec::new(),
            units: UnitPrices::default(),
            max_input_tokens: tokens("models.max_input_tokens", row.max_input_tokens)?,
            max_output_tokens: tokens("models.max_output_tokens", row.max_output_tokens)?,
            deprecated_on: None,
            price_version: version(row.updated_at),
        })
    }
}
