//! Policy down to every Envoy, usage up from them: the control plane's end of
//! `proto/reeve/v1/policy_sync.proto`.
//!
//! ```text
//! database ── load ──► compile ──► entries ──► stream ──► filter      policy: publisher.rs drives it
//! database ◄── ledger ◄────────────────────── stream ◄── filter      usage
//! database ◄── ledger ◄────────────────────── grpc   ◄── filter      leases
//! ```
//!
//! Invariants: what is published is what was committed; a change is published as one version, whole.
//! A stream that is full, silent or replaced ends; it never holds up another one.

pub mod compile;
pub mod entries;
pub mod grpc;
pub mod in_force;
mod lease;
mod load;
mod lowered;
pub mod nodes;
pub mod publisher;
#[cfg(test)]
mod recall_tests;
pub(crate) mod retry;
pub mod routes;
mod spending;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod view;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reeve_policy::lease::Session;
use reeve_policy::shares::Shares;
use tokio::sync::{broadcast, watch};

use entries::Entries;
use nodes::Nodes;

use crate::db::{self, Db};
use crate::ledger::spending::Spending;
use crate::ledger::{self, Recall};
use crate::usage::Boot;

/// What the publisher, the streams and the admin API share.
#[derive(Debug, Default)]
pub struct Hub {
    /// What is published; `None` until policy was compiled for the first time.
    published: watch::Sender<Option<Entries>>,
    /// Position in `policy_changes` up to which changes are in `published`.
    compiled: watch::Sender<i64>,
    posted: Posted,
    /// The newest revision of the holdings that was seen in the database.
    seen: watch::Sender<i64>,
    /// Who is connected.
    nodes: Arc<Nodes>,
    /// Whose each session is that was met here.
    sessions: Mutex<HashMap<Session, String>>,
    recalls: Recalls,
}

/// Tells the streams what sessions are asked to give back.
#[derive(Debug)]
struct Recalls(broadcast::Sender<Recall>);

impl Default for Recalls {
    fn default() -> Self {
        /// What a stream that is slow may miss: whoever needs it asks again.
        const KEPT: usize = 4_096;
        Self(broadcast::Sender::new(KEPT))
    }
}

/// Tells the streams what was posted.
#[derive(Debug)]
struct Posted(broadcast::Sender<Arc<Spending>>);

impl Default for Posted {
    fn default() -> Self {
        /// Transactions that a stream may miss before it asks the database.
        const KEPT: usize = 1_024;
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Hub {
    /// Whose streams are open.
    pub fn connected(&self) -> Vec<Boot> {
        let nodes = self.nodes.list();
        nodes.into_iter().map(|(boot, _)| boot).collect()
    }

    /// The ledger has posted.
    pub fn spent(&self, spending: Spending) {
        // Nobody may be connected.
        let _ = self.posted.0.send(Arc::new(spending));
    }

    /// A session is this node's.
    fn note_session(&self, session: Session, node_id: &str) {
        self.sessions().insert(session, node_id.to_owned());
    }

    /// Whose a session is; `None`: there is no such session.
    async fn node_of(&self, db: &Db, session: Session) -> Result<Option<String>, db::Error> {
        let known = self.sessions().get(&session).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let mut tx = db.begin_read().await?;
        let node_id = ledger::sessions::node_of(&mut tx, session).await?;
        if let Some(node_id) = &node_id {
            self.note_session(session, node_id);
        }
        Ok(node_id)
    }

    /// A map is right after every line of this file, so a panic elsewhere cannot spoil it.
    fn sessions(&self) -> MutexGuard<'_, HashMap<Session, String>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sessions are asked to give back what they do not need at once.
    pub fn recall(&self, recall: Recall) {
        // Nobody may be connected.
        let _ = self.recalls.0.send(recall);
    }

    /// What sessions are asked for.
    #[cfg(test)]
    pub(crate) fn recalls_for_tests(&self) -> broadcast::Receiver<Recall> {
        self.recalls.0.subscribe()
    }

    /// An Envoy is connected for as long as the value lives.
    #[cfg(test)]
    pub(crate) fn seat_for_tests(&self, boot: Boot) -> nodes::Seat {
        self.nodes.enter(boot, entries::Position::default(), 0).0
    }

    /// Shares of providers are lowered by these factors from now on.
    pub fn publish_shares(&self, shares: &Shares) {
        self.published.send_if_modified(|published| {
            published
                .as_mut()
                .is_some_and(|entries| entries.apply(vec![compile::shares(shares)]))
        });
    }

    /// What is published; `None`: nothing yet.
    pub fn position(&self) -> Option<entries::Position> {
        self.published.borrow().as_ref().map(Entries::position)
    }
}
