//! SQL of settings: one row.

use reeve_policy::required_headers::RequiredHeader;

use super::Settings;
use crate::db::{self, Error, Tx};

#[derive(sqlx::FromRow)]
struct Row {
    enable_governance: bool,
    required_headers: String,
    max_request_body_bytes: i64,
}

/// Stores the first settings, unless there are some. True: the database was new.
pub async fn initialise(tx: &mut Tx, settings: &Settings) -> Result<bool, Error> {
    let inserted = tx
        .query(
            "INSERT INTO settings (id, enable_governance, required_headers, max_request_body_bytes)
             VALUES (1, $1, $2, $3) ON CONFLICT (id) DO NOTHING",
        )
        .bind(settings.enable_governance)
        .bind(db::list_text(&settings.header_texts()))
        .bind(settings.max_request_body_bytes)
        .execute()
        .await?;
    Ok(inserted > 0)
}

/// The settings.
pub async fn get(tx: &mut Tx) -> Result<Settings, Error> {
    let row: Row = tx
        .query(
            "SELECT enable_governance, required_headers, max_request_body_bytes
             FROM settings WHERE id = 1",
        )
        .fetch_one()
        .await?;
    let column = "settings.required_headers";
    let headers: Vec<String> = db::list(column, &row.required_headers)?;
    let headers = headers.iter().map(|text| RequiredHeader::parse(text));
    Ok(Settings {
        enable_governance: row.enable_governance,
        required_headers: headers
            .collect::<Result<_, _>>()
            .map_err(|error| Error::corrupt(column, error))?,
        max_request_body_bytes: row.max_request_body_bytes,
    })
}

/// Stores changed settings.
pub async fn update(tx: &mut Tx, settings: &Settings) -> Result<(), Error> {
    tx.query(
        "UPDATE settings
         SET enable_governance = $1, required_headers = $2, max_request_body_bytes = $3
         WHERE id = 1",
    )
    .bind(settings.enable_governance)
    .bind(db::list_text(&settings.header_texts()))
    .bind(settings.max_request_body_bytes)
    .execute()
    .await?;
    Ok(())
}
