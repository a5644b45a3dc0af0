//! Overrides of limits: more for some windows, or for ever.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use reeve_policy::limit::{Limit, Metric};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::additions;
use super::idempotency::{Answer, Once};
use super::limit_routes::{IdempotencyKey, find};
use crate::app::App;
use crate::auth::Admin;
use crate::db::Tx;
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::number::Number;
use crate::limits::{self, Budget, LimitOverride, LimitOverrideChange};
use crate::policy_changes::Kind;

/// The routes of overrides.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(set, remove))
        .routes(routes!(set_of_key, remove_of_key))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LimitOverridden)]
struct View {
    message: &'static str,
    limit_id: String,
    /// The most in the current window: the limit and its override.
    #[schema(value_type = f64)]
    effective_max_limit: Number,
    #[serde(flatten)]
    raised_by: LimitOverride,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BudgetOverridden)]
struct BudgetView {
    message: &'static str,
    budget: Budget,
    /// US dollars: the most in the current window, the budget and its override.
    #[schema(value_type = f64)]
    effective_max_limit: Number,
}

/// What is done.
#[derive(Debug)]
enum Act {
    Set(LimitOverrideChange),
    Remove,
}

/// Raise a limit for its current window and the next ones, or for ever. One that there is already is
/// replaced.
#[utoipa::path(
    put, path = "/api/governance/limits/{id}/override", tag = "Limits",
    params(("id" = String, Path, description = "Of a budget or a rate limit"), IdempotencyKey),
    request_body = LimitOverrideChange,
    responses(
        (status = 200, body = View),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 422, body = Problem, description = "The idempotency key was used for another request"),
    ),
)]
async fn set(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(change): Json<LimitOverrideChange>,
) -> Result<Answer, Error> {
    of_limit(&app, &headers, &id, Act::Set(change)).await
}

/// Remove the override of a limit.
#[utoipa::path(
    delete, path = "/api/governance/limits/{id}/override", tag = "Limits",
    params(("id" = String, Path, description = "Of a budget or a rate limit"), IdempotencyKey),
    responses(
        (status = 200, body = View),
        (status = 404, body = Problem, description = "No such limit, or it has no override"),
        (status = 422, body = Problem, description = "The idempotency key was used for another request"),
    ),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Answer, Error> {
    of_limit(&app, &headers, &id, Act::Remove).await
}

/// Raise a virtual key's budget, as under `/api/governance/limits/{id}/override`.
#[utoipa::path(
    put, path = "/api/governance/virtual-keys/{id}/budgets/{budget_id}/override", tag = "Limits",
    params(
        ("id" = String, Path),
        ("budget_id" = String, Path, description = "Of the key, or of what it does with a provider or model"),
        IdempotencyKey,
    ),
    request_body = LimitOverrideChange,
    responses(
        (status = 200, body = BudgetView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 422, body = Problem, description = "The idempotency key was used for another request"),
    ),
)]
async fn set_of_key(
    _: Admin,
    State(app): State<Arc<App>>,
    Path((id, budget_id)): Path<(String, String)>,
    headers: HeaderMap,
    Json(change): Json<LimitOverrideChange>,
) -> Result<Answer, Error> {
    of_budget(&app, &headers, id, budget_id, Act::Set(change)).await
}

/// Remove the override of a virtual key's budget.
#[utoipa::path(
    delete, path = "/api/governance/virtual-keys/{id}/budgets/{budget_id}/override", tag = "Limits",
    params(("id" = String, Path), ("budget_id" = String, Path), IdempotencyKey),
    responses(
        (status = 200, body = BudgetView),
        (status = 404, body = Problem, description = "The key has no such budget, or it has no override"),
        (status = 422, body = Problem, description = "The idempotency key was used for another request"),
    ),
)]
async fn remove_of_key(
    _: Admin,
    State(app): State<Arc<App>>,
    Path((id, budget_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Answer, Error> {
    of_budget(&app, &headers, id, budget_id, Act::Remove).await
}

async fn of_limit(app: &App, headers: &HeaderMap, id: &str, act: Act) -> Result<Answer, Error> {
    let once = Once::new(headers, format!("override {id} {act:?}"))?;
    let mut tx = app.db.begin_write().await?;
    if let Some(answer) = once.answer(&mut tx).await? {
        return Ok(answer);
    }
    let mut limit = find(&mut tx, id).await?;
    let now_ms = app.clock.now_ms();
    let message = change(&mut tx, &mut limit, &act, now_ms).await?;
    let view = View {
        message,
        effective_max_limit: limits::amount_of(limit.metric, limit.max_at(now_ms)),
        raised_by: LimitOverride::of(&limit, now_ms),
        limit_id: limit.id,
    };
    once.commit(app, tx, &view).await
}

async fn of_budget(
    app: &App,
    headers: &HeaderMap,
    key_id: String,
    budget_id: String,
    act: Act,
) -> Result<Answer, Error> {
    let request = format!("override {budget_id} of {key_id} {act:?}");
    let once = Once::new(headers, request)?;
    let mut tx = app.db.begin_write().await?;
    if let Some(answer) = once.answer(&mut tx).await? {
        return Ok(answer);
    }
    let owner = limits::store::compiled_in(&mut tx, &budget_id).await?;
    let found = limits::store::find(&mut tx, &budget_id).await?;
    let is_of_key = owner == Some((Kind::VirtualKey, key_id));
    let found = found.filter(|limit| is_of_key && limit.metric == Metric::Cost);
    let mut limit = found.ok_or(Error::NotFound {
        what: "budget of this virtual key",
        id: budget_id,
    })?;
    let now_ms = app.clock.now_ms();
    let message = change(&mut tx, &mut limit, &act, now_ms).await?;
    let usage = limits::store::usage(&mut tx, &[&limit], now_ms).await?;
    let view = BudgetView {
        message,
        budget: Budget::of(&limit, &usage, now_ms),
        effective_max_limit: limits::amount_of(limit.metric, limit.max_at(now_ms)),
    };
    once.commit(app, tx, &view).await
}

async fn change(
    tx: &mut Tx,
    limit: &mut Limit,
    act: &Act,
    now_ms: i64,
) -> Result<&'static str, Error> {
    match act {
        Act::Set(change) => {
            let raised_by = change.apply(limit, now_ms)?;
            additions::set_override(tx, limit, raised_by, now_ms).await?;
            Ok("Override set")
        }
        Act::Remove if !LimitOverride::of(limit, now_ms).is_some() => Err(Error::NotFound {
            what: "override of limit",
            id: limit.id.clone(),
        }),
        Act::Remove => {
            additions::remove_override(tx, limit, now_ms).await?;
            Ok("Override removed")
        }
    }
}
