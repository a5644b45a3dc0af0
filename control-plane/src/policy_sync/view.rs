//! The published policy, as a decision looks it up: from the very entries that the filters have.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use prost::Message;
use reeve_policy::limit::Limit;
use reeve_policy::shares::Shares;
use reeve_policy::view::{Model, PolicyView, Settings};
use reeve_policy::virtual_key::{KeyDigest, Owner, VirtualKey};
use reeve_proto::v1;

use super::Hub;
use super::entries::Entries;
use crate::policy_changes::Kind;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// `None`: nothing is published yet.
    entries: Option<&'a Entries>,
    /// A digest that stands for the key of this id, whose value nobody knows.
    stands_for: Option<(KeyDigest, &'a str)>,
    /// What is used of limits. `None`: nothing.
    used: Option<&'a Used>,
}

/// What is used of limits, as far as it has been looked up.
#[derive(Debug, Default)]
pub struct Used {
    /// By the limit's id.
    known: HashMap<String, i64>,
    asked: RefCell<Vec<Limit>>,
}

impl Used {
    /// The limits that were asked for and are not known.
    pub fn take_asked(&self) -> Vec<Limit> {
        self.asked.take()
    }

    /// So much of a limit is used.
    pub fn know(&mut self, limit_id: String, used: i64) {
        self.known.insert(limit_id, used);
    }
}

impl Hub {
    /// Looks at what is published; it does not change meanwhile, so be quick.
    pub fn look<T>(&self, decide: impl FnOnce(View<'_>) -> T) -> T {
        let published = self.published.borrow();
        decide(View {
            entries: published.as_ref(),
            stands_for: None,
            used: None,
        })
    }
}

impl<'a> View<'a> {
    /// The same, where `digest` is that of the key with this id.
    #[must_use]
    pub const fn with_key(self, digest: KeyDigest, id: &'a str) -> Self {
        Self {
            stands_for: Some((digest, id)),
            ..self
        }
    }

    /// The same, where this is used of limits.
    #[must_use]
    pub const fn with_used(self, used: &'a Used) -> Self {
        Self {
            used: Some(used),
            ..self
        }
    }

    /// The key of this id.
    pub fn key_of(self, id: &str) -> Option<Rc<VirtualKey>> {
        let entity = (Kind::VirtualKey, id.to_owned());
        let entry = self.entries?.of(&entity).first()?;
        self.get::<v1::VirtualKey, _>(entry)
    }

    fn get<M, T>(self, key: &str) -> Option<Rc<T>>
    where
        M: Message + Default,
        T: TryFrom<M>,
    {
        let message = M::decode(self.entries?.get(key)?.as_ref()).ok()?;
        T::try_from(message).ok().map(Rc::new)
    }
}

/// Names of models, as an entry of policy.
struct Names(Vec<String>);

impl From<v1::ModelNames> for Names {
    fn from(message: v1::ModelNames) -> Self {
        Self(message.names)
    }
}

impl PolicyView for View<'_> {
    fn settings(&self) -> Option<Rc<Settings>> {
        self.get::<v1::Settings, _>("settings")
    }

    fn virtual_key(&self, digest: &KeyDigest) -> Option<Rc<VirtualKey>> {
        match self.stands_for {
            Some((known, id)) if known == *digest => self.key_of(id),
            _ => self.get::<v1::VirtualKey, _>(&format!("key/{}", digest.to_hex())),
        }
    }

    fn team(&self, id: &str) -> Option<Rc<Owner>> {
        self.get::<v1::Owner, _>(&format!("owner/team/{id}"))
    }

    fn customer(&self, id: &str) -> Option<Rc<Owner>> {
        self.get::<v1::Owner, _>(&format!("owner/customer/{id}"))
    }

    fn model(&self, provider: &str, model: &str) -> Option<Rc<Model>> {
        self.get::<v1::Model, _>(&format!("model/{provider}/{model}"))
    }

    fn models(&self, provider: &str) -> Option<Rc<Vec<String>>> {
        let names = self.get::<v1::ModelNames, Names>(&format!("models/{provider}"))?;
        Some(Rc::new(names.0.clone()))
    }

    fn shares(&self, _: i64) -> Option<Rc<Shares>> {
        self.get::<v1::ProviderShares, _>("shares")
    }

    /// What is not known is noted, so that it can be looked up.
    fn used(&self, limit: &Limit, _: i64) -> i64 {
        let Some(used) = self.used else { return 0 };
        used.known.get(&limit.id).copied().unwrap_or_else(|| {
            used.asked.borrow_mut().push(limit.clone());
            0
        })
    }
}
