//! Questions about single records of the ledger, and their SQL.

use super::Tokens;
use crate::db::{Error, Tx};
use crate::http::page::{Page, PageRequest};

/// Which records are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordFilter {
    /// Only of this request.
    pub request_id: Option<String>,
    /// Only of this virtual key.
    pub virtual_key_id: Option<String>,
}

/// A record as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredRecord {
    pub node_id: String,
    pub boot_id: String,
    pub sequence: i64,
    pub request_id: String,
    pub reserved_at: i64,
    pub finished_at: i64,
    pub virtual_key_id: Option<String>,
    pub team_id: Option<String>,
    pub customer_id: Option<String>,
    pub provider_config_id: Option<String>,
    pub provider: String,
    pub model: String,
    pub operation: String,
    #[sqlx(flatten)]
    pub tokens: Tokens,
    pub cost_nanos: i64,
    pub estimated: bool,
    pub status: Option<i64>,
    pub streamed: bool,
    pub outcome: String,
    pub price_version: Option<i64>,
    pub service_tier: Option<String>,
    pub attempts: i64,
    pub fallback_index: i64,
    pub alias: Option<String>,
}

/// A record that was rejected, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RejectedRecord {
    pub node_id: String,
    pub boot_id: String,
    pub sequence: i64,
    pub received_at: i64,
    pub reason: String,
}

/// Single records, newest first.
pub async fn records(
    tx: &mut Tx,
    filter: &RecordFilter,
    request: &PageRequest,
) -> Result<Page<StoredRecord>, Error> {
    let (total,) = tx
        .query(
            "SELECT COUNT(*) FROM usage_records
             WHERE ($1 IS NULL OR request_id = $1) AND ($2 IS NULL OR virtual_key_id = $2)",
        )
        .bind(filter.request_id.as_deref())
        .bind(filter.virtual_key_id.as_deref())
        .fetch_one()
        .await?;
    let items = tx
        .query(
            "SELECT * FROM usage_records
             WHERE ($1 IS NULL OR request_id = $1) AND ($2 IS NULL OR virtual_key_id = $2)
             ORDER BY reserved_at DESC, node_id, boot_id, sequence DESC LIMIT $3 OFFSET $4",
        )
        .bind(filter.request_id.as_deref())
        .bind(filter.virtual_key_id.as_deref())
        .bind(i64::from(request.limit))
        .bind(i64::from(request.offset))
        .fetch_all()
        .await?;
    Ok(Page { items, total })
}

/// Records that break a rule, newest first.
pub async fn rejected(tx: &mut Tx, request: &PageRequest) -> Result<Page<RejectedRecord>, Error> {
    let (total,) = tx
        .query("SELECT COUNT(*) FROM usage_rejected")
        .fetch_one()
        .await?;
    let items = tx
        .query(
            "SELECT node_id, boot_id, sequence, received_at, reason FROM usage_rejected
             ORDER BY received_at DESC, node_id, boot_id, sequence DESC LIMIT $1 OFFSET $2",
        )
        .bind(i64::from(request.limit))
        .bind(i64::from(request.offset))
        .fetch_all()
        .await?;
    Ok(Page { items, total })
}
