//! The policy as this VM has read it so far.
//!
//! An entry is decoded from shared data when it is first asked for, and kept until the version
//! changes. So a VM holds what its own traffic needs, not the whole policy, and a request reads one
//! small value: the version.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use prost::Message;
use reeve_policy::lease::Tenure;
use reeve_policy::limit::Limit;
use reeve_policy::shares::{KEPT_MS, Shares};
use reeve_policy::view::{Model, PolicyView, Settings};
use reeve_policy::virtual_key::{KeyDigest, Owner, VirtualKey};
use reeve_proto::v1;

use crate::shared::Version;
use crate::{host, limits};

/// See the module. One per VM.
#[derive(Debug, Default)]
pub(crate) struct PolicyCache {
    version: Cell<Version>,
    settings: RefCell<Option<Rc<Settings>>>,
    // Only what exists is kept: a client that makes names up must not fill the memory.
    keys: RefCell<HashMap<String, Rc<VirtualKey>>>,
    owners: RefCell<HashMap<String, Rc<Owner>>>,
    models: RefCell<HashMap<String, Rc<Model>>>,
    /// `None`: not looked for yet. Mostly nobody's are lowered, and there is no entry.
    shares: RefCell<Option<Rc<Shares>>>,
}

/// Names of models, as an entry of policy.
struct Names(Vec<String>);

impl From<v1::ModelNames> for Names {
    fn from(message: v1::ModelNames) -> Self {
        Self(message.names)
    }
}

impl PolicyCache {
    /// Forgets everything if the policy has changed. Call once per request, before judging it.
    pub(crate) fn refresh(&self) {
        let now = Version::read().unwrap_or_default();
        if !self.version.replace(now).is_same_policy(now) {
            self.settings.take();
            self.keys.take();
            self.owners.take();
            self.models.take();
            self.shares.take();
        }
    }

    /// Under which this process holds leases.
    pub(crate) fn tenure(&self) -> Tenure {
        self.version.get().tenure
    }

    /// Has the control plane been silent for so long that what it says may not hold any more?
    pub(crate) fn is_stale(&self, now_ms: i64, most_ms: i64) -> bool {
        self.version.get().is_silent(now_ms, most_ms)
    }

    fn look_up<M, T>(&self, known: &RefCell<HashMap<String, Rc<T>>>, key: String) -> Option<Rc<T>>
    where
        M: Message + Default,
        T: TryFrom<M>,
        T::Error: std::fmt::Display,
    {
        if let Some(value) = known.borrow().get(&key) {
            return Some(Rc::clone(value));
        }
        let value = Rc::new(decode::<M, T>(&key, &self.version.get().entry(&key)?)?);
        known.borrow_mut().insert(key, Rc::clone(&value));
        Some(value)
    }
}

impl PolicyView for PolicyCache {
    fn settings(&self) -> Option<Rc<Settings>> {
        let version = self.version.get();
        if !version.is_whole() {
            return None;
        }
        if self.settings.borrow().is_none() {
            let value = decode::<v1::Settings, Settings>("settings", &version.entry("settings")?)?;
            self.settings.replace(Some(Rc::new(value)));
        }
        self.settings.borrow().clone()
    }

    fn virtual_key(&self, digest: &KeyDigest) -> Option<Rc<VirtualKey>> {
        self.look_up::<v1::VirtualKey, _>(&self.keys, format!("key/{}", digest.to_hex()))
    }

    fn team(&self, id: &str) -> Option<Rc<Owner>> {
        self.look_up::<v1::Owner, _>(&self.owners, format!("owner/team/{id}"))
    }

    fn customer(&self, id: &str) -> Option<Rc<Owner>> {
        self.look_up::<v1::Owner, _>(&self.owners, format!("owner/customer/{id}"))
    }

    fn model(&self, provider: &str, model: &str) -> Option<Rc<Model>> {
        self.look_up::<v1::Model, _>(&self.models, format!("model/{provider}/{model}"))
    }

    fn models(&self, provider: &str) -> Option<Rc<Vec<String>>> {
        // Asked for seldom, and long: not kept.
        let key = format!("models/{provider}");
        let names = decode::<v1::ModelNames, Names>(&key, &self.version.get().entry(&key)?)?;
        Some(Rc::new(names.0))
    }

    fn used(&self, limit: &Limit, now_ms: i64) -> i64 {
        limits::used(self.tenure(), limit, now_ms)
    }

    fn shares(&self, now_ms: i64) -> Option<Rc<Shares>> {
        // Nobody would raise them again.
        if self.is_stale(now_ms, KEPT_MS) {
            return None;
        }
        let mut known = self.shares.borrow_mut();
        let shares = known.get_or_insert_with(|| {
            let key = "shares";
            let entry = self.version.get().entry(key);
            let shares = entry.and_then(|entry| decode::<v1::ProviderShares, _>(key, &entry));
            Rc::new(shares.unwrap_or_default())
        });
        Some(Rc::clone(shares))
    }
}

/// An entry that cannot be decoded is one that is not there: nothing is admitted by it.
fn decode<M, T>(key: &str, bytes: &[u8]) -> Option<T>
where
    M: Message + Default,
    T: TryFrom<M>,
    T::Error: std::fmt::Display,
{
    let message = M::decode(bytes).map_err(|error| error.to_string());
    let value = message.and_then(|message| T::try_from(message).map_err(|e| e.to_string()));
    value
        .map_err(|error| host::error(&format!("policy entry {key} is unusable: {error}")))
        .ok()
}
