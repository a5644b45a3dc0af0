//! Usage that waits to be reported: a ring in shared data.
//!
//! Shared data outlives a VM that traps, so a record that is in the ring is reported, by whoever
//! leads then. Its sequence number is its identity: the control plane counts each once, however often
//! it is sent.

use prost::Message as _;
use reeve_proto::v1::UsageRecord;

use crate::host;
use crate::shared::{self, USAGE_ACKED, USAGE_NEXT};

/// Records that can wait. At a few hundred bytes each: some 20 MB at the very worst.
const SLOTS: u64 = 65_536;
/// Requests are refused this many records before the ring is full: those in flight need a place.
const RESERVE: u64 = 4_096;

/// Is there a place for the usage of one more request?
pub(crate) fn has_room() -> bool {
    let (Some(next), Some(acked)) = (shared::count(USAGE_NEXT), shared::count(USAGE_ACKED)) else {
        return false;
    };
    next.saturating_sub(acked) < SLOTS - RESERVE
}

/// Puts a record into the ring under the next sequence number.
pub(crate) fn append(mut record: UsageRecord) {
    let Some(sequence) = shared::increment(USAGE_NEXT) else {
        host::error("usage record lost: no policy has been applied in this process");
        return;
    };
    record.sequence = sequence;
    host::shared_set(&slot(sequence), &record.encode_to_vec());
}

/// Creates the ring's counts. Leader only; see `shared.rs`.
pub(crate) fn create() {
    for count in [USAGE_NEXT, USAGE_ACKED] {
        if shared::count(count).is_none() {
            host::shared_set(count, &0_u64.to_le_bytes());
        }
    }
}

/// The record with this number. `None`: it has not been written (yet).
pub(crate) fn get(sequence: u64) -> Option<UsageRecord> {
    let record = UsageRecord::decode(host::shared_get(&slot(sequence)).0?.as_slice()).ok()?;
    (record.sequence == sequence).then_some(record)
}

/// The last sequence number given out.
pub(crate) fn last() -> u64 {
    shared::count(USAGE_NEXT).unwrap_or(0)
}

/// Everything up to `sequence` is durable. Leader only.
pub(crate) fn acknowledge(sequence: u64) {
    if shared::count(USAGE_ACKED).unwrap_or(0) < sequence {
        host::shared_set(USAGE_ACKED, &sequence.to_le_bytes());
    }
}

fn slot(sequence: u64) -> String {
    format!("usage/{}", sequence % SLOTS)
}
