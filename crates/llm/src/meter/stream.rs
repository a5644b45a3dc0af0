//! Meters a response that is an event stream, while it passes.

use super::events::EventMeter;
use crate::sse::{self, Block, Decoder};
use crate::{Endpoint, Metered};

/// The last event of some streams repeats the whole answer (of Responses also the caller's
/// instructions, of images the image) in one line, and it is the only one with the usage: a caller
/// must not be able to push it over the limit.
const MAX_LONG_LINE_BYTES: usize = 16 << 20;

/// Blocks beyond this are passed on without waiting for their end; the usage chunk has some hundred
/// bytes.
const MAX_HELD_BYTES: usize = 64 << 10;

/// Meters an event stream and, if told so, takes out the usage chunk that only Reeve asked for.
#[derive(Debug)]
pub(super) struct StreamMeter {
    decoder: Decoder,
    events: EventMeter,
    /// `None`: everything passes as it is.
    filter: Option<Filter>,
}

/// The state of taking out the usage chunk.
#[derive(Debug, Default)]
struct Filter {
    /// The beginning of a block whose end has not come yet.
    held: Vec<u8>,
    /// The current block is so long that its beginning was passed on already.
    passing: bool,
    /// The last block was taken out.
    dropped: bool,
}

impl StreamMeter {
    /// See [`super::ResponseMeter::new`].
    pub(super) fn new(endpoint: Endpoint, drop_usage_chunk: bool) -> Self {
        let limit = match endpoint {
            Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Messages
            | Endpoint::CohereChat => sse::MAX_LINE_BYTES,
            _ => MAX_LONG_LINE_BYTES,
        };
        Self {
            decoder: Decoder::with_limit(limit),
            events: EventMeter::new(endpoint),
            filter: drop_usage_chunk.then(Filter::default),
        }
    }

    /// Can other bytes come out than go in?
    pub(super) const fn filters(&self) -> bool {
        self.filter.is_some()
    }

    /// See [`super::ResponseMeter::on_chunk`].
    pub(super) fn on_chunk(&mut self, bytes: &[u8], end_of_stream: bool) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let mut rest = bytes;
        let mut seen = bytes;
        while let Some(block) = self.decoder.next_block(&mut rest) {
            let is_usage_chunk = meter(&mut self.events, block);
            if let Some(filter) = &mut self.filter {
                let read = seen.len().saturating_sub(rest.len());
                let raw = seen.get(..read).unwrap_or_default();
                filter.on_block(raw, is_usage_chunk, block == Block::LineFeed, &mut out);
            }
            seen = rest;
        }
        if let Some(filter) = &mut self.filter {
            filter.on_tail(seen, &mut out);
        }
        if end_of_stream {
            self.end(&mut out);
        }
        (self.filter.is_some() && out != bytes).then_some(out)
    }

    /// The result, at the stream's end or where it broke off.
    pub(super) fn finish(mut self) -> Metered {
        self.end(&mut Vec::new());
        self.events.finish()
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let is_usage_chunk = self
            .decoder
            .finish()
            .is_some_and(|block| meter(&mut self.events, block));
        if let Some(filter) = &mut self.filter {
            filter.on_block(&[], is_usage_chunk, false, out);
        }
    }
}

/// Takes a block into account; is it the usage chunk?
fn meter(events: &mut EventMeter, block: Block<'_>) -> bool {
    match block {
        Block::Event(data) => events.on_event(data),
        Block::TooLong(bytes) => {
            events.on_lost(bytes);
            false
        }
        Block::Blank | Block::LineFeed => false,
    }
}

impl Filter {
    /// A block ends with `raw`, behind what is held of it.
    fn on_block(
        &mut self,
        raw: &[u8],
        is_usage_chunk: bool,
        is_line_feed: bool,
        out: &mut Vec<u8>,
    ) {
        // A last LF may come a chunk later than its CR, so it must not tip the balance.
        let raw_length = raw.strip_suffix(b"\n").unwrap_or(raw).len();
        let length = self.held.len().saturating_add(raw_length);
        let fits = !self.passing && length <= MAX_HELD_BYTES;
        self.dropped = if is_line_feed {
            self.dropped
        } else {
            is_usage_chunk && fits
        };
        if !self.dropped {
            out.extend_from_slice(&self.held);
            out.extend_from_slice(raw);
        }
        self.held.clear();
        self.passing = false;
    }

    /// The chunk ends with `raw`, inside a block.
    fn on_tail(&mut self, raw: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(raw);
        if self.passing || self.held.len() > MAX_HELD_BYTES {
            self.passing = true;
            out.append(&mut self.held);
        }
    }
}
