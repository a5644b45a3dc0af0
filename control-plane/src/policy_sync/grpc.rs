//! The gRPC service. What a stream does is in `stream.rs`.

use std::sync::Arc;

use reeve_proto::v1::grpc::policy_sync_server::{PolicySync, PolicySyncServer};
use reeve_proto::v1::{ControlMessage, FilterMessage};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::stream::{self, Timing};
use crate::app::App;

/// Largest message from a filter, bytes: what it batches is far below.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// Messages that wait for a filter to take them: one part of an update is up to half a megabyte.
const QUEUE: usize = 4;

/// The service for the gRPC port.
pub fn routes(app: Arc<App>) -> Routes {
    routes_with(app, Timing::default())
}

pub(super) fn routes_with(app: Arc<App>, timing: Timing) -> Routes {
    let service = PolicySyncServer::new(Service { app, timing });
    Routes::new(service.max_decoding_message_size(MAX_MESSAGE))
}

struct Service {
    app: Arc<App>,
    timing: Timing,
}

#[tonic::async_trait]
impl PolicySync for Service {
    type SyncStream = ReceiverStream<Result<ControlMessage, Status>>;

    async fn sync(
        &self,
        request: Request<Streaming<FilterMessage>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let (outbound, receiver) = mpsc::channel(QUEUE);
        let (app, timing) = (Arc::clone(&self.app), self.timing);
        tokio::spawn(stream::serve(app, timing, request.into_inner(), outbound));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
