//! `/api/governance/teams`

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Refused};
use super::{Change, Team};
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
use crate::{customers, settings, virtual_keys};

/// The routes of teams.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
}

/// A team as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Team)]
struct View {
    id: String,
    name: String,
    customer_id: Option<String>,
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
#[schema(as = TeamList)]
struct ListView {
    teams: Vec<View>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeamOnly)]
struct ShowView {
    team: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeamChanged)]
struct ChangedView {
    message: &'static str,
    team: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TeamDeleted)]
struct DeletedView {
    message: &'static str,
}

/// List teams, oldest first.
#[utoipa::path(
    get, path = "/api/governance/teams", tag = "Teams",
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
    let mut teams = Vec::with_capacity(page.items.len());
    for team in page.items {
        teams.push(view(&mut tx, team, app.clock.now_ms()).await?);
    }
    Ok(Reply(ListView {
        count: teams.len(),
        teams,
        total_count: page.total,
        limit: request.limit,
        offset: request.offset,
    }))
}

/// Make a team.
#[utoipa::path(
    post, path = "/api/governance/teams", tag = "Teams",
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
    let mut tx = app.db.begin_write().await?;
    let zone = settings::store::get(&mut tx).await?.time_zone;
    let team = change.apply(Team::new(&mut ids, zone), &mut ids)?;
    check_customer(&mut tx, &team).await?;
    store::insert(&mut tx, &team).await?;
    policy_changes::record(&mut tx, Kind::Team, &team.id).await?;
    let team = view(&mut tx, team, ids.now_ms()).await?;
    app.commit_policy(tx).await?;
    Ok(Created {
        location: format!("/api/governance/teams/{}", team.id),
        body: ChangedView {
            message: "Team created",
            team,
        },
    })
}

/// Show a team.
#[utoipa::path(
    get, path = "/api/governance/teams/{id}", tag = "Teams",
    params(("id" = String, Path)),
    responses((status = 200, body = ShowView), (status = 404, body = Problem)),
)]
async fn show(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    let team = find(&mut tx, &id).await?;
    Ok(Reply(ShowView {
        team: view(&mut tx, team, app.clock.now_ms()).await?,
    }))
}

/// Change a team. What is left out stays; a list replaces the list there was.
#[utoipa::path(
    put, path = "/api/governance/teams/{id}", tag = "Teams",
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
    let team = change.apply(find(&mut tx, &id).await?, &mut ids)?;
    check_customer(&mut tx, &team).await?;
    store::update(&mut tx, &team).await?;
    policy_changes::record(&mut tx, Kind::Team, &team.id).await?;
    let team = view(&mut tx, team, ids.now_ms()).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Team updated",
        team,
    }))
}

/// Delete a team that nothing belongs to.
#[utoipa::path(
    delete, path = "/api/governance/teams/{id}", tag = "Teams",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = DeletedView),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Virtual keys belong to it"),
    ),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<DeletedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    let keys = virtual_keys::store::count_of_team(&mut tx, &id).await?;
    if keys > 0 {
        return Err(Error::Conflict(Invalid::whole(format_args!(
            "the team still has virtual keys ({keys}); move or delete them first"
        ))));
    }
    if !store::delete(&mut tx, &id).await? {
        return Err(not_found(&id));
    }
    policy_changes::record(&mut tx, Kind::Team, &id).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(DeletedView {
        message: "Team deleted",
    }))
}

async fn find(tx: &mut Tx, id: &str) -> Result<Team, Error> {
    store::find(tx, id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Error {
    Error::NotFound {
        what: "team",
        id: id.to_owned(),
    }
}

/// The team's customer exists.
async fn check_customer(tx: &mut Tx, team: &Team) -> Result<(), Error> {
    if let Some(customer_id) = &team.customer_id
        && customers::store::find(tx, customer_id).await?.is_none()
    {
        return Err(Invalid::field("customer_id", "there is no such customer").into());
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

async fn view(tx: &mut Tx, team: Team, now_ms: i64) -> Result<View, db::Error> {
    let all: Vec<_> = team.limits.iter().collect();
    let usage = limits::store::usage(tx, &all, now_ms).await?;
    Ok(View {
        budgets: Budget::all_of(&team.limits, &usage, now_ms),
        rate_limit: RateLimit::of(&team.limits, &usage, now_ms),
        rate_limits: RateLimitWindow::all_of(&team.limits, &usage, now_ms),
        id: team.id,
        name: team.name,
        customer_id: team.customer_id,
        calendar_aligned: team.calendar.aligned,
        time_zone: limits::calendar::name(&team.calendar.zone).to_owned(),
        created_at: Timestamp(team.created_at_ms),
        updated_at: Timestamp(team.updated_at_ms),
    })
}
