//! `/api/governance/limits`: what an administrator adds to a limit for its current window.

use std::sync::Arc;

use axum::extract::{Path, State};
use reeve_policy::limit::{Limit, Metric};
use reeve_policy::money::Nanos;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Addition, Key};
use crate::app::App;
use crate::auth::Admin;
use crate::error::{Error, Problem};
use crate::http::json::{Json, OptionalJson};
use crate::http::number::Number;
use crate::http::reply::Ok as Reply;
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::limits;

/// Who adds, in the ledger.
const ACTOR: &str = "admin";
/// The most that is added at once: far below what an amount can be, so that sums stay sums.
const MOST: i64 = 1_000_000_000_000_000;

/// The routes of limits.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(top_up))
        .routes(routes!(reset))
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
    params(("id" = String, Path, description = "Of a budget or a rate limit")),
    request_body = TopUp,
    responses(
        (status = 200, body = View),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    ),
)]
async fn top_up(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Json(given): Json<TopUp>,
) -> Result<Reply<View>, Error> {
    let limit = find(&app, &id).await?;
    let amount = match limit.metric {
        Metric::Cost => Nanos::parse_dollars(given.amount.as_str())
            .ok()
            .map(Nanos::get),
        Metric::Requests | Metric::Tokens | Metric::InFlight => given.amount.whole(),
    };
    let amount = amount.filter(|amount| (1..=MOST).contains(amount));
    let amount = amount.ok_or_else(|| {
        Invalid::field(
            "amount",
            "must be more than 0, and at most 1,000,000 dollars or 10^15 requests or tokens, which are whole",
        )
    })?;
    add(&app, &limit, Addition::TopUp(amount), "Limit topped up").await
}

/// Forgive what has been used of a limit in its current window: as much is added to it.
#[utoipa::path(
    post, path = "/api/governance/limits/{id}/reset", tag = "Limits",
    params(("id" = String, Path, description = "Of a budget or a rate limit")),
    request_body(content = Option<Reset>, description = "May be left out"),
    responses((status = 200, body = View), (status = 404, body = Problem)),
)]
async fn reset(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    OptionalJson(_reset): OptionalJson<Reset>,
) -> Result<Reply<View>, Error> {
    let limit = find(&app, &id).await?;
    add(&app, &limit, Addition::Reset, "Limit reset").await
}

async fn find(app: &App, id: &str) -> Result<Limit, Error> {
    let mut tx = app.db.begin_read().await?;
    let found = limits::store::find(&mut tx, id).await?;
    found.ok_or_else(|| Error::NotFound {
        what: "budget or rate limit",
        id: id.to_owned(),
    })
}

async fn add(
    app: &App,
    limit: &Limit,
    addition: Addition,
    message: &'static str,
) -> Result<Reply<View>, Error> {
    let key = Key {
        limit_id: limit.id.clone(),
        window_start_ms: limit.window(app.clock.now_ms()).start_ms,
    };
    let added = app.ledger.add(key.clone(), addition, ACTOR).await?;
    Ok(Reply(View {
        message,
        limit_id: key.limit_id,
        added: limits::amount_of(limit.metric, added),
        window_start: Timestamp(key.window_start_ms),
    }))
}
