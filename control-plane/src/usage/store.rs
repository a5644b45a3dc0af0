//! SQL of the ledger.

use super::Boot;
use super::ingest::{Posting, Record, Rejected};
use crate::db::{Error, Tx, Values};

static INSERT_RECORDS: Values = Values::new(
    "INSERT INTO usage_records (node_id, boot_id, sequence, request_id, reserved_at, finished_at,
         virtual_key_id, team_id, customer_id, provider_config_id, provider, model, operation,
         input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
         output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens,
         image_input_tokens, image_output_tokens,
         cost_nanos, estimated, status, streamed, outcome,
         price_version, service_tier, attempts, fallback_index, alias)",
    33,
    "",
);

/// Stores the records of a posting. Nothing counts until it is committed.
pub async fn insert(tx: &mut Tx, boot: &Boot, posting: &Posting, now_ms: i64) -> Result<(), Error> {
    insert_records(tx, boot, &posting.records).await?;
    insert_rejected(tx, boot, &posting.rejected, now_ms).await
}

/// The highest number of a boot's usage that is stored; 0: none is.
pub async fn highest(tx: &mut Tx, boot: &Boot) -> Result<i64, Error> {
    let (highest,): (i64,) = tx
        .query(
            "SELECT COALESCE(MAX(highest), 0)
             FROM (SELECT MAX(sequence) AS highest FROM usage_records
                   WHERE node_id = $1 AND boot_id = $2
                   UNION ALL
                   SELECT MAX(sequence) FROM usage_rejected
                   WHERE node_id = $1 AND boot_id = $2) AS stored",
        )
        .bind(boot.node_id.as_str())
        .bind(boot.boot_id.as_str())
        .fetch_one()
        .await?;
    Ok(highest)
}

async fn insert_records(tx: &mut Tx, boot: &Boot, records: &[Record]) -> Result<(), Error> {
    for (statement, run) in INSERT_RECORDS.runs(records) {
        let mut insert = tx.values(statement);
        for record in run {
            insert = insert
                .bind(boot.node_id.as_str())
                .bind(boot.boot_id.as_str())
                .bind(record.sequence)
                .bind(record.request_id.as_str())
                .bind(record.reserved_at)
                .bind(record.finished_at)
                .bind(record.virtual_key_id.as_deref())
                .bind(record.team_id.as_deref())
                .bind(record.customer_id.as_deref())
                .bind(record.provider_config_id.as_deref())
                .bind(record.provider.as_str())
                .bind(record.model.as_str())
                .bind(record.operation.as_str())
                .bind(record.tokens.input_tokens)
                .bind(record.tokens.cache_read_tokens)
                .bind(record.tokens.cache_write_5m_tokens)
                .bind(record.tokens.cache_write_1h_tokens)
                .bind(record.tokens.output_tokens)
                .bind(record.tokens.reasoning_tokens)
                .bind(record.tokens.audio_input_tokens)
                .bind(record.tokens.audio_output_tokens)
                .bind(record.tokens.image_input_tokens)
                .bind(record.tokens.image_output_tokens)
                .bind(record.cost_nanos)
                .bind(record.estimated)
                .bind(record.status)
                .bind(record.streamed)
                .bind(record.outcome.as_str())
                .bind(record.price_version)
                .bind(record.service_tier.as_deref())
                .bind(record.attempts)
                .bind(record.fallback_index)
                .bind(record.alias.as_deref());
        }
        insert.execute().await?;
    }
    Ok(())
}

async fn insert_rejected(
    tx: &mut Tx,
    boot: &Boot,
    rejected: &[Rejected],
    now_ms: i64,
) -> Result<(), Error> {
    for record in rejected {
        tx.query(
            "INSERT INTO usage_rejected (node_id, boot_id, sequence, received_at, reason, record)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(boot.node_id.as_str())
        .bind(boot.boot_id.as_str())
        .bind(record.sequence)
        .bind(now_ms)
        .bind(record.reason.to_string())
        .bind(record.bytes.as_slice())
        .execute()
        .await?;
    }
    Ok(())
}
