//! One Envoy's stream as a state machine: what it has asked for, what it was sent, what it said to it.
//!
//! The state of the world is sent for each type that changed (SotW xDS), in the order of
//! [`ResourceType::ALL`]: what is named is there before what names it. What goes is taken away in the
//! opposite order: a cluster stays until Envoy has accepted routes that no longer name it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use envoy_types::pb::google::protobuf::Any;

use crate::discovery::{DiscoveryRequest, DiscoveryResponse};
use crate::snapshot::Resources;
use crate::{ResourceType, Snapshot};

/// See the module.
#[derive(Default)]
pub struct Subscriber {
    subscriptions: BTreeMap<ResourceType, Subscription>,
    nonces: u64,
    /// The clusters that were sent last, and the versions before of those that are to go.
    clusters: Arc<Resources>,
    leaving: Resources,
}

struct Subscription {
    names: BTreeSet<String>,
    sent: Option<Sent>,
}

/// An answer, and what became of it.
struct Sent {
    nonce: String,
    version: u64,
    /// `None`: it has not said. `Err`: why it was not accepted.
    verdict: Option<Result<(), String>>,
}

/// What a request says.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Which answer it is about; empty: none.
    pub nonce: &'a str,
    /// What it wants, all of it. No names of clusters are all of them.
    pub names: &'a [String],
    /// Why it did not accept the answer.
    pub error: Option<&'a str>,
}

/// What follows from a request.
#[derive(Debug)]
pub struct Verdict {
    /// It has not accepted the answer of this version, and says why.
    pub rejected: Option<(u64, String)>,
    /// What to send now, in this order.
    pub answers: Vec<Answer>,
}

/// A message to Envoy.
#[derive(Clone, PartialEq)]
pub struct Answer {
    /// What it holds.
    pub of: ResourceType,
    /// Of the snapshot since which they are so.
    pub version: u64,
    /// What Envoy refers to it by.
    pub nonce: String,
    /// The resources.
    pub resources: Vec<Any>,
}

/// How far an Envoy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has accepted everything that it asked for.
    Current,
    /// It has not said so yet, or not asked yet.
    Behind,
    /// It has refused a part, and goes on with what it had before.
    Rejected,
}

impl<'a> Heard<'a> {
    /// What Envoy's message says.
    pub fn of(request: &'a DiscoveryRequest) -> Self {
        Self {
            nonce: &request.response_nonce,
            names: &request.resource_names,
            error: request.error_detail.as_ref().map(|it| it.message.as_str()),
        }
    }
}

impl Subscriber {
    /// Takes a request, and says what to send.
    pub fn on_request(
        &mut self,
        of: ResourceType,
        heard: &Heard<'_>,
        snapshot: &Snapshot,
    ) -> Verdict {
        let names: BTreeSet<String> = heard.names.iter().cloned().collect();
        let mut rejected = None;
        let is_due = match self.subscriptions.get_mut(&of) {
            // The first word on this stream. It may have an older state of another stream's.
            None => {
                let sent = None;
                self.subscriptions.insert(of, Subscription { names, sent });
                true
            }
            Some(subscription) => {
                let more = !names.is_subset(&subscription.names);
                let again = match &mut subscription.sent {
                    // About an answer that a later one has replaced. What it wants it will repeat
                    // when it has the later one.
                    Some(sent) if sent.nonce != heard.nonce => return Verdict::nothing(),
                    Some(sent) if sent.verdict.is_none() => {
                        sent.verdict = Some(heard.error.map_or(Ok(()), |it| Err(it.to_owned())));
                        rejected = heard.error.map(|it| (sent.version, it.to_owned()));
                        false
                    }
                    // A second word about the same answer: something in Envoy waits for it anew.
                    Some(_) | None => true,
                };
                subscription.names = names;
                more || again
            }
        };
        let mut answers = Vec::new();
        if is_due {
            answers.extend(self.send(of, snapshot));
        }
        if of == ResourceType::Routes && !self.leaving.is_empty() && self.has_routes(snapshot) {
            self.leaving.clear();
            answers.extend(self.send(ResourceType::Clusters, snapshot));
        }
        Verdict { rejected, answers }
    }

    /// What to send of a new snapshot.
    pub fn on_publish(&mut self, snapshot: &Snapshot) -> Vec<Answer> {
        let was_leaving = self.leaving.len();
        self.see_off(snapshot);
        let mut answers = Vec::new();
        for of in ResourceType::ALL {
            let Some(subscription) = self.subscriptions.get(&of) else {
                continue;
            };
            let sent = subscription.sent.as_ref().map(|sent| sent.version);
            let is_new = sent != snapshot.set(of).map(|set| set.version);
            let goes = of == ResourceType::Clusters && self.leaving.len() != was_leaving;
            if is_new || goes {
                answers.extend(self.send(of, snapshot));
            }
        }
        answers
    }

    /// How far it is with a snapshot.
    pub fn standing(&self, snapshot: &Snapshot) -> Standing {
        if !self.subscriptions.contains_key(&ResourceType::Clusters) {
            return Standing::Behind;
        }
        let mut rejected = false;
        for (of, subscription) in &self.subscriptions {
            let Some(set) = snapshot.set(*of) else {
                continue;
            };
            if select(*of, &subscription.names, &set.resources).is_none() {
                continue;
            }
            match &subscription.sent {
                Some(sent) if sent.version == set.version => match sent.verdict {
                    Some(Ok(())) => {}
                    Some(Err(_)) => rejected = true,
                    None => return Standing::Behind,
                },
                Some(_) | None => return Standing::Behind,
            }
        }
        match (rejected, self.leaving.is_empty()) {
            (true, _) => Standing::Rejected,
            (false, true) => Standing::Current,
            (false, false) => Standing::Behind,
        }
    }

    /// What it has not accepted: type, version, and why.
    pub fn rejections(&self) -> impl Iterator<Item = (ResourceType, u64, &str)> {
        self.subscriptions.iter().filter_map(|(of, subscription)| {
            let sent = subscription.sent.as_ref()?;
            let error = sent.verdict.as_ref()?.as_ref().err()?;
            Some((*of, sent.version, error.as_str()))
        })
    }

    /// Clusters that the snapshot has no more leave, unless Envoy's routes still name them.
    fn see_off(&mut self, snapshot: &Snapshot) {
        let Some(set) = snapshot.set(ResourceType::Clusters) else {
            return;
        };
        let had = self.clusters.iter();
        for (name, cluster) in had {
            self.leaving
                .entry(name.clone())
                .or_insert_with(|| cluster.clone());
        }
        self.leaving
            .retain(|name, _| !set.resources.contains_key(name));
        let has_no_routes = !self.subscriptions.contains_key(&ResourceType::Routes);
        if has_no_routes || self.has_routes(snapshot) {
            self.leaving.clear();
        }
    }

    /// Has it accepted the routes of a snapshot?
    fn has_routes(&self, snapshot: &Snapshot) -> bool {
        let sent = self
            .subscriptions
            .get(&ResourceType::Routes)
            .and_then(|it| it.sent.as_ref());
        let set = snapshot.set(ResourceType::Routes);
        sent.zip(set)
            .is_some_and(|(sent, set)| sent.version == set.version && sent.verdict == Some(Ok(())))
    }

    /// The answer to what it wants; `None`: there is nothing of it.
    fn send(&mut self, of: ResourceType, snapshot: &Snapshot) -> Option<Answer> {
        let set = snapshot.set(of)?;
        let subscription = self.subscriptions.get_mut(&of)?;
        let mut resources = select(of, &subscription.names, &set.resources)?;
        if of == ResourceType::Clusters {
            self.clusters = Arc::clone(&set.resources);
            resources.extend(self.leaving.values().cloned());
        }
        self.nonces = self.nonces.saturating_add(1);
        let nonce = self.nonces.to_string();
        subscription.sent = Some(Sent {
            nonce: nonce.clone(),
            version: set.version,
            verdict: None,
        });
        Some(Answer {
            of,
            version: set.version,
            nonce,
            resources,
        })
    }
}

/// What there is of what is wanted. All clusters may be none; of what is wanted by name, none is
/// nothing to send.
fn select(of: ResourceType, names: &BTreeSet<String>, all: &Resources) -> Option<Vec<Any>> {
    if of == ResourceType::Clusters && (names.is_empty() || names.contains("*")) {
        return Some(all.values().cloned().collect());
    }
    let found: Vec<Any> = names
        .iter()
        .filter_map(|name| all.get(name))
        .cloned()
        .collect();
    (!found.is_empty()).then_some(found)
}

impl Verdict {
    const fn nothing() -> Self {
        Self {
            rejected: None,
            answers: Vec::new(),
        }
    }
}

impl From<Answer> for DiscoveryResponse {
    fn from(answer: Answer) -> Self {
        Self {
            version_info: answer.version.to_string(),
            resources: answer.resources,
            type_url: answer.of.type_url(),
            nonce: answer.nonce,
            ..Self::default()
        }
    }
}

/// The resources may hold provider keys.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("of", &self.of)
            .field("version", &self.version)
            .field("nonce", &self.nonce)
            .field("resources", &self.resources.len())
            .finish()
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.subscriptions.iter().map(|(of, it)| (of, &it.names));
        f.debug_map().entries(names).finish()
    }
}
