//! Envoy's configuration, from the database to every Envoy that is connected: the process around
//! `reeve_xds`, which decides what is served and what is answered.
//!
//! ```text
//! database ── load ──► Input ── publish ──► Snapshot ── stream ──► Envoy
//! ```
//!
//! `policy_sync/publisher.rs` drives it, because the two go together: a provider is in Envoy before the
//! filter may choose it, and stays until the filter no longer does.

pub mod grpc;
pub mod load;
pub mod nodes;
mod stream;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use reeve_xds::{Input, Snapshot};
use tokio::sync::watch;

use nodes::{NodeState, Nodes};

/// What the publisher, the streams and the admin API share.
#[derive(Debug, Default)]
pub struct Ads {
    served: watch::Sender<Option<Arc<Snapshot>>>,
    nodes: Arc<Nodes>,
}

impl Ads {
    /// Serves what is made of `input`; the streams follow. Calls must not overlap.
    pub fn publish(&self, input: Input) {
        self.served.send_if_modified(|served| {
            let next = Snapshot::after(served.as_deref(), input);
            let changed = next.is_some();
            if let Some(next) = next {
                *served = Some(Arc::new(next));
            }
            changed
        });
    }

    /// What is served; `None`: nothing yet.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.served.borrow().clone()
    }

    /// Every Envoy that is connected, by name, the newest stream of one last.
    pub fn connected(&self) -> Vec<(String, NodeState)> {
        self.nodes.list()
    }

    /// Names of the connected Envoys that have not said what they make of what is served.
    pub fn lagging(&self) -> Vec<String> {
        let served = self.snapshot().map(|snapshot| snapshot.version());
        let nodes = self.nodes.list().into_iter();
        nodes
            .filter(|(_, state)| state.settled != served)
            .map(|(node_id, _)| node_id)
            .collect()
    }

    /// Returns when no Envoy lags.
    pub async fn settled(&self) {
        // Subscribed before anything is looked at, so that no news falls in between.
        let mut news = self.nodes.news();
        while !self.lagging().is_empty() {
            // The sender lives as long as `self`.
            let _ = news.changed().await;
        }
    }
}
