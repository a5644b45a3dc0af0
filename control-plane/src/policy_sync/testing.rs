//! For tests: a control plane that serves streams, and the filter's end of one.

use std::time::Duration;

use prost::Message as _;
use reeve_proto::v1::control_message::Kind as Down;
use reeve_proto::v1::filter_message::Kind as Up;
use reeve_proto::v1::grpc::policy_sync_client::PolicySyncClient;
use reeve_proto::v1::{
    ControlMessage, FilterMessage, Heartbeat, Hello, ModelNames, PolicyApplied, PolicyUpdate,
    UsageBatch, UsageRecord,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Status, Streaming};

use super::entries::Position;
use super::grpc::routes_with;
use super::publisher;
use super::stream::Timing;
use crate::db::Db;
use crate::node_identity::Callers;
use crate::testing::{Api, in_time};

/// Short enough not to wait for in a test, long enough for a busy machine.
pub(super) const TIMING: Timing = Timing {
    heartbeat: Duration::from_millis(100),
    silence: Duration::from_millis(1_500),
    spent_every: Duration::from_millis(20),
};

/// A control plane that publishes and serves streams.
pub(super) struct Plane {
    pub(super) api: Api,
    address: String,
    tasks: Vec<JoinHandle<()>>,
}

impl Plane {
    pub(super) async fn start(db: &Db) -> Self {
        let api = Api::new(db.clone()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let app = api.app.clone();
        let server = tonic::transport::Server::builder()
            .add_routes(routes_with(app.clone(), Callers::Anyone, TIMING))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let tasks = vec![
            tokio::spawn(async move { server.await.unwrap() }),
            tokio::spawn(publisher::run(app)),
        ];
        Self {
            api,
            address,
            tasks,
        }
    }

    /// As if the process were killed.
    pub(super) fn kill(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    /// Makes a virtual key and gives its value and id.
    pub(super) async fn key(&self, name: &str) -> (String, String) {
        let body = format!(r#"{{"name": "{name}", "allow_all_providers": true}}"#);
        let answer = self.api.post("/api/governance/virtual-keys", &body).await;
        let key = &answer.ok(201)["virtual_key"];
        let text = |field: &str| key[field].as_str().unwrap().to_owned();
        (text("value"), text("id"))
    }
}

/// The entry that a virtual key's value is found under.
pub(super) fn entry_of(value: &str) -> String {
    let digest = reeve_policy::virtual_key::KeyDigest::of(value.as_bytes());
    format!("key/{}", digest.to_hex())
}

/// The filter's end of a stream.
pub(super) struct Filter {
    up: mpsc::Sender<FilterMessage>,
    down: Streaming<ControlMessage>,
}

impl Filter {
    pub(super) async fn open(plane: &Plane) -> Self {
        let mut client = PolicySyncClient::connect(plane.address.clone())
            .await
            .unwrap();
        let (up, messages) = mpsc::channel(16);
        let down = client
            .sync(ReceiverStream::new(messages))
            .await
            .unwrap()
            .into_inner();
        Self { up, down }
    }

    /// Says hello and goes on to say that it is there.
    pub(super) async fn connect(plane: &Plane, boot_id: &str, at: Position) -> Self {
        let filter = Self::open(plane).await;
        filter.hello("envoy", boot_id, at).await;
        let up = filter.up.clone();
        tokio::spawn(async move {
            let beat = FilterMessage {
                kind: Some(Up::Heartbeat(Heartbeat {})),
            };
            while up.send(beat.clone()).await.is_ok() {
                tokio::time::sleep(TIMING.heartbeat).await;
            }
        });
        filter
    }

    pub(super) async fn hello(&self, node_id: &str, boot_id: &str, at: Position) {
        let (node_id, boot_id) = (node_id.to_owned(), boot_id.to_owned());
        let Position { epoch, version } = at;
        self.say(Up::Hello(Hello {
            node_id,
            boot_id,
            epoch,
            version,
        }))
        .await;
    }

    pub(super) async fn say(&self, kind: Up) {
        self.up
            .send(FilterMessage { kind: Some(kind) })
            .await
            .unwrap();
    }

    pub(super) async fn report(&self, records: Vec<UsageRecord>) {
        self.say(Up::UsageBatch(UsageBatch { records })).await;
    }

    /// What comes next, heartbeats left out.
    pub(super) async fn hear(&mut self) -> Result<Down, Status> {
        let next = async {
            loop {
                let message = self.down.message().await?;
                match message
                    .expect("the stream ended without a status")
                    .kind
                    .unwrap()
                {
                    Down::Heartbeat(_) => {}
                    kind => return Ok(kind),
                }
            }
        };
        in_time("more than heartbeats", next).await
    }

    pub(super) async fn welcome(&mut self) -> u64 {
        match self.hear().await.unwrap() {
            Down::Welcome(welcome) => welcome.acknowledged_sequence,
            other => panic!("{other:?} instead of a welcome"),
        }
    }

    pub(super) async fn update(&mut self) -> PolicyUpdate {
        match self.hear().await.unwrap() {
            Down::PolicyUpdate(update) => update,
            other => panic!("{other:?} instead of policy"),
        }
    }

    /// Takes an update and says that it is in force.
    pub(super) async fn apply_update(&mut self) {
        let PolicyUpdate { epoch, version, .. } = self.update().await;
        self.say(Up::PolicyApplied(PolicyApplied { epoch, version }))
            .await;
    }

    pub(super) async fn acknowledged(&mut self) -> u64 {
        match self.hear().await.unwrap() {
            Down::UsageAck(ack) => ack.sequence,
            other => panic!("{other:?} instead of an acknowledgement"),
        }
    }

    pub(super) async fn spent(&mut self) -> Vec<(String, i64, i64)> {
        match self.hear().await.unwrap() {
            Down::Spent(spent) => {
                let limits = spent.limits.into_iter();
                limits
                    .map(|l| (l.limit_id, l.window_start_ms, l.amount))
                    .collect()
            }
            other => panic!("{other:?} instead of what others spent"),
        }
    }

    pub(super) async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.hear().await {
                return status;
            }
        }
    }
}

pub(super) fn position(update: &PolicyUpdate) -> Position {
    Position {
        epoch: update.epoch,
        version: update.version,
    }
}

pub(super) fn keys(update: &PolicyUpdate) -> Vec<&str> {
    update
        .entries
        .iter()
        .map(|entry| entry.key.as_str())
        .collect()
}

/// The list of a provider's models.
pub(super) fn names_of(provider: &str, update: &PolicyUpdate) -> Vec<String> {
    let key = format!("models/{provider}");
    let list = update
        .entries
        .iter()
        .find(|entry| entry.key == key)
        .unwrap();
    ModelNames::decode(list.value.as_slice()).unwrap().names
}
