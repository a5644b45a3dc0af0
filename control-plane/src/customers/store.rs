//! SQL of customers.

use reeve_policy::limit::{Level, Limit};

use super::Customer;
use crate::db::{self, Tx};
use crate::http::page::{Page, PageRequest};
use crate::limits::{self, OwnerCalendar};
use crate::routing_rules::{self, ScopeKind};

/// Why a customer was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another customer has this name.
    #[error("another customer has this name")]
    NameTaken,
    /// The database failed.
    #[error(transparent)]
    Db(db::Error),
}

impl From<db::Error> for Refused {
    fn from(error: db::Error) -> Self {
        if error.violates("customers_name_key") {
            Self::NameTaken
        } else {
            Self::Db(error)
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    calendar_aligned: bool,
    time_zone: String,
    created_at: i64,
    updated_at: i64,
}

/// The customer with this id.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<Customer>, db::Error> {
    let rows = tx
        .query("SELECT * FROM customers WHERE id = $1")
        .bind(id)
        .fetch_all()
        .await?;
    Ok(with_limits(tx, rows).await?.pop())
}

/// Every customer, by age.
pub async fn all(tx: &mut Tx) -> Result<Vec<Customer>, db::Error> {
    let rows = tx
        .query("SELECT * FROM customers ORDER BY id")
        .fetch_all()
        .await?;
    with_limits(tx, rows).await
}

/// A part of the list of customers, by age.
pub async fn page(tx: &mut Tx, request: &PageRequest) -> Result<Page<Customer>, db::Error> {
    let pattern = request.search_pattern();
    let (total,): (i64,) = tx
        .query(
            "SELECT COUNT(*) FROM customers
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')",
        )
        .bind(pattern.as_deref())
        .fetch_one()
        .await?;
    let rows = tx
        .query(
            "SELECT * FROM customers WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')
             ORDER BY id LIMIT $2 OFFSET $3",
        )
        .bind(pattern.as_deref())
        .bind(i64::from(request.limit))
        .bind(i64::from(request.offset))
        .fetch_all()
        .await?;
    Ok(Page {
        items: with_limits(tx, rows).await?,
        total,
    })
}

/// Stores a new customer.
pub async fn insert(tx: &mut Tx, customer: &Customer) -> Result<(), Refused> {
    tx.query(
        "INSERT INTO customers (id, name, calendar_aligned, time_zone, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(customer.id.as_str())
    .bind(customer.name.as_str())
    .bind(customer.calendar.aligned)
    .bind(limits::calendar::name(&customer.calendar.zone))
    .bind(customer.created_at_ms)
    .bind(customer.updated_at_ms)
    .execute()
    .await?;
    Ok(limits::store::replace(tx, Level::Customer, &customer.id, &customer.limits).await?)
}

/// Stores a changed customer under its id.
pub async fn update(tx: &mut Tx, customer: &Customer) -> Result<(), Refused> {
    tx.query(
        "UPDATE customers SET name = $2, calendar_aligned = $3, time_zone = $4, updated_at = $5
         WHERE id = $1",
    )
    .bind(customer.id.as_str())
    .bind(customer.name.as_str())
    .bind(customer.calendar.aligned)
    .bind(limits::calendar::name(&customer.calendar.zone))
    .bind(customer.updated_at_ms)
    .execute()
    .await?;
    Ok(limits::store::replace(tx, Level::Customer, &customer.id, &customer.limits).await?)
}

/// Deletes a customer; what was used stays on record. False: there was none.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<bool, db::Error> {
    limits::store::delete(tx, Level::Customer, id).await?;
    routing_rules::store::delete_of(tx, ScopeKind::Customer, id).await?;
    let deleted = tx
        .query("DELETE FROM customers WHERE id = $1")
        .bind(id)
        .execute()
        .await?;
    Ok(deleted > 0)
}

/// Adds limits to rows that are sorted by id.
async fn with_limits(tx: &mut Tx, rows: Vec<Row>) -> Result<Vec<Customer>, db::Error> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(Vec::new());
    };
    let mut limits = limits::store::of_owners(tx, Level::Customer, &first.id, &last.id).await?;
    let customers = rows.into_iter().map(|row| {
        let limits = limits.remove(&row.id).unwrap_or_default();
        row.into_customer(limits)
    });
    customers.collect()
}

impl Row {
    fn into_customer(self, limits: Vec<Limit>) -> Result<Customer, db::Error> {
        Ok(Customer {
            id: self.id,
            name: self.name,
            calendar: OwnerCalendar::stored(
                self.calendar_aligned,
                &self.time_zone,
                "customers.time_zone",
            )?,
            limits,
            created_at_ms: self.created_at,
            updated_at_ms: self.updated_at,
        })
    }
}
