//! SQL of providers and their keys. One function per question.

use reeve_policy::retry::{RetryClass, RetryOn};

use super::{
    Aliases, BaseProviderType, BaseUrl, Key, KeyConfig, Private, PrivateNetworks, Provider,
};
use crate::db::{self, Tx};
use crate::http::page::{Page, PageRequest};

/// Why a provider or a key was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is a provider of this name.
    #[error("there is a provider of this name already")]
    NameTaken,
    /// The database failed.
    #[error(transparent)]
    Db(db::Error),
}

impl From<db::Error> for Refused {
    fn from(error: db::Error) -> Self {
        if error.violates("providers_name_key") {
            Self::NameTaken
        } else {
            Self::Db(error)
        }
    }
}

#[derive(sqlx::FromRow)]
struct ProviderRow {
    name: String,
    base_provider_type: String,
    base_url: String,
    allow_private_network: bool,
    is_key_less: bool,
    retry_on: String,
    per_try_timeout_ms: Option<i64>,
    aliases: String,
    created_at: i64,
    updated_at: i64,
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    id: String,
    name: String,
    last4: String,
    config: Option<String>,
    weight_ppm: i64,
    is_active: bool,
    created_at: i64,
    updated_at: i64,
}

/// A key that can be used.
#[derive(Debug)]
pub struct ActiveKey {
    pub provider: String,
    pub id: String,
    /// What is secret of it.
    pub sealed: String,
    pub config: Option<KeyConfig>,
}

impl ActiveKey {
    /// Another text for each other key: what is secret of it, and what is not.
    pub fn fingerprint(&self) -> String {
        format!("{} {:?}", self.sealed, self.config)
    }
}

/// Names of the configured providers, sorted.
pub async fn names(tx: &mut Tx) -> Result<Vec<String>, db::Error> {
    let rows: Vec<(String,)> = tx
        .query("SELECT name FROM providers ORDER BY name")
        .fetch_all()
        .await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// The provider of this name.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<Provider>, db::Error> {
    let row: Option<ProviderRow> = tx
        .query("SELECT * FROM providers WHERE name = $1")
        .bind(name)
        .fetch_optional()
        .await?;
    row.map(Provider::try_from).transpose()
}

/// Every provider, by name.
pub async fn all(tx: &mut Tx) -> Result<Vec<Provider>, db::Error> {
    let rows: Vec<ProviderRow> = tx
        .query("SELECT * FROM providers ORDER BY name")
        .fetch_all()
        .await?;
    rows.into_iter().map(Provider::try_from).collect()
}

/// A part of the list of providers, by name.
pub async fn page(tx: &mut Tx, request: &PageRequest) -> Result<Page<Provider>, db::Error> {
    let pattern = request.search_pattern();
    let (total,): (i64,) = tx
        .query(
            "SELECT COUNT(*) FROM providers
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')",
        )
        .bind(pattern.as_deref())
        .fetch_one()
        .await?;
    let rows: Vec<ProviderRow> = tx
        .query(
            "SELECT * FROM providers
             WHERE ($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\')
             ORDER BY name LIMIT $2 OFFSET $3",
        )
        .bind(pattern.as_deref())
        .bind(i64::from(request.limit))
        .bind(i64::from(request.offset))
        .fetch_all()
        .await?;
    let items = rows
        .into_iter()
        .map(Provider::try_from)
        .collect::<Result<_, _>>()?;
    Ok(Page { items, total })
}

/// Stores a new provider.
pub async fn insert(tx: &mut Tx, provider: &Provider) -> Result<(), Refused> {
    tx.query(
        "INSERT INTO providers (name, base_provider_type, base_url, allow_private_network,
                                is_key_less, retry_on, per_try_timeout_ms, created_at, updated_at,
                                aliases)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(provider.name.as_str())
    .bind(provider.base_provider_type.as_str())
    .bind(provider.base_url.to_string())
    .bind(provider.allow_private_network)
    .bind(provider.is_key_less)
    .bind(retry_words(provider.retry_on))
    .bind(provider.per_try_timeout_ms.map(i64::from))
    .bind(provider.created_at_ms)
    .bind(provider.updated_at_ms)
    .bind(as_json(&provider.aliases))
    .execute()
    .await?;
    Ok(())
}

/// Stores a provider that was changed.
pub async fn update(tx: &mut Tx, provider: &Provider) -> Result<(), db::Error> {
    tx.query(
        "UPDATE providers SET base_provider_type = $2, base_url = $3, allow_private_network = $4,
                              is_key_less = $5, retry_on = $6, per_try_timeout_ms = $7,
                              updated_at = $8, aliases = $9
         WHERE name = $1",
    )
    .bind(provider.name.as_str())
    .bind(provider.base_provider_type.as_str())
    .bind(provider.base_url.to_string())
    .bind(provider.allow_private_network)
    .bind(provider.is_key_less)
    .bind(retry_words(provider.retry_on))
    .bind(provider.per_try_timeout_ms.map(i64::from))
    .bind(provider.updated_at_ms)
    .bind(as_json(&provider.aliases))
    .execute()
    .await?;
    Ok(())
}

/// Deletes a provider with its keys; false: there was none.
pub async fn delete(tx: &mut Tx, name: &str) -> Result<bool, db::Error> {
    let deleted = tx
        .query("DELETE FROM providers WHERE name = $1")
        .bind(name)
        .execute()
        .await?;
    Ok(deleted > 0)
}

/// The keys of a provider, oldest first.
pub async fn keys(tx: &mut Tx, provider: &str) -> Result<Vec<Key>, db::Error> {
    let rows: Vec<KeyRow> = tx
        .query(
            "SELECT id, name, last4, config, weight_ppm, is_active, created_at, updated_at
             FROM provider_keys WHERE provider = $1 ORDER BY id",
        )
        .bind(provider)
        .fetch_all()
        .await?;
    rows.into_iter().map(Key::try_from).collect()
}

/// All active keys, each provider's heaviest first, and of those that are as heavy the oldest. The first one
/// is what its requests carry unless they are bound to another.
pub async fn active_keys(tx: &mut Tx) -> Result<Vec<ActiveKey>, db::Error> {
    let rows = tx
        .query(
            "SELECT provider, id, sealed_value, config FROM provider_keys
             WHERE is_active ORDER BY provider, weight_ppm DESC, id",
        )
        .fetch_all()
        .await?;
    active(rows)
}

/// Those that are made of parts.
pub async fn active_keys_of_parts(tx: &mut Tx) -> Result<Vec<ActiveKey>, db::Error> {
    let rows = tx
        .query(
            "SELECT provider, id, sealed_value, config FROM provider_keys
             WHERE is_active AND config IS NOT NULL",
        )
        .fetch_all()
        .await?;
    active(rows)
}

fn active(
    rows: Vec<(String, String, String, Option<String>)>,
) -> Result<Vec<ActiveKey>, db::Error> {
    let key = |(provider, id, sealed, config): (_, _, _, Option<String>)| {
        Ok(ActiveKey {
            provider,
            id,
            sealed,
            config: key_config(config.as_deref())?,
        })
    };
    rows.into_iter().map(key).collect()
}

/// Their providers and ids alone.
pub async fn active_key_ids(tx: &mut Tx) -> Result<Vec<(String, String)>, db::Error> {
    tx.query(
        "SELECT provider, id FROM provider_keys
         WHERE is_active ORDER BY provider, weight_ppm DESC, id",
    )
    .fetch_all()
    .await
}

/// Stores a new key with its sealed value.
pub async fn insert_key(
    tx: &mut Tx,
    provider: &str,
    key: &Key,
    sealed_value: &str,
) -> Result<(), db::Error> {
    tx.query(
        "INSERT INTO provider_keys (id, provider, name, sealed_value, last4, weight_ppm, is_active,
                                    created_at, updated_at, config)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(key.id.as_str())
    .bind(provider)
    .bind(key.name.as_str())
    .bind(sealed_value)
    .bind(key.last4.as_str())
    .bind(i64::from(key.weight_ppm))
    .bind(key.is_active)
    .bind(key.created_at_ms)
    .bind(key.updated_at_ms)
    .bind(config_json(key))
    .execute()
    .await?;
    Ok(())
}

/// Stores a key that was changed, with its sealed value if that is new.
pub async fn update_key(
    tx: &mut Tx,
    key: &Key,
    sealed_value: Option<&str>,
) -> Result<(), db::Error> {
    tx.query(
        "UPDATE provider_keys SET name = $2, sealed_value = COALESCE($3, sealed_value), last4 = $4,
                                  weight_ppm = $5, is_active = $6, updated_at = $7, config = $8
         WHERE id = $1",
    )
    .bind(key.id.as_str())
    .bind(key.name.as_str())
    .bind(sealed_value)
    .bind(key.last4.as_str())
    .bind(i64::from(key.weight_ppm))
    .bind(key.is_active)
    .bind(key.updated_at_ms)
    .bind(config_json(key))
    .execute()
    .await?;
    Ok(())
}

/// Deletes a key of a provider; false: there was none.
pub async fn delete_key(tx: &mut Tx, provider: &str, id: &str) -> Result<bool, db::Error> {
    let deleted = tx
        .query("DELETE FROM provider_keys WHERE provider = $1 AND id = $2")
        .bind(provider)
        .bind(id)
        .execute()
        .await?;
    Ok(deleted > 0)
}

/// As they are stored: with spaces between.
fn retry_words(retry_on: RetryOn) -> String {
    let words: Vec<&str> = retry_on.classes().map(RetryClass::as_str).collect();
    words.join(" ")
}

fn as_json(aliases: &Aliases) -> String {
    serde_json::json!(aliases).to_string()
}

fn config_json(key: &Key) -> Option<String> {
    let config = key.config.as_ref()?;
    Some(serde_json::json!(config).to_string())
}

fn key_config(stored: Option<&str>) -> Result<Option<KeyConfig>, db::Error> {
    let config = stored.map(serde_json::from_str).transpose();
    config.map_err(|error| db::Error::corrupt("provider_keys.config", error))
}

impl TryFrom<ProviderRow> for Provider {
    type Error = db::Error;

    fn try_from(row: ProviderRow) -> Result<Self, db::Error> {
        let kind = row.base_provider_type;
        let base_provider_type = BaseProviderType::parse(&kind)
            .ok_or_else(|| db::Error::corrupt("providers.base_provider_type", &kind))?;
        // Whether it may be private was judged when it was stored, and is again for Envoy.
        let private = Private::Any(&PrivateNetworks::default());
        let base_url = BaseUrl::parse(&row.base_url, private)
            .map_err(|error| db::Error::corrupt("providers.base_url", error))?;
        let class = |word: &str| {
            RetryClass::parse(word).ok_or_else(|| db::Error::corrupt("providers.retry_on", word))
        };
        let words = row.retry_on.split_whitespace();
        let retry_on = words.map(class).collect::<Result<_, _>>()?;
        let per_try_timeout_ms = row.per_try_timeout_ms.map(u32::try_from).transpose();
        let per_try_timeout_ms = per_try_timeout_ms
            .map_err(|error| db::Error::corrupt("providers.per_try_timeout_ms", error))?;
        let aliases = serde_json::from_str(&row.aliases)
            .map_err(|error| db::Error::corrupt("providers.aliases", error))?;
        Ok(Self {
            retry_on,
            per_try_timeout_ms,
            name: row.name,
            base_provider_type,
            base_url,
            allow_private_network: row.allow_private_network,
            is_key_less: row.is_key_less,
            aliases,
            created_at_ms: row.created_at,
            updated_at_ms: row.updated_at,
        })
    }
}

impl TryFrom<KeyRow> for Key {
    type Error = db::Error;

    fn try_from(row: KeyRow) -> Result<Self, db::Error> {
        let weight_ppm = u32::try_from(row.weight_ppm)
            .map_err(|error| db::Error::corrupt("provider_keys.weight_ppm", error))?;
        Ok(Self {
            id: row.id,
            name: row.name,
            last4: row.last4,
            config: key_config(row.config.as_deref())?,
            weight_ppm,
            is_active: row.is_active,
            created_at_ms: row.created_at,
            updated_at_ms: row.updated_at,
        })
    }
}
