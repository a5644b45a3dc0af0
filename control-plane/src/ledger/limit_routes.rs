//! `/api/governance/limits`: what an administrator adds to a limit for its current window.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use reeve_policy::limit::Limit;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::additions::{self, Addition};
use super::idempotency::{Answer, Once};
use crate::app::App;
use crate::auth::Admin;
use crate::db::Tx;
use crate::error::{Error, Problem};
use crate::http::json::{Json, OptionalJson};
use crate::http::number::Number;
use crate::http::timestamp::Timestamp;
use crate::limits;

/// The routes of limits.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(top_up))
        .routes(routes!(reset))
}

/// A request that is sent again because its answer was lost.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it is read from the headers; this documents it")]
pub(super) struct IdempotencyKey {
    /// Names this request, for a day: sent again with the same key it is answered as it was, and not done
    /// again.
    #[param(rename = "Idempotency-Key", required = false)]
    idempotency_key: String,
}

/// A top-up.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = LimitTopUp)]
struct TopUp {
    /// US dollars, requests or tokens, as the limit counts; more than 0.
    #[schema(value_type = f64, example = 25.0)]
    amount: Number,
}

/// A reset; there is nothing to say about it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = LimitReset)]
struct Reset {}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LimitAddition)]
struct View {
    message: &'static str,
    limit_id: String,
    /// What was added to the limit for this window.
    #[schema(value_type = f64)]
    added: Number,
    /// Start of that window.
    #[schema(value_type = String, format = DateTime)]
    window_start: Timestamp,
}

/// Add to a limit for its current window. What was used stays; the next window is as configured.
#[utoipa::path(
    post, path = "/api/governance/limits/{id}/top-up", tag = "Limits",
    params(("id" = String, Path, description = "Of a budget or a rate limit"), IdempotencyKey),
    request_body = TopUp,
    responses(
        (status = 200, body = View),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 422, body = Problem, description = "The idempotency key was used for another request"),
    ),
)]
async fn top_up(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(given): Json<TopUp>,
) -> Result<Answer, Error> {
    let once = Once::new(&headers, format!("top-up {id} {}", given.amount.as_str()))?;
    let mut tx = app.db.begin_write().await?;
    if let Some(answer) = once.answer(&mut tx).await? {
        return Ok(answer);
    }
    let limit = find(&mut tx, &id).await?;
    let amount = limits::overrides::added(&given.amount, limit.metric)?;
    let addition = Addition::TopUp(amount);
    let view = add(&app, &mut tx, &limit, addition, "Limit topped up").await?;
    once.commit(&app, tx, &view).await
}

/// Forgive what has been used of a limit in its current window: as much is added to it.
#[utoipa::path(
    post, path = "/api/governance/limits/{id}/reset", tag = "Limits",
    params(("id" = String, Path, description = "Of a budget or a rate limit"), IdempotencyKey),
    request_body(content = Option<Reset>, description = "May be left out"),
    responses(
        (status = 200, body = View),
        (status = 404, body = Problem),
        (status = 422, body = Problem, description = "The idempotency key was used for another request"),
    ),
)]
async fn reset(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalJson(_reset): OptionalJson<Reset>,
) -> Result<Answer, Error> {
    let once = Once::new(&headers, format!("reset {id}"))?;
    let mut tx = app.db.begin_write().await?;
    if let Some(answer) = once.answer(&mut tx).await? {
        return Ok(answer);
    }
    let limit = find(&mut tx, &id).await?;
    let view = add(&app, &mut tx, &limit, Addition::Reset, "Limit reset").await?;
    once.commit(&app, tx, &view).await
}

pub(super) async fn find(tx: &mut Tx, id: &str) -> Result<Limit, Error> {
    let found = limits::store::find(tx, id).await?;
    found.ok_or_else(|| Error::NotFound {
        what: "budget or rate limit",
        id: id.to_owned(),
    })
}

async fn add(
    app: &App,
    tx: &mut Tx,
    limit: &Limit,
    addition: Addition,
    message: &'static str,
) -> Result<View, Error> {
    let now_ms = app.clock.now_ms();
    let key = additions::current(limit, now_ms);
    let added = additions::add(tx, &key, addition, now_ms).await?;
    Ok(View {
        message,
        limit_id: key.limit_id,
        added: limits::amount_of(limit.metric, added),
        window_start: Timestamp(key.window_start_ms),
    })
}
