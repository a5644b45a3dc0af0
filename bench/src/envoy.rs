//! What an Envoy says to its control plane, without an Envoy: usage in batches, and questions for leases.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reeve_proto::v1::control_message::Kind as Down;
use reeve_proto::v1::filter_message::Kind as Up;
use reeve_proto::v1::grpc::policy_sync_client::PolicySyncClient;
use reeve_proto::v1::{
    Charge, ControlMessage, FilterMessage, Heartbeat, Hello, LeaseAsk, LeaseRequest, PolicyApplied,
    TokenUsage, UsageBatch, UsageRecord,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::clock;
use crate::control_plane::ControlPlane;
use crate::family::Family;
use crate::figures::Durations;
use crate::random::Random;

/// Records in a batch, as the filter sends it.
const BATCH: u64 = 256;
/// Batches that wait for their acknowledgement; the filter sends up to 16 at once.
const IN_FLIGHT: usize = 8;
/// What a request may cost, nano-dollars.
const MOST_COST: u64 = 1_000_000;
/// An acknowledgement or an answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(30);

/// One life of an Envoy process.
pub(crate) struct Envoy {
    number: u64,
    up: mpsc::Sender<FilterMessage>,
    acknowledged: watch::Receiver<u64>,
    /// The last sequence number given out.
    sequence: u64,
    asker: Asker,
}

/// The half of an Envoy that asks for leases; clones share what was lent.
#[derive(Clone)]
pub(crate) struct Asker {
    number: u64,
    session: i64,
    client: PolicySyncClient<Channel>,
    /// By limit.
    lent: Arc<Mutex<HashMap<String, i64>>>,
}

/// What was sent, and how long it took to be acknowledged.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) records: u64,
    pub(crate) cost: i64,
    pub(crate) batches: Durations,
}

impl Envoy {
    /// Says hello.
    pub(crate) async fn connect(control_plane: &ControlPlane, number: u64) -> anyhow::Result<Self> {
        let address = format!("http://{}", control_plane.grpc);
        let channel = Channel::from_shared(address)?.connect().await?;
        let mut client = PolicySyncClient::new(channel);
        let (up, messages) = mpsc::channel(IN_FLIGHT);
        let hello = Hello {
            node_id: format!("bench-{number}"),
            boot_id: clock::now().as_nanosecond().to_string(),
            epoch: 0,
            version: 0,
        };
        up.send(message(Up::Hello(hello))).await?;
        let mut down = client
            .sync(ReceiverStream::new(messages))
            .await?
            .into_inner();
        let first = down.message().await?.and_then(|message| message.kind);
        let Some(Down::Welcome(welcome)) = first else {
            anyhow::bail!("no welcome");
        };
        let (acknowledge, acknowledged) = watch::channel(welcome.acknowledged_sequence);
        tokio::spawn(listen(down, up.clone(), acknowledge));
        Ok(Self {
            number,
            up,
            acknowledged,
            sequence: welcome.acknowledged_sequence,
            asker: Asker {
                number,
                session: welcome.session,
                client,
                lent: Arc::default(),
            },
        })
    }

    pub(crate) fn asker(&self) -> Asker {
        self.asker.clone()
    }

    /// Sends usage as fast as it is acknowledged until `end`, and waits for the last acknowledgement.
    pub(crate) async fn send_usage(
        &mut self,
        families: &[Family],
        end: Instant,
    ) -> anyhow::Result<Sent> {
        let mut random = Random::new(self.number ^ self.sequence);
        let mut sent = Sent::default();
        let mut in_flight = VecDeque::new();
        loop {
            while in_flight.len() < IN_FLIGHT && Instant::now() < end {
                let batch = self.batch(families, &mut random, &mut sent);
                let started = Instant::now();
                self.up.send(message(Up::UsageBatch(batch))).await?;
                in_flight.push_back((self.sequence, started));
            }
            if in_flight.is_empty() {
                return Ok(sent);
            }
            let acknowledged = &mut self.acknowledged;
            tokio::time::timeout(PATIENCE, acknowledged.changed())
                .await
                .context("usage is not acknowledged")?
                .context("the stream has ended")?;
            let through = *acknowledged.borrow_and_update();
            while let Some((last, started)) = in_flight.front()
                && *last <= through
            {
                sent.batches.add(started.elapsed());
                in_flight.pop_front();
            }
        }
    }

    fn batch(&mut self, families: &[Family], random: &mut Random, sent: &mut Sent) -> UsageBatch {
        let mut records = Vec::new();
        for _ in 0..BATCH {
            let Some(family) = random.pick(families) else {
                break;
            };
            let cost = cost(random);
            self.sequence = self.sequence.saturating_add(1);
            records.push(record(family, self.sequence, cost, random));
            sent.records = sent.records.saturating_add(1);
            sent.cost = sent.cost.saturating_add(cost);
        }
        UsageBatch { records }
    }
}

impl Asker {
    /// Asks for leases, for one request at a time on each of `callers`, until `end`.
    pub(crate) async fn ask(
        &self,
        families: &[Family],
        callers: u64,
        end: Instant,
    ) -> anyhow::Result<Durations> {
        let asking = (0..callers).map(|caller| {
            let client = self.client.clone();
            let random = Random::new(self.number.wrapping_mul(1_000).wrapping_add(caller));
            self.ask_alone(client, families, random, end)
        });
        let mut all = Durations::default();
        for durations in futures::future::try_join_all(asking).await? {
            all.append(durations);
        }
        Ok(all)
    }

    async fn ask_alone(
        &self,
        mut client: PolicySyncClient<Channel>,
        families: &[Family],
        mut random: Random,
        end: Instant,
    ) -> anyhow::Result<Durations> {
        let mut durations = Durations::default();
        while Instant::now() < end
            && let Some(family) = random.pick(families)
        {
            let request = self.request(family, cost(&mut random));
            let started = Instant::now();
            let answer = tokio::time::timeout(PATIENCE, client.lease(request))
                .await
                .context("a question for a lease is not answered")??
                .into_inner();
            durations.add(started.elapsed());
            ensure!(
                answer.answers.len() == family.windows.len(),
                "an answer is missing"
            );
            let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
            for answer in answer.answers {
                let known = lent.entry(answer.limit_id).or_default();
                *known = answer.lent.max(*known);
            }
        }
        Ok(durations)
    }

    /// What a request that finds nothing in its Envoy asks for.
    fn request(&self, family: &Family, want: i64) -> LeaseRequest {
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        let asks = family.windows.iter().map(|window| LeaseAsk {
            limit_id: window.limit_id.clone(),
            window_start_ms: window.start_ms,
            lent: lent.get(&window.limit_id).copied().unwrap_or_default(),
            returned: 0,
            want,
            session: self.session,
        });
        LeaseRequest {
            asks: asks.collect(),
            patience_ms: 500,
        }
    }
}

/// Hears what the control plane says, and says that we are there.
async fn listen(
    mut down: Streaming<ControlMessage>,
    up: mpsc::Sender<FilterMessage>,
    acknowledged: watch::Sender<u64>,
) {
    loop {
        let answer = tokio::select! {
            told = down.message() => match told {
                Ok(Some(ControlMessage { kind: Some(Down::UsageAck(ack)) })) => {
                    acknowledged.send_replace(ack.sequence);
                    None
                }
                Ok(Some(ControlMessage { kind: Some(Down::PolicyUpdate(update)) })) if update.last => {
                    let (epoch, version) = (update.epoch, update.version);
                    Some(Up::PolicyApplied(PolicyApplied { epoch, version }))
                }
                Ok(Some(_)) => None,
                // Whoever waits for an acknowledgement sees that none can come.
                Ok(None) | Err(_) => return,
            },
            () = sleep(Duration::from_secs(1)) => Some(Up::Heartbeat(Heartbeat {})),
        };
        if let Some(kind) = answer
            && up.send(message(kind)).await.is_err()
        {
            return;
        }
    }
}

const fn message(kind: Up) -> FilterMessage {
    FilterMessage { kind: Some(kind) }
}

fn cost(random: &mut Random) -> i64 {
    let cost = random.next().checked_rem(MOST_COST).unwrap_or_default();
    i64::try_from(cost).unwrap_or_default()
}

fn record(family: &Family, sequence: u64, cost: i64, random: &mut Random) -> UsageRecord {
    let now_ms = clock::now().as_millisecond();
    let charges = family.windows.iter().map(|window| Charge {
        limit_id: window.limit_id.clone(),
        window_start_ms: window.start_ms,
        amount: cost,
    });
    UsageRecord {
        sequence,
        // As random as Envoy's.
        request_id: format!("{:016x}-{:016x}", random.next(), random.next()),
        reserved_at_ms: now_ms.saturating_sub(1_000),
        finished_at_ms: now_ms,
        virtual_key_id: family.key_id.clone(),
        team_id: family.team_id.clone(),
        customer_id: family.customer_id.clone(),
        provider_config_id: family.provider_config_id.clone(),
        provider: "openai".into(),
        model: "gpt-4o".into(),
        operation: "chat".into(),
        usage: Some(TokenUsage {
            input_tokens: Some(500),
            cache_read_tokens: Some(0),
            output_tokens: Some(200),
            ..TokenUsage::default()
        }),
        cost_nanos: cost,
        status: 200,
        charges: charges.collect(),
        outcome: "complete".into(),
        price_version: 1,
        service_tier: "default".into(),
        ..UsageRecord::default()
    }
}
