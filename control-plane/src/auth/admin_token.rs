//! Admin tokens: `sk-rv-admin-` + 50 characters, in the same scheme as virtual keys
//! ([`reeve_policy::key_format`]).

use reeve_policy::key_format;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::store;
use crate::app::App;
use crate::error::Error;
use crate::random::{Random, RandomError};
use crate::secrets::Secret;

const PREFIX: &str = "sk-rv-admin-";

/// SHA-256 of an admin token. The token has 202 random bits, so no slow hash is needed.
#[derive(Clone, Copy)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a presented token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// The stored form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Compares without telling by the time it takes how much is right.
    pub fn equals(&self, stored: &[u8]) -> bool {
        self.0.as_slice().ct_eq(stored).into()
    }
}

fn generate(random: &Random) -> Result<Secret, RandomError> {
    let id = random.base62(key_format::ID_LEN)?;
    let secret = random.base62(key_format::SECRET_LEN)?;
    Ok(Secret::new(key_format::assemble(PREFIX, &id, &secret)))
}

/// Makes the first admin token, unless there is one or the configuration gives it. The caller shows
/// it: this is the only time it can be seen.
pub async fn ensure(app: &App) -> Result<Option<Secret>, Error> {
    if app.config.dev || app.config.admin_token.is_some() {
        return Ok(None);
    }
    let mut tx = app.db.begin_write().await?;
    if !store::digests(&mut tx).await?.is_empty() {
        return Ok(None);
    }
    let token = generate(&app.random)?;
    let id = app.ids()?.make();
    let digest = TokenDigest::of(token.expose());
    store::insert(&mut tx, &id, &digest, app.clock.now_ms()).await?;
    tx.commit().await?;
    Ok(Some(token))
}

/// Whether `token` is an admin token.
pub async fn is_valid(app: &App, token: &str) -> Result<bool, Error> {
    let presented = TokenDigest::of(token);
    if let Some(configured) = &app.config.admin_token {
        return Ok(presented.equals(TokenDigest::of(configured.expose()).as_bytes()));
    }
    let mut tx = app.db.begin_read().await?;
    let digests = store::digests(&mut tx).await?;
    Ok(digests.iter().any(|digest| presented.equals(digest)))
}
