//! SQL of teams.

use reeve_policy::limit::{Level, Limit};

use super::Team;
use crate::db::{self, Tx};
use crate::http::page::{Page, PageRequest};
use crate::limits::{self, OwnerCalendar};
use crate::routing_rules::{self, ScopeKind};

/// Why a team was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another team has this name.
    #[error("another team has this name")]
    NameTaken,
    /// The database failed.
    #[error(transparent)]
    Db(db::Error),
}

impl From<db::Error> for Refused {
    fn from(error: db::Error) -> Self {
        if error.violates("teams_name_key") {
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
    customer_id: Option<String>,
    calendar_aligned: bool,
    time_zone: String,
    created_at: i64,
    updated_at: i64,
}

/// The team with this id.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<Team>, db::Error> {
    let rows = tx
        .query("SELECT * FROM teams WHERE id = $1")
        .bind(id)
        .fetch_all()
        .await?;
    Ok(with_limits(tx, rows).await?.pop())
}

/// Every team, by age.
pub async fn all(tx: &mut Tx) -> Result<Vec<Team>, db::Error> {
    let rows = tx
        .query("SELECT * FROM teams ORDER BY id")
        .fetch_all()
        .await?;
    with_limits(tx, rows).await
}

/// A part of the list of teams, by age.
pub async fn page(tx: &mut Tx, request: &PageRequest) -> Result<Page<Team>, db::Error> {
    let pattern = request.search_pattern();
    let (total,): (i64,) = tx
        .query(
            "SELECT COUNT(*) FROM teams
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')",
        )
        .bind(pattern.as_deref())
        .fetch_one()
        .await?;
    let rows = tx
        .query(
            "SELECT * FROM teams WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')
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

/// How many teams belong to a customer.
pub async fn count_of_customer(tx: &mut Tx, customer_id: &str) -> Result<i64, db::Error> {
    let query = tx.query("SELECT COUNT(*) FROM teams WHERE customer_id = $1");
    let (count,): (i64,) = query.bind(customer_id).fetch_one().await?;
    Ok(count)
}

/// Stores a new team.
pub async fn insert(tx: &mut Tx, team: &Team) -> Result<(), Refused> {
    tx.query(
        "INSERT INTO teams (id, name, customer_id, calendar_aligned, time_zone, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(team.id.as_str())
    .bind(team.name.as_str())
    .bind(team.customer_id.as_deref())
    .bind(team.calendar.aligned)
    .bind(limits::calendar::name(&team.calendar.zone))
    .bind(team.created_at_ms)
    .bind(team.updated_at_ms)
    .execute()
    .await?;
    Ok(limits::store::replace(tx, Level::Team, &team.id, &team.limits).await?)
}

/// Stores a changed team under its id.
pub async fn update(tx: &mut Tx, team: &Team) -> Result<(), Refused> {
    tx.query(
        "UPDATE teams SET name = $2, customer_id = $3, calendar_aligned = $4, time_zone = $5,
             updated_at = $6
         WHERE id = $1",
    )
    .bind(team.id.as_str())
    .bind(team.name.as_str())
    .bind(team.customer_id.as_deref())
    .bind(team.calendar.aligned)
    .bind(limits::calendar::name(&team.calendar.zone))
    .bind(team.updated_at_ms)
    .execute()
    .await?;
    Ok(limits::store::replace(tx, Level::Team, &team.id, &team.limits).await?)
}

/// Deletes a team; what was used stays on record. False: there was none.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<bool, db::Error> {
    limits::store::delete(tx, Level::Team, id).await?;
    routing_rules::store::delete_of(tx, ScopeKind::Team, id).await?;
    let deleted = tx
        .query("DELETE FROM teams WHERE id = $1")
        .bind(id)
        .execute()
        .await?;
    Ok(deleted > 0)
}

/// Adds limits to rows that are sorted by id.
async fn with_limits(tx: &mut Tx, rows: Vec<Row>) -> Result<Vec<Team>, db::Error> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(Vec::new());
    };
    let mut limits = limits::store::of_owners(tx, Level::Team, &first.id, &last.id).await?;
    let teams = rows.into_iter().map(|row| {
        let limits = limits.remove(&row.id).unwrap_or_default();
        row.into_team(limits)
    });
    teams.collect()
}

impl Row {
    fn into_team(self, limits: Vec<Limit>) -> Result<Team, db::Error> {
        Ok(Team {
            id: self.id,
            name: self.name,
            customer_id: self.customer_id,
            calendar: OwnerCalendar::stored(
                self.calendar_aligned,
                &self.time_zone,
                "teams.time_zone",
            )?,
            limits,
            created_at_ms: self.created_at,
            updated_at_ms: self.updated_at,
        })
    }
}
