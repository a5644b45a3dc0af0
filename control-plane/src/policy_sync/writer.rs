//! What goes down a stream: the welcome, then what others have spent, then policy, and from then on
//! each of them whenever there is news, and what is to be given back.

use std::pin::pin;

use reeve_policy::lease::Session;
use reeve_proto::v1::control_message::Kind;
use reeve_proto::v1::{
    ControlMessage, Heartbeat, LimitWindow, Recall, RecalledWindow, Spent, SpentByOthers, UsageAck,
    Welcome,
};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;

use super::entries::{Entries, Position, Update};
use super::retry::until_ok;
use super::spending::{News, Untold};
use super::stream::{Outbound, Timing};
use crate::app::App;
use crate::db;
use crate::ledger::{self, Joined, Key};
use crate::usage::spent;

/// Limits in one message.
const SPENT_PER_MESSAGE: usize = 4_096;

pub(super) struct Writer<'a> {
    pub(super) app: &'a App,
    pub(super) timing: Timing,
    pub(super) session: Session,
    pub(super) outbound: &'a Outbound,
}

impl Writer<'_> {
    /// Writes until the filter no longer takes anything. `at` is what the filter has;
    /// `acknowledged` changes when its usage is stored.
    pub(super) async fn run(
        &self,
        welcome: Welcome,
        mut at: Position,
        mut acknowledged: watch::Receiver<i64>,
    ) -> Result<(), Status> {
        let hub = &self.app.policy_sync;
        // Subscribed before anything is read, so that no news falls in between.
        let mut spent_news = News::of(hub, self.session);
        let mut published = hub.published.subscribe();
        published.mark_changed();
        let mut recalls = hub.recalls.0.subscribe();

        self.send(Kind::Welcome(welcome)).await?;
        let told = until_ok("read what is spent", || self.spent(None));
        let (revision, limits) = self.meanwhile_beat(told).await?;
        spent_news.told(revision);
        self.send_spent(limits).await?;
        let mut next_spent = Instant::now();

        loop {
            let spent_changed = async {
                sleep_until(next_spent).await;
                spent_news.arrived().await;
            };
            // The senders outlive the stream, so none of the channels can end.
            tokio::select! {
                _ = acknowledged.changed() => {
                    let sequence = wire_sequence(*acknowledged.borrow_and_update());
                    self.send(Kind::UsageAck(UsageAck { sequence })).await?;
                }
                _ = published.changed() => {
                    let update = update_since(&mut published, at);
                    if let Some(update) = update {
                        at = update.to;
                        self.send_policy(update).await?;
                    }
                }
                () = spent_changed => {
                    next_spent = Instant::now() + self.timing.spent_every;
                    let limits = match spent_news.take_untold() {
                        Untold::Known(limits) => limits,
                        Untold::Since(revision) => {
                            let told = until_ok("read what is spent", || self.spent(Some(revision)));
                            let (revision, limits) = self.meanwhile_beat(told).await?;
                            spent_news.told(revision);
                            limits
                        }
                    };
                    self.send_spent(limits).await?;
                }
                windows = self.recalled(&mut recalls) => {
                    self.send(Kind::Recall(Recall { windows })).await?;
                }
                () = sleep(self.timing.heartbeat) => self.beat().await?,
            }
        }
    }

    /// What this session is asked to give back, once there is something.
    async fn recalled(
        &self,
        recalls: &mut broadcast::Receiver<ledger::Recall>,
    ) -> Vec<RecalledWindow> {
        let mut windows = Vec::new();
        loop {
            // What was missed is asked for again by whoever needs it.
            if let Ok(recall) = recalls.recv().await
                && recall
                    .holder
                    .is_none_or(|holder| holder.process == self.session)
            {
                windows.push(RecalledWindow {
                    limit_id: recall.key.limit_id,
                    window_start_ms: recall.key.window_start_ms,
                    base: recall.base,
                    session: recall.holder.map_or(self.session, |holder| holder.session),
                });
            }
            if !windows.is_empty() && recalls.is_empty() {
                return windows;
            }
        }
    }

    /// What others have spent after a revision, or at all, and the revision this is true of.
    async fn spent(&self, since: Option<i64>) -> Result<(i64, Vec<SpentByOthers>), db::Error> {
        let now_ms = self.app.clock.now_ms();
        let mut tx = self.app.db.begin_read().await?;
        let revision = spent::latest(&mut tx).await?;
        let limits = match since {
            None => spent::by_others(&mut tx, self.session, now_ms).await?,
            Some(since) => spent::by_others_since(&mut tx, self.session, since, now_ms).await?,
        };
        Ok((revision, limits))
    }

    async fn send_spent(&self, limits: Vec<SpentByOthers>) -> Result<(), Status> {
        for limits in limits.chunks(SPENT_PER_MESSAGE) {
            self.send(Kind::Spent(Spent {
                limits: limits.to_vec(),
            }))
            .await?;
        }
        Ok(())
    }

    async fn send_policy(&self, update: Update) -> Result<(), Status> {
        for part in update.into_parts() {
            self.send(Kind::PolicyUpdate(part)).await?;
        }
        Ok(())
    }

    /// Waits for `work` while the filter is told that we are there.
    async fn meanwhile_beat<T>(&self, work: impl Future<Output = T>) -> Result<T, Status> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = sleep(self.timing.heartbeat) => self.beat().await?,
            }
        }
    }

    async fn beat(&self) -> Result<(), Status> {
        self.send(Kind::Heartbeat(Heartbeat {})).await
    }

    async fn send(&self, kind: Kind) -> Result<(), Status> {
        let message = ControlMessage { kind: Some(kind) };
        self.outbound
            .send_timeout(Ok(message), self.timing.silence)
            .await
            .map_err(|_| Status::deadline_exceeded("the filter takes no messages"))
    }
}

/// The first message of every stream.
pub(super) fn welcome(joined: Joined, slot_session: Session) -> Welcome {
    Welcome {
        acknowledged_sequence: wire_sequence(joined.acknowledged),
        session: joined.session,
        standing_divisor: joined.standing_divisor,
        withheld: joined.withheld.into_iter().map(wire_window).collect(),
        slot_session,
    }
}

fn wire_window(key: Key) -> LimitWindow {
    LimitWindow {
        limit_id: key.limit_id,
        window_start_ms: key.window_start_ms,
    }
}

/// What a filter at `at` has to be told of what is published.
fn update_since(published: &mut watch::Receiver<Option<Entries>>, at: Position) -> Option<Update> {
    published.borrow_and_update().as_ref()?.update_since(at)
}

/// Stored numbers count from 1; 0 is "nothing".
fn wire_sequence(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
