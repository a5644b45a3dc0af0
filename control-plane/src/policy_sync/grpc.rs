//! The gRPC service. What a stream does is in `stream.rs`; what a lease is, in `reeve_policy::lease`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reeve_policy::lease::Session;
use reeve_proto::v1::grpc::policy_sync_server::{PolicySync, PolicySyncServer};
use reeve_proto::v1::{
    ControlMessage, FilterMessage, LeaseRequest, LeaseResponse, RenewRequest, RenewResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::lease;
use super::stream::{self, Timing};
use crate::app::App;
use crate::node_identity::{Caller, Callers};

/// Largest message from a filter, bytes: what it batches is far below.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// Messages that wait for a filter to take them: one part of an update is up to half a megabyte.
const QUEUE: usize = 4;

/// The service for the gRPC port.
pub fn routes(app: Arc<App>, callers: Callers) -> Routes {
    routes_with(app, callers, Timing::default())
}

pub(super) fn routes_with(app: Arc<App>, callers: Callers, timing: Timing) -> Routes {
    let service = PolicySyncServer::new(Service {
        app,
        callers,
        timing,
    });
    Routes::new(service.max_decoding_message_size(MAX_MESSAGE))
}

/// An answer about leases is held back no longer than this.
const MOST_PATIENCE: Duration = Duration::from_secs(1);

struct Service {
    app: Arc<App>,
    callers: Callers,
    timing: Timing,
}

impl Service {
    /// Is a session that of the node that calls?
    async fn check(&self, caller: &Caller, session: Session) -> Result<(), Status> {
        if *caller == Caller::Anyone {
            return Ok(());
        }
        let node_id = self.app.policy_sync.node_of(&self.app.db, session).await;
        let node_id = node_id.map_err(|error| Status::unavailable(error.to_string()))?;
        let node_id = node_id.ok_or_else(|| Status::permission_denied("no such session"))?;
        caller.check(&node_id)
    }
}

#[tonic::async_trait]
impl PolicySync for Service {
    type SyncStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn sync(
        &self,
        request: Request<Streaming<FilterMessage>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let caller = self.callers.identify(&request)?;
        let (outbound, receiver) = mpsc::channel(QUEUE);
        let (app, timing) = (Arc::clone(&self.app), self.timing);
        let inbound = request.into_inner();
        tokio::spawn(stream::serve(app, timing, caller, inbound, outbound));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn lease(
        &self,
        request: Request<LeaseRequest>,
    ) -> Result<Response<LeaseResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let LeaseRequest { asks, patience_ms } = request.into_inner();
        // The process's own session, and the one of its slots.
        let sessions: BTreeSet<Session> = asks.iter().map(|ask| ask.session).collect();
        for session in sessions {
            self.check(&caller, session).await?;
        }
        let patience = Duration::from_millis(patience_ms.into()).min(MOST_PATIENCE);
        let asks = asks
            .into_iter()
            .map(|ask| lease::read(ask, patience_ms > 0))
            .collect::<Result<_, _>>()
            .map_err(Status::invalid_argument)?;
        let answers = self.app.ledger.ask_patiently(asks, patience).await;
        let answers = answers.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(LeaseResponse {
            answers: answers.into_iter().map(lease::answer).collect(),
        }))
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let RenewRequest { session } = request.into_inner();
        self.check(&caller, session).await?;
        let renewed = self.app.ledger.renew(session).await;
        let slot_session = renewed.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(RenewResponse { slot_session }))
    }
}
