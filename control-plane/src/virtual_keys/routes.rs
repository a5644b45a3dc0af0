//! `/api/governance/virtual-keys`

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Filter, Refused, Stored};
use super::{Change, KeyValue, ProviderConfig, VirtualKey, in_flight};
use crate::app::App;
use crate::auth::Admin;
use crate::db::{self, Tx};
use crate::error::{Error, Problem};
use crate::http::json::{Json, OptionalJson};
use crate::http::number::Number;
use crate::http::page::PageRequest;
use crate::http::params::{FromParams, Params, Query};
use crate::http::reply::{Created, Ok as Reply};
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::limits::store::Usage;
use crate::limits::{Budget, RateLimit, RateLimitWindow};
use crate::policy_changes::{self, Kind};
use crate::{customers, limits, providers, settings, teams, weight};

/// The routes of virtual keys.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
        .routes(routes!(rotate))
}

/// A virtual key as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VirtualKey)]
struct View {
    id: String,
    name: String,
    description: String,
    /// The key's value. Only in the answer that made it: it cannot be shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The ten characters that follow `sk-bf-` in the value.
    kid: String,
    /// The last four characters of the value.
    last4: String,
    is_active: bool,
    allow_all_providers: bool,
    provider_configs: Vec<ProviderConfigView>,
    team_id: Option<String>,
    customer_id: Option<String>,
    budgets: Vec<Budget>,
    rate_limit: Option<RateLimit>,
    rate_limits: Vec<RateLimitWindow>,
    /// Null: any number.
    max_in_flight: Option<i64>,
    /// Of these, held by Envoys: by requests that are under way, and ready for the next ones.
    in_flight: Option<i64>,
    calendar_aligned: bool,
    /// IANA name of the zone of its calendar.
    time_zone: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A provider config as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderConfig)]
struct ProviderConfigView {
    id: String,
    provider: String,
    #[schema(value_type = Option<f64>)]
    weight: Option<Number>,
    allowed_models: Vec<String>,
    blacklisted_models: Vec<String>,
    /// Ids of the provider's keys that requests may carry; `["*"]`: any.
    key_ids: Vec<String>,
    budgets: Vec<Budget>,
    rate_limit: Option<RateLimit>,
    rate_limits: Vec<RateLimitWindow>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VirtualKeyList)]
struct ListView {
    virtual_keys: Vec<View>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VirtualKeyOnly)]
struct ShowView {
    virtual_key: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VirtualKeyChanged)]
struct ChangedView {
    message: &'static str,
    virtual_key: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VirtualKeyDeleted)]
struct DeletedView {
    message: &'static str,
}

/// A rotation; there is nothing to say about it yet.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Rotation {}

/// Which keys to list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only keys of this team.
    team_id: Option<String>,
    /// Only keys that belong to this customer directly.
    customer_id: Option<String>,
}

struct ListRequest {
    page: PageRequest,
    filter: ListFilter,
}

impl FromParams for ListRequest {
    fn from_params(params: &mut Params) -> Result<Self, Invalid> {
        Ok(Self {
            page: PageRequest::from_params(params)?,
            filter: ListFilter {
                team_id: params.text("team_id")?,
                customer_id: params.text("customer_id")?,
            },
        })
    }
}

/// List virtual keys, oldest first.
#[utoipa::path(
    get, path = "/api/governance/virtual-keys", tag = "Virtual keys",
    params(PageRequest, ListFilter),
    responses((status = 200, body = ListView), (status = 400, body = Problem)),
)]
async fn list(
    _: Admin,
    State(app): State<Arc<App>>,
    Query(request): Query<ListRequest>,
) -> Result<Reply<ListView>, Error> {
    let ListRequest {
        page: request,
        filter,
    } = request;
    let filter = Filter {
        team_id: filter.team_id,
        customer_id: filter.customer_id,
    };
    let mut tx = app.db.begin_read().await?;
    let page = store::page(&mut tx, &filter, &request).await?;
    let mut virtual_keys = Vec::with_capacity(page.items.len());
    for stored in page.items {
        virtual_keys.push(view(&mut tx, stored.key, app.clock.now_ms()).await?);
    }
    Ok(Reply(ListView {
        count: virtual_keys.len(),
        virtual_keys,
        total_count: page.total,
        limit: request.limit,
        offset: request.offset,
    }))
}

/// Make a virtual key. The answer is the only one that shows its value.
#[utoipa::path(
    post, path = "/api/governance/virtual-keys", tag = "Virtual keys",
    request_body = Change,
    responses(
        (status = 201, body = ChangedView),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "The name is taken"),
    ),
)]
async fn create(
    _: Admin,
    State(app): State<Arc<App>>,
    Json(change): Json<Change>,
) -> Result<Created<ChangedView>, Error> {
    let value = KeyValue::generate(&app.random)?;
    let mut ids = app.ids()?;
    let mut tx = app.db.begin_write().await?;
    let providers = providers::store::names(&mut tx).await?;
    let zone = settings::store::get(&mut tx).await?.time_zone;
    let blank = VirtualKey::new(&mut ids, value.traits().clone(), zone);
    let key = change.apply(blank, &providers, &mut ids)?;
    check_owner(&mut tx, &key).await?;
    check_provider_keys(&mut tx, &key, &[]).await?;
    store::insert(&mut tx, &key, &value.digest()).await?;
    policy_changes::record(&mut tx, Kind::VirtualKey, &key.id).await?;
    let mut shown = view(&mut tx, key, ids.now_ms()).await?;
    app.commit_policy(tx).await?;

    shown.value = Some(value.expose().to_owned());
    Ok(Created {
        location: format!("/api/governance/virtual-keys/{}", shown.id),
        body: ChangedView {
            message: "Virtual key created; its value is shown only now",
            virtual_key: shown,
        },
    })
}

/// Show a virtual key.
#[utoipa::path(
    get, path = "/api/governance/virtual-keys/{id}", tag = "Virtual keys",
    params(("id" = String, Path)),
    responses((status = 200, body = ShowView), (status = 404, body = Problem)),
)]
async fn show(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    let stored = find(&mut tx, &id).await?;
    Ok(Reply(ShowView {
        virtual_key: view(&mut tx, stored.key, app.clock.now_ms()).await?,
    }))
}

/// Change a virtual key. What is left out stays; a list replaces the list there was.
#[utoipa::path(
    put, path = "/api/governance/virtual-keys/{id}", tag = "Virtual keys",
    params(("id" = String, Path)),
    request_body = Change,
    responses(
        (status = 200, body = ChangedView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The name is taken"),
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
    let stored = find(&mut tx, &id).await?;
    let providers = providers::store::names(&mut tx).await?;
    let before = stored.key.clone();
    let key = change.apply(stored.key, &providers, &mut ids)?;
    check_owner(&mut tx, &key).await?;
    check_provider_keys(&mut tx, &key, &before.provider_configs).await?;
    store::update(&mut tx, &key).await?;
    policy_changes::record(&mut tx, Kind::VirtualKey, &key.id).await?;
    let virtual_key = view(&mut tx, key, ids.now_ms()).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Virtual key updated",
        virtual_key,
    }))
}

/// Delete a virtual key. What was spent with it stays on record.
#[utoipa::path(
    delete, path = "/api/governance/virtual-keys/{id}", tag = "Virtual keys",
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
    policy_changes::record(&mut tx, Kind::VirtualKey, &id).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(DeletedView {
        message: "Virtual key deleted",
    }))
}

/// Give a virtual key a new value. The old one stops working; limits and usage stay.
#[utoipa::path(
    post, path = "/api/governance/virtual-keys/{id}/rotate", tag = "Virtual keys",
    params(("id" = String, Path)),
    request_body(content = Option<Rotation>, description = "May be left out"),
    responses((status = 200, body = ChangedView), (status = 404, body = Problem)),
)]
async fn rotate(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    OptionalJson(_rotation): OptionalJson<Rotation>,
) -> Result<Reply<ChangedView>, Error> {
    let value = KeyValue::generate(&app.random)?;
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin_write().await?;
    find(&mut tx, &id).await?;
    store::set_value(&mut tx, &id, &value.digest(), value.traits(), now_ms).await?;
    policy_changes::record(&mut tx, Kind::VirtualKey, &id).await?;
    let rotated = find(&mut tx, &id).await?;
    let mut virtual_key = view(&mut tx, rotated.key, now_ms).await?;
    app.commit_policy(tx).await?;

    virtual_key.value = Some(value.expose().to_owned());
    let message = "Virtual key rotated; its value is shown only now";
    Ok(Reply(ChangedView {
        message,
        virtual_key,
    }))
}

async fn find(tx: &mut Tx, id: &str) -> Result<Stored, Error> {
    store::find(tx, id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Error {
    Error::NotFound {
        what: "virtual key",
        id: id.to_owned(),
    }
}

/// The key's team or customer exists.
async fn check_owner(tx: &mut Tx, key: &VirtualKey) -> Result<(), Error> {
    if let Some(team_id) = &key.team_id
        && teams::store::find(tx, team_id).await?.is_none()
    {
        return Err(Invalid::field("team_id", "there is no such team").into());
    }
    if let Some(customer_id) = &key.customer_id
        && customers::store::find(tx, customer_id).await?.is_none()
    {
        return Err(Invalid::field("customer_id", "there is no such customer").into());
    }
    Ok(())
}

/// The provider keys that it is bound to exist, or have existed when it was bound to them.
async fn check_provider_keys(
    tx: &mut Tx,
    key: &VirtualKey,
    before: &[ProviderConfig],
) -> Result<(), Error> {
    for (index, config) in key.provider_configs.iter().enumerate() {
        let Some(key_ids) = &config.key_ids else {
            continue;
        };
        let there = providers::store::keys(tx, &config.provider).await?;
        let old = before.iter().find(|old| old.id == config.id);
        let old = old.and_then(|old| old.key_ids.as_ref());
        for (place, id) in key_ids.iter().enumerate() {
            let is_there = there.iter().any(|key| key.id == *id);
            if !is_there && !old.is_some_and(|old| old.contains(id)) {
                let field = format!("provider_configs[{index}].key_ids[{place}]");
                let message = format!("is no key of provider `{}`", config.provider);
                return Err(Invalid::field(field, message).into());
            }
        }
    }
    Ok(())
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NameTaken => Self::Conflict(Invalid::field("name", refused)),
            Refused::Db(error) => error.into(),
        }
    }
}

async fn view(tx: &mut Tx, key: VirtualKey, now_ms: i64) -> Result<View, db::Error> {
    let of_configs = key
        .provider_configs
        .iter()
        .flat_map(|config| &config.limits);
    let slots = key.max_in_flight.map(|max| in_flight::limit(&key.id, max));
    let all: Vec<_> = key.limits.iter().chain(&slots).chain(of_configs).collect();
    let usage = limits::store::usage(tx, &all, now_ms).await?;
    let budgets = Budget::all_of(&key.limits, &usage, now_ms);
    let rate_limit = RateLimit::of(&key.limits, &usage, now_ms);
    let rate_limits = RateLimitWindow::all_of(&key.limits, &usage, now_ms);
    let configs = key.provider_configs.into_iter();
    Ok(View {
        id: key.id,
        name: key.name,
        description: key.description,
        value: None,
        kid: key.traits.kid,
        last4: key.traits.last4,
        is_active: key.is_active,
        allow_all_providers: key.allow_all_providers,
        provider_configs: configs
            .map(|config| config_view(config, &usage, now_ms))
            .collect(),
        team_id: key.team_id,
        customer_id: key.customer_id,
        budgets,
        rate_limit,
        rate_limits,
        max_in_flight: key.max_in_flight,
        in_flight: slots.map(|limit| in_flight::held(usage.of(&limit.id))),
        calendar_aligned: key.calendar.aligned,
        time_zone: limits::calendar::name(&key.calendar.zone).to_owned(),
        expires_at: key.expires_at_ms.map(Timestamp),
        created_at: Timestamp(key.created_at_ms),
        updated_at: Timestamp(key.updated_at_ms),
    })
}

fn config_view(config: ProviderConfig, usage: &Usage, now_ms: i64) -> ProviderConfigView {
    ProviderConfigView {
        budgets: Budget::all_of(&config.limits, usage, now_ms),
        rate_limit: RateLimit::of(&config.limits, usage, now_ms),
        rate_limits: RateLimitWindow::all_of(&config.limits, usage, now_ms),
        id: config.id,
        provider: config.provider,
        weight: config.weight_ppm.map(weight::number),
        allowed_models: config.allowed_models,
        blacklisted_models: config.blacklisted_models,
        key_ids: config.key_ids.unwrap_or_else(|| vec!["*".to_owned()]),
    }
}
