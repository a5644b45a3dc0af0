//! `/api/providers`

use std::sync::Arc;

use axum::extract::{Path, State};
use reeve_policy::retry::RetryClass;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::key_config::{AzureAccount, BedrockAccount, Holder, KeyConfig, VertexAccount};
use super::store::{self, Refused};
use super::{Aliases, BaseProviderType, Change, Key, Provider, Surroundings, key_routes};
use crate::app::App;
use crate::auth::Admin;
use crate::db::{self, Tx};
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::number::Number;
use crate::http::page::PageRequest;
use crate::http::params::Query;
use crate::http::reply::{Created, Ok as Reply};
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::policy_changes::{self, Kind};
use crate::{routing_rules, virtual_keys, weight};

/// The routes of providers and their keys.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
        .merge(key_routes::routes())
}

/// A provider as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Provider)]
struct View {
    name: String,
    custom_provider_config: KindView,
    network_config: NetworkView,
    /// Names that callers may use for models, each with the provider's own.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    aliases: Aliases,
    keys: Vec<KeyView>,
    status: Status,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderKind)]
struct KindView {
    base_provider_type: BaseProviderType,
    is_key_less: bool,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderNetwork)]
struct NetworkView {
    base_url: String,
    allow_private_network: bool,
    /// After which of its failures the next provider is tried.
    retry_on: Vec<&'static str>,
    /// How long the head of its answer may take, milliseconds; null: as long as it likes.
    per_try_timeout_ms: Option<u32>,
}

/// Whether requests can be sent to a provider.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// They can.
    Ready,
    /// It has no active key, so requests for it are refused.
    NoActiveKey,
    /// Its active keys need a token and have none that holds, so requests for it are refused. `token.error` of
    /// a key says why.
    NoToken,
}

/// A provider key as the API shows it: never with its value.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderKey)]
pub(super) struct KeyView {
    id: String,
    name: String,
    /// The last four characters of the value, or of an access key's id; empty for a short one.
    last4: String,
    /// What can be shown of a key that signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    bedrock_key_config: Option<BedrockAccount>,
    /// What can be shown of a service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    vertex_key_config: Option<VertexAccount>,
    /// What can be shown of an application of Microsoft Entra.
    #[serde(skip_serializing_if = "Option::is_none")]
    azure_key_config: Option<AzureAccount>,
    /// How it stands with the token that requests carry, for a key that needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenView>,
    #[schema(value_type = f64)]
    weight: Number,
    is_active: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderKeyToken)]
struct TokenView {
    /// When the one that is in use ends; null: there is none.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Why the last attempt to get one failed; null: it did not.
    error: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderList)]
struct ListView {
    providers: Vec<View>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderOnly)]
struct ShowView {
    provider: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderChanged)]
struct ChangedView {
    message: &'static str,
    provider: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProviderDeleted)]
struct DeletedView {
    message: &'static str,
}

/// List providers, by name.
#[utoipa::path(
    get, path = "/api/providers", tag = "Providers",
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
    let mut providers = Vec::with_capacity(page.items.len());
    for provider in page.items {
        providers.push(view(&app, &mut tx, provider).await?);
    }
    Ok(Reply(ListView {
        count: providers.len(),
        providers,
        total_count: page.total,
        limit: request.limit,
        offset: request.offset,
    }))
}

/// Configure a provider. When this answers, every Envoy that is connected has it.
#[utoipa::path(
    post, path = "/api/providers", tag = "Providers",
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
    let mut ids = app.ids()?;
    let (provider, keys) = change.create(surroundings(&app))?;
    let mut tx = app.db.begin_write().await?;
    store::insert(&mut tx, &provider).await?;
    let mut taken = Vec::new();
    for (index, change) in keys.into_iter().enumerate() {
        let created = change.create(Holder::of(&app, &provider), &taken, &mut ids);
        let (key, value) = created.map_err(|fault| fault.within(&format!("keys[{index}]")))?;
        key_routes::insert(&app, &mut tx, &provider.name, &key, &value).await?;
        taken.push(key.name);
    }
    policy_changes::record(&mut tx, Kind::Provider, &provider.name).await?;
    let shown = view(&app, &mut tx, provider).await?;
    app.commit_policy(tx).await?;
    Ok(Created {
        location: format!("/api/providers/{}", shown.name),
        body: ChangedView {
            message: "Provider created",
            provider: shown,
        },
    })
}

/// Show a provider.
#[utoipa::path(
    get, path = "/api/providers/{name}", tag = "Providers",
    params(("name" = String, Path)),
    responses((status = 200, body = ShowView), (status = 404, body = Problem)),
)]
async fn show(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    let provider = find(&mut tx, &name).await?;
    Ok(Reply(ShowView {
        provider: view(&app, &mut tx, provider).await?,
    }))
}

/// Change a provider. What is left out stays. When this answers, every Envoy that is connected has it.
#[utoipa::path(
    put, path = "/api/providers/{name}", tag = "Providers",
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
    let mut tx = app.db.begin_write().await?;
    let provider = find(&mut tx, &name).await?;
    let provider = change.apply(provider, surroundings(&app))?;
    keep_keys_usable(&mut tx, &provider).await?;
    store::update(&mut tx, &provider).await?;
    policy_changes::record(&mut tx, Kind::Provider, &name).await?;
    let provider = view(&app, &mut tx, provider).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Provider updated",
        provider,
    }))
}

/// Delete a provider with its keys. Refused while virtual keys have a config for it or routing rules name it.
#[utoipa::path(
    delete, path = "/api/providers/{name}", tag = "Providers",
    params(("name" = String, Path)),
    responses(
        (status = 200, body = DeletedView),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Virtual keys or routing rules use it"),
    ),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Reply<DeletedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    find(&mut tx, &name).await?;
    let users = virtual_keys::store::count_using_provider(&mut tx, &name).await?;
    if users > 0 {
        return Err(Error::Conflict(Invalid::whole(format_args!(
            "{users} virtual {} a provider config for `{name}`; remove it there first",
            if users == 1 { "key has" } else { "keys have" },
        ))));
    }
    let rules = routing_rules::store::naming_provider(&mut tx, &name).await?;
    if let Some(rule) = rules.first() {
        return Err(Error::Conflict(Invalid::whole(format_args!(
            "{} routing {} requests to `{name}`, such as `{}`; change them first",
            rules.len(),
            if rules.len() == 1 {
                "rule sends"
            } else {
                "rules send"
            },
            rule.name,
        ))));
    }
    store::delete(&mut tx, &name).await?;
    policy_changes::record(&mut tx, Kind::Provider, &name).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(DeletedView {
        message: "Provider deleted",
    }))
}

/// Refuses a kind of provider that cannot have the keys that are there.
async fn keep_keys_usable(tx: &mut Tx, provider: &Provider) -> Result<(), Error> {
    for key in store::keys(tx, &provider.name).await? {
        let Some(config) = &key.config else { continue };
        if config.check(provider.base_provider_type).is_err() {
            let message = format!(
                "cannot have the key `{}`, which is a `{}`; delete it or give it a `value` first",
                key.name,
                config.field()
            );
            let field = "custom_provider_config.base_provider_type";
            return Err(Invalid::field(field, message).into());
        }
    }
    Ok(())
}

/// The provider of this name, or the answer that there is none.
pub(super) async fn find(tx: &mut Tx, name: &str) -> Result<Provider, Error> {
    let found = store::find(tx, name).await?;
    found.ok_or_else(|| Error::NotFound {
        what: "provider",
        id: name.to_owned(),
    })
}

fn surroundings(app: &App) -> Surroundings<'_> {
    Surroundings {
        dev: app.config.dev,
        private_networks: &app.config.private_networks,
        now_ms: app.clock.now_ms(),
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NameTaken => Self::Conflict(Invalid::field("name", refused)),
            Refused::Db(error) => error.into(),
        }
    }
}

async fn view(app: &App, tx: &mut Tx, provider: Provider) -> Result<View, db::Error> {
    let keys = store::keys(tx, &provider.name).await?;
    let now_ms = app.clock.now_ms();
    let can_be_used = |key: &Key| {
        let needs_token = key.config.as_ref().is_some_and(KeyConfig::needs_token);
        !needs_token || app.tokens.current(&key.id, now_ms).is_some()
    };
    let status = if provider.is_key_less {
        Status::Ready
    } else if !keys.iter().any(|key| key.is_active) {
        Status::NoActiveKey
    } else if !keys.iter().any(|key| key.is_active && can_be_used(key)) {
        Status::NoToken
    } else {
        Status::Ready
    };
    Ok(View {
        custom_provider_config: KindView {
            base_provider_type: provider.base_provider_type,
            is_key_less: provider.is_key_less,
        },
        network_config: NetworkView {
            base_url: provider.base_url.to_string(),
            allow_private_network: provider.allow_private_network,
            retry_on: provider
                .retry_on
                .classes()
                .map(RetryClass::as_str)
                .collect(),
            per_try_timeout_ms: provider.per_try_timeout_ms,
        },
        aliases: provider.aliases,
        name: provider.name,
        keys: keys.into_iter().map(|key| KeyView::of(app, key)).collect(),
        status,
        created_at: Timestamp(provider.created_at_ms),
        updated_at: Timestamp(provider.updated_at_ms),
    })
}

impl KeyView {
    pub(super) fn of(app: &App, key: Key) -> Self {
        let needs_token = key.config.as_ref().is_some_and(KeyConfig::needs_token);
        let token = needs_token.then(|| {
            let standing = app.tokens.standing(&key.id, app.clock.now_ms());
            TokenView {
                expires_at: standing.expires_at_ms.map(Timestamp),
                error: standing.error,
            }
        });
        let (bedrock, vertex, azure) = match key.config {
            None => (None, None, None),
            Some(KeyConfig::Bedrock(account)) => (Some(account), None, None),
            Some(KeyConfig::Vertex(account)) => (None, Some(account), None),
            Some(KeyConfig::Azure(account)) => (None, None, Some(account)),
        };
        Self {
            id: key.id,
            name: key.name,
            last4: key.last4,
            bedrock_key_config: bedrock,
            vertex_key_config: vertex,
            azure_key_config: azure,
            token,
            weight: weight::number(key.weight_ppm),
            is_active: key.is_active,
            created_at: Timestamp(key.created_at_ms),
            updated_at: Timestamp(key.updated_at_ms),
        }
    }
}
