//! What every part of the running control plane shares, built once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

use crate::ads::Ads;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Db, Tx};
use crate::ledger::Ledger;
use crate::policy_changes;
use crate::policy_sync::{Hub, in_force};
use crate::provider_shares::ProviderShares;
use crate::random::{Ids, Random, RandomError};
use crate::secrets::SealingKey;
use crate::tokens::Tokens;
use crate::virtual_keys::guesses::Guesses;

/// The running control plane.
pub struct App {
    /// The configuration it was started with.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// Seals secrets at rest.
    pub sealing_key: SealingKey,
    /// What Envoys are configured with, and who they are.
    pub ads: Ads,
    /// What is lent and used.
    pub ledger: Ledger,
    /// Who presents keys that do not exist.
    pub guesses: Mutex<Guesses>,
    /// What is published to the filters, and who they are.
    pub policy_sync: Hub,
    /// What providers keep of their shares.
    pub provider_shares: ProviderShares,
    /// Of the provider keys that need them.
    pub tokens: Tokens,
    /// Wakes the publisher after a change of policy was committed. A wake-up that comes while the
    /// publisher is busy is kept.
    pub policy_changed: Notify,
    policy_published: AtomicBool,
    stopping: watch::Sender<bool>,
}

impl App {
    /// Puts the parts together.
    pub fn new(config: Config, db: Db, clock: Clock, sealing_key: SealingKey) -> Arc<Self> {
        Arc::new(Self {
            config,
            db,
            clock,
            random: Random::default(),
            sealing_key,
            ads: Ads::default(),
            ledger: Ledger::default(),
            guesses: Mutex::default(),
            policy_sync: Hub::default(),
            provider_shares: ProviderShares::default(),
            tokens: Tokens::default(),
            policy_changed: Notify::new(),
            policy_published: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
        })
    }

    /// A source of new ids for one request.
    pub fn ids(&self) -> Result<Ids, RandomError> {
        self.random.ids(self.clock.now_ms())
    }

    /// Commits a change of policy and has it published. Every mutation of policy ends here. When it
    /// returns, the change is in force in every Envoy that is connected (or a second has passed).
    pub async fn commit_policy(&self, mut tx: Tx) -> Result<(), db::Error> {
        let sequence = policy_changes::latest(&mut tx).await?;
        tx.commit().await?;
        self.policy_changed.notify_one();
        self.tokens.look();
        // Before the first policy is compiled there is nobody to wait for.
        if self.policy_published() {
            in_force::wait(&self.policy_sync, &self.ads, sequence).await;
        }
        Ok(())
    }

    /// Called by the publisher once the first policy is compiled; until then `/readyz` says no.
    pub fn set_policy_published(&self) {
        self.policy_published.store(true, Ordering::Release);
    }

    /// Whether policy has been compiled since the start.
    pub fn policy_published(&self) -> bool {
        self.policy_published.load(Ordering::Acquire)
    }

    /// Tells everything that runs to come to an end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Returns when the process is asked to stop; long-lived streams and loops select on this.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in `self`, so waiting cannot fail while we hold it.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
