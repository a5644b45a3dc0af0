//! SQL of routing rules.

use std::collections::HashMap;

use super::{RoutingRule, Scope, ScopeKind, expression};
use crate::db::{self, Tx};
use crate::http::page::{Page, PageRequest};

/// Why a rule was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another rule has this name.
    #[error("another rule has this name")]
    NameTaken,
    /// The database failed.
    #[error(transparent)]
    Db(db::Error),
}

impl From<db::Error> for Refused {
    fn from(error: db::Error) -> Self {
        if error.violates("routing_rules_name_key") {
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
    description: String,
    enabled: bool,
    cel_expression: String,
    targets: String,
    fallbacks: String,
    scope: String,
    scope_id: String,
    priority: i64,
    chain_rule: bool,
    query: Option<String>,
    created_at: i64,
    updated_at: i64,
}

/// Rules by the id of whose they are, in order.
pub type ByOwner = HashMap<String, Vec<RoutingRule>>;

/// The rule with this id.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<RoutingRule>, db::Error> {
    let row: Option<Row> = tx
        .query("SELECT * FROM routing_rules WHERE id = $1")
        .bind(id)
        .fetch_optional()
        .await?;
    row.map(RoutingRule::try_from).transpose()
}

/// The rules of a scope, in order: of everyone with this kind of scope, or of this one.
pub async fn of_scope(
    tx: &mut Tx,
    kind: ScopeKind,
    scope_id: Option<&str>,
) -> Result<ByOwner, db::Error> {
    let rows: Vec<Row> = tx
        .query(
            "SELECT * FROM routing_rules
             WHERE scope = $1 AND ($2 IS NULL OR scope_id = $2) ORDER BY priority, id",
        )
        .bind(kind.as_str())
        .bind(scope_id)
        .fetch_all()
        .await?;
    let mut by_owner = ByOwner::new();
    for row in rows {
        let owner = row.scope_id.clone();
        by_owner.entry(owner).or_default().push(row.try_into()?);
    }
    Ok(by_owner)
}

/// The rules of everyone, in order.
pub async fn global(tx: &mut Tx) -> Result<Vec<RoutingRule>, db::Error> {
    let all = of_scope(tx, ScopeKind::Global, None).await?;
    Ok(all.into_values().flatten().collect())
}

/// Every rule that names a provider.
pub async fn naming_provider(tx: &mut Tx, name: &str) -> Result<Vec<RoutingRule>, db::Error> {
    let rows: Vec<Row> = tx
        .query("SELECT * FROM routing_rules ORDER BY id")
        .fetch_all()
        .await?;
    let all = rows.into_iter().map(RoutingRule::try_from);
    let mut all: Vec<RoutingRule> = all.collect::<Result<_, _>>()?;
    all.retain(|rule| {
        rule.destinations()
            .any(|(_, to)| to.provider.as_deref() == Some(name))
    });
    Ok(all)
}

/// How many rules a scope has.
pub async fn count(tx: &mut Tx, scope: &Scope) -> Result<i64, db::Error> {
    let (count,): (i64,) = tx
        .query("SELECT COUNT(*) FROM routing_rules WHERE scope = $1 AND scope_id = $2")
        .bind(scope.kind().as_str())
        .bind(scope.id().unwrap_or_default())
        .fetch_one()
        .await?;
    Ok(count)
}

/// A part of the list of rules, of one scope or of all, in the order in which they look at requests
/// within their scope.
pub async fn page(
    tx: &mut Tx,
    kind: Option<ScopeKind>,
    scope_id: Option<&str>,
    request: &PageRequest,
) -> Result<Page<RoutingRule>, db::Error> {
    let search = request.search_pattern();
    let kind = kind.map(ScopeKind::as_str);
    let (total,): (i64,) = tx
        .query(
            "SELECT COUNT(*) FROM routing_rules
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')
               AND ($2 IS NULL OR scope = $2) AND ($3 IS NULL OR scope_id = $3)",
        )
        .bind(search.as_deref())
        .bind(kind)
        .bind(scope_id)
        .fetch_one()
        .await?;
    let rows: Vec<Row> = tx
        .query(
            "SELECT * FROM routing_rules
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')
               AND ($2 IS NULL OR scope = $2) AND ($3 IS NULL OR scope_id = $3)
             ORDER BY scope, scope_id, priority, id LIMIT $4 OFFSET $5",
        )
        .bind(search.as_deref())
        .bind(kind)
        .bind(scope_id)
        .bind(i64::from(request.limit))
        .bind(i64::from(request.offset))
        .fetch_all()
        .await?;
    let items = rows.into_iter().map(RoutingRule::try_from);
    Ok(Page {
        items: items.collect::<Result<_, _>>()?,
        total,
    })
}

/// Stores a rule, in place of the one of its id that there may be.
pub async fn put(tx: &mut Tx, rule: &RoutingRule) -> Result<(), Refused> {
    delete(tx, &rule.id).await?;
    tx.query(
        "INSERT INTO routing_rules (id, name, description, enabled, cel_expression, targets,
                                    fallbacks, scope, scope_id, priority, chain_rule, query,
                                    created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(rule.id.as_str())
    .bind(rule.name.as_str())
    .bind(rule.description.as_str())
    .bind(rule.enabled)
    .bind(rule.cel_expression.as_str())
    .bind(json(&rule.targets)?)
    .bind(json(&rule.fallbacks)?)
    .bind(rule.scope.kind().as_str())
    .bind(rule.scope.id().unwrap_or_default())
    .bind(i64::from(rule.priority))
    .bind(rule.chain_rule)
    .bind(rule.query.as_deref())
    .bind(rule.created_at_ms)
    .bind(rule.updated_at_ms)
    .execute()
    .await?;
    Ok(())
}

/// Deletes a rule; false: there was none.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<bool, db::Error> {
    let deleted = tx
        .query("DELETE FROM routing_rules WHERE id = $1")
        .bind(id)
        .execute()
        .await?;
    Ok(deleted > 0)
}

/// Deletes the rules of a customer, team or key that is gone.
pub async fn delete_of(tx: &mut Tx, kind: ScopeKind, scope_id: &str) -> Result<(), db::Error> {
    tx.query("DELETE FROM routing_rules WHERE scope = $1 AND scope_id = $2")
        .bind(kind.as_str())
        .bind(scope_id)
        .execute()
        .await?;
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<String, db::Error> {
    serde_json::to_string(value).map_err(|error| db::Error::corrupt("routing_rules", error))
}

impl TryFrom<Row> for RoutingRule {
    type Error = db::Error;

    fn try_from(row: Row) -> Result<Self, db::Error> {
        let corrupt = |column: &'static str| move |error| db::Error::corrupt(column, error);
        let kind = ScopeKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == row.scope)
            .ok_or_else(|| db::Error::corrupt("routing_rules.scope", &row.scope))?;
        let scope = Scope::of(kind, Some(row.scope_id))
            .map_err(|error| db::Error::corrupt("routing_rules.scope_id", error))?;
        let condition = expression::read(&row.cel_expression)
            .map_err(|error| db::Error::corrupt("routing_rules.cel_expression", error))?;
        Ok(Self {
            id: row.id,
            name: row.name,
            description: row.description,
            enabled: row.enabled,
            cel_expression: row.cel_expression,
            condition,
            targets: serde_json::from_str(&row.targets)
                .map_err(corrupt("routing_rules.targets"))?,
            fallbacks: serde_json::from_str(&row.fallbacks)
                .map_err(corrupt("routing_rules.fallbacks"))?,
            scope,
            priority: i32::try_from(row.priority)
                .map_err(|error| db::Error::corrupt("routing_rules.priority", error))?,
            chain_rule: row.chain_rule,
            query: row.query,
            created_at_ms: row.created_at,
            updated_at_ms: row.updated_at,
        })
    }
}
