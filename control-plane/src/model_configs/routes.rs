//! `/api/governance/model-configs`

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Change, EVERY_MODEL, ModelConfig, New, Scope, ScopeKind, Subject, store};
use crate::app::App;
use crate::auth::Admin;
use crate::db::{self, Tx};
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::page::PageRequest;
use crate::http::params::Query;
use crate::http::reply::{Created, Ok as Reply};
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::limits::{self, Budget, RateLimit, RateLimitWindow};
use crate::policy_changes::{self, Kind};
use crate::{providers, settings, virtual_keys};

/// The routes of model configs.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
}

/// A model config as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelConfig)]
struct View {
    id: String,
    /// `*`: every model.
    model_name: String,
    /// Null: every provider.
    provider: Option<String>,
    scope: ScopeKind,
    scope_id: Option<String>,
    budgets: Vec<Budget>,
    rate_limit: Option<RateLimit>,
    rate_limits: Vec<RateLimitWindow>,
    calendar_aligned: bool,
    /// IANA name of the zone of its calendar.
    time_zone: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelConfigList)]
struct ListView {
    model_configs: Vec<View>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelConfigOnly)]
struct ShowView {
    model_config: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelConfigChanged)]
struct ChangedView {
    message: &'static str,
    model_config: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelConfigDeleted)]
struct DeletedView {
    message: &'static str,
}

/// List limits of models and providers, oldest first.
#[utoipa::path(
    get, path = "/api/governance/model-configs", tag = "Model limits",
    params(PageRequest),
    responses((status = 200, body = ListView), (status = 400, body = Problem)),
)]
async fn list(
    _: Admin,
    State(app): State<Arc<App>>,
    Query(request): Query<PageRequest>,
) -> Result<Reply<ListView>, Error> {
    let mut tx = app.db.begin_read().await?;
    let page = store::page(&mut tx, &request).await?;
    let mut model_configs = Vec::with_capacity(page.items.len());
    for config in page.items {
        model_configs.push(view(&mut tx, config, app.clock.now_ms()).await?);
    }
    Ok(Reply(ListView {
        count: model_configs.len(),
        model_configs,
        total_count: page.total,
        limit: request.limit,
        offset: request.offset,
    }))
}

/// Limit a model, a provider, or a model at a provider: for everyone, or for one virtual key.
#[utoipa::path(
    post, path = "/api/governance/model-configs", tag = "Model limits",
    request_body = New,
    responses(
        (status = 201, body = ChangedView),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "There is one about this already"),
    ),
)]
async fn create(
    _: Admin,
    State(app): State<Arc<App>>,
    Json(new): Json<New>,
) -> Result<Created<ChangedView>, Error> {
    let mut ids = app.ids()?;
    let mut tx = app.db.begin_write().await?;
    let (subject, change) = new.split()?;
    check_exists(&mut tx, &subject).await?;
    if let Some(other) = store::about(&mut tx, &subject).await? {
        return Err(Error::Conflict(Invalid::field(
            "model_name",
            format_args!(
                "there is a config about this already; change `{}`",
                other.id
            ),
        )));
    }
    let zone = settings::store::get(&mut tx).await?.time_zone;
    let config = change.apply(ModelConfig::new(subject, &mut ids, zone), &mut ids)?;
    store::insert(&mut tx, &config).await?;
    record(&mut tx, &config).await?;
    let model_config = view(&mut tx, config, ids.now_ms()).await?;
    app.commit_policy(tx).await?;
    Ok(Created {
        location: format!("/api/governance/model-configs/{}", model_config.id),
        body: ChangedView {
            message: "Model config created",
            model_config,
        },
    })
}

/// Show a model config.
#[utoipa::path(
    get, path = "/api/governance/model-configs/{id}", tag = "Model limits",
    params(("id" = String, Path)),
    responses((status = 200, body = ShowView), (status = 404, body = Problem)),
)]
async fn show(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    let config = find(&mut tx, &id).await?;
    Ok(Reply(ShowView {
        model_config: view(&mut tx, config, app.clock.now_ms()).await?,
    }))
}

/// Change a model config's limits. What is left out stays; a list replaces the list there was.
#[utoipa::path(
    put, path = "/api/governance/model-configs/{id}", tag = "Model limits",
    params(("id" = String, Path)),
    request_body = Change,
    responses(
        (status = 200, body = ChangedView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    ),
)]
async fn update(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Json(change): Json<Change>,
) -> Result<Reply<ChangedView>, Error> {
    let mut ids = app.ids()?;
    let mut tx = app.db.begin_write().await?;
    let config = change.apply(find(&mut tx, &id).await?, &mut ids)?;
    store::update(&mut tx, &config).await?;
    record(&mut tx, &config).await?;
    let model_config = view(&mut tx, config, ids.now_ms()).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Model config updated",
        model_config,
    }))
}

/// Delete a model config.
#[utoipa::path(
    delete, path = "/api/governance/model-configs/{id}", tag = "Model limits",
    params(("id" = String, Path)),
    responses((status = 200, body = DeletedView), (status = 404, body = Problem)),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<DeletedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    let config = find(&mut tx, &id).await?;
    store::delete(&mut tx, &id).await?;
    record(&mut tx, &config).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(DeletedView {
        message: "Model config deleted",
    }))
}

async fn find(tx: &mut Tx, id: &str) -> Result<ModelConfig, Error> {
    store::find(tx, id).await?.ok_or_else(|| Error::NotFound {
        what: "model config",
        id: id.to_owned(),
    })
}

/// What a config is about exists. (A model may be one that the catalogue does not list yet.)
async fn check_exists(tx: &mut Tx, subject: &Subject) -> Result<(), Error> {
    if let Some(name) = &subject.provider
        && providers::store::find(tx, name).await?.is_none()
    {
        return Err(Invalid::field("provider", "there is no such provider").into());
    }
    if let Scope::VirtualKey(id) = &subject.scope
        && virtual_keys::store::find(tx, id).await?.is_none()
    {
        return Err(Invalid::field("scope_id", "there is no such virtual key").into());
    }
    Ok(())
}

/// Notes what has to be compiled again.
pub(super) async fn record(tx: &mut Tx, config: &ModelConfig) -> Result<(), db::Error> {
    match &config.subject.scope {
        Scope::Global => policy_changes::record(tx, Kind::Settings, "settings").await,
        Scope::VirtualKey(id) => policy_changes::record(tx, Kind::VirtualKey, id).await,
    }
}

async fn view(tx: &mut Tx, config: ModelConfig, now_ms: i64) -> Result<View, db::Error> {
    let all: Vec<_> = config.limits.iter().collect();
    let usage = limits::store::usage(tx, &all, now_ms).await?;
    let (scope, scope_id) = match config.subject.scope {
        Scope::Global => (ScopeKind::Global, None),
        Scope::VirtualKey(id) => (ScopeKind::VirtualKey, Some(id)),
    };
    Ok(View {
        budgets: Budget::all_of(&config.limits, &usage, now_ms),
        rate_limit: RateLimit::of(&config.limits, &usage, now_ms),
        rate_limits: RateLimitWindow::all_of(&config.limits, &usage, now_ms),
        id: config.id,
        model_name: config.subject.model.unwrap_or_else(|| EVERY_MODEL.into()),
        provider: config.subject.provider,
        scope,
        scope_id,
        calendar_aligned: config.calendar.aligned,
        time_zone: limits::calendar::name(&config.calendar.zone).to_owned(),
        created_at: Timestamp(config.created_at_ms),
        updated_at: Timestamp(config.updated_at_ms),
    })
}
