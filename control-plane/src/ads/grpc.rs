//! The gRPC service. What a stream does is in `stream.rs`; what it is answered, in `reeve_xds`.

use std::pin::Pin;
use std::sync::Arc;

use reeve_xds::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use reeve_xds::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::stream;
use crate::app::App;
use crate::node_identity::Callers;

/// Largest message from Envoy, bytes. The first one lists its extensions, some 50 kB.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// Messages that wait for Envoy to take them: a change is one for each type.
const QUEUE: usize = 4;

/// The service for the gRPC port.
pub fn service(app: Arc<App>, callers: Callers) -> AggregatedDiscoveryServiceServer<Service> {
    let service = AggregatedDiscoveryServiceServer::new(Service { app, callers });
    service.max_decoding_message_size(MAX_MESSAGE)
}

/// See the module.
pub struct Service {
    app: Arc<App>,
    callers: Callers,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<DiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let caller = self.callers.identify(&request)?;
        let (outbound, receiver) = mpsc::channel(QUEUE);
        let app = Arc::clone(&self.app);
        tokio::spawn(stream::serve(app, caller, request.into_inner(), outbound));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type DeltaAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

    async fn delta_aggregated_resources(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented(
            "the state of the world is served: use `api_type: GRPC`",
        ))
    }
}
