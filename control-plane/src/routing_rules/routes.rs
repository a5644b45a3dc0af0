//! `/api/governance/routing-rules`

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Refused};
use super::{Change, Destination, MOST, RoutingRule, Scope, ScopeKind};
use crate::app::App;
use crate::auth::Admin;
use crate::db::{self, Tx};
use crate::error::{Error, Problem};
use crate::http::json::Json;
use crate::http::number::Number;
use crate::http::page::PageRequest;
use crate::http::params::{FromParams, Params, Query};
use crate::http::reply::{Created, Ok as Reply};
use crate::http::timestamp::Timestamp;
use crate::invalid::Invalid;
use crate::policy_changes::{self, Kind};
use crate::{customers, providers, teams, virtual_keys, weight};

/// The routes of routing rules.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
}

/// A rule as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoutingRule)]
struct View {
    id: String,
    name: String,
    description: String,
    enabled: bool,
    /// Empty: it always matches.
    cel_expression: String,
    targets: Vec<TargetView>,
    /// `provider/model`, or `provider/` for the model that the request has.
    fallbacks: Vec<String>,
    scope: ScopeKind,
    /// Null: everyone.
    scope_id: Option<String>,
    priority: i32,
    chain_rule: bool,
    #[schema(value_type = Option<Object>)]
    query: Option<Box<RawValue>>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoutingTarget)]
struct TargetView {
    /// Null: as the request has it.
    provider: Option<String>,
    /// Null: as the request has it.
    model: Option<String>,
    #[schema(value_type = f64)]
    weight: Number,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoutingRuleList)]
struct ListView {
    rules: Vec<View>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoutingRuleOnly)]
struct ShowView {
    rule: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoutingRuleChanged)]
struct ChangedView {
    message: &'static str,
    rule: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RoutingRuleDeleted)]
struct DeletedView {
    message: &'static str,
}

/// Which rules are asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListRequest {
    /// Only rules of this scope.
    scope: Option<ScopeKind>,
    /// Only rules of the customer, team or virtual key with this id.
    scope_id: Option<String>,
    #[param(ignore)]
    page: PageRequest,
}

impl FromParams for ListRequest {
    fn from_params(params: &mut Params) -> Result<Self, Invalid> {
        let scope = params.text("scope")?.map(|word| {
            let found = ScopeKind::ALL.into_iter().find(|it| it.as_str() == word);
            let message = "must be `global`, `customer`, `team` or `virtual_key`";
            found.ok_or_else(|| Invalid::field("scope", message))
        });
        Ok(Self {
            scope: scope.transpose()?,
            scope_id: params.text("scope_id")?.filter(|id| !id.is_empty()),
            page: PageRequest::from_params(params)?,
        })
    }
}

/// List routing rules: by scope, and within a scope in the order in which they look at requests.
#[utoipa::path(
    get, path = "/api/governance/routing-rules", tag = "Routing rules",
    operation_id = "list_routing_rules",
    params(ListRequest, PageRequest),
    responses((status = 200, body = ListView), (status = 400, body = Problem)),
)]
async fn list(
    _: Admin,
    State(app): State<Arc<App>>,
    Query(request): Query<ListRequest>,
) -> Result<Reply<ListView>, Error> {
    let mut tx = app.db.begin_read().await?;
    let scope_id = request.scope_id.as_deref();
    let page = store::page(&mut tx, request.scope, scope_id, &request.page).await?;
    let rules = page.items.into_iter().map(View::try_from);
    let rules: Vec<View> = rules.collect::<Result<_, _>>()?;
    Ok(Reply(ListView {
        count: rules.len(),
        rules,
        total_count: page.total,
        limit: request.page.limit,
        offset: request.page.offset,
    }))
}

/// Make a routing rule.
#[utoipa::path(
    post, path = "/api/governance/routing-rules", tag = "Routing rules",
    operation_id = "create_routing_rule",
    request_body = Change,
    responses(
        (status = 201, body = ChangedView),
        (status = 400, body = Problem),
        (status = 409, body = Problem, description = "Another one has the name, or its scope has 64"),
    ),
)]
async fn create(
    _: Admin,
    State(app): State<Arc<App>>,
    Json(change): Json<Change>,
) -> Result<Created<ChangedView>, Error> {
    let mut ids = app.ids()?;
    let mut tx = app.db.begin_write().await?;
    let rule = change.apply(None, &mut ids)?;
    save(&mut tx, &rule, None).await?;
    app.commit_policy(tx).await?;
    Ok(Created {
        location: format!("/api/governance/routing-rules/{}", rule.id),
        body: ChangedView {
            message: "Routing rule created",
            rule: rule.try_into()?,
        },
    })
}

/// Show a routing rule.
#[utoipa::path(
    get, path = "/api/governance/routing-rules/{id}", tag = "Routing rules",
    operation_id = "show_routing_rule",
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
        rule: find(&mut tx, &id).await?.try_into()?,
    }))
}

/// Change a routing rule. What is left out stays; a list replaces the list there was.
#[utoipa::path(
    put, path = "/api/governance/routing-rules/{id}", tag = "Routing rules",
    operation_id = "update_routing_rule",
    params(("id" = String, Path)),
    request_body = Change,
    responses(
        (status = 200, body = ChangedView),
        (status = 400, body = Problem),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Another one has the name, or its scope has 64"),
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
    let scope = before.scope.clone();
    let rule = change.apply(Some(before), &mut ids)?;
    save(&mut tx, &rule, Some(&scope)).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Routing rule updated",
        rule: rule.try_into()?,
    }))
}

/// Delete a routing rule.
#[utoipa::path(
    delete, path = "/api/governance/routing-rules/{id}", tag = "Routing rules",
    operation_id = "delete_routing_rule",
    params(("id" = String, Path)),
    responses((status = 200, body = DeletedView), (status = 404, body = Problem)),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<DeletedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    let rule = find(&mut tx, &id).await?;
    store::delete(&mut tx, &id).await?;
    record(&mut tx, &rule.scope).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(DeletedView {
        message: "Routing rule deleted",
    }))
}

/// Stores a rule whose scope and providers exist. `before`: the scope that it had.
async fn save(tx: &mut Tx, rule: &RoutingRule, before: Option<&Scope>) -> Result<(), Error> {
    check_scope(tx, &rule.scope).await?;
    for (at, to) in rule.destinations() {
        check_destination(tx, to)
            .await?
            .map_err(|fault| fault.within(&at))?;
    }
    if before != Some(&rule.scope) && store::count(tx, &rule.scope).await? >= MOST {
        return Err(Error::Conflict(Invalid::whole(format_args!(
            "this scope has {MOST} rules already; delete one, or join some by a list of texts"
        ))));
    }
    store::put(tx, rule).await?;
    if let Some(before) = before.filter(|before| **before != rule.scope) {
        record(tx, before).await?;
    }
    record(tx, &rule.scope).await?;
    Ok(())
}

async fn check_scope(tx: &mut Tx, scope: &Scope) -> Result<(), Error> {
    let exists = match scope {
        Scope::Global => true,
        Scope::Customer(id) => customers::store::find(tx, id).await?.is_some(),
        Scope::Team(id) => teams::store::find(tx, id).await?.is_some(),
        Scope::VirtualKey(id) => virtual_keys::store::find(tx, id).await?.is_some(),
    };
    if exists {
        return Ok(());
    }
    let what = scope.kind().what();
    Err(Invalid::field("scope_id", format_args!("there is no such {what}")).into())
}

async fn check_destination(
    tx: &mut Tx,
    to: &Destination,
) -> Result<Result<(), Invalid>, db::Error> {
    if let Some(name) = &to.provider {
        let exists = providers::store::find(tx, name).await?.is_some();
        let message = "there is no such provider";
        return Ok(if exists {
            Ok(())
        } else {
            Err(Invalid::field("provider", message))
        });
    }
    // Without a provider a model's name has none in front either.
    if let Some((prefix, rest)) = to.model.as_ref().and_then(|model| model.split_once('/'))
        && providers::store::find(tx, prefix).await?.is_some()
    {
        let message =
            format_args!("names a provider; write `{prefix}` in `provider`, and `{rest}` here");
        return Ok(Err(Invalid::field("model", message)));
    }
    Ok(Ok(()))
}

/// Notes what has to be compiled again.
async fn record(tx: &mut Tx, scope: &Scope) -> Result<(), db::Error> {
    match scope {
        Scope::Global => policy_changes::record(tx, Kind::Settings, "settings").await,
        Scope::Customer(id) => policy_changes::record(tx, Kind::Customer, id).await,
        Scope::Team(id) => policy_changes::record(tx, Kind::Team, id).await,
        Scope::VirtualKey(id) => policy_changes::record(tx, Kind::VirtualKey, id).await,
    }
}

async fn find(tx: &mut Tx, id: &str) -> Result<RoutingRule, Error> {
    store::find(tx, id).await?.ok_or_else(|| Error::NotFound {
        what: "routing rule",
        id: id.to_owned(),
    })
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NameTaken => Self::Conflict(Invalid::field("name", refused)),
            Refused::Db(error) => error.into(),
        }
    }
}

impl TryFrom<RoutingRule> for View {
    type Error = Error;

    fn try_from(rule: RoutingRule) -> Result<Self, Error> {
        let targets = rule.targets.into_iter().map(|target| TargetView {
            provider: target.to.provider,
            model: target.to.model,
            weight: weight::number(target.weight_ppm),
        });
        let fallbacks = rule.fallbacks.into_iter().map(|to| {
            let [provider, model] = [to.provider, to.model].map(Option::unwrap_or_default);
            format!("{provider}/{model}")
        });
        Ok(Self {
            scope: rule.scope.kind(),
            scope_id: rule.scope.id().map(Into::into),
            id: rule.id,
            name: rule.name,
            description: rule.description,
            enabled: rule.enabled,
            cel_expression: rule.cel_expression,
            targets: targets.collect(),
            fallbacks: fallbacks.collect(),
            priority: rule.priority,
            chain_rule: rule.chain_rule,
            query: rule
                .query
                .map(RawValue::from_string)
                .transpose()
                .map_err(|error| db::Error::corrupt("routing_rules.query", error))?,
            created_at: Timestamp(rule.created_at_ms),
            updated_at: Timestamp(rule.updated_at_ms),
        })
    }
}
