//! Virtual keys, the identity of a caller, and the owners above them.

use sha2::{Digest as _, Sha256};

use crate::access::ModelList;
use crate::limit::{Level, Limit};
use crate::model_limits::ModelLimitsTable;
use crate::routing_rules::Rule;

/// SHA-256 of a virtual key's value: what is stored and looked up. The value itself is shown once
/// and kept nowhere. (The secret has 202 bits, so no slow hash is needed.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a presented value.
    pub fn of(value: &[u8]) -> Self {
        Self(Sha256::digest(value).into())
    }

    /// From the stored form.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The stored form.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Lower-case hexadecimal.
    pub fn to_hex(self) -> String {
        use core::fmt::Write as _;
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                // Writing to a string cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

/// A virtual key as the filter needs it.
#[derive(Debug, Clone)]
pub struct VirtualKey {
    /// Identifier in the API and on every record.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Switched on.
    pub is_active: bool,
    /// When it stops working, milliseconds since the Unix epoch.
    pub expires_at_ms: Option<i64>,
    /// Providers without a config of their own are open, without limits of their own.
    pub allow_all_providers: bool,
    /// What it may use.
    pub provider_configs: Vec<ProviderConfig>,
    /// The team it belongs to; excludes a customer.
    pub team_id: Option<String>,
    /// The customer it belongs to directly.
    pub customer_id: Option<String>,
    /// Its own budgets and rate limits.
    pub limits: Vec<Limit>,
    /// Those of models that it uses.
    pub model_limits: ModelLimitsTable,
    /// Its own routing rules, in order.
    pub routing_rules: Vec<Rule>,
}

/// What one key may do with one provider.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// Identifier in the API.
    pub id: String,
    /// The provider's name.
    pub provider: String,
    /// Share of the requests that name no provider, parts per million before normalisation. `None`:
    /// can be addressed, is never drawn.
    pub weight_ppm: Option<u32>,
    /// See [`crate::access`].
    pub allowed_models: ModelList,
    /// See [`crate::access`].
    pub blacklisted_models: ModelList,
    /// The provider's keys that its requests may carry; `None`: any.
    pub key_ids: Option<Vec<String>>,
    /// Budgets and rate limits of this key with this provider.
    pub limits: Vec<Limit>,
}

/// A team or a customer: who pays above a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Identifier in the API.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The customer a team belongs to.
    pub customer_id: Option<String>,
    /// Budgets and rate limits of everything below.
    pub limits: Vec<Limit>,
    /// Routing rules of everything below, in order.
    pub routing_rules: Vec<Rule>,
}

/// Why a known key may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// Switched off.
    Inactive,
    /// Its time is over.
    Expired,
}

impl VirtualKey {
    /// May it be used at all at `now_ms`? Inactive is told before expired.
    pub fn check_usable(&self, now_ms: i64) -> Result<(), Blocked> {
        if !self.is_active {
            return Err(Blocked::Inactive);
        }
        match self.expires_at_ms {
            Some(end) if now_ms >= end => Err(Blocked::Expired),
            _ => Ok(()),
        }
    }

    /// Its config for a provider.
    pub fn provider_config(&self, provider: &str) -> Option<&ProviderConfig> {
        self.provider_configs
            .iter()
            .find(|config| config.provider == provider)
    }
}

/// A limit that applies to a request, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Applicable<'a> {
    /// Where in the hierarchy.
    pub level: Level,
    /// Identifier of the customer, team, key or provider config.
    pub owner_id: &'a str,
    /// The limit.
    pub limit: &'a Limit,
}

/// A request, as far as limits ask about it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The provider's name.
    pub provider: &'a str,
    /// The model, without the provider's name.
    pub model: &'a str,
    /// The customer above team or key.
    pub customer: Option<&'a Owner>,
    /// The key's team.
    pub team: Option<&'a Owner>,
    /// Who asks; `None`: anonymous, while governance is off.
    pub key: Option<&'a VirtualKey>,
    /// The key's config for the provider.
    pub config: Option<&'a ProviderConfig>,
}

/// Every limit that a request must pass and is charged to, widest first. `global` are those of models and
/// providers, whoever asks.
pub fn applicable_limits<'a>(
    global: &'a ModelLimitsTable,
    subject: Subject<'a>,
) -> Vec<Applicable<'a>> {
    let of = |level, owner_id: &'a str, limits: &'a [Limit]| {
        limits.iter().map(move |limit| Applicable {
            level,
            owner_id,
            limit,
        })
    };
    let mut all = Vec::new();
    for entry in global.of(subject.provider, subject.model) {
        let level = if entry.is_of_provider() {
            Level::Provider
        } else {
            Level::Model
        };
        all.extend(of(level, &entry.id, &entry.limits));
    }
    if let Some(customer) = subject.customer {
        all.extend(of(Level::Customer, &customer.id, &customer.limits));
    }
    if let Some(team) = subject.team {
        all.extend(of(Level::Team, &team.id, &team.limits));
    }
    if let Some(key) = subject.key {
        all.extend(of(Level::VirtualKey, &key.id, &key.limits));
        for entry in key.model_limits.of(subject.provider, subject.model) {
            all.extend(of(Level::VirtualKeyModel, &entry.id, &entry.limits));
        }
    }
    if let Some(config) = subject.config {
        all.extend(of(Level::ProviderConfig, &config.id, &config.limits));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn key() -> VirtualKey {
        VirtualKey {
            id: "k".into(),
            name: "prod".into(),
            is_active: true,
            expires_at_ms: Some(1000),
            allow_all_providers: false,
            provider_configs: Vec::new(),
            team_id: None,
            customer_id: None,
            limits: Vec::new(),
            model_limits: ModelLimitsTable::default(),
            routing_rules: Vec::new(),
        }
    }

    #[test]
    fn a_key_works_until_the_moment_it_expires() {
        assert_eq!(key().check_usable(999), Ok(()));
        assert_eq!(key().check_usable(1000), Err(Blocked::Expired));
    }

    #[test]
    fn inactive_is_told_before_expired() {
        let key = VirtualKey {
            is_active: false,
            ..key()
        };
        assert_eq!(key.check_usable(2000), Err(Blocked::Inactive));
    }

    #[test]
    fn the_digest_is_sha_256() {
        assert_eq!(
            KeyDigest::of(b"abc").to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
