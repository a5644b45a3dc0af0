//! One stream with one Envoy, from its hello to its end.
//!
//! Two loops run side by side: this file's reads what the filter says and stores its usage,
//! `writer.rs` writes policy, acknowledgements and what others spend. Neither waits for the other, so
//! a slow database does not stop heartbeats and a long update does not stop usage. The first that
//! ends ends the stream.

use std::sync::Arc;
use std::time::Duration;

use reeve_proto::v1::filter_message::Kind;
use reeve_proto::v1::{ControlMessage, FilterMessage, Hello, UsageRecord};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::entries::Position;
use super::nodes::Seat;
use super::writer::{Writer, welcome};
use crate::app::App;
use crate::node_identity::Caller;
use crate::provider_shares::Told;
use crate::usage::Boot;
use crate::usage::ingest::Posting;

/// Longest node id and boot id, bytes.
const MAX_ID: usize = 256;

/// How long a stream waits for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// After this long without a message the filter is told that we are there.
    pub(super) heartbeat: Duration,
    /// A filter that says nothing, or takes nothing, for this long has lost its stream.
    pub(super) silence: Duration,
    /// What others spend is told at most this often.
    pub(super) spent_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(1),
            silence: Duration::from_secs(5),
            spent_every: Duration::from_millis(200),
        }
    }
}

/// Where messages to the filter go. Bounded: who does not take them is dropped, not waited for.
pub(super) type Outbound = mpsc::Sender<Result<ControlMessage, Status>>;

/// Serves a stream until it ends, and tells the filter why.
pub(super) async fn serve(
    app: Arc<App>,
    timing: Timing,
    caller: Caller,
    mut inbound: Streaming<FilterMessage>,
    outbound: Outbound,
) {
    let hello = hello(&mut inbound, timing).await;
    let hello = hello.and_then(|hello| caller.check(&hello.0.node_id).map(|()| hello));
    let end = match hello {
        Ok((boot, position)) => talk(&app, timing, &boot, position, inbound, &outbound).await,
        Err(status) => {
            tracing::warn!(reason = status.message(), "filter refused");
            Err(status)
        }
    };
    if let Err(status) = end {
        // Whoever takes no messages will not take this one either; the stream ends all the same.
        let _ = outbound.send_timeout(Err(status), timing.heartbeat).await;
    }
}

/// The first message: who the filter is, and what it has.
async fn hello(
    inbound: &mut Streaming<FilterMessage>,
    timing: Timing,
) -> Result<(Boot, Position), Status> {
    let message = next(inbound, timing).await?;
    let Some(Kind::Hello(hello)) = message.and_then(|message| message.kind) else {
        return Err(Status::invalid_argument("the first message must be hello"));
    };
    let Hello {
        node_id,
        boot_id,
        epoch,
        version,
    } = hello;
    for (field, id) in [("node_id", &node_id), ("boot_id", &boot_id)] {
        let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
        if id.is_empty() || id.len() > MAX_ID || !visible {
            return Err(Status::invalid_argument(format!(
                "hello.{field} must be 1 to {MAX_ID} visible ASCII characters"
            )));
        }
    }
    Ok((Boot { node_id, boot_id }, Position { epoch, version }))
}

async fn talk(
    app: &App,
    timing: Timing,
    boot: &Boot,
    position: Position,
    inbound: Streaming<FilterMessage>,
    outbound: &Outbound,
) -> Result<(), Status> {
    tracing::info!(
        node.id = boot.node_id,
        boot.id = boot.boot_id,
        "filter connected"
    );
    let nodes = &app.policy_sync.nodes;
    let (seat, replaced) = nodes.enter(boot.clone(), position, app.clock.now_ms());
    let joined = app.ledger.join(boot.clone());
    let joined = joined
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    app.policy_sync.note_session(joined.session, &boot.node_id);
    // Without it the filter asks for it later.
    let slot_session = app.ledger.renew(joined.session).await.unwrap_or_default();
    let acknowledged = watch::Sender::new(0);
    let writer = Writer {
        app,
        timing,
        session: joined.session,
        outbound,
    };
    let reader = Reader {
        app,
        timing,
        boot,
        seat,
        acknowledged: &acknowledged,
    };
    let end = tokio::select! {
        end = reader.run(inbound) => end,
        end = writer.run(welcome(joined, slot_session), position, acknowledged.subscribe()) => end,
        () = replaced.wait() => {
            Err(Status::aborted("replaced by a newer stream of the same process"))
        }
        () = app.stopped() => Err(Status::unavailable("the control plane is stopping")),
    };
    let reason = end
        .as_ref()
        .err()
        .map_or("closed by the filter", Status::message);
    tracing::info!(
        node.id = boot.node_id,
        boot.id = boot.boot_id,
        reason,
        "filter disconnected"
    );
    end
}

async fn next(
    inbound: &mut Streaming<FilterMessage>,
    timing: Timing,
) -> Result<Option<FilterMessage>, Status> {
    match timeout(timing.silence, inbound.message()).await {
        Ok(message) => message,
        Err(_) => Err(Status::deadline_exceeded("the filter fell silent")),
    }
}

struct Reader<'a> {
    app: &'a App,
    timing: Timing,
    boot: &'a Boot,
    seat: Seat,
    acknowledged: &'a watch::Sender<i64>,
}

impl Reader<'_> {
    /// Reads until the filter ends the stream. Its silence is measured while we wait for it, not
    /// while we store what it said.
    async fn run(self, mut inbound: Streaming<FilterMessage>) -> Result<(), Status> {
        let mut told = Told::default();
        while let Some(message) = next(&mut inbound, self.timing).await? {
            self.seat.heard(self.app.clock.now_ms());
            match message.kind {
                Some(Kind::Hello(_)) => {
                    return Err(Status::invalid_argument("hello is the first message only"));
                }
                Some(Kind::UsageBatch(batch)) => self.store(batch.records).await?,
                Some(Kind::PolicyApplied(applied)) => {
                    let (epoch, version) = (applied.epoch, applied.version);
                    self.seat.applied(Position { epoch, version });
                }
                Some(Kind::Observed(observed)) => {
                    let now_ms = self.app.clock.now_ms();
                    let shares = &self.app.provider_shares;
                    shares.on_observed(&mut told, observed, now_ms);
                }
                // A heartbeat has done its work by being heard; a kind of a later version is not
                // for us.
                Some(Kind::Heartbeat(_)) | None => {}
            }
        }
        Ok(())
    }

    /// Stores a batch, however long it takes: the filter sends it once per stream, and what waits
    /// behind it waits in the filter.
    async fn store(&self, batch: Vec<UsageRecord>) -> Result<(), Status> {
        let posting = self.app.ledger.post(self.boot.clone(), batch).await;
        let posting = posting.map_err(|error| Status::unavailable(error.to_string()))?;
        self.report(&posting);
        self.acknowledged.send_replace(posting.acknowledged);
        Ok(())
    }

    fn report(&self, posting: &Posting) {
        let Boot { node_id, boot_id } = self.boot;
        if posting.missing > 0 {
            let missing = posting.missing;
            tracing::error!(
                node.id = node_id,
                boot.id = boot_id,
                missing,
                "usage records missing"
            );
        }
        if posting.unnumbered > 0 {
            let count = posting.unnumbered;
            tracing::error!(
                node.id = node_id,
                boot.id = boot_id,
                count,
                "usage without a number"
            );
        }
        for rejected in &posting.rejected {
            let (sequence, reason) = (rejected.sequence, &rejected.reason);
            tracing::error!(
                node.id = node_id,
                boot.id = boot_id,
                sequence,
                %reason,
                "usage record rejected"
            );
        }
    }
}
