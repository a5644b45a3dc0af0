//! Who holds the `sync` role: a lease in shared data.
//!
//! A singleton that traps is never reloaded by Envoy, and its stream stays open without anybody
//! behind it. So nobody *is* the leader; somebody holds a lease of three seconds, and whoever finds it
//! expired takes it by compare-and-swap. Where there is no singleton (a mesh), workers hold it from
//! the start.

use crate::host;

const LEADER: &str = "leader";
const LEASE_MS: i64 = 3_000;
/// How long a worker leaves the first claim to the singleton.
const DEFERENCE_MS: i64 = 1_000;

/// One root context's view of the lease.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Unlike any other's.
    owner: u64,
    /// When this context came to be.
    since_ms: i64,
    /// The singleton, which goes first.
    preferred: bool,
}

impl Lease {
    pub(crate) const fn new(owner: u64, now_ms: i64, preferred: bool) -> Self {
        Self {
            owner,
            since_ms: now_ms,
            preferred,
        }
    }

    /// Renews or takes the lease if it is there to be had. Call on every tick.
    pub(crate) fn hold(&self, now_ms: i64) -> bool {
        let renewed = encode(self.owner, now_ms.saturating_add(LEASE_MS));
        let (stored, version) = host::shared_get(LEADER);
        let Some((owner, expires_ms)) = stored.as_deref().and_then(decode) else {
            // The first claim cannot be conditional: two may write, and the last one stays. Whoever
            // finds its claim still there a tick later leads.
            if self.preferred || now_ms >= self.since_ms.saturating_add(DEFERENCE_MS) {
                host::shared_set(LEADER, &renewed);
            }
            return false;
        };
        let free = owner == self.owner || expires_ms <= now_ms;
        free && host::shared_swap(LEADER, &renewed, version)
    }
}

fn encode(owner: u64, expires_ms: i64) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&owner.to_le_bytes());
    second.copy_from_slice(&expires_ms.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(u64, i64)> {
    let (owner, rest) = bytes.split_first_chunk::<8>()?;
    Some((
        u64::from_le_bytes(*owner),
        i64::from_le_bytes(*rest.first_chunk::<8>()?),
    ))
}
