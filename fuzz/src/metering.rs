//! A response that passes through the meter, whole and in pieces.

use reeve_llm::{Endpoint, Metered, ResponseHead, ResponseMeter};

use crate::input::cut;

pub const EVENTS: &str = "text/event-stream";
pub const FRAMES: &str = "application/vnd.amazon.eventstream";
pub const JSON: &str = "application/json";

/// What the meter says, and what it passes on.
#[derive(Debug, PartialEq)]
pub struct Passed {
    pub metered: Metered,
    pub bytes: Vec<u8>,
}

/// Passes a response of this content type through a meter, as one chunk.
pub fn whole(endpoint: Endpoint, drop_usage: bool, content_type: &str, response: &[u8]) -> Passed {
    pass(
        endpoint,
        drop_usage,
        content_type,
        std::iter::once(response),
        true,
    )
}

/// Cuts the response in many ways; each must be metered and passed on like the whole.
pub fn pass_every_way(
    seed: u8,
    endpoint: Endpoint,
    drop_usage: bool,
    content_type: &str,
    response: &[u8],
) -> Passed {
    let whole = whole(endpoint, drop_usage, content_type, response);
    for end_with_last in [false, true] {
        let chunks = cut(seed, response);
        let parts = pass(endpoint, drop_usage, content_type, chunks, end_with_last);
        assert_eq!(parts, whole, "{endpoint:?}, cut by {seed}");
    }
    whole
}

fn pass<'a>(
    endpoint: Endpoint,
    drop_usage: bool,
    content_type: &str,
    chunks: impl Iterator<Item = &'a [u8]>,
    end_with_last: bool,
) -> Passed {
    let head = ResponseHead {
        content_type: Some(content_type.as_bytes()),
        ..ResponseHead::default()
    };
    let mut meter = ResponseMeter::new(endpoint, drop_usage, head);
    let may_change = meter.may_change();
    let mut bytes = Vec::new();
    let mut chunks = chunks.peekable();
    while let Some(chunk) = chunks.next() {
        let ends = end_with_last && chunks.peek().is_none();
        match meter.on_chunk(chunk, ends) {
            Some(changed) => {
                assert!(may_change);
                bytes.extend(changed);
            }
            None => bytes.extend(chunk),
        }
    }
    if !end_with_last {
        bytes.extend(meter.on_chunk(&[], true).unwrap_or_default());
    }
    Passed {
        metered: meter.finish(),
        bytes,
    }
}
