//! `/api/providers/{name}/keys`

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::key::place;
use super::key_config::Holder;
use super::routes::{KeyView, find};
use super::{Key, KeyChange, store};
use crate::app::App;
use crate::auth::Admin;
use crate::db::{self, Tx};
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::reply::{Created, Ok as Reply};
use crate::policy_changes::{self, Kind};
use crate::secrets::Secret;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderKeyList)]
struct ListView {
    keys: Vec<KeyView>,
    /// Entries in this answer, which is all there are.
    count: usize,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderKeyOnly)]
struct ShowView {
    key: KeyView,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderKeyChanged)]
struct ChangedView {
    message: &'static str,
    key: KeyView,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderKeyDeleted)]
struct DeletedView {
    message: &'static str,
}

/// List the keys of a provider, oldest first.
#[utoipa::path(
    get, path = "/api/providers/{name}/keys", tag = "Providers", operation_id = "list_provider_keys",
    params(("name" = String, Path)),
    responses((status = 200, body = ListView), (status = 404, body = Problem)),
)]
async fn list(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Reply<ListView>, Error> {
    let mut tx = app.db.begin_read().await?;
    find(&mut tx, &name).await?;
    let keys = store::keys(&mut tx, &name).await?;
    Ok(Reply(ListView {
        count: keys.len(),
        keys: keys.into_iter().map(|key| KeyView::of(&app, key)).collect(),
    }))
}

/// Add a key to a provider. Its value is never shown again.
#[utoipa::path(
    post, path = "/api/providers/{name}/keys", tag = "Providers",
    operation_id = "create_provider_key",
    params(("name" = String, Path)),
    request_body = KeyChange,
    responses(
        (status = 201, body = ChangedView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    ),
)]
async fn create(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(change): Json<KeyChange>,
) -> Result<Created<ChangedView>, Error> {
    let mut ids = app.ids()?;
    let mut tx = app.db.begin_write().await?;
    let provider = find(&mut tx, &name).await?;
    let taken = names_but(&mut tx, &name, None).await?;
    let (key, value) = change.create(Holder::of(&app, &provider), &taken, &mut ids)?;
    insert(&app, &mut tx, &name, &key, &value).await?;
    policy_changes::record(&mut tx, Kind::Provider, &name).await?;
    app.commit_policy(tx).await?;
    Ok(Created {
        location: format!("/api/providers/{name}/keys/{}", key.id),
        body: ChangedView {
            message: "Provider key created",
            key: KeyView::of(&app, key),
        },
    })
}

/// Show a key of a provider.
#[utoipa::path(
    get, path = "/api/providers/{name}/keys/{id}", tag = "Providers",
    operation_id = "show_provider_key",
    params(("name" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = ShowView), (status = 404, body = Problem)),
)]
async fn show(
    _: Admin,
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    let key = find_key(&mut tx, &name, &id).await?;
    Ok(Reply(ShowView {
        key: KeyView::of(&app, key),
    }))
}

/// Change a key of a provider; a new value replaces the old one without a failed request.
#[utoipa::path(
    put, path = "/api/providers/{name}/keys/{id}", tag = "Providers",
    operation_id = "update_provider_key",
    params(("name" = String, Path), ("id" = String, Path)),
    request_body = KeyChange,
    responses(
        (status = 200, body = ChangedView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
    ),
)]
async fn update(
    _: Admin,
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
    Json(change): Json<KeyChange>,
) -> Result<Reply<ChangedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    let provider = find(&mut tx, &name).await?;
    let key = find_key(&mut tx, &name, &id).await?;
    let taken = names_but(&mut tx, &name, Some(&id)).await?;
    let (key, value) =
        change.apply(key, Holder::of(&app, &provider), &taken, app.clock.now_ms())?;
    let sealed = value.map(|value| seal(&app, &id, &value)).transpose()?;
    store::update_key(&mut tx, &key, sealed.as_deref()).await?;
    policy_changes::record(&mut tx, Kind::Provider, &name).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Provider key updated",
        key: KeyView::of(&app, key),
    }))
}

/// Delete a key of a provider. Without an active key the provider gets no requests.
#[utoipa::path(
    delete, path = "/api/providers/{name}/keys/{id}", tag = "Providers",
    operation_id = "delete_provider_key",
    params(("name" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = DeletedView), (status = 404, body = Problem)),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Reply<DeletedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    find(&mut tx, &name).await?;
    if !store::delete_key(&mut tx, &name, &id).await? {
        return Err(no_key(&id));
    }
    policy_changes::record(&mut tx, Kind::Provider, &name).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(DeletedView {
        message: "Provider key deleted",
    }))
}

/// Seals a new key's value and stores both.
pub(super) async fn insert(
    app: &App,
    tx: &mut Tx,
    provider: &str,
    key: &Key,
    value: &Secret,
) -> Result<(), Error> {
    let sealed = seal(app, &key.id, value)?;
    Ok(store::insert_key(tx, provider, key, &sealed).await?)
}

fn seal(app: &App, key_id: &str, value: &Secret) -> Result<String, Error> {
    app.sealing_key
        .seal(&app.random, place(key_id), value)
        .map_err(Error::internal)
}

async fn find_key(tx: &mut Tx, provider: &str, id: &str) -> Result<Key, Error> {
    find(tx, provider).await?;
    let keys = store::keys(tx, provider).await?;
    keys.into_iter()
        .find(|key| key.id == id)
        .ok_or_else(|| no_key(id))
}

fn no_key(id: &str) -> Error {
    Error::NotFound {
        what: "provider key",
        id: id.to_owned(),
    }
}

/// Names of a provider's keys, but for one.
async fn names_but(
    tx: &mut Tx,
    provider: &str,
    id: Option<&str>,
) -> Result<Vec<String>, db::Error> {
    let keys = store::keys(tx, provider).await?;
    Ok(keys
        .into_iter()
        .filter(|key| Some(key.id.as_str()) != id)
        .map(|key| key.name)
        .collect())
}
