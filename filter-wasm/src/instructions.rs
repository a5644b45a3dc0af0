//! What `governance` tells `attempt` about one attempt, in filter state: `reeve_attempt_1` to `_4`. In
//! `reeve_try_1` to `_4` stands the cluster, where Envoy's route reads it. And what `attempt` tells
//! `governance`: in `reeve_began` when the last attempt began, in `reeve_status_1` to `_4` which status each had
//! that was left.

use reeve_exchange::chain::{Chain, MAX_ATTEMPTS};
use reeve_exchange::edit::Edit;

use crate::host;

const CLUSTERS: [&str; MAX_ATTEMPTS] = ["reeve_try_1", "reeve_try_2", "reeve_try_3", "reeve_try_4"];
const INSTRUCTIONS: [&str; MAX_ATTEMPTS] = [
    "reeve_attempt_1",
    "reeve_attempt_2",
    "reeve_attempt_3",
    "reeve_attempt_4",
];

const STATUSES: [&str; MAX_ATTEMPTS] = [
    "reeve_status_1",
    "reeve_status_2",
    "reeve_status_3",
    "reeve_status_4",
];
const BEGAN: &str = "reeve_began";

/// How one attempt differs from what the filter has sent on.
#[derive(Debug, Default)]
pub(crate) struct Instructions {
    /// No other attempt comes after it.
    pub(crate) is_last: bool,
    /// Length of its body, where attempts have bodies of different lengths.
    pub(crate) content_length: Option<u32>,
    /// What to change in the body.
    pub(crate) edit: Option<Edit>,
    /// Path below the provider's base URL, and query.
    pub(crate) path: Vec<u8>,
}

/// Writes down all attempts. `size`: of the body that is sent on.
pub(crate) fn write(chain: &Chain, size: usize) {
    let has_edits = chain.attempts().any(|plan| plan.edit.is_some());
    let mut attempts = chain.attempts().peekable();
    for (cluster, instructions) in CLUSTERS.into_iter().zip(INSTRUCTIONS) {
        let Some(plan) = attempts.next() else {
            return;
        };
        let length = plan
            .edit
            .as_ref()
            .map_or(size, |edit| edit.length_after(size));
        let content_length = has_edits.then(|| u32::try_from(length).unwrap_or(u32::MAX));
        let text = Instructions {
            is_last: attempts.peek().is_none(),
            content_length,
            edit: plan.edit.clone(),
            path: plan.upstream_path.clone().into_bytes(),
        };
        host::set_property(cluster, plan.cluster.as_bytes());
        host::set_property(instructions, &text.encode());
    }
}

/// Those for the attempt with this number, from 1. `None`: nobody has judged the request.
pub(crate) fn read(attempt: usize) -> Option<Instructions> {
    let name = INSTRUCTIONS.get(attempt.checked_sub(1)?)?;
    Instructions::decode(&host::property(&[name])?)
}

/// An attempt begins that is not the first.
pub(crate) fn note_begin(now_ms: i64) {
    host::set_property(BEGAN, &now_ms.to_le_bytes());
}

/// When the last attempt began, if it is not the first.
pub(crate) fn began_ms() -> Option<i64> {
    let bytes = host::property(&[BEGAN])?;
    Some(i64::from_le_bytes(*bytes.first_chunk()?))
}

/// The attempt with this number, from 1, has this answer.
pub(crate) fn note_status(number: usize, status: u16) {
    if let Some(name) = number.checked_sub(1).and_then(|index| STATUSES.get(index)) {
        host::set_property(name, &status.to_le_bytes());
    }
}

/// What the attempt with this index, from 0, had for an answer; 0: none.
pub(crate) fn status(index: usize) -> u16 {
    let bytes = STATUSES.get(index).and_then(|name| host::property(&[name]));
    let bytes = bytes.unwrap_or_default();
    bytes
        .first_chunk()
        .map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

/// Stands for a number that there is not.
const NONE: u32 = u32::MAX;

impl Instructions {
    /// One byte, four little-endian numbers, the bytes of the edit, the path.
    fn encode(&self) -> Vec<u8> {
        let number = |number: usize| u32::try_from(number).unwrap_or(NONE);
        let (start, end, bytes) = match &self.edit {
            Some(edit) => (number(edit.start), number(edit.end), edit.bytes.as_slice()),
            None => (NONE, NONE, [].as_slice()),
        };
        let words = [
            self.content_length.unwrap_or(NONE),
            start,
            end,
            number(bytes.len()),
        ];
        let words = words.map(u32::to_le_bytes);
        [
            &[u8::from(self.is_last)],
            words.as_flattened(),
            bytes,
            &self.path,
        ]
        .concat()
    }

    fn decode(text: &[u8]) -> Option<Self> {
        let ([is_last], rest) = text.split_first_chunk::<1>()?;
        let (words, rest) = rest.split_first_chunk::<16>()?;
        let mut words = words.as_chunks::<4>().0.iter();
        let mut number = || words.next().map(|word| u32::from_le_bytes(*word));
        let (content_length, start, end, length) = (number()?, number()?, number()?, number()?);
        let (bytes, path) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let edit = if start == NONE {
            None
        } else {
            Some(Edit {
                start: usize::try_from(start).ok()?,
                end: usize::try_from(end).ok()?,
                bytes: bytes.to_vec(),
            })
        };
        Some(Self {
            is_last: *is_last != 0,
            content_length: (content_length != NONE).then_some(content_length),
            edit,
            path: path.to_vec(),
        })
    }
}
