//! Who is connected: one seat per life of an Envoy process.
//!
//! When the VM that holds a stream traps, Envoy keeps the stream open as a zombie while another VM
//! opens a new one. So the newest stream of a process has the seat, and the one before it is told to
//! end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::entries::Position;
use crate::usage::Boot;

/// Everyone who is connected to this process of the control plane.
#[derive(Debug, Default)]
pub struct Nodes {
    seats: Mutex<Seats>,
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Seats {
    taken: BTreeMap<Boot, Taken>,
    tickets: u64,
}

#[derive(Debug)]
struct Taken {
    ticket: u64,
    state: NodeState,
    /// Dropped with the seat, which the stream that had it notices.
    _hold: oneshot::Sender<()>,
}

/// What is known of a connected Envoy. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeState {
    /// When its stream began.
    pub since_ms: i64,
    /// When it last said something.
    pub heard_ms: i64,
    /// The policy it has put into force.
    pub applied: Position,
}

/// A stream's place in the registry; given up when dropped.
#[derive(Debug)]
pub struct Seat {
    nodes: Arc<Nodes>,
    boot: Boot,
    ticket: u64,
}

/// Says when another stream has taken the seat.
#[derive(Debug)]
pub struct Replaced(oneshot::Receiver<()>);

impl Nodes {
    /// Takes the seat of `boot`, from another stream if need be.
    pub fn enter(self: &Arc<Self>, boot: Boot, applied: Position, now_ms: i64) -> (Seat, Replaced) {
        let (hold, held) = oneshot::channel();
        let mut seats = self.lock();
        seats.tickets = seats.tickets.saturating_add(1);
        let ticket = seats.tickets;
        let state = NodeState {
            since_ms: now_ms,
            heard_ms: now_ms,
            applied,
        };
        seats.taken.insert(
            boot.clone(),
            Taken {
                ticket,
                state,
                _hold: hold,
            },
        );
        (
            Seat {
                nodes: Arc::clone(self),
                boot,
                ticket,
            },
            Replaced(held),
        )
    }

    /// Everyone, by name.
    pub fn list(&self) -> Vec<(Boot, NodeState)> {
        let seats = self.lock();
        seats
            .taken
            .iter()
            .map(|(boot, taken)| (boot.clone(), taken.state))
            .collect()
    }

    /// Changes when an Envoy has applied a policy, and when one goes.
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// A registry is right after every line of this file, so a panic elsewhere cannot spoil it.
    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The Envoy said something.
    pub fn heard(&self, now_ms: i64) {
        self.change(|state| state.heard_ms = now_ms);
    }

    /// The Envoy has put a policy into force.
    pub fn applied(&self, position: Position) {
        self.change(|state| state.applied = position);
        self.nodes.news.send_replace(());
    }

    fn change(&self, change: impl FnOnce(&mut NodeState)) {
        let mut seats = self.nodes.lock();
        if let Some(taken) = seats.taken.get_mut(&self.boot)
            && taken.ticket == self.ticket
        {
            change(&mut taken.state);
        }
    }
}

impl Replaced {
    /// Returns when another stream has taken the seat.
    pub async fn wait(self) {
        // Nothing is ever sent; the end of the channel is the message.
        let _ = self.0.await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.nodes.lock();
        if seats
            .taken
            .get(&self.boot)
            .is_some_and(|taken| taken.ticket == self.ticket)
        {
            seats.taken.remove(&self.boot);
        }
        drop(seats);
        self.nodes.news.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot() -> Boot {
        Boot {
            node_id: "envoy-1".into(),
            boot_id: "b1".into(),
        }
    }

    #[tokio::test]
    async fn the_newest_stream_has_the_seat() {
        let nodes = Arc::new(Nodes::default());
        let (first, replaced) = nodes.enter(boot(), Position::default(), 1);
        let (second, _) = nodes.enter(boot(), Position::default(), 2);
        replaced.wait().await;
        // What the replaced stream still says is not about the new one.
        first.heard(99);
        drop(first);
        assert_eq!(nodes.list().len(), 1);
        assert_eq!(nodes.list()[0].1.heard_ms, 2);
        drop(second);
        assert!(nodes.list().is_empty());
    }

    #[test]
    fn another_life_of_the_same_envoy_has_a_seat_of_its_own() {
        let nodes = Arc::new(Nodes::default());
        let other = Boot {
            boot_id: "b2".into(),
            ..boot()
        };
        let _first = nodes.enter(boot(), Position::default(), 1);
        let _second = nodes.enter(other, Position::default(), 1);
        assert_eq!(nodes.list().len(), 2);
    }
}
