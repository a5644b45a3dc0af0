//! One stream with one Envoy, from its first request to its end.

use std::sync::Arc;
use std::time::Duration;

use reeve_xds::discovery::{DiscoveryRequest, DiscoveryResponse};
use reeve_xds::{Answer, Heard, ResourceType, Snapshot, Standing, Subscriber};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::nodes::{NodeState, Rejected, Seat};
use crate::app::App;
use crate::node_identity::Caller;

/// An Envoy that says nothing at first, or takes nothing, for this long has lost its stream.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest node id, bytes.
const MAX_ID: usize = 256;
/// So much is kept of what Envoy says about resources that it refuses, characters.
const MAX_ERROR: usize = 1_000;

type Outbound = mpsc::Sender<Result<DiscoveryResponse, Status>>;

/// Serves a stream until it ends, and tells Envoy why.
pub(super) async fn serve(
    app: Arc<App>,
    caller: Caller,
    mut inbound: Streaming<DiscoveryRequest>,
    outbound: Outbound,
) {
    let first = first(&mut inbound).await;
    let first = first.and_then(|first| caller.check(&first.0).map(|()| first));
    let end = match first {
        Ok((node_id, request)) => talk(&app, node_id, request, inbound, &outbound).await,
        Err(status) => {
            tracing::warn!(reason = status.message(), "Envoy refused");
            Err(status)
        }
    };
    if let Err(status) = end {
        // Whoever takes no messages will not take this one either; the stream ends all the same.
        let _ = outbound.send_timeout(Err(status), PATIENCE).await;
    }
}

/// The first request says who it is.
async fn first(
    inbound: &mut Streaming<DiscoveryRequest>,
) -> Result<(String, DiscoveryRequest), Status> {
    let request = timeout(PATIENCE, inbound.message()).await;
    let request = request.map_err(|_| Status::deadline_exceeded("Envoy says nothing"))??;
    let mut request = request.ok_or_else(|| Status::invalid_argument("there is no request"))?;
    let node_id = request.node.take().map(|node| node.id).unwrap_or_default();
    let visible = node_id.bytes().all(|byte| byte.is_ascii_graphic());
    if node_id.is_empty() || node_id.len() > MAX_ID || !visible {
        return Err(Status::invalid_argument(format!(
            "node.id must be 1 to {MAX_ID} visible ASCII characters"
        )));
    }
    Ok((node_id, request))
}

async fn talk(
    app: &App,
    node_id: String,
    request: DiscoveryRequest,
    inbound: Streaming<DiscoveryRequest>,
    outbound: &Outbound,
) -> Result<(), Status> {
    tracing::info!(node.id = node_id, "Envoy connected");
    let seat = app.ads.nodes.enter(node_id.clone(), app.clock.now_ms());
    let mut served = app.ads.served.subscribe();
    let stream = async {
        let snapshot = newest(&mut served).await;
        let mut conversation = Conversation {
            app,
            node_id: &node_id,
            seat,
            outbound,
            subscriber: Subscriber::default(),
            snapshot,
        };
        conversation.hear(&request).await?;
        conversation.go_on(inbound, served).await
    };
    let end = tokio::select! {
        end = stream => end,
        () = app.stopped() => Err(Status::unavailable("the control plane is stopping")),
    };
    let reason = end.as_ref().err();
    let reason = reason.map_or("closed by Envoy", Status::message);
    tracing::info!(node.id = node_id, reason, "Envoy disconnected");
    end
}

/// What is served, once something is.
async fn newest(served: &mut watch::Receiver<Option<Arc<Snapshot>>>) -> Arc<Snapshot> {
    loop {
        let newest = served.borrow_and_update().clone();
        if let Some(newest) = newest {
            return newest;
        }
        // The sender outlives the stream.
        let _ = served.changed().await;
    }
}

struct Conversation<'a> {
    app: &'a App,
    node_id: &'a str,
    seat: Seat,
    outbound: &'a Outbound,
    subscriber: Subscriber,
    snapshot: Arc<Snapshot>,
}

impl Conversation<'_> {
    async fn go_on(
        &mut self,
        mut inbound: Streaming<DiscoveryRequest>,
        mut served: watch::Receiver<Option<Arc<Snapshot>>>,
    ) -> Result<(), Status> {
        loop {
            tokio::select! {
                request = inbound.message() => match request? {
                    Some(request) => self.hear(&request).await?,
                    None => return Ok(()),
                },
                _ = served.changed() => {
                    self.snapshot = newest(&mut served).await;
                    let answers = self.subscriber.on_publish(&self.snapshot);
                    self.note();
                    self.send(answers).await?;
                }
            }
        }
    }

    async fn hear(&mut self, request: &DiscoveryRequest) -> Result<(), Status> {
        let Some(of) = ResourceType::parse(&request.type_url) else {
            let (node_id, type_url) = (self.node_id, &request.type_url);
            tracing::warn!(
                node.id = node_id,
                ?type_url,
                "Envoy asks for what is not served"
            );
            return Ok(());
        };
        let now_ms = self.app.clock.now_ms();
        self.seat.update(|state| state.heard_ms = now_ms);
        let heard = Heard::of(request);
        let verdict = self.subscriber.on_request(of, &heard, &self.snapshot);
        if let Some((version, error)) = verdict.rejected {
            let (node_id, resources, error) = (self.node_id, of.as_str(), shortened(&error));
            tracing::error!(
                node.id = node_id,
                resources,
                version,
                ?error,
                "Envoy refuses its configuration and keeps what it had"
            );
        }
        self.note();
        self.send(verdict.answers).await
    }

    /// Writes down how far it is.
    fn note(&self) {
        let now_ms = self.app.clock.now_ms();
        let version = Some(self.snapshot.version());
        let standing = self.subscriber.standing(&self.snapshot);
        let rejected = self.subscriber.rejections();
        let rejected = rejected.map(|(of, version, error)| Rejected {
            of,
            version,
            error: shortened(error),
        });
        let rejected: Vec<Rejected> = rejected.collect();
        self.seat.update(|state: &mut NodeState| {
            state.rejected = rejected;
            match standing {
                Standing::Current => {
                    state.accepted = version;
                    state.settled = version;
                    state.behind_since_ms = None;
                }
                Standing::Rejected => {
                    state.settled = version;
                    state.behind_since_ms.get_or_insert(now_ms);
                }
                Standing::Behind => {
                    state.behind_since_ms.get_or_insert(now_ms);
                }
            }
        });
    }

    async fn send(&self, answers: Vec<Answer>) -> Result<(), Status> {
        for answer in answers {
            self.outbound
                .send_timeout(Ok(answer.into()), PATIENCE)
                .await
                .map_err(|_| Status::deadline_exceeded("Envoy takes no messages"))?;
        }
        Ok(())
    }
}

fn shortened(error: &str) -> String {
    error.chars().take(MAX_ERROR).collect()
}
