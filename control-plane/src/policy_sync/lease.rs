//! Leases between the words of the wire and those of the ledger.

use reeve_policy::lease::{Answer, Ask};
use reeve_proto::v1::{LeaseAnswer, LeaseAsk};

use crate::ledger::Key;

/// Longest id of a limit, bytes.
const MAX_ID: usize = 256;

/// What a session asks. `waits`: a request there waits for it. The sender is our own filter: what makes no
/// sense is refused as a whole.
pub(super) fn read(ask: LeaseAsk, waits: bool) -> Result<(Key, Ask), String> {
    let LeaseAsk {
        limit_id,
        window_start_ms,
        lent,
        returned,
        want,
        session,
    } = ask;
    if limit_id.is_empty() || limit_id.len() > MAX_ID {
        return Err(format!("limit_id must have 1 to {MAX_ID} bytes"));
    }
    for (field, amount) in [("lent", lent), ("returned", returned), ("want", want)] {
        if amount < 0 {
            return Err(format!("{field} is {amount}, which is no amount"));
        }
    }
    let key = Key {
        limit_id,
        window_start_ms,
    };
    let ask = Ask {
        session,
        lent,
        returned,
        want,
        waits,
    };
    Ok((key, ask))
}

/// What it is told.
pub(super) fn answer((key, answer): (Key, Answer)) -> LeaseAnswer {
    LeaseAnswer {
        limit_id: key.limit_id,
        window_start_ms: key.window_start_ms,
        lent: answer.lent,
        tight: answer.tight,
        posted: answer.posted,
        committed: answer.committed,
    }
}
