//! Policy down to every Envoy, usage up from them: the control plane's end of
//! `proto/reeve/v1/policy_sync.proto`.
//!
//! ```text
//! database ── load ──► compile ──► entries ──► stream ──► filter      policy: publisher.rs drives it
//! database ◄── usage::store ◄──────────────── stream ◄── filter      usage
//! ```
//!
//! Invariants: what is published is what was committed; a change is published as one version, whole.
//! A stream that is full, silent or replaced ends; it never holds up another one.

pub mod compile;
pub mod entries;
pub mod grpc;
pub mod in_force;
mod load;
pub mod nodes;
pub mod publisher;
mod retry;
pub mod routes;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use tokio::sync::watch;

use entries::Entries;
use nodes::Nodes;

/// What the publisher, the streams and the admin API share.
#[derive(Debug, Default)]
pub struct Hub {
    /// What is published; `None` until policy was compiled for the first time.
    published: watch::Sender<Option<Entries>>,
    /// Position in `policy_changes` up to which changes are in `published`.
    compiled: watch::Sender<i64>,
    /// Wakes the streams when what was spent has changed.
    spent: watch::Sender<()>,
    /// Who is connected.
    nodes: Arc<Nodes>,
}

impl Hub {
    /// What is published; `None`: nothing yet.
    pub fn position(&self) -> Option<entries::Position> {
        self.published.borrow().as_ref().map(Entries::position)
    }
}
