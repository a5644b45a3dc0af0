//! The ledger: who holds how much of each limit, and what was used.
//!
//! ```text
//! streams, admin API ── jobs ──► writer ── one transaction for all that wait ──► database
//!         ▲                        │
//!         └──────── replies ◄──────┘   when they are durable, not before
//! ```
//!
//! The rules are [`reeve_policy::lease`]'s; this folder keeps their state: what each session holds of a
//! limit in a window is a row of `holdings`, what was added to a window one of `limit_additions`. How they
//! came about is in rows that are never changed:
//!
//! | movement | from | to | row |
//! |---|---|---|---|
//! | lend | what is available of a limit | a session | `transfers` |
//! | return | a session | what is available | `transfers` |
//! | post | a session | what was used, at a provider | `usage_records`, with its charges |
//! | release | a session that is over | what is available | `transfers` |
//! | top up, reset, override | outside | what is available | `transfers` |
//! | removal of an override | what is available | outside | `transfers` |
//!
//! A standing lease moves unasked and has no row until its session is heard of there. Slots come and go with
//! every request and have none. Rows that nothing needs any more are [deleted](prune).
//!
//! Invariants: a limit's usage is never part of its configuration, so no edit can touch it. What is
//! answered is committed. Every usage record is counted once, by (life of an Envoy process, sequence).

pub mod accounts;
mod additions;
mod books;
mod idempotency;
pub mod limit_routes;
#[cfg(test)]
mod limit_tests;
pub mod override_routes;
mod pace;
mod patience;
mod prune;
#[cfg(test)]
mod prune_tests;
mod release;
#[cfg(test)]
mod replica_tests;
mod replicas;
pub mod routes;
pub mod sessions;
mod slots;
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

pub use prune::run as prune;
pub use release::run as release_silent_sessions;
pub use replicas::run as follow_replicas;
pub use slots::run as end_silent_slots;
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

/// Who holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// Under which session.
    pub session: Session,
    /// The session of its process: the same, or the one that it holds slots for.
    pub process: Session,
}

/// A session is to give back what it does not need at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recall {
    /// Who; `None`: everyone.
    pub holder: Option<Holder>,
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
    /// A process is to keep its slots, or to have a session for some. `None`: it has none itself.
    Renew {
        process: Session,
        reply: oneshot::Sender<Option<Session>>,
    },
    /// Sessions of slots have been silent since these marks. Gives those that have ended.
    EndSlots {
        silent: Vec<(Session, i64)>,
        reply: oneshot::Sender<Vec<Session>>,
    },
    Ask {
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

    /// Sessions ask for more, or tell what they have given back.
    pub async fn ask(&self, asks: Vec<(Key, Ask)>) -> Result<Vec<(Key, Answer)>, Unavailable> {
        self.send(|reply| Job::Ask { asks, reply }).await?
    }

    /// The session under which a process holds slots, renewed.
    pub async fn renew(&self, process: Session) -> Result<Session, Unavailable> {
        let session = self.send(|reply| Job::Renew { process, reply }).await?;
        session.ok_or(Unavailable)
    }

    /// Ends sessions of slots that have not been renewed since. Gives those.
    pub async fn end_slots(
        &self,
        silent: Vec<(Session, i64)>,
    ) -> Result<Vec<Session>, Unavailable> {
        self.send(|reply| Job::EndSlots { silent, reply }).await
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
