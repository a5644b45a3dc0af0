//! For tests: a control plane that serves configuration, and Envoy's end of a stream.

use std::collections::BTreeMap;
use std::time::Duration;

use reeve_xds::ResourceType;
use reeve_xds::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use reeve_xds::discovery::{DiscoveryRequest, DiscoveryResponse};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Status, Streaming};

use super::{grpc, load};
use crate::db::Db;
use crate::node_identity::Callers;
use crate::policy_sync::publisher;
use crate::testing::Api;

/// Longer than anything a test waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A control plane that publishes and serves configuration.
pub(super) struct Plane {
    pub(super) api: Api,
    address: String,
    tasks: Vec<JoinHandle<()>>,
}

impl Plane {
    pub(super) async fn start(db: &Db) -> Self {
        let api = Api::new(db.clone()).await;
        let mut tx = db.begin_read().await.unwrap();
        let input = load::input(&mut tx, &api.app).await.unwrap();
        drop(tx);
        api.app.ads.publish(input);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = api.app.clone();
        let server = tonic::transport::Server::builder()
            .add_service(grpc::service(app.clone(), Callers::Anyone))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let tasks = vec![
            tokio::spawn(async move { server.await.unwrap() }),
            tokio::spawn(publisher::run(app.clone())),
        ];
        while !app.policy_published() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Self {
            api,
            address,
            tasks,
        }
    }
}

impl Plane {
    /// Names of the secrets that are served.
    pub(super) fn secret_names(&self) -> Vec<String> {
        self.names(ResourceType::Secrets)
    }

    /// Names of the clusters that are served.
    pub(super) fn cluster_names(&self) -> Vec<String> {
        self.names(ResourceType::Clusters)
    }

    fn names(&self, of: ResourceType) -> Vec<String> {
        let snapshot = self.api.app.ads.snapshot().unwrap();
        snapshot.names(of).map(str::to_owned).collect()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Envoy's end of a stream.
pub(super) struct Envoy {
    up: mpsc::Sender<DiscoveryRequest>,
    down: Streaming<DiscoveryResponse>,
    wants: BTreeMap<ResourceType, Vec<String>>,
}

impl Envoy {
    /// Connects and says who it is, asking for clusters.
    pub(super) async fn connect(plane: &Plane, node_id: &str) -> Self {
        let mut envoy = Self::open(plane).await;
        let mut request = envoy.request(ResourceType::Clusters, &[]);
        request.node = Some(reeve_xds::Node {
            id: node_id.into(),
            ..reeve_xds::Node::default()
        });
        envoy.up.send(request).await.unwrap();
        envoy
    }

    pub(super) async fn open(plane: &Plane) -> Self {
        let mut client = AggregatedDiscoveryServiceClient::connect(plane.address.clone())
            .await
            .unwrap();
        let (up, requests) = mpsc::channel(16);
        let down = client
            .stream_aggregated_resources(ReceiverStream::new(requests))
            .await
            .unwrap()
            .into_inner();
        Self {
            up,
            down,
            wants: BTreeMap::new(),
        }
    }

    /// Asks for resources, by name.
    pub(super) async fn ask(&mut self, of: ResourceType, names: &[&str]) {
        let request = self.request(of, names);
        self.up.send(request).await.unwrap();
    }

    fn request(&mut self, of: ResourceType, names: &[&str]) -> DiscoveryRequest {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        self.wants.insert(of, names.clone());
        DiscoveryRequest {
            type_url: of.type_url(),
            resource_names: names,
            ..DiscoveryRequest::default()
        }
    }

    /// The next message.
    pub(super) async fn next(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        tokio::time::timeout(PATIENCE, self.down.message())
            .await
            .expect("a message in time")
    }

    /// The next message, which must be of this type.
    pub(super) async fn told(&mut self, of: ResourceType) -> DiscoveryResponse {
        let response = self.next().await.unwrap().unwrap();
        assert_eq!(ResourceType::parse(&response.type_url), Some(of));
        response
    }

    pub(super) async fn accept(&self, response: &DiscoveryResponse) {
        self.answer(response, None).await;
    }

    pub(super) async fn refuse(&self, response: &DiscoveryResponse, why: &str) {
        self.answer(response, Some(why)).await;
    }

    async fn answer(&self, response: &DiscoveryResponse, why: Option<&str>) {
        let of = ResourceType::parse(&response.type_url).unwrap();
        let request = DiscoveryRequest {
            type_url: response.type_url.clone(),
            version_info: response.version_info.clone(),
            response_nonce: response.nonce.clone(),
            resource_names: self.wants[&of].clone(),
            error_detail: why.map(|why| reeve_xds::RpcStatus {
                message: why.into(),
                ..reeve_xds::RpcStatus::default()
            }),
            ..DiscoveryRequest::default()
        };
        self.up.send(request).await.unwrap();
    }
}
