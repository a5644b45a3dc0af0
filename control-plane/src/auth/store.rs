//! SQL of admin tokens.

use super::admin_token::TokenDigest;
use crate::db::{Error, Tx};

pub(super) async fn insert(
    tx: &mut Tx,
    id: &str,
    digest: &TokenDigest,
    now_ms: i64,
) -> Result<(), Error> {
    tx.query("INSERT INTO admin_tokens (id, digest, created_at) VALUES ($1, $2, $3)")
        .bind(id)
        .bind(digest.as_bytes())
        .bind(now_ms)
        .execute()
        .await?;
    Ok(())
}

pub(super) async fn digests(tx: &mut Tx) -> Result<Vec<Vec<u8>>, Error> {
    let rows: Vec<(Vec<u8>,)> = tx
        .query("SELECT digest FROM admin_tokens")
        .fetch_all()
        .await?;
    Ok(rows.into_iter().map(|(digest,)| digest).collect())
}
