//! SQL of virtual keys. One function per question; no rule is checked here but what only the
//! database can know: that a name is taken.

use reeve_policy::limit::{Level, Limit};
use reeve_policy::virtual_key::KeyDigest;

use super::{ProviderConfig, Traits, VirtualKey};
use crate::db::{self, Tx};
use crate::http::page::{Page, PageRequest};
use crate::limits::store::ByOwner;
use crate::limits::{self, OwnerCalendar};
use crate::model_configs;
use crate::routing_rules::{self, ScopeKind};

/// Why a key was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another key has this name.
    #[error("another virtual key has this name")]
    NameTaken,
    /// The database failed.
    #[error(transparent)]
    Db(db::Error),
}

impl From<db::Error> for Refused {
    fn from(error: db::Error) -> Self {
        if error.violates("virtual_keys_name_key") {
            Self::NameTaken
        } else {
            Self::Db(error)
        }
    }
}

/// A key and the digest of its value: what the filter's policy is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The key.
    pub key: VirtualKey,
    /// Digest of its value.
    pub digest: KeyDigest,
}

/// Which keys a list is about.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only keys of this team.
    pub team_id: Option<String>,
    /// Only keys that belong to this customer directly.
    pub customer_id: Option<String>,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: String,
    name: String,
    description: String,
    digest: Vec<u8>,
    kid: String,
    last4: String,
    is_active: bool,
    allow_all_providers: bool,
    team_id: Option<String>,
    customer_id: Option<String>,
    calendar_aligned: bool,
    time_zone: String,
    max_in_flight: Option<i64>,
    expires_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

#[derive(sqlx::FromRow)]
struct ConfigRow {
    id: String,
    virtual_key_id: String,
    provider: String,
    weight_ppm: Option<i64>,
    allowed_models: String,
    blacklisted_models: String,
    key_ids: Option<String>,
}

/// The key with this id.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<Stored>, db::Error> {
    let rows = tx
        .query("SELECT * FROM virtual_keys WHERE id = $1")
        .bind(id)
        .fetch_all()
        .await?;
    Ok(with_children(tx, rows).await?.pop())
}

/// The key whose value has this digest.
pub async fn find_by_digest(tx: &mut Tx, digest: &KeyDigest) -> Result<Option<Stored>, db::Error> {
    let rows = tx
        .query("SELECT * FROM virtual_keys WHERE digest = $1")
        .bind(digest.as_bytes().as_slice())
        .fetch_all()
        .await?;
    Ok(with_children(tx, rows).await?.pop())
}

/// How many requests of a key may be under way at once. `None`: any number, or there is no such key.
pub async fn max_in_flight(tx: &mut Tx, id: &str) -> Result<Option<i64>, db::Error> {
    let row: Option<(Option<i64>,)> = tx
        .query("SELECT max_in_flight FROM virtual_keys WHERE id = $1")
        .bind(id)
        .fetch_optional()
        .await?;
    Ok(row.and_then(|(max,)| max))
}

/// Every key, by age.
pub async fn all(tx: &mut Tx) -> Result<Vec<Stored>, db::Error> {
    let rows = tx
        .query("SELECT * FROM virtual_keys ORDER BY id")
        .fetch_all()
        .await?;
    with_children(tx, rows).await
}

/// A part of the list of keys, by age.
pub async fn page(
    tx: &mut Tx,
    filter: &Filter,
    request: &PageRequest,
) -> Result<Page<Stored>, db::Error> {
    let pattern = request.search_pattern();
    let (total,): (i64,) = tx
        .query(
            "SELECT COUNT(*) FROM virtual_keys
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')
               AND ($2 IS NULL OR team_id = $2) AND ($3 IS NULL OR customer_id = $3)",
        )
        .bind(pattern.as_deref())
        .bind(filter.team_id.as_deref())
        .bind(filter.customer_id.as_deref())
        .fetch_one()
        .await?;
    let rows = tx
        .query(
            "SELECT * FROM virtual_keys
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')
               AND ($2 IS NULL OR team_id = $2) AND ($3 IS NULL OR customer_id = $3)
             ORDER BY id LIMIT $4 OFFSET $5",
        )
        .bind(pattern.as_deref())
        .bind(filter.team_id.as_deref())
        .bind(filter.customer_id.as_deref())
        .bind(i64::from(request.limit))
        .bind(i64::from(request.offset))
        .fetch_all()
        .await?;
    Ok(Page {
        items: with_children(tx, rows).await?,
        total,
    })
}

/// How many keys belong to a team.
pub async fn count_of_team(tx: &mut Tx, team_id: &str) -> Result<i64, db::Error> {
    let query = tx.query("SELECT COUNT(*) FROM virtual_keys WHERE team_id = $1");
    let (count,): (i64,) = query.bind(team_id).fetch_one().await?;
    Ok(count)
}

/// How many keys belong to a customer directly.
pub async fn count_of_customer(tx: &mut Tx, customer_id: &str) -> Result<i64, db::Error> {
    let query = tx.query("SELECT COUNT(*) FROM virtual_keys WHERE customer_id = $1");
    let (count,): (i64,) = query.bind(customer_id).fetch_one().await?;
    Ok(count)
}

/// How many keys have a config for a provider.
pub async fn count_using_provider(tx: &mut Tx, provider: &str) -> Result<i64, db::Error> {
    let query = tx.query("SELECT COUNT(*) FROM provider_configs WHERE provider = $1");
    let (count,): (i64,) = query.bind(provider).fetch_one().await?;
    Ok(count)
}

/// Stores a new key.
pub async fn insert(tx: &mut Tx, key: &VirtualKey, digest: &KeyDigest) -> Result<(), Refused> {
    tx.query(
        "INSERT INTO virtual_keys (id, name, description, digest, kid, last4, is_active,
                                   allow_all_providers, team_id, customer_id, calendar_aligned,
                                   time_zone, expires_at, created_at, updated_at, max_in_flight)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
    )
    .bind(key.id.as_str())
    .bind(key.name.as_str())
    .bind(key.description.as_str())
    .bind(digest.as_bytes().as_slice())
    .bind(key.traits.kid.as_str())
    .bind(key.traits.last4.as_str())
    .bind(key.is_active)
    .bind(key.allow_all_providers)
    .bind(key.team_id.as_deref())
    .bind(key.customer_id.as_deref())
    .bind(key.calendar.aligned)
    .bind(limits::calendar::name(&key.calendar.zone))
    .bind(key.expires_at_ms)
    .bind(key.created_at_ms)
    .bind(key.updated_at_ms)
    .bind(key.max_in_flight)
    .execute()
    .await?;
    Ok(insert_children(tx, key).await?)
}

/// Stores a changed key under its id. The value stays.
pub async fn update(tx: &mut Tx, key: &VirtualKey) -> Result<(), Refused> {
    tx.query(
        "UPDATE virtual_keys
         SET name = $2, description = $3, is_active = $4, allow_all_providers = $5, team_id = $6,
             customer_id = $7, calendar_aligned = $8, time_zone = $9, expires_at = $10,
             updated_at = $11, max_in_flight = $12
         WHERE id = $1",
    )
    .bind(key.id.as_str())
    .bind(key.name.as_str())
    .bind(key.description.as_str())
    .bind(key.is_active)
    .bind(key.allow_all_providers)
    .bind(key.team_id.as_deref())
    .bind(key.customer_id.as_deref())
    .bind(key.calendar.aligned)
    .bind(limits::calendar::name(&key.calendar.zone))
    .bind(key.expires_at_ms)
    .bind(key.updated_at_ms)
    .bind(key.max_in_flight)
    .execute()
    .await?;
    delete_children(tx, &key.id).await?;
    Ok(insert_children(tx, key).await?)
}

/// Replaces a key's value.
pub async fn set_value(
    tx: &mut Tx,
    id: &str,
    digest: &KeyDigest,
    traits: &Traits,
    now_ms: i64,
) -> Result<(), db::Error> {
    tx.query(
        "UPDATE virtual_keys SET digest = $2, kid = $3, last4 = $4, updated_at = $5 WHERE id = $1",
    )
    .bind(id)
    .bind(digest.as_bytes().as_slice())
    .bind(traits.kid.as_str())
    .bind(traits.last4.as_str())
    .bind(now_ms)
    .execute()
    .await?;
    Ok(())
}

/// Deletes a key and its configuration; what was used stays on record. False: there was none.
pub async fn delete(tx: &mut Tx, id: &str) -> Result<bool, db::Error> {
    delete_children(tx, id).await?;
    model_configs::store::delete_of_key(tx, id).await?;
    routing_rules::store::delete_of(tx, ScopeKind::VirtualKey, id).await?;
    let deleted = tx
        .query("DELETE FROM virtual_keys WHERE id = $1")
        .bind(id)
        .execute()
        .await?;
    Ok(deleted > 0)
}

async fn insert_children(tx: &mut Tx, key: &VirtualKey) -> Result<(), db::Error> {
    limits::store::replace(tx, Level::VirtualKey, &key.id, &key.limits).await?;
    for (position, config) in (0_i64..).zip(&key.provider_configs) {
        tx.query(
            "INSERT INTO provider_configs (id, virtual_key_id, position, provider, weight_ppm,
                                           allowed_models, blacklisted_models, key_ids)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(config.id.as_str())
        .bind(key.id.as_str())
        .bind(position)
        .bind(config.provider.as_str())
        .bind(config.weight_ppm.map(i64::from))
        .bind(db::list_text(&config.allowed_models))
        .bind(db::list_text(&config.blacklisted_models))
        .bind(config.key_ids.as_deref().map(db::list_text))
        .execute()
        .await?;
        limits::store::replace(tx, Level::ProviderConfig, &config.id, &config.limits).await?;
    }
    Ok(())
}

async fn delete_children(tx: &mut Tx, id: &str) -> Result<(), db::Error> {
    limits::store::delete(tx, Level::VirtualKey, id).await?;
    tx.query(
        "DELETE FROM limits WHERE owner_kind = 'provider_config'
           AND owner_id IN (SELECT id FROM provider_configs WHERE virtual_key_id = $1)",
    )
    .bind(id)
    .execute()
    .await?;
    tx.query("DELETE FROM provider_configs WHERE virtual_key_id = $1")
        .bind(id)
        .execute()
        .await?;
    Ok(())
}

/// Adds provider configs and limits to rows that are sorted by id. Children are read by the range of
/// their keys' ids, in three queries however many keys there are.
async fn with_children(tx: &mut Tx, rows: Vec<KeyRow>) -> Result<Vec<Stored>, db::Error> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Ok(Vec::new());
    };
    let (first, last) = (first.id.as_str(), last.id.as_str());
    let mut key_limits = limits::store::of_owners(tx, Level::VirtualKey, first, last).await?;
    let mut config_limits = limits::store::of_provider_configs(tx, first, last).await?;
    let configs: Vec<ConfigRow> = tx
        .query(
            "SELECT id, virtual_key_id, provider, weight_ppm, allowed_models, blacklisted_models,
                    key_ids
             FROM provider_configs WHERE virtual_key_id BETWEEN $1 AND $2
             ORDER BY virtual_key_id, position",
        )
        .bind(first)
        .bind(last)
        .fetch_all()
        .await?;
    let mut configs_of = std::collections::HashMap::<String, Vec<ProviderConfig>>::new();
    for row in configs {
        let owner = row.virtual_key_id.clone();
        let config = row.into_config(&mut config_limits)?;
        configs_of.entry(owner).or_default().push(config);
    }
    rows.into_iter()
        .map(|row| {
            let configs = configs_of.remove(&row.id).unwrap_or_default();
            let limits = key_limits.remove(&row.id).unwrap_or_default();
            row.into_stored(configs, limits)
        })
        .collect()
}

impl ConfigRow {
    fn into_config(self, limits: &mut ByOwner) -> Result<ProviderConfig, db::Error> {
        let weight_ppm = self
            .weight_ppm
            .map(u32::try_from)
            .transpose()
            .map_err(|error| db::Error::corrupt("provider_configs.weight_ppm", error))?;
        Ok(ProviderConfig {
            weight_ppm,
            allowed_models: db::list("provider_configs.allowed_models", &self.allowed_models)?,
            blacklisted_models: db::list(
                "provider_configs.blacklisted_models",
                &self.blacklisted_models,
            )?,
            key_ids: self
                .key_ids
                .map(|text| db::list("provider_configs.key_ids", &text))
                .transpose()?,
            limits: limits.remove(&self.id).unwrap_or_default(),
            id: self.id,
            provider: self.provider,
        })
    }
}

impl KeyRow {
    fn into_stored(
        self,
        provider_configs: Vec<ProviderConfig>,
        limits: Vec<Limit>,
    ) -> Result<Stored, db::Error> {
        let digest = <[u8; 32]>::try_from(self.digest.as_slice())
            .map_err(|error| db::Error::corrupt("virtual_keys.digest", error))?;
        let key = VirtualKey {
            id: self.id,
            name: self.name,
            description: self.description,
            is_active: self.is_active,
            allow_all_providers: self.allow_all_providers,
            provider_configs,
            team_id: self.team_id,
            customer_id: self.customer_id,
            calendar: OwnerCalendar::stored(
                self.calendar_aligned,
                &self.time_zone,
                "virtual_keys.time_zone",
            )?,
            limits,
            max_in_flight: self.max_in_flight,
            expires_at_ms: self.expires_at,
            traits: Traits {
                kid: self.kid,
                last4: self.last4,
            },
            created_at_ms: self.created_at,
            updated_at_ms: self.updated_at,
        };
        Ok(Stored {
            key,
            digest: KeyDigest::from_bytes(digest),
        })
    }
}
