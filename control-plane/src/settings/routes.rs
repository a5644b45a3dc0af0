//! `/api/config`

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ceiling::Given;
use super::{Change, Reservation, Settings, Short, WhenUnreachable, store};
use crate::app::App;
use crate::auth::Admin;
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::reply::Ok as Reply;
use crate::limits::calendar;
use crate::policy_changes::{self, Kind};

/// The routes of settings.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(show, update))
}

#[derive(Debug, Serialize, ToSchema)]
struct ClientConfig {
    enable_governance: bool,
    /// `name`, or `name: regex`.
    required_headers: Vec<String>,
    max_request_body_size_mb: i64,
    reservation: Reservation,
    when_short: Short,
    when_unreachable: WhenUnreachable,
    emergency_allowance_percent: u32,
    /// Null: a model without a price is refused.
    unpriced_model_ceiling: Option<Given>,
    /// Whether a provider is drawn less often than its weight says while it fails, refuses or is slow.
    adaptive_routing: bool,
    /// Of the calendar of new customers, teams and keys.
    time_zone: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Config)]
struct ShowView {
    client_config: ClientConfig,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigChanged)]
struct ChangedView {
    message: &'static str,
    client_config: ClientConfig,
}

impl From<Settings> for ClientConfig {
    fn from(settings: Settings) -> Self {
        Self {
            enable_governance: settings.enable_governance,
            max_request_body_size_mb: settings.max_request_body_mib(),
            required_headers: settings.header_texts(),
            reservation: settings.reserving.sizing.into(),
            when_short: settings.reserving.when_short.into(),
            when_unreachable: settings.unreachable.when,
            emergency_allowance_percent: settings.unreachable.percent,
            unpriced_model_ceiling: settings.ceiling.map(Into::into),
            adaptive_routing: settings.adaptive_routing,
            time_zone: calendar::name(&settings.time_zone).to_owned(),
        }
    }
}

/// Show the settings.
#[utoipa::path(
    get, path = "/api/config", tag = "Settings",
    responses((status = 200, body = ShowView)),
)]
async fn show(_: Admin, State(app): State<Arc<App>>) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    Ok(Reply(ShowView {
        client_config: store::get(&mut tx).await?.into(),
    }))
}

/// Change the settings. What is left out stays.
#[utoipa::path(
    put, path = "/api/config", tag = "Settings",
    request_body = Change,
    responses((status = 200, body = ChangedView), (status = 400, body = Problem)),
)]
async fn update(
    _: Admin,
    State(app): State<Arc<App>>,
    Json(change): Json<Change>,
) -> Result<Reply<ChangedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    let settings = change.apply(store::get(&mut tx).await?, app.clock.now_ms())?;
    store::update(&mut tx, &settings).await?;
    policy_changes::record(&mut tx, Kind::Settings, "settings").await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Configuration updated",
        client_config: settings.into(),
    }))
}
