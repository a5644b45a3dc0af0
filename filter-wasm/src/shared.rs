//! The layout of shared data: what the VMs of one Envoy process know in common.
//!
//! | key | value | written by |
//! |---|---|---|
//! | `version` | [`Version`] | the leader |
//! | `settings`, `key/…`, `owner/…`, `model/…`, `models/…`, `shares` | epoch (`u64` LE), encoded message; nothing behind the epoch: removed | the leader |
//! | `limit/<id>` | [`reeve_policy::lease::Pool`] | created by the leader, then everyone by compare-and-swap |
//! | `spent/<id>` | start of a window, used in it by all other processes (`i64` LE) | the leader |
//! | `usage_next`, `usage_acked` | `u64` LE: last sequence number given out, last one acknowledged | created by the leader; everyone; the leader |
//! | `usage/<slot>` | an encoded `UsageRecord` | everyone, each its own slot |
//! | `vm_count`, `vm/<n>`, `flight/<n>/<place>` | see `flights.rs` | created by the leader, then by each VM |
//! | `observed/<n>` | an encoded `Observed`: what came of a VM's attempts, in all | each VM, its own |
//! | `slots` | [`reeve_policy::lease::term::Term`] | the leader |
//! | `recalls` | `u64` LE: grows whenever something is recalled | created by the leader; the leader |
//! | `leader` | see `leadership.rs` | whoever leads |
//! | `boot` | this life of the process | the first leader |
//!
//! The host cannot write a key only if it is absent, so everything that several VMs change is created
//! by the one leader before anything refers to it.

use reeve_policy::lease::Tenure;

use crate::host;

pub(crate) const USAGE_NEXT: &str = "usage_next";
pub(crate) const USAGE_ACKED: &str = "usage_acked";
pub(crate) const RECALLS: &str = "recalls";
const VERSION: &str = "version";
const BOOT: &str = "boot";

/// Which entries of shared data are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Version {
    /// The life of the control plane that wrote them.
    pub(crate) epoch: u64,
    /// The newest version that was applied whole.
    pub(crate) number: u64,
    /// The epoch of a full update that is being applied; 0: none. Its entries are in force one by
    /// one, those it has not replaced yet stay in force until it ends.
    pub(crate) incoming: u64,
    /// Under which this process holds leases.
    pub(crate) tenure: Tenure,
    /// When the control plane was last heard; milliseconds since the Unix epoch, to the second.
    pub(crate) heard_ms: i64,
}

impl Version {
    /// `None`: no policy has arrived in this process.
    pub(crate) fn read() -> Option<Self> {
        let bytes = host::shared_get(VERSION).0?;
        let mut words = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|word| u64::from_le_bytes(*word));
        Some(Self {
            epoch: words.next()?,
            number: words.next()?,
            incoming: words.next()?,
            tenure: Tenure {
                session: words.next()?.cast_signed(),
                divisor: u32::try_from(words.next()?).ok()?,
            },
            heard_ms: words.next()?.cast_signed(),
        })
    }

    pub(crate) fn write(self) {
        let words = [
            self.epoch,
            self.number,
            self.incoming,
            self.tenure.session.cast_unsigned(),
            u64::from(self.tenure.divisor),
            self.heard_ms.cast_unsigned(),
        ];
        let words = words.map(u64::to_le_bytes);
        host::shared_set(VERSION, words.as_flattened());
    }

    /// The control plane is heard. Leader only.
    pub(crate) fn hear(now_ms: i64) {
        const EVERY_MS: i64 = 1_000;
        let current = Self::read().unwrap_or_default();
        let age_ms = now_ms.saturating_sub(current.heard_ms);
        // A clock that was set back makes it new, too.
        if !(0..EVERY_MS).contains(&age_ms) {
            Self {
                heard_ms: now_ms,
                ..current
            }
            .write();
        }
    }

    /// Has the control plane been silent for longer than this? On a clock that was set back by more it has:
    /// how long is not known, and one that lives is heard within a second.
    pub(crate) const fn is_silent(self, now_ms: i64, most_ms: i64) -> bool {
        now_ms.saturating_sub(self.heard_ms).saturating_abs() > most_ms
    }

    /// The same policy, whenever it was heard.
    pub(crate) const fn is_same_policy(self, other: Self) -> bool {
        self.epoch == other.epoch
            && self.number == other.number
            && self.incoming == other.incoming
            && self.tenure.session == other.tenure.session
            && self.tenure.divisor == other.tenure.divisor
    }

    /// Is there a whole policy to decide by?
    pub(crate) const fn is_whole(self) -> bool {
        self.epoch != 0
    }

    /// The message of an entry that is in force.
    pub(crate) fn entry(self, key: &str) -> Option<Vec<u8>> {
        let mut bytes = host::shared_get(key).0?;
        let (epoch, message) = bytes.split_first_chunk::<8>()?;
        let epoch = u64::from_le_bytes(*epoch);
        if message.is_empty() || (epoch != self.epoch && epoch != self.incoming) {
            return None;
        }
        bytes.drain(..8);
        Some(bytes)
    }
}

/// Writes an entry; an empty message removes it.
pub(crate) fn write_entry(epoch: u64, key: &str, message: &[u8]) {
    let mut value = Vec::with_capacity(message.len().saturating_add(8));
    value.extend_from_slice(&epoch.to_le_bytes());
    value.extend_from_slice(message);
    host::shared_set(key, &value);
}

/// Reads a count.
pub(crate) fn count(key: &str) -> Option<u64> {
    let bytes = host::shared_get(key).0?;
    Some(u64::from_le_bytes(*bytes.first_chunk::<8>()?))
}

/// Adds one to a count and gives the sum. `None`: it was never created.
pub(crate) fn increment(key: &str) -> Option<u64> {
    loop {
        let (value, version) = host::shared_get(key);
        let sum = u64::from_le_bytes(*value?.first_chunk::<8>()?).wrapping_add(1);
        if host::shared_swap(key, &sum.to_le_bytes(), version) {
            return Some(sum);
        }
    }
}

/// This life of the process, for the leader to tell the control plane.
pub(crate) fn boot_id(node_id: &str, now_nanos: u64) -> String {
    if let Some(boot) = host::shared_get(BOOT)
        .0
        .and_then(|bytes| String::from_utf8(bytes).ok())
    {
        return boot;
    }
    let hash = node_id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let boot = format!("{now_nanos:016x}{:08x}", hash >> 32);
    host::shared_set(BOOT, boot.as_bytes());
    boot
}

/// What all other processes have used of a limit: the start of a window, and how much in it.
pub(crate) fn spent(limit_id: &str) -> Option<(i64, i64)> {
    let bytes = host::shared_get(&spent_key(limit_id)).0?;
    match bytes.as_chunks::<8>().0 {
        [start_ms, amount] => Some((i64::from_le_bytes(*start_ms), i64::from_le_bytes(*amount))),
        _ => None,
    }
}

/// Leader only.
pub(crate) fn set_spent(limit_id: &str, window_start_ms: i64, amount: i64) {
    let bytes = [window_start_ms, amount].map(i64::to_le_bytes).concat();
    host::shared_set(&spent_key(limit_id), &bytes);
}

fn spent_key(limit_id: &str) -> String {
    format!("spent/{limit_id}")
}
