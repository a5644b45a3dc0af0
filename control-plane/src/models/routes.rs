//! `/api/models`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use reeve_policy::money::Nanos;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::builtin::Catalogue;
use super::card_view::CardView;
use super::effective::{builtin_of, catalogue_name, knows};
use super::store::{self, Refused};
use super::{Change, Model, Source};
use crate::app::App;
use crate::auth::Admin;
use crate::db::Tx;
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::number::Number;
use crate::http::page::PageRequest;
use crate::http::params::{FromParams, Params, Query};
use crate::http::reply::{Created, Ok as Reply};
use crate::invalid::Invalid;
use crate::policy_changes::{self, Kind};
use crate::providers;

/// The routes of models.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
}

/// A model as the API shows it. Prices are US dollars per million tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
struct View {
    provider: String,
    model: String,
    source: Source,
    /// Null: not known, or something else than tokens is charged; the data plane refuses the model.
    #[schema(value_type = Option<f64>)]
    input_cost_per_million_tokens: Option<Number>,
    #[schema(value_type = Option<f64>)]
    output_cost_per_million_tokens: Option<Number>,
    /// Null: as other input.
    #[schema(value_type = Option<f64>)]
    cache_read_cost_per_million_tokens: Option<Number>,
    /// Null: as other input.
    #[schema(value_type = Option<f64>)]
    cache_write_cost_per_million_tokens: Option<Number>,
    /// Kept in the cache for an hour. Null: as other cache writes.
    #[schema(value_type = Option<f64>)]
    cache_write_1h_cost_per_million_tokens: Option<Number>,
    /// Null: as other output.
    #[schema(value_type = Option<f64>)]
    reasoning_cost_per_million_tokens: Option<Number>,
    /// Null: as other input.
    #[schema(value_type = Option<f64>)]
    audio_input_cost_per_million_tokens: Option<Number>,
    /// Null: as other output.
    #[schema(value_type = Option<f64>)]
    audio_output_cost_per_million_tokens: Option<Number>,
    /// Null: as other input.
    #[schema(value_type = Option<f64>)]
    image_input_cost_per_million_tokens: Option<Number>,
    /// Null: as other output.
    #[schema(value_type = Option<f64>)]
    image_output_cost_per_million_tokens: Option<Number>,
    /// US dollars per million searches, as its vendor counts them. Null: not billed so.
    #[schema(value_type = Option<f64>)]
    search_cost_per_million: Option<Number>,
    /// US dollars per million characters that are spoken. Null: not billed so.
    #[schema(value_type = Option<f64>)]
    character_cost_per_million: Option<Number>,
    /// US dollars per million seconds of audio. Null: not billed so.
    #[schema(value_type = Option<f64>)]
    second_cost_per_million: Option<Number>,
    /// US dollars per million images that are made. Null: not billed so.
    #[schema(value_type = Option<f64>)]
    image_cost_per_million: Option<Number>,
    /// Prices of other service tiers and of long prompts.
    price_cards: Vec<CardView>,
    /// Changes whenever a price changes; usage records carry the one that they were charged by.
    price_version: u64,
    max_input_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    /// Day on which the provider means to switch the model off.
    deprecated_on: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelList)]
struct ListView {
    models: Vec<View>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: usize,
    limit: u32,
    offset: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelOnly)]
struct ShowView {
    model: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelChanged)]
struct ChangedView {
    message: &'static str,
    model: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelDeleted)]
struct DeletedView {
    message: &'static str,
    /// The built-in entry that counts again.
    model: Option<View>,
}

/// Which models to list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListFilter {
    /// Only models of this provider.
    provider: Option<String>,
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
                provider: params.text("provider")?,
            },
        })
    }
}

/// List models, by provider and name: the catalogue with the operators' own entries above it.
#[utoipa::path(
    get, path = "/api/models", tag = "Models", operation_id = "list_models",
    params(PageRequest, ListFilter),
    responses((status = 200, body = ListView), (status = 400, body = Problem)),
)]
async fn list(
    _: Admin,
    State(app): State<Arc<App>>,
    Query(request): Query<ListRequest>,
) -> Result<Reply<ListView>, Error> {
    let ListRequest { page, filter } = request;
    let mut tx = app.db.begin_read().await?;
    let mut models = everything(&mut tx).await?;
    let search = page.search.as_ref().map(|text| text.to_lowercase());
    models.retain(|model| {
        filter
            .provider
            .as_ref()
            .is_none_or(|provider| model.provider == *provider)
            && search
                .as_ref()
                .is_none_or(|text| model.model.to_lowercase().contains(text))
    });
    let total_count = models.len();
    let offset = usize::try_from(page.offset).unwrap_or(usize::MAX);
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let models: Vec<View> = models
        .into_iter()
        .skip(offset)
        .take(limit)
        .map(View::from)
        .collect();
    Ok(Reply(ListView {
        count: models.len(),
        models,
        total_count,
        limit: page.limit,
        offset: page.offset,
    }))
}

/// Add a model, or set prices above those of the catalogue.
#[utoipa::path(
    post, path = "/api/models", tag = "Models", operation_id = "create_model",
    request_body = Change,
    responses(
        (status = 201, body = ChangedView),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "The model has an entry of the operators"),
    ),
)]
async fn create(
    _: Admin,
    State(app): State<Arc<App>>,
    Json(change): Json<Change>,
) -> Result<Created<ChangedView>, Error> {
    let now_ms = app.clock.now_ms();
    let (provider, model) = change.subject()?;
    let mut tx = app.db.begin_write().await?;
    check_provider(&mut tx, &provider).await?;
    let model = change.apply(Model::blank(provider, model), now_ms)?;
    store::insert(&mut tx, &model, now_ms).await?;
    record(&mut tx, &model.provider, &model.model).await?;
    app.commit_policy(tx).await?;
    Ok(Created {
        location: format!("/api/models/{}/{}", model.provider, model.model),
        body: ChangedView {
            message: "Model created",
            model: model.into(),
        },
    })
}

/// Show a model.
#[utoipa::path(
    get, path = "/api/models/{provider}/{*model}", tag = "Models", operation_id = "show_model",
    params(("provider" = String, Path), ("model" = String, Path, description = "May contain `/`")),
    responses((status = 200, body = ShowView), (status = 404, body = Problem)),
)]
async fn show(
    _: Admin,
    State(app): State<Arc<App>>,
    Path((provider, model)): Path<(String, String)>,
) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    Ok(Reply(ShowView {
        model: find(&mut tx, &provider, &model).await?.into(),
    }))
}

/// Change a model. What is left out stays. A built-in entry is kept and an own one put above it.
#[utoipa::path(
    put, path = "/api/models/{provider}/{*model}", tag = "Models", operation_id = "update_model",
    params(("provider" = String, Path), ("model" = String, Path, description = "May contain `/`")),
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
    Path((provider, model)): Path<(String, String)>,
    Json(change): Json<Change>,
) -> Result<Reply<ChangedView>, Error> {
    let now_ms = app.clock.now_ms();
    let mut tx = app.db.begin_write().await?;
    let before = find(&mut tx, &provider, &model).await?;
    let model = change.apply(before, now_ms)?;
    store::replace(&mut tx, &model, now_ms).await?;
    record(&mut tx, &model.provider, &model.model).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Model updated",
        model: model.into(),
    }))
}

/// Delete an operator's entry. The built-in one, if there is one, counts again.
#[utoipa::path(
    delete, path = "/api/models/{provider}/{*model}", tag = "Models",
    operation_id = "delete_model",
    params(("provider" = String, Path), ("model" = String, Path, description = "May contain `/`")),
    responses(
        (status = 200, body = DeletedView),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The model is built in"),
    ),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path((provider, model)): Path<(String, String)>,
) -> Result<Reply<DeletedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    if !store::delete(&mut tx, &provider, &model).await? {
        find(&mut tx, &provider, &model).await?;
        return Err(Error::Conflict(Invalid::whole(
            "a built-in model cannot be deleted; put it under `blacklisted_models` of the virtual \
             keys that must not use it",
        )));
    }
    record(&mut tx, &provider, &model).await?;
    let builtin = builtin(&mut tx, &provider, &model).await?;
    app.commit_policy(tx).await?;
    let message = match builtin {
        Some(_) => "Model deleted; the built-in entry counts again",
        None => "Model deleted",
    };
    Ok(Reply(DeletedView {
        message,
        model: builtin.map(View::from),
    }))
}

async fn record(tx: &mut Tx, provider: &str, model: &str) -> Result<(), Error> {
    Ok(policy_changes::record(tx, Kind::Model, &format!("{provider}/{model}")).await?)
}

/// Every model of every provider that is configured or in the catalogue, by provider and name.
async fn everything(tx: &mut Tx) -> Result<Vec<Model>, Error> {
    let catalogue = Catalogue::builtin().map_err(Error::internal)?;
    let version = catalogue.price_version();
    let place = |model: Model| ((model.provider.clone(), model.model.clone()), model);
    let entries = catalogue.entries().iter();
    let mut models: BTreeMap<(String, String), Model> = entries
        .map(|entry| place(Model::builtin(entry.provider, entry, version)))
        .collect();
    for provider in providers::store::all(tx).await? {
        models.extend(builtin_of(catalogue, &provider).map(place));
    }
    models.extend(store::all(tx).await?.into_iter().map(place));
    Ok(models.into_values().collect())
}

/// The model as it counts now.
async fn find(tx: &mut Tx, provider: &str, model: &str) -> Result<Model, Error> {
    if let Some(custom) = store::find(tx, provider, model).await? {
        return Ok(custom);
    }
    let found = builtin(tx, provider, model).await?;
    found.ok_or_else(|| Error::NotFound {
        what: "model",
        id: format!("{provider}/{model}"),
    })
}

/// The catalogue's entry for a model of a provider, configured or not.
async fn builtin(tx: &mut Tx, provider: &str, model: &str) -> Result<Option<Model>, Error> {
    let catalogue = Catalogue::builtin().map_err(Error::internal)?;
    let name = match providers::store::find(tx, provider).await? {
        Some(provider) => catalogue_name(catalogue, &provider).to_owned(),
        None => provider.to_owned(),
    };
    let entry = catalogue.get(&name, model);
    Ok(entry.map(|entry| Model::builtin(provider, entry, catalogue.price_version())))
}

async fn check_provider(tx: &mut Tx, provider: &str) -> Result<(), Error> {
    let catalogue = Catalogue::builtin().map_err(Error::internal)?;
    let configured = providers::store::names(tx).await?;
    if knows(catalogue, provider) || configured.iter().any(|name| name == provider) {
        return Ok(());
    }
    let message = "no such provider; configure it first with POST /api/providers";
    Err(Invalid::field("provider", message).into())
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Taken => Self::Conflict(Invalid::field("model", refused)),
            Refused::Db(error) => error.into(),
        }
    }
}

impl From<Model> for View {
    fn from(model: Model) -> Self {
        let dollars =
            |price: Option<i64>| price.map(|price| Number::from_display(Nanos::new(price)));
        let unit = |price: i64| dollars(Some(price).filter(|price| *price > 0));
        let prices = model.prices;
        Self {
            provider: model.provider,
            model: model.model,
            source: model.source,
            input_cost_per_million_tokens: dollars(prices.input),
            output_cost_per_million_tokens: dollars(prices.output),
            cache_read_cost_per_million_tokens: dollars(prices.cache_read),
            cache_write_cost_per_million_tokens: dollars(prices.cache_write_5m),
            cache_write_1h_cost_per_million_tokens: dollars(prices.cache_write_1h),
            reasoning_cost_per_million_tokens: dollars(prices.reasoning),
            audio_input_cost_per_million_tokens: dollars(prices.audio_input),
            audio_output_cost_per_million_tokens: dollars(prices.audio_output),
            image_input_cost_per_million_tokens: dollars(prices.image_input),
            image_output_cost_per_million_tokens: dollars(prices.image_output),
            search_cost_per_million: unit(model.units.search),
            character_cost_per_million: unit(model.units.character),
            second_cost_per_million: unit(model.units.second),
            image_cost_per_million: unit(model.units.image),
            price_cards: model.cards.iter().map(Into::into).collect(),
            price_version: model.price_version,
            max_input_tokens: model.max_input_tokens,
            max_output_tokens: model.max_output_tokens,
            deprecated_on: model.deprecated_on,
        }
    }
}
