//! `/api/governance/providers`: limits of everything that is sent to a provider.

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::routes::record;
use super::{Change, ModelConfig, Scope, Subject, store};
use crate::app::App;
use crate::auth::Admin;
use crate::db::{self, Tx};
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::reply::Ok as Reply;
use crate::limits::{self, Budget, RateLimit, RateLimitWindow, calendar};
use crate::{providers, settings};

/// The routes of the governance of providers.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, update, remove))
}

/// The limits of a provider as the API shows them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderGovernance)]
struct View {
    provider: String,
    budgets: Vec<Budget>,
    rate_limit: Option<RateLimit>,
    rate_limits: Vec<RateLimitWindow>,
    calendar_aligned: bool,
    /// IANA name of the zone of its calendar.
    time_zone: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderGovernanceList)]
struct ListView {
    providers: Vec<View>,
    count: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderGovernanceOnly)]
struct ShowView {
    provider: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderGovernanceChanged)]
struct ChangedView {
    message: &'static str,
    provider: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderGovernanceDeleted)]
struct DeletedView {
    message: &'static str,
}

/// List the limits of every provider.
#[utoipa::path(
    get, path = "/api/governance/providers", tag = "Model limits",
    responses((status = 200, body = ListView)),
)]
async fn list(_: Admin, State(app): State<Arc<App>>) -> Result<Reply<ListView>, Error> {
    let mut tx = app.db.begin_read().await?;
    let mut all = Vec::new();
    for provider in providers::store::all(&mut tx).await? {
        all.push(view(&mut tx, provider.name, app.clock.now_ms()).await?);
    }
    Ok(Reply(ListView {
        count: all.len(),
        providers: all,
    }))
}

/// Show the limits of a provider.
#[utoipa::path(
    get, path = "/api/governance/providers/{name}", tag = "Model limits",
    params(("name" = String, Path)),
    responses((status = 200, body = ShowView), (status = 404, body = Problem)),
)]
async fn show(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    check_exists(&mut tx, &name).await?;
    Ok(Reply(ShowView {
        provider: view(&mut tx, name, app.clock.now_ms()).await?,
    }))
}

/// Limit what everyone together sends to a provider. What is left out stays; a list replaces the list
/// there was.
#[utoipa::path(
    put, path = "/api/governance/providers/{name}", tag = "Model limits",
    params(("name" = String, Path)),
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
    Path(name): Path<String>,
    Json(change): Json<Change>,
) -> Result<Reply<ChangedView>, Error> {
    let mut ids = app.ids()?;
    let mut tx = app.db.begin_write().await?;
    check_exists(&mut tx, &name).await?;
    let config = if let Some(config) = store::about(&mut tx, &subject(&name)).await? {
        let config = change.apply(config, &mut ids)?;
        store::update(&mut tx, &config).await?;
        config
    } else {
        let zone = settings::store::get(&mut tx).await?.time_zone;
        let config = ModelConfig::new(subject(&name), &mut ids, zone);
        let config = change.apply(config, &mut ids)?;
        store::insert(&mut tx, &config).await?;
        config
    };
    record(&mut tx, &config).await?;
    let provider = view(&mut tx, name, ids.now_ms()).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Provider governance updated",
        provider,
    }))
}

/// Delete every limit of a provider.
#[utoipa::path(
    delete, path = "/api/governance/providers/{name}", tag = "Model limits",
    params(("name" = String, Path)),
    responses((status = 200, body = DeletedView), (status = 404, body = Problem)),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Reply<DeletedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    check_exists(&mut tx, &name).await?;
    if let Some(config) = store::about(&mut tx, &subject(&name)).await? {
        store::delete(&mut tx, &config.id).await?;
        record(&mut tx, &config).await?;
    }
    app.commit_policy(tx).await?;
    Ok(Reply(DeletedView {
        message: "Provider governance deleted",
    }))
}

fn subject(provider: &str) -> Subject {
    Subject {
        model: None,
        provider: Some(provider.to_owned()),
        scope: Scope::Global,
    }
}

async fn check_exists(tx: &mut Tx, name: &str) -> Result<(), Error> {
    if providers::store::find(tx, name).await?.is_none() {
        return Err(Error::NotFound {
            what: "provider",
            id: name.to_owned(),
        });
    }
    Ok(())
}

async fn view(tx: &mut Tx, provider: String, now_ms: i64) -> Result<View, db::Error> {
    let config = store::about(tx, &subject(&provider)).await?;
    let (calendar_aligned, time_zone) = config.as_ref().map_or((false, calendar::UTC), |config| {
        (
            config.calendar.aligned,
            calendar::name(&config.calendar.zone),
        )
    });
    let limits = config
        .as_ref()
        .map_or_else(Vec::new, |it| it.limits.clone());
    let all: Vec<_> = limits.iter().collect();
    let usage = limits::store::usage(tx, &all, now_ms).await?;
    Ok(View {
        provider,
        budgets: Budget::all_of(&limits, &usage, now_ms),
        rate_limit: RateLimit::of(&limits, &usage, now_ms),
        rate_limits: RateLimitWindow::all_of(&limits, &usage, now_ms),
        calendar_aligned,
        time_zone: time_zone.to_owned(),
    })
}
