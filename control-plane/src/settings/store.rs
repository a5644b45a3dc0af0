//! SQL of settings: one row.

use reeve_policy::required_headers::RequiredHeader;
use reeve_policy::reservation::{Reserving, Sizing, WhenShort};

use super::{Ceiling, Settings, Unreachable, WhenUnreachable};
use crate::db::{self, Error, Tx};
use crate::limits::calendar;

#[derive(sqlx::FromRow)]
struct Row {
    enable_governance: bool,
    required_headers: String,
    max_request_body_bytes: i64,
    balanced_reservations: bool,
    clamp_when_short: bool,
    ceiling_input_price: Option<i64>,
    ceiling_output_price: Option<i64>,
    ceiling_price_version: i64,
    time_zone: String,
    fail_open_capped: bool,
    emergency_allowance_percent: i64,
    adaptive_routing: bool,
}

/// Stores the first settings, unless there are some. True: the database was new.
pub async fn initialise(tx: &mut Tx, settings: &Settings) -> Result<bool, Error> {
    let inserted = tx
        .query(
            "INSERT INTO settings (id, enable_governance, required_headers, max_request_body_bytes,
                                   balanced_reservations, clamp_when_short, ceiling_input_price,
                                   ceiling_output_price, ceiling_price_version, time_zone,
                                   fail_open_capped, emergency_allowance_percent,
                                   adaptive_routing)
             VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (id) DO NOTHING",
        )
        .bind(settings.enable_governance)
        .bind(db::list_text(&settings.header_texts()))
        .bind(settings.max_request_body_bytes)
        .bind(settings.reserving.sizing == Sizing::Balanced)
        .bind(settings.reserving.when_short == WhenShort::Clamp)
        .bind(settings.ceiling.map(|ceiling| ceiling.input))
        .bind(settings.ceiling.map(|ceiling| ceiling.output))
        .bind(version_of(settings.ceiling))
        .bind(calendar::name(&settings.time_zone))
        .bind(settings.unreachable.when == WhenUnreachable::FailOpenCapped)
        .bind(i64::from(settings.unreachable.percent))
        .bind(settings.adaptive_routing)
        .execute()
        .await?;
    Ok(inserted > 0)
}

/// The settings.
pub async fn get(tx: &mut Tx) -> Result<Settings, Error> {
    let row: Row = tx
        .query(
            "SELECT enable_governance, required_headers, max_request_body_bytes,
                    balanced_reservations, clamp_when_short,
                    ceiling_input_price, ceiling_output_price, ceiling_price_version, time_zone,
                    fail_open_capped, emergency_allowance_percent, adaptive_routing
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
        ceiling: row
            .ceiling_input_price
            .zip(row.ceiling_output_price)
            .map(|(input, output)| Ceiling {
                input,
                output,
                price_version: u64::try_from(row.ceiling_price_version).unwrap_or_default(),
            }),
        reserving: Reserving {
            sizing: if row.balanced_reservations {
                Sizing::Balanced
            } else {
                Sizing::Strict
            },
            when_short: if row.clamp_when_short {
                WhenShort::Clamp
            } else {
                WhenShort::Reject
            },
            ..Reserving::default()
        },
        unreachable: Unreachable {
            when: if row.fail_open_capped {
                WhenUnreachable::FailOpenCapped
            } else {
                WhenUnreachable::FailClosed
            },
            percent: u32::try_from(row.emergency_allowance_percent)
                .map_err(|error| Error::corrupt("settings.emergency_allowance_percent", error))?,
        },
        adaptive_routing: row.adaptive_routing,
        time_zone: calendar::find(&row.time_zone)
            .ok_or_else(|| Error::corrupt("settings.time_zone", &row.time_zone))?,
    })
}

/// Stores changed settings.
pub async fn update(tx: &mut Tx, settings: &Settings) -> Result<(), Error> {
    tx.query(
        "UPDATE settings
         SET enable_governance = $1, required_headers = $2, max_request_body_bytes = $3,
             balanced_reservations = $4, clamp_when_short = $5, ceiling_input_price = $6,
             ceiling_output_price = $7, ceiling_price_version = $8, time_zone = $9,
             fail_open_capped = $10, emergency_allowance_percent = $11, adaptive_routing = $12
         WHERE id = 1",
    )
    .bind(settings.enable_governance)
    .bind(db::list_text(&settings.header_texts()))
    .bind(settings.max_request_body_bytes)
    .bind(settings.reserving.sizing == Sizing::Balanced)
    .bind(settings.reserving.when_short == WhenShort::Clamp)
    .bind(settings.ceiling.map(|ceiling| ceiling.input))
    .bind(settings.ceiling.map(|ceiling| ceiling.output))
    .bind(version_of(settings.ceiling))
    .bind(calendar::name(&settings.time_zone))
    .bind(settings.unreachable.when == WhenUnreachable::FailOpenCapped)
    .bind(i64::from(settings.unreachable.percent))
    .bind(settings.adaptive_routing)
    .execute()
    .await?;
    Ok(())
}

/// Milliseconds of a clock, so far below the range of the column.
fn version_of(ceiling: Option<Ceiling>) -> i64 {
    ceiling.map_or(0, |ceiling| {
        i64::try_from(ceiling.price_version).unwrap_or(i64::MAX)
    })
}
