//! Questions about the ledger, and their SQL.

use super::{GroupBy, Tokens};
use crate::db::{Error, Tx};
use crate::http::page::{Page, PageRequest};

/// Requests that were admitted in `[from_ms, to_ms)`; an end that is `None` is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Milliseconds since the Unix epoch.
    pub from_ms: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub to_ms: Option<i64>,
}

/// Which records are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordFilter {
    /// Only of this request.
    pub request_id: Option<String>,
    /// Only of this virtual key.
    pub virtual_key_id: Option<String>,
}

/// The sums of one group.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Sums {
    /// What the records of the group have in common; `None`: nobody's.
    pub group_name: Option<String>,
    pub requests: i64,
    pub estimated_requests: i64,
    pub input_tokens: i64,
    pub cache_read_tokens: i64,
    pub cache_write_5m_tokens: i64,
    pub cache_write_1h_tokens: i64,
    pub output_tokens: i64,
    pub reasoning_tokens: i64,
    pub audio_input_tokens: i64,
    pub audio_output_tokens: i64,
    pub image_input_tokens: i64,
    pub image_output_tokens: i64,
    pub cost_nanos: i64,
}

impl Sums {
    /// All tokens. Reasoning, audio and images are in the input and the output already.
    pub fn total_tokens(&self) -> i64 {
        self.input_tokens
            .saturating_add(self.cache_read_tokens)
            .saturating_add(self.cache_write_5m_tokens)
            .saturating_add(self.cache_write_1h_tokens)
            .saturating_add(self.output_tokens)
    }
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

/// Sums by a column, dearest first: `(the groups, how many there are)`.
macro_rules! sums_by {
    ($column:literal) => {
        (
            concat!(
                "SELECT ", $column, " AS group_name,
                        COUNT(*) AS requests,
                        CAST(COALESCE(SUM(CASE WHEN estimated THEN 1 ELSE 0 END), 0) AS BIGINT)
                            AS estimated_requests,
                        CAST(COALESCE(SUM(input_tokens), 0) AS BIGINT) AS input_tokens,
                        CAST(COALESCE(SUM(cache_read_tokens), 0) AS BIGINT) AS cache_read_tokens,
                        CAST(COALESCE(SUM(cache_write_5m_tokens), 0) AS BIGINT)
                            AS cache_write_5m_tokens,
                        CAST(COALESCE(SUM(cache_write_1h_tokens), 0) AS BIGINT)
                            AS cache_write_1h_tokens,
                        CAST(COALESCE(SUM(output_tokens), 0) AS BIGINT) AS output_tokens,
                        CAST(COALESCE(SUM(reasoning_tokens), 0) AS BIGINT) AS reasoning_tokens,
                        CAST(COALESCE(SUM(audio_input_tokens), 0) AS BIGINT) AS audio_input_tokens,
                        CAST(COALESCE(SUM(audio_output_tokens), 0) AS BIGINT)
                            AS audio_output_tokens,
                        CAST(COALESCE(SUM(image_input_tokens), 0) AS BIGINT) AS image_input_tokens,
                        CAST(COALESCE(SUM(image_output_tokens), 0) AS BIGINT)
                            AS image_output_tokens,
                        CAST(COALESCE(SUM(cost_nanos), 0) AS BIGINT) AS cost_nanos
                 FROM usage_records WHERE reserved_at >= $1 AND reserved_at < $2
                 GROUP BY ", $column, "
                 ORDER BY COALESCE(SUM(cost_nanos), 0) DESC, ", $column, " IS NULL, ", $column, "
                 LIMIT $3 OFFSET $4"
            ),
            concat!(
                "SELECT COUNT(*) FROM (
                     SELECT 1 FROM usage_records WHERE reserved_at >= $1 AND reserved_at < $2
                     GROUP BY ", $column, "
                 ) AS grouped"
            ),
        )
    };
}

/// The sums of each group, dearest first.
pub async fn sums(
    tx: &mut Tx,
    group_by: GroupBy,
    span: Span,
    request: &PageRequest,
) -> Result<Page<Sums>, Error> {
    let (groups, count) = match group_by {
        GroupBy::Nothing => sums_by!("CAST(NULL AS TEXT)"),
        GroupBy::VirtualKey => sums_by!("virtual_key_id"),
        GroupBy::Team => sums_by!("team_id"),
        GroupBy::Customer => sums_by!("customer_id"),
        GroupBy::Provider => sums_by!("provider"),
        GroupBy::Model => sums_by!("provider || '/' || model"),
    };
    let from_ms = span.from_ms.unwrap_or(i64::MIN);
    let to_ms = span.to_ms.unwrap_or(i64::MAX);
    let (total,) = tx
        .query(count)
        .bind(from_ms)
        .bind(to_ms)
        .fetch_one()
        .await?;
    let items = tx
        .query(groups)
        .bind(from_ms)
        .bind(to_ms)
        .bind(i64::from(request.limit))
        .bind(i64::from(request.offset))
        .fetch_all()
        .await?;
    Ok(Page { items, total })
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
