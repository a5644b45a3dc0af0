//! The ledger: who holds how much of each limit, and what was used.
//!
//! ```text
//! streams, admin API ── jobs ──► writer ── one transaction for all that wait ──► database
//!         ▲                        │
//!         └──────── replies ◄──────┘   when they are durable, not before
//! ```
//!
//! The rules are [`reeve_policy::lease`]'s; this folder keeps their state. Amounts move between five
//! places, and each movement is a row that is never changed:
//!
//! | movement | from | to | row |
//! |---|---|---|---|
//! | lend | what is available of a limit | a session | `transfers` |
//! | return | a session | what is available | `transfers` |
//! | post | a session | what was used, at a provider | `usage_records`, with its charges |
//! | release | a session that is over | what is available | `transfers` |
//! | top up, reset | outside | what is available | `transfers` |
//!
//! Invariants: a limit's usage is never part of its configuration, so no edit can touch it. What is
//! answered is committed. Every usage record is counted once, by (session, sequence).

pub mod accounts;
mod additions;
mod books;
pub mod limit_routes;
mod patience;
mod release;
pub mod routes;
pub mod sessions;
pub mod spending;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
mod transfers;
mod writer;

use std::sync::{Mutex, PoisonError};

use reeve_policy::lease::{Answer, Ask, Session};
use reeve_proto::v1::UsageRecord;
use tokio::sync::{mpsc, oneshot, watch};

use crate::usage::Boot;
use crate::usage::ingest::Posting;

pub use additions::Addition;
pub use release::run as release_silent_sessions;
pub use writer::run;

/// Jobs that wait while a transaction is under way. Who finds the queue full waits in turn.
const QUEUE: usize = 1_024;

/// The way to the ledger's writer; clones share it.
#[derive(Debug)]
pub struct Ledger {
    jobs: mpsc::Sender<Job>,
    /// Taken by the writer when it starts.
    inbox: Mutex<Option<mpsc::Receiver<Job>>>,
    /// Changes when a session has less to spend than before: it has returned something, or used it.
    freed: watch::Sender<()>,
}

/// A limit's window.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The limit.
    pub limit_id: String,
    /// The window, by its start.
    pub window_start_ms: i64,
}

/// A session is to give back what it has not spent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recall {
    /// Who.
    pub session: Session,
    /// Of what.
    pub key: Key,
    /// What standing leases of it are a part of.
    pub base: i64,
}

/// What a session is told when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its number.
    pub session: i64,
    /// See [`reeve_policy::lease::standing`].
    pub standing_divisor: u32,
    /// Where it has no standing lease.
    pub withheld: Vec<Key>,
    /// How far its usage is stored.
    pub acknowledged: i64,
}

/// The ledger cannot say now; what was asked has not happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ledger is not available")]
pub struct Unavailable;

#[derive(Debug)]
enum Job {
    Join {
        boot: Boot,
        reply: oneshot::Sender<Joined>,
    },
    Post {
        boot: Boot,
        batch: Vec<UsageRecord>,
        reply: oneshot::Sender<Posting>,
    },
    /// What sessions that are not `connected`, and have not been for long, hold is taken from them.
    Release {
        connected: Vec<Boot>,
        silent_before_ms: i64,
        reply: oneshot::Sender<Vec<i64>>,
    },
    /// What one session holds is taken from it, if it has not been heard of since. Gives whether.
    ReleaseOne {
        session: i64,
        silent_before_ms: i64,
        actor: &'static str,
        reply: oneshot::Sender<bool>,
    },
    Add {
        key: Key,
        addition: Addition,
        actor: &'static str,
        reply: oneshot::Sender<i64>,
    },
    Ask {
        session: i64,
        asks: Vec<(Key, Ask)>,
        reply: oneshot::Sender<Result<Vec<(Key, Answer)>, Unavailable>>,
    },
}

impl Default for Ledger {
    fn default() -> Self {
        let (jobs, inbox) = mpsc::channel(QUEUE);
        Self {
            jobs,
            inbox: Mutex::new(Some(inbox)),
            freed: watch::Sender::default(),
        }
    }
}

impl Ledger {
    /// A life of an Envoy process says hello, for the first time or again.
    pub async fn join(&self, boot: Boot) -> Result<Joined, Unavailable> {
        self.send(|reply| Job::Join { boot, reply }).await
    }

    /// Stores a batch of usage, however long it takes.
    pub async fn post(&self, boot: Boot, batch: Vec<UsageRecord>) -> Result<Posting, Unavailable> {
        self.send(|reply| Job::Post { boot, batch, reply }).await
    }

    /// A session asks for more, or tells what it has given back.
    pub async fn ask(
        &self,
        session: i64,
        asks: Vec<(Key, Ask)>,
    ) -> Result<Vec<(Key, Answer)>, Unavailable> {
        self.send(|reply| Job::Ask {
            session,
            asks,
            reply,
        })
        .await?
    }

    /// Notes who is connected, and releases what is held by sessions that have not been heard of since
    /// `silent_before_ms`. Gives those.
    pub async fn release(
        &self,
        connected: Vec<Boot>,
        silent_before_ms: i64,
    ) -> Result<Vec<i64>, Unavailable> {
        self.send(|reply| Job::Release {
            connected,
            silent_before_ms,
            reply,
        })
        .await
    }

    /// Releases what one session holds, if it has not been heard of since `silent_before_ms`. False: it
    /// has, or is not counted.
    pub async fn release_one(
        &self,
        session: i64,
        silent_before_ms: i64,
        actor: &'static str,
    ) -> Result<bool, Unavailable> {
        self.send(|reply| Job::ReleaseOne {
            session,
            silent_before_ms,
            actor,
            reply,
        })
        .await
    }

    /// Adds to a limit for one window; gives how much.
    pub async fn add(
        &self,
        key: Key,
        addition: Addition,
        actor: &'static str,
    ) -> Result<i64, Unavailable> {
        self.send(|reply| Job::Add {
            key,
            addition,
            actor,
            reply,
        })
        .await
    }

    fn take_inbox(&self) -> Option<mpsc::Receiver<Job>> {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.take()
    }

    async fn send<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Result<T, Unavailable> {
        let (reply, replied) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| Unavailable)?;
        replied.await.map_err(|_| Unavailable)
    }
}
