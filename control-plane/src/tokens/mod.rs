//! Tokens of providers whose keys are not sent themselves (Google's service accounts, Microsoft Entra): asked
//! for, kept in memory, replaced before they end, and put on requests by Envoy as any key is.
//!
//! ```text
//! keys ── refresher ──► client ──► token endpoint
//!             └──► Tokens ── ads/load ──► the secret of each Envoy
//! ```
//!
//! Each replica asks for its own. A token is in no database: after a start it is asked for before Envoy is
//! told anything.

mod client;
mod held;
pub mod refresher;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

pub use held::Held;

use crate::secrets::Secret;

/// The tokens that are held, by id of the provider key.
#[derive(Debug, Default)]
pub struct Tokens {
    held: Mutex<HashMap<String, Held>>,
    revision: AtomicU64,
    wake: Notify,
}

/// What an administrator is told about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// When the one that is held ends; `None`: none is held.
    pub expires_at_ms: Option<i64>,
    /// Why the last attempt to get one failed.
    pub error: Option<String>,
}

impl Tokens {
    /// The token that requests with this key carry now.
    pub fn current(&self, key_id: &str, now_ms: i64) -> Option<Secret> {
        self.with(|held| held.get(key_id)?.current(now_ms))
    }

    /// How it stands with the token of a key.
    pub fn standing(&self, key_id: &str, now_ms: i64) -> Standing {
        self.with(|held| {
            held.get(key_id).map_or(
                Standing {
                    expires_at_ms: None,
                    error: None,
                },
                |held| held.standing(now_ms),
            )
        })
    }

    /// Grows with every change of what [`Self::current`] says.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Has the refresher look at the keys.
    pub fn look(&self) {
        self.wake.notify_one();
    }

    fn changed(&self) {
        self.revision.fetch_add(1, Ordering::AcqRel);
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Held>) -> T) -> T {
        // Nobody panics while holding it, and what is in it is whole in any case.
        act(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
