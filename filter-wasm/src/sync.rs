//! The `sync` role: policy down, usage up, over one gRPC stream to the control plane.
//!
//! The protocol is described in `proto/reeve/v1/policy_sync.proto`. A message that was handed to
//! Envoy is queued, not delivered; only the control plane's acknowledgement counts.

use std::rc::Rc;
use std::time::Duration;

use prost::Message as _;
use proxy_wasm::types::{BufferType, LogLevel};
use reeve_policy::lease::pools::Of;
use reeve_policy::lease::{LeaseId, Tenure, Want, standing, term};
use reeve_policy::limit::Limit;
use reeve_policy::model_limits::ModelLimitsTable;
use reeve_policy::view::Settings;
use reeve_policy::virtual_key::{Owner, VirtualKey};
use reeve_proto::v1::control_message::Kind as Down;
use reeve_proto::v1::filter_message::Kind as Up;
use reeve_proto::v1::{
    self, ControlMessage, FilterMessage, Heartbeat, Hello, PolicyApplied, RenewRequest,
    RenewResponse, Welcome,
};

use crate::config::Config;
use crate::flights::{self, Watch};
use crate::governance::Terms;
use crate::leadership::Lease;
use crate::shared::{self, Version};
use crate::{host, limits, observed, outbox, slots};

const SERVICE: &str = "reeve.v1.PolicySync";
const METHOD: &str = "Sync";
const RENEW: &str = "Renew";
const HEARTBEAT_MS: i64 = 1_000;
const SILENCE_MS: i64 = 5_000;
const RETRY_MS: i64 = 500;
/// How long the control plane has to renew the session of slots, and when to ask again if it has not.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(3);
const RENEW_AGAIN_MS: i64 = 1_000;
/// How often the leader looks whether VMs have died.
const LOOK_MS: i64 = 1_000;
/// Records in one message, and messages in one tick: what one tick may cost the main thread.
const BATCH_RECORDS: u64 = 256;
const BATCHES_PER_TICK: u64 = 16;
/// How long a number that was given out may lack its record (its VM is between two hostcalls) until
/// it is taken for lost (its VM trapped there).
const HOLE_MS: i64 = 5_000;
/// How often it is told what came of attempts, at most.
const OBSERVED_EVERY_MS: i64 = 500;

/// See the module. Every root context that may lead has one; one of them leads.
#[derive(Debug)]
pub(crate) struct Sync {
    config: Config,
    lease: Lease,
    stream: Option<Stream>,
    retry_at_ms: i64,
    leads: bool,
    watch: Watch,
    look_at_ms: i64,
    /// What the control plane is still to be told about leases.
    asking: Vec<Want>,
    /// When the session of slots is to be renewed, by the clock that only goes forward.
    renew_at_ms: i64,
    /// The call that is to renew it, and when it was sent.
    renewal: Option<(u32, i64)>,
}

#[derive(Debug)]
struct Stream {
    token: u32,
    /// When its hello was sent, by the clock that only goes forward.
    hello_at_ms: i64,
    heard_at_ms: i64,
    sent_at_ms: i64,
    /// Sequence number up to which usage was sent on this stream; `None` until the control plane has
    /// said what it holds.
    sent_through: Option<u64>,
    /// A number without a record, and since when.
    hole: Option<(u64, i64)>,
    /// When it is time to look what came of attempts, and what was told of it; `None`: nothing yet.
    observe_at_ms: i64,
    observed: Option<v1::Observed>,
}

impl Sync {
    /// `now_nanos` sets this context apart from every other of the process.
    pub(crate) fn new(config: Config, now_nanos: u64, preferred: bool) -> Self {
        let now_ms = i64::try_from(now_nanos / 1_000_000).unwrap_or(i64::MAX);
        let lease = Lease::new(now_nanos, now_ms, preferred);
        Self {
            config,
            lease,
            stream: None,
            retry_at_ms: 0,
            leads: false,
            watch: Watch::default(),
            look_at_ms: 0,
            asking: Vec::new(),
            renew_at_ms: 0,
            renewal: None,
        }
    }

    /// What the control plane is to be told about leases, each once.
    pub(crate) fn take_asking(&mut self) -> Vec<Want> {
        std::mem::take(&mut self.asking)
    }

    /// The cluster of the control plane.
    pub(crate) fn cluster(&self) -> Rc<str> {
        Rc::clone(&self.config.policy_cluster)
    }

    /// What the configuration says about exchanges.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            policy_cluster: self.cluster(),
            max_silence_ms: i64::from(self.config.max_silence_s).saturating_mul(1_000),
            hold_headers: self.config.hold_headers,
        }
    }

    /// Does what is due. `true`: this context has just become the leader.
    pub(crate) fn tick(&mut self, now_ms: i64) -> bool {
        if !self.lease.hold(now_ms) {
            if let Some(stream) = self.stream.take() {
                host::cancel_stream(stream.token);
            }
            self.leads = false;
            return false;
        }
        #[cfg(feature = "fault-injection")]
        crate::fault::trap_sync_if_asked();
        let new = !self.leads;
        if new {
            self.leads = true;
            self.watch = Watch::default();
            outbox::create();
            flights::create();
            if shared::count(shared::RECALLS).is_none() {
                host::shared_set(shared::RECALLS, &0_u64.to_le_bytes());
            }
            host::log(LogLevel::Info, "this context holds the policy stream");
        }
        if now_ms >= self.look_at_ms {
            self.look_at_ms = now_ms.saturating_add(LOOK_MS);
            self.watch.look(now_ms);
        }
        self.renew(host::monotonic_ms());
        match &mut self.stream {
            None if now_ms >= self.retry_at_ms => self.open(now_ms),
            None => {}
            Some(stream) if now_ms.saturating_sub(stream.heard_at_ms) > SILENCE_MS => {
                host::log(
                    LogLevel::Warn,
                    "the control plane fell silent: stream dropped",
                );
                host::cancel_stream(stream.token);
                self.stream = None;
                self.retry_at_ms = now_ms;
            }
            Some(stream) => {
                stream.send_usage(now_ms);
                stream.send_observed(now_ms);
                if now_ms.saturating_sub(stream.sent_at_ms) >= HEARTBEAT_MS {
                    stream.send(Up::Heartbeat(Heartbeat {}), now_ms);
                }
            }
        }
        new
    }

    /// Asks to keep the slots that this process holds, when it is time for that.
    fn renew(&mut self, now_ms: i64) {
        let session = Version::read().unwrap_or_default().tenure.session;
        if session == 0 || now_ms < self.renew_at_ms {
            return;
        }
        self.renew_at_ms = now_ms.saturating_add(term::RENEW_EVERY_MS);
        let request = RenewRequest { session }.encode_to_vec();
        let cluster = &self.config.policy_cluster;
        let token = host::call(cluster, SERVICE, RENEW, &request, RENEWAL_PATIENCE);
        self.renewal = token.map(|token| (token, now_ms));
    }

    /// What came of it.
    pub(crate) fn on_renewed(&mut self, token: u32, status: u32, size: usize) {
        let Some((_, asked_at_ms)) = self.renewal.take_if(|(asked, _)| *asked == token) else {
            return;
        };
        if status != 0 {
            self.renew_at_ms = asked_at_ms.saturating_add(RENEW_AGAIN_MS);
            return;
        }
        let bytes = host::buffer(BufferType::GrpcReceiveBuffer, size);
        match RenewResponse::decode(bytes.as_slice()) {
            Ok(response) => slots::renewed(response.slot_session, asked_at_ms),
            Err(error) => host::error(&format!("an answer about slots is unusable: {error}")),
        }
    }

    fn open(&mut self, now_ms: i64) {
        self.retry_at_ms = now_ms.saturating_add(RETRY_MS);
        let Some(token) = host::open_stream(&self.config.policy_cluster, SERVICE, METHOD) else {
            host::error("the policy cluster of the plugin configuration does not exist");
            return;
        };
        let mut stream = Stream {
            token,
            hello_at_ms: host::monotonic_ms(),
            heard_at_ms: now_ms,
            sent_at_ms: now_ms,
            sent_through: None,
            hole: None,
            observe_at_ms: now_ms,
            observed: None,
        };
        let version = Version::read().unwrap_or_default();
        let hello = Hello {
            node_id: self.config.node_id.clone(),
            boot_id: shared::boot_id(&self.config.node_id, host::now_nanos()),
            epoch: version.epoch,
            version: version.number,
        };
        stream.send(Up::Hello(hello), now_ms);
        self.stream = Some(stream);
    }

    /// The stream has ended; the next tick after a pause opens another.
    pub(crate) fn on_close(&mut self, token: u32, status: u32, now_ms: i64) {
        if self
            .stream
            .as_ref()
            .is_some_and(|stream| stream.token == token)
        {
            host::log(
                LogLevel::Warn,
                &format!("policy stream closed: gRPC status {status}"),
            );
            self.stream = None;
            self.retry_at_ms = now_ms.saturating_add(RETRY_MS);
        }
    }

    /// A message from the control plane.
    pub(crate) fn on_message(&mut self, token: u32, size: usize, now_ms: i64) {
        let bytes = host::buffer(BufferType::GrpcReceiveBuffer, size);
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.token == token) else {
            return;
        };
        stream.heard_at_ms = now_ms;
        Version::hear(now_ms);
        let kind = match ControlMessage::decode(bytes.as_slice()) {
            Ok(message) => message.kind,
            Err(error) => {
                host::error(&format!(
                    "message of the control plane is unusable: {error}"
                ));
                return;
            }
        };
        match kind {
            Some(Down::Welcome(welcome)) => {
                outbox::acknowledge(welcome.acknowledged_sequence);
                stream.sent_through = Some(welcome.acknowledged_sequence);
                begin_tenure(&welcome);
                if welcome.slot_session != 0 {
                    slots::renewed(welcome.slot_session, stream.hello_at_ms);
                }
            }
            Some(Down::UsageAck(ack)) => outbox::acknowledge(ack.sequence),
            Some(Down::Spent(spent)) => {
                for limit in spent.limits {
                    limits::set_others(&limit.limit_id, limit.window_start_ms, limit.amount);
                }
            }
            Some(Down::Recall(recall)) => self.asking.extend(recalled(&recall)),
            Some(Down::PolicyUpdate(update)) => {
                if let Some(applied) = apply(update) {
                    stream.send(Up::PolicyApplied(applied), now_ms);
                }
            }
            // Heartbeats have done their work above; a kind of a later version is not for us.
            Some(Down::Heartbeat(_)) | None => {}
        }
    }
}

impl Stream {
    fn send(&mut self, kind: Up, now_ms: i64) {
        let message = FilterMessage { kind: Some(kind) };
        if host::send_on_stream(self.token, &message.encode_to_vec()) {
            self.sent_at_ms = now_ms;
        }
    }

    fn send_usage(&mut self, now_ms: i64) {
        let Some(mut through) = self.sent_through else {
            return;
        };
        let last = outbox::last();
        for _ in 0..BATCHES_PER_TICK {
            let mut records = Vec::new();
            let end = last.min(through.saturating_add(BATCH_RECORDS));
            while through < end {
                let sequence = through.saturating_add(1);
                match outbox::get(sequence) {
                    Some(record) => records.push(record),
                    None if self.is_lost(sequence, now_ms) => {
                        host::error(&format!("usage record {sequence} is lost"));
                    }
                    None => break,
                }
                through = sequence;
            }
            self.sent_through = Some(through);
            if records.is_empty() {
                return;
            }
            self.send(Up::UsageBatch(v1::UsageBatch { records }), now_ms);
        }
    }

    /// Tells what came of attempts, if there is news. The first time it is what the next are compared with.
    fn send_observed(&mut self, now_ms: i64) {
        // On a clock that was set back it is time, too.
        let left_ms = self.observe_at_ms.saturating_sub(now_ms);
        if self.sent_through.is_none() || (1..=OBSERVED_EVERY_MS).contains(&left_ms) {
            return;
        }
        self.observe_at_ms = now_ms.saturating_add(OBSERVED_EVERY_MS);
        let observed = observed::sum();
        if self.observed.as_ref() != Some(&observed) {
            self.send(Up::Observed(observed.clone()), now_ms);
            self.observed = Some(observed);
        }
    }

    /// Has this number been without a record for too long?
    fn is_lost(&mut self, sequence: u64, now_ms: i64) -> bool {
        match self.hole {
            Some((hole, since_ms)) if hole == sequence => now_ms.saturating_sub(since_ms) > HOLE_MS,
            _ => {
                self.hole = Some((sequence, now_ms));
                false
            }
        }
    }
}

/// From now on the process holds its leases under this session. What it held under another is void.
fn begin_tenure(welcome: &Welcome) {
    let tenure = Tenure {
        session: welcome.session,
        divisor: welcome.standing_divisor,
    };
    let current = Version::read().unwrap_or_default();
    if current.tenure == tenure {
        return;
    }
    // Before anybody can open a pool of this session.
    for window in &welcome.withheld {
        let lease = LeaseId {
            session: tenure.session,
            window_start_ms: window.window_start_ms,
        };
        limits::withhold(&window.limit_id, lease);
    }
    Version { tenure, ..current }.write();
}

/// Takes back what is not used of what was recalled; gives what the control plane is to be told.
fn recalled(recall: &v1::Recall) -> Vec<Want> {
    let tenure = Version::read().unwrap_or_default().tenure;
    let of_slots = slots::tenure().unwrap_or_default();
    let wants = recall.windows.iter().filter_map(|window| {
        // What is held under no session of now is void.
        let mut held_under = [tenure, of_slots].into_iter();
        let held_under = held_under.find(|tenure| tenure.session == window.session)?;
        limits::recall(Of {
            limit_id: &window.limit_id,
            lease: LeaseId {
                session: held_under.session,
                window_start_ms: window.window_start_ms,
            },
            standing: standing(window.base, held_under.divisor),
            exactly: held_under == of_slots,
        })
    });
    let wants = wants.collect();
    // Workers look at what they hold.
    shared::increment(shared::RECALLS);
    wants
}

/// Writes a part of an update into shared data; after the last part the update is in force.
fn apply(update: v1::PolicyUpdate) -> Option<PolicyApplied> {
    let v1::PolicyUpdate {
        epoch,
        version,
        entries,
        removed,
        last,
    } = update;
    let current = Version::read().unwrap_or_default();
    if epoch != current.epoch && epoch != current.incoming {
        Version {
            incoming: epoch,
            ..current
        }
        .write();
    }
    for entry in entries {
        // Counters first: an entry is in force the moment it is written.
        match limits_of(&entry) {
            Ok(limits) => limits.iter().for_each(|limit| limits::create(limit)),
            Err(error) => {
                host::error(&format!("policy entry {} is refused: {error}", entry.key));
                shared::write_entry(epoch, &entry.key, &[]);
                continue;
            }
        }
        shared::write_entry(epoch, &entry.key, &entry.value);
    }
    for key in removed {
        shared::write_entry(epoch, &key, &[]);
    }
    last.then(|| {
        Version {
            epoch,
            number: version,
            incoming: 0,
            ..current
        }
        .write();
        PolicyApplied { epoch, version }
    })
}

/// The ids of an entry's limits. `Err`: workers could not use the entry.
fn limits_of(entry: &v1::PolicyEntry) -> Result<Vec<String>, String> {
    let bytes = entry.value.as_slice();
    if entry.key.starts_with("key/") {
        let key = v1::VirtualKey::decode(bytes).map_err(|error| error.to_string())?;
        let key = VirtualKey::try_from(key).map_err(|error| error.to_string())?;
        let of_configs = key
            .provider_configs
            .into_iter()
            .flat_map(|config| config.limits);
        Ok(key
            .limits
            .into_iter()
            .chain(of_configs)
            .chain(of_models(&key.model_limits))
            .map(|limit| limit.id)
            .collect())
    } else if entry.key.starts_with("owner/") {
        let owner = v1::Owner::decode(bytes).map_err(|error| error.to_string())?;
        let owner = Owner::try_from(owner).map_err(|error| error.to_string())?;
        Ok(owner.limits.into_iter().map(|limit| limit.id).collect())
    } else if entry.key == "settings" {
        let settings = v1::Settings::decode(bytes).map_err(|error| error.to_string())?;
        let settings = Settings::try_from(settings).map_err(|error| error.to_string())?;
        Ok(of_models(&settings.model_limits)
            .map(|limit| limit.id)
            .collect())
    } else {
        Ok(Vec::new())
    }
}

fn of_models(table: &ModelLimitsTable) -> impl Iterator<Item = Limit> {
    let entries = table.entries().iter();
    entries.flat_map(|entry| entry.limits.clone())
}
