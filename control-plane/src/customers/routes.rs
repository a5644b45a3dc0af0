//! `/api/governance/customers`

use std::sync::Arc;

use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Refused};
use super::{Change, Customer};
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
use crate::{settings, teams, virtual_keys};

/// The routes of customers.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(show, update, remove))
}

/// A customer as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Customer)]
struct View {
    id: String,
    name: String,
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
#[schema(as = CustomerList)]
struct ListView {
    customers: Vec<View>,
    /// Entries in this answer.
    count: usize,
    /// Entries there are.
    total_count: i64,
    limit: u32,
    offset: u32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomerOnly)]
struct ShowView {
    customer: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomerChanged)]
struct ChangedView {
    message: &'static str,
    customer: View,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomerDeleted)]
struct DeletedView {
    message: &'static str,
}

/// List customers, oldest first.
#[utoipa::path(
    get, path = "/api/governance/customers", tag = "Customers",
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
    let mut customers = Vec::with_capacity(page.items.len());
    for customer in page.items {
        customers.push(view(&mut tx, customer, app.clock.now_ms()).await?);
    }
    Ok(Reply(ListView {
        count: customers.len(),
        customers,
        total_count: page.total,
        limit: request.limit,
        offset: request.offset,
    }))
}

/// Make a customer.
#[utoipa::path(
    post, path = "/api/governance/customers", tag = "Customers",
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
    let customer = change.apply(Customer::new(&mut ids, zone), &mut ids)?;
    store::insert(&mut tx, &customer).await?;
    policy_changes::record(&mut tx, Kind::Customer, &customer.id).await?;
    let customer = view(&mut tx, customer, ids.now_ms()).await?;
    app.commit_policy(tx).await?;
    Ok(Created {
        location: format!("/api/governance/customers/{}", customer.id),
        body: ChangedView {
            message: "Customer created",
            customer,
        },
    })
}

/// Show a customer.
#[utoipa::path(
    get, path = "/api/governance/customers/{id}", tag = "Customers",
    params(("id" = String, Path)),
    responses((status = 200, body = ShowView), (status = 404, body = Problem)),
)]
async fn show(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<ShowView>, Error> {
    let mut tx = app.db.begin_read().await?;
    let customer = find(&mut tx, &id).await?;
    Ok(Reply(ShowView {
        customer: view(&mut tx, customer, app.clock.now_ms()).await?,
    }))
}

/// Change a customer. What is left out stays; a list replaces the list there was.
#[utoipa::path(
    put, path = "/api/governance/customers/{id}", tag = "Customers",
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
    let customer = change.apply(find(&mut tx, &id).await?, &mut ids)?;
    store::update(&mut tx, &customer).await?;
    policy_changes::record(&mut tx, Kind::Customer, &customer.id).await?;
    let customer = view(&mut tx, customer, ids.now_ms()).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(ChangedView {
        message: "Customer updated",
        customer,
    }))
}

/// Delete a customer that nothing belongs to.
#[utoipa::path(
    delete, path = "/api/governance/customers/{id}", tag = "Customers",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = DeletedView),
        (status = 404, body = Problem),
        (status = 409, body = Problem, description = "Teams or virtual keys belong to it"),
    ),
)]
async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Reply<DeletedView>, Error> {
    let mut tx = app.db.begin_write().await?;
    let teams = teams::store::count_of_customer(&mut tx, &id).await?;
    let keys = virtual_keys::store::count_of_customer(&mut tx, &id).await?;
    if teams > 0 || keys > 0 {
        return Err(Error::Conflict(Invalid::whole(format_args!(
            "the customer still has teams ({teams}) and virtual keys ({keys}); \
             move or delete them first"
        ))));
    }
    if !store::delete(&mut tx, &id).await? {
        return Err(not_found(&id));
    }
    policy_changes::record(&mut tx, Kind::Customer, &id).await?;
    app.commit_policy(tx).await?;
    Ok(Reply(DeletedView {
        message: "Customer deleted",
    }))
}

async fn find(tx: &mut Tx, id: &str) -> Result<Customer, Error> {
    store::find(tx, id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> Error {
    Error::NotFound {
        what: "customer",
        id: id.to_owned(),
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

async fn view(tx: &mut Tx, customer: Customer, now_ms: i64) -> Result<View, db::Error> {
    let all: Vec<_> = customer.limits.iter().collect();
    let usage = limits::store::usage(tx, &all, now_ms).await?;
    Ok(View {
        budgets: Budget::all_of(&customer.limits, &usage, now_ms),
        rate_limit: RateLimit::of(&customer.limits, &usage, now_ms),
        rate_limits: RateLimitWindow::all_of(&customer.limits, &usage, now_ms),
        id: customer.id,
        name: customer.name,
        calendar_aligned: customer.calendar.aligned,
        time_zone: limits::calendar::name(&customer.calendar.zone).to_owned(),
        created_at: Timestamp(customer.created_at_ms),
        updated_at: Timestamp(customer.updated_at_ms),
    })
}
