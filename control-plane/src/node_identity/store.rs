//! SQL of the certificate authority.

use crate::db::{Error, Tx};

/// Certificate (PEM) and sealed key.
pub(super) async fn get(tx: &mut Tx) -> Result<Option<(String, String)>, Error> {
    tx.query("SELECT certificate, sealed_key FROM node_authority")
        .fetch_optional()
        .await
}

pub(super) async fn insert(
    tx: &mut Tx,
    certificate: &str,
    sealed_key: &str,
    now_ms: i64,
) -> Result<(), Error> {
    tx.query(
        "INSERT INTO node_authority (id, certificate, sealed_key, created_at)
         VALUES (1, $1, $2, $3)",
    )
    .bind(certificate)
    .bind(sealed_key)
    .bind(now_ms)
    .execute()
    .await?;
    Ok(())
}
