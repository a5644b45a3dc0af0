//! SQL of the ledger.

use reeve_proto::v1::UsageRecord;

use super::Boot;
use super::ingest::{self, Account, Posting, Record, Rejected};
use super::rows::Insert;
use crate::db::{Error, Tx};

static INSERT_RECORDS: Insert = Insert::new(
    "INSERT INTO usage_records (node_id, boot_id, sequence, request_id, reserved_at, finished_at,
         virtual_key_id, team_id, customer_id, provider_config_id, provider, model, operation,
         input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
         output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens,
         image_input_tokens, image_output_tokens,
         cost_nanos, estimated, status, streamed, outcome)",
    28,
    "",
);

static ADD_CHARGES: Insert = Insert::new(
    "INSERT INTO limit_usage (limit_id, window_start_ms, node_id, boot_id, amount, revision)",
    6,
    "ON CONFLICT (limit_id, window_start_ms, node_id, boot_id) DO UPDATE
     SET amount = limit_usage.amount + excluded.amount, revision = excluded.revision",
);

/// The highest number of this boot up to which everything is stored; 0: nothing is.
pub async fn acknowledged(tx: &mut Tx, boot: &Boot) -> Result<i64, Error> {
    let row: Option<(i64,)> = tx
        .query("SELECT acknowledged_sequence FROM usage_boots WHERE node_id = $1 AND boot_id = $2")
        .bind(boot.node_id.as_str())
        .bind(boot.boot_id.as_str())
        .fetch_optional()
        .await?;
    Ok(row.map_or(0, |(sequence,)| sequence))
}

/// Stores what is new in a batch. The transaction must be a writing one: nobody else may post
/// between the look at what is stored and the posting. Nothing counts until it is committed.
pub async fn post(
    tx: &mut Tx,
    boot: &Boot,
    batch: Vec<UsageRecord>,
    now_ms: i64,
) -> Result<Posting, Error> {
    let before = acknowledged(tx, boot).await?;
    let posting = ingest::post(batch, before);
    if posting.acknowledged == before {
        return Ok(posting);
    }
    insert_records(tx, boot, &posting.records).await?;
    insert_rejected(tx, boot, &posting.rejected, now_ms).await?;
    add_charges(tx, boot, &posting).await?;
    tx.query(
        "INSERT INTO usage_boots (node_id, boot_id, acknowledged_sequence) VALUES ($1, $2, $3)
         ON CONFLICT (node_id, boot_id) DO UPDATE
         SET acknowledged_sequence = excluded.acknowledged_sequence",
    )
    .bind(boot.node_id.as_str())
    .bind(boot.boot_id.as_str())
    .bind(posting.acknowledged)
    .execute()
    .await?;
    Ok(posting)
}

async fn insert_records(tx: &mut Tx, boot: &Boot, records: &[Record]) -> Result<(), Error> {
    for (text, run) in INSERT_RECORDS.runs(records) {
        let mut insert = tx.query(text);
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
                .bind(record.outcome.as_str());
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

async fn add_charges(tx: &mut Tx, boot: &Boot, posting: &Posting) -> Result<(), Error> {
    let revision = super::spent::latest(tx).await?.saturating_add(1);
    let charges: Vec<(&Account, i64)> = posting
        .charges
        .iter()
        .map(|(account, amount)| (account, *amount))
        .collect();
    for (text, run) in ADD_CHARGES.runs(&charges) {
        let mut upsert = tx.query(text);
        for ((limit_id, window_start_ms), amount) in run {
            upsert = upsert
                .bind(limit_id.as_str())
                .bind(*window_start_ms)
                .bind(boot.node_id.as_str())
                .bind(boot.boot_id.as_str())
                .bind(*amount)
                .bind(revision);
        }
        upsert.execute().await?;
    }
    Ok(())
}
