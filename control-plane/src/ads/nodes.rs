//! Which Envoys get their configuration here, and how far each is.
//!
//! A seat is a stream. An Envoy that has died unnoticed and its next life have one each for a while;
//! so have two Envoys that were given one name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_xds::ResourceType;
use tokio::sync::watch;

/// Every Envoy that is connected to this process.
#[derive(Debug, Default)]
pub struct Nodes {
    seats: Mutex<Seats>,
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: BTreeMap<u64, (String, NodeState)>,
    tickets: u64,
}

/// What is known of an Envoy. Versions are those of the snapshots that are served here; times are
/// milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// When its stream began.
    pub since_ms: i64,
    /// When it last said something.
    pub heard_ms: i64,
    /// The newest version that it has accepted as a whole.
    pub accepted: Option<u64>,
    /// The newest version of which it has accepted or refused every part.
    pub settled: Option<u64>,
    /// Since when it has not accepted what is served; `None`: it has.
    pub behind_since_ms: Option<i64>,
    /// What it has refused, and goes on without.
    pub rejected: Vec<Rejected>,
}

/// Resources that an Envoy has refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Their type.
    pub of: ResourceType,
    /// Of the snapshot since which they are as they are.
    pub version: u64,
    /// What Envoy says about it.
    pub error: String,
}

/// A stream's place in the registry; given up when dropped.
#[derive(Debug)]
pub struct Seat {
    nodes: Arc<Nodes>,
    ticket: u64,
}

impl Nodes {
    /// Takes a seat.
    pub fn enter(self: &Arc<Self>, node_id: String, now_ms: i64) -> Seat {
        let mut seats = self.lock();
        seats.tickets = seats.tickets.saturating_add(1);
        let ticket = seats.tickets;
        let state = NodeState {
            since_ms: now_ms,
            heard_ms: now_ms,
            accepted: None,
            settled: None,
            behind_since_ms: Some(now_ms),
            rejected: Vec::new(),
        };
        seats.taken.insert(ticket, (node_id, state));
        drop(seats);
        Seat {
            nodes: Arc::clone(self),
            ticket,
        }
    }

    /// Everyone, by name, the newest stream of one last.
    pub fn list(&self) -> Vec<(String, NodeState)> {
        let mut list: Vec<_> = self.lock().taken.values().cloned().collect();
        list.sort_by(|(a, _), (b, _)| a.cmp(b));
        list
    }

    /// Changes when an Envoy is further than before, and when one goes.
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// A registry is right after every line of this file, so a panic elsewhere cannot spoil it.
    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// How far the Envoy is now.
    pub fn update(&self, change: impl FnOnce(&mut NodeState)) {
        let mut seats = self.nodes.lock();
        if let Some((_, state)) = seats.taken.get_mut(&self.ticket) {
            change(state);
        }
        drop(seats);
        self.nodes.news.send_replace(());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.nodes.lock().taken.remove(&self.ticket);
        self.nodes.news.send_replace(());
    }
}
