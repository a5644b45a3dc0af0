//! `/api/governance/pricing-overrides`

use std::sync::Arc;

use axum::extract::{Path, State};
use reeve_policy::money::Nanos;
use reeve_policy::price_override::Models;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Refused};
use super::{Change, MOST, PricingOverride};
use crate::app::App;
use crate::auth::Admin;
use crate::db::Tx;
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::number::Number;
use crate::http::page::PageRequest;
use crate::http::params::Query;
use crate::http::reply::{Created, Ok as Reply};
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::policy_changes::{self, Kind};
use crate::{providers, virtual_keys};

/// The routes of pricing overrides.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
}

/// An override as the API shows it. Prices are US dollars per million tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PricingOverride)]
struct View {
    id: String,
    name: String,
    /// `global`, `provider`, `virtual_key` or `virtual_key_provider`.
    scope_kind: &'static str,
    virtual_key_id: Option<String>,
    provider: Option<String>,
    /// `exact` or `wildcard`.
    match_type: &'static str,
    pattern: String,
    #[schema(value_type = f64)]
    input_cost_per_million_tokens: Number,
    #[schema(value_type = f64)]
    output_cost_per_million_tokens: Number,
    /// Null: as other input.
    #[schema(value_type = Option<f64>)]
    cache_read_cost_per_million_tokens: Option<Number>,
    /// Null: as other input.
    #[schema(value_type = Option<f64>)]
    cache_write_cost_per_million_tokens: Option<Number>,
    /// Changes with every change; usage records carry the one that they were charged by.
    price_version: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PricingOverrideList)]
struct ListView {
    pricing_overrides: Vec<View>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PricingOverrideOnly)]
struct ShowView {
    pricing_override: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PricingOverrideChanged)]
struct ChangedView {
    message: &'static str,
    pricing_override: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PricingOverrideDeleted)]
struct DeletedView {
    message: &'static str,
}

/// List pricing overrides, oldest first.
#[utoipa::path(
    get, path = "/api/governance/pricing-overrides", tag = "Pricing overrides",
    operation_id = "list_pricing_overrides",
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
    Ok(Reply(ListView {
        count: page.items.len(),
        pricing_overrides: page.items.into_iter().map(View::from).collect(),
        total_count: page.total,
        limit: request.limit,
        offset: request.offset,
    }))
}

/// Make a pricing override.
#[utoipa::path(
    post, path = "/api/governance/pricing-overrides", tag = "Pricing overrides",
    operation_id = "create_pricing_override",
    request_body = Change,
    responses(
        (status = 201, body = ChangedView),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "Another one holds for the same, or there are 256"),
    ),
)]
async fn create(
    _: Admin,
    State(app): State<Arc<App>>,
    Json(change): Json<Change>,
) -> Result<Created<ChangedView>, Error> {
    let mut ids = app.ids()?;
    let mut tx = app.db.begin_write().await?;
    let own = change.apply(None, &mut ids)?;
    if store::count(&mut tx).await? >= MOST {
        return Err(Error::Conflict(Invalid::whole(format_args!(
            "there are {MOST} overrides already; delete one, or join some by a pattern"
        ))));
    }
    save(&mut tx, &own).await?;
    app.commit_policy(tx).await?;
    Ok(Created {
        location: format!("/api/governance/pricing-overrides/{}", own.id),
        body: ChangedView {
            message: "Pricing override created",
            pricing_override: own.into(),
        },
    })
}

/// Show a pricing override.
#[utoipa::path(
    get, path = "/api/governance/pricing-overrides/{id}", tag = "Pricing overrides",
    operation_id = "show_pricing_override",
    params(("id" = String, Path)),
    responses((status = 200, body = ShowView), (status = 404, body = Problem)),
)]
async fn show(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    Ok(Reply(ShowView {
        pricing_override: find(&mut tx, &id).await?.into(),
    }))
}

/// Change a pricing override. What is left out stays.
#[utoipa::path(
    put, path = "/api/governance/pricing-overrides/{id}", tag = "Pricing overrides",
    operation_id = "update_pricing_override",
    params(("id" = String, Path)),
    request_body = Change,
    responses(
        (status = 200, body = ChangedView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Another one holds for the same"),
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
    let before = find(&mut tx, &id).await?;
    let own = change.apply(Some(before), &mut ids)?;
    save(&mut tx, &own).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Pricing override updated",
        pricing_override: own.into(),
    }))
}

/// Delete a pricing override. What was charged by it stays charged.
#[utoipa::path(
    delete, path = "/api/governance/pricing-overrides/{id}", tag = "Pricing overrides",
    operation_id = "delete_pricing_override",
    params(("id" = String, Path)),
    responses((status = 200, body = DeletedView), (status = 404, body = Problem)),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<DeletedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    if !store::delete(&mut tx, &id).await? {
        return Err(not_found(&id));
    }
    policy_changes::record(&mut tx, Kind::Settings, "settings").await?;
    app.commit_policy(tx).await?;
    Ok(Reply(DeletedView {
        message: "Pricing override deleted",
    }))
}

/// Stores an override whose key and provider exist. All of them stand in the settings' entry.
async fn save(tx: &mut Tx, own: &PricingOverride) -> Result<(), Error> {
    if let Some(id) = &own.virtual_key_id
        && virtual_keys::store::find(tx, id).await?.is_none()
    {
        return Err(Invalid::field("virtual_key_id", "there is no such virtual key").into());
    }
    if let Some(name) = &own.provider
        && providers::store::find(tx, name).await?.is_none()
    {
        return Err(Invalid::field("provider", "there is no such provider").into());
    }
    store::put(tx, own).await?;
    policy_changes::record(tx, Kind::Settings, "settings").await?;
    Ok(())
}

async fn find(tx: &mut Tx, id: &str) -> Result<PricingOverride, Error> {
    store::find(tx, id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Error {
    Error::NotFound {
        what: "pricing override",
        id: id.to_owned(),
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Taken => Self::Conflict(Invalid::field("pattern", refused)),
            Refused::Db(error) => error.into(),
        }
    }
}

impl From<PricingOverride> for View {
    fn from(own: PricingOverride) -> Self {
        let dollars = |price| Number::from_display(Nanos::new(price));
        Self {
            scope_kind: own.scope_kind(),
            id: own.id,
            name: own.name,
            virtual_key_id: own.virtual_key_id,
            provider: own.provider,
            match_type: match own.models {
                Models::Exact(_) => "exact",
                Models::Beginning(_) => "wildcard",
            },
            pattern: own.models.pattern(),
            input_cost_per_million_tokens: dollars(own.input),
            output_cost_per_million_tokens: dollars(own.output),
            cache_read_cost_per_million_tokens: own.cache_read.map(dollars),
            cache_write_cost_per_million_tokens: own.cache_write.map(dollars),
            price_version: own.updated_at_ms,
            created_at: Timestamp(own.created_at_ms),
            updated_at: Timestamp(own.updated_at_ms),
        }
    }
}
