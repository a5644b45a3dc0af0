//! Meters a response while it passes: how it is framed, what its events say, what it comes to.
//!
//! | file | idea |
//! |---|---|
//! | `body` | one JSON document, kept until its end |
//! | `stream` | server-sent events, with the usage chunk that only Reeve asked for taken out |
//! | `events` | what the events of a stream add up to, by each API's rules |
//! | `metered` | the result |

mod body;
mod events;
mod metered;
mod stream;

pub use body::MAX_BODY_BYTES;
pub use metered::Metered;

use crate::aws_event_stream::{self, Frame};
use crate::endpoint::Output;
use crate::json_array::{self, Element};
use crate::media_type::{essence_is, is_event_stream};
use crate::usage::bedrock;
use crate::{Endpoint, UsageError};
use body::BodyMeter;
use events::EventMeter;
use metered::estimate;
use stream::StreamMeter;

/// The header fields of a response that metering asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseHead<'a> {
    /// `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// `content-encoding`.
    pub content_encoding: Option<&'a [u8]>,
    /// [`bedrock::COUNT_HEADERS`]; asked for when [`wants_count_headers`].
    pub counts: [Option<&'a [u8]>; 4],
}

/// Does this API say in header fields what it used?
pub const fn wants_count_headers(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::InvokeModel)
}

/// Meters the response of one successful request. How the response is cut into chunks changes
/// nothing: neither the usage read nor the bytes passed on.
#[derive(Debug)]
pub struct ResponseMeter(Framing);

#[derive(Debug)]
enum Framing {
    /// `text/event-stream`.
    Events(StreamMeter),
    /// A JSON array that grows: Gemini's streams without `alt=sse`.
    Array(json_array::Splitter, EventMeter),
    /// `application/vnd.amazon.eventstream`.
    Frames {
        decoder: aws_event_stream::Decoder,
        events: EventMeter,
        broken: bool,
    },
    /// One JSON document.
    Body(BodyMeter),
    /// Nothing that reports usage: audio, plain text.
    Opaque { output: Output, bytes: u64 },
    /// In a content coding that nobody here decodes.
    Encoded { bytes: u64 },
}

impl ResponseMeter {
    /// A meter for a response of this API. `drop_usage_chunk`: take out the chunk that
    /// [`crate::Request::rewrite`] asked the provider for ([`crate::Rewritten::usage_injected`]).
    pub fn new(endpoint: Endpoint, drop_usage_chunk: bool, head: ResponseHead<'_>) -> Self {
        let content_type = head.content_type.unwrap_or_default();
        let is_encoded = head
            .content_encoding
            .is_some_and(|coding| !coding.trim_ascii().eq_ignore_ascii_case(b"identity"));
        let framing = if is_encoded {
            Framing::Encoded { bytes: 0 }
        } else if is_event_stream(content_type) {
            Framing::Events(StreamMeter::new(endpoint, drop_usage_chunk))
        } else if essence_is(content_type, b"application/vnd.amazon.eventstream") {
            Framing::Frames {
                decoder: aws_event_stream::Decoder::default(),
                events: EventMeter::new(endpoint),
                broken: false,
            }
        } else if endpoint == Endpoint::StreamGenerateContent {
            Framing::Array(json_array::Splitter::default(), EventMeter::new(endpoint))
        } else if is_document(content_type) {
            Framing::Body(BodyMeter::new(endpoint, bedrock::headers(head.counts)))
        } else {
            Framing::Opaque {
                output: endpoint.output(),
                bytes: 0,
            }
        };
        Self(framing)
    }

    /// Does the response come piece by piece?
    pub const fn is_stream(&self) -> bool {
        matches!(
            self.0,
            Framing::Events(_) | Framing::Array(..) | Framing::Frames { .. }
        )
    }

    /// Is it one JSON document, which is of no use before its end?
    pub const fn is_document(&self) -> bool {
        matches!(self.0, Framing::Body(_))
    }

    /// May [`ResponseMeter::on_chunk`] give other bytes than it was given?
    pub const fn may_change(&self) -> bool {
        match &self.0 {
            Framing::Events(stream) => stream.filters(),
            _ => false,
        }
    }

    /// Takes in a chunk. `None`: pass it on as it is. `Some`: pass this on instead; it may be
    /// empty, since an event that is not whole yet is held back. All that is held is given out with
    /// `end_of_stream`.
    pub fn on_chunk(&mut self, bytes: &[u8], end_of_stream: bool) -> Option<Vec<u8>> {
        let more: u64 = bytes.len().try_into().unwrap_or(u64::MAX);
        match &mut self.0 {
            Framing::Events(stream) => return stream.on_chunk(bytes, end_of_stream),
            Framing::Array(splitter, events) => {
                let mut rest = bytes;
                while let Some(element) = splitter.next_element(&mut rest) {
                    on_element(events, element);
                }
            }
            Framing::Frames {
                decoder,
                events,
                broken,
            } => {
                let mut rest = bytes;
                while let Some(frame) = decoder.next_message(&mut rest) {
                    *broken |= on_frame(events, frame);
                }
            }
            Framing::Body(body) => body.on_chunk(bytes),
            Framing::Opaque { bytes, .. } | Framing::Encoded { bytes } => {
                *bytes = bytes.saturating_add(more);
            }
        }
        None
    }

    /// The result, at the response's end or where it broke off.
    pub fn finish(self) -> Metered {
        match self.0 {
            Framing::Events(stream) => stream.finish(),
            Framing::Array(mut splitter, mut events) => {
                if let Some(element) = splitter.finish() {
                    on_element(&mut events, element);
                }
                events.finish()
            }
            // A stream that breaks off inside a frame is cut, which is told by what it lacks.
            Framing::Frames { events, broken, .. } => {
                let mut metered = events.finish();
                if broken {
                    metered.usage_error = Some(UsageError::Framing);
                    metered.complete = false;
                }
                metered
            }
            Framing::Body(body) => body.finish(),
            Framing::Opaque { output, bytes } => Metered {
                complete: output == Output::Free,
                output_bytes: bytes,
                estimated_output_tokens: estimate(output, bytes, 0),
                ..Metered::default()
            },
            Framing::Encoded { bytes } => Metered {
                usage_error: Some(UsageError::Encoded),
                output_bytes: bytes,
                ..Metered::default()
            },
        }
    }
}

fn on_element(events: &mut EventMeter, element: Element<'_>) {
    match element {
        Element::Whole(bytes) | Element::Unfinished(bytes) => {
            events.on_event(bytes);
        }
        Element::TooLong(bytes) => events.on_lost(bytes),
    }
}

/// Takes a frame into account; is the framing broken?
fn on_frame(events: &mut EventMeter, frame: Frame<'_>) -> bool {
    match frame {
        Frame::Message {
            event_type,
            message_type: b"event",
            payload,
        } => events.on_frame(event_type, payload),
        // An exception ends the stream early, which is told by what it lacks.
        Frame::Message { .. } => {}
        Frame::TooLong(bytes) => events.on_lost(bytes),
        Frame::Broken => return true,
    }
    false
}

/// Is it JSON, by its name or because it does not say?
fn is_document(content_type: &[u8]) -> bool {
    content_type.is_empty()
        || essence_is(content_type, b"application/json")
        || essence_is(content_type, b"application/problem+json")
}
