//! The events of a streamed answer, and how they become bytes.

use axum::body::Bytes;
use serde_json::Value;

use super::objects::with_type;
use super::usage::Reported;

/// The events of a stream, made one by one.
pub(super) type Events = Box<dyn Iterator<Item = Event> + Send>;

/// One step of an answer.
pub(super) struct Event {
    /// What the format calls it, if it names its events.
    pub(super) name: Option<&'static str>,
    /// What it says.
    pub(super) payload: Payload,
    /// Tokens of the answer that it carries; none for what stands around the answer.
    pub(super) tokens: u64,
}

/// What an event says.
pub(super) enum Payload {
    /// An object, still to be framed.
    Json(Value),
    /// Bytes that no framing changes.
    Bytes(Bytes),
}

impl Event {
    /// An event that has no name, as in OpenAI's chat completions.
    pub(super) fn data(data: Value, tokens: u64) -> Self {
        Self {
            name: None,
            payload: Payload::Json(data),
            tokens,
        }
    }

    /// An event with a name.
    pub(super) fn named(name: &'static str, data: Value, tokens: u64) -> Self {
        Self {
            name: Some(name),
            ..Self::data(data, tokens)
        }
    }

    /// An event whose name is the `type` in its data as well.
    pub(super) fn typed(name: &'static str, data: Value, tokens: u64) -> Self {
        Self::named(name, with_type(name, data), tokens)
    }

    /// Bytes that no framing changes.
    pub(super) fn bytes(bytes: impl Into<Bytes>, tokens: u64) -> Self {
        Self {
            name: None,
            payload: Payload::Bytes(bytes.into()),
            tokens,
        }
    }

    /// What ends the server-sent events of some vendors.
    pub(super) fn done() -> Self {
        Self::bytes("data: [DONE]\n\n", 0)
    }
}

/// How the events of one format are written.
#[derive(Clone, Copy)]
pub(super) struct Framing {
    /// The answer's `content-type`.
    pub(super) content_type: &'static str,
    /// The bytes of one event.
    pub(super) write: fn(&Written<'_>) -> Vec<u8>,
    /// What stands behind the last event.
    pub(super) end: &'static str,
}

/// An event whose data has been written.
pub(super) struct Written<'a> {
    /// What the format calls it, if it names its events.
    pub(super) name: Option<&'static str>,
    /// What it says, as JSON.
    pub(super) data: &'a str,
    /// Whether no event stands before it.
    pub(super) first: bool,
}

/// Server-sent events.
pub(super) const SSE: Framing = Framing {
    content_type: "text/event-stream; charset=utf-8",
    write: |event| match event.name {
        None => format!("data: {}\n\n", event.data).into(),
        Some(name) => format!("event: {name}\ndata: {}\n\n", event.data).into(),
    },
    end: "",
};

impl Framing {
    /// The bytes of `event`.
    pub(super) fn write(self, event: Event, first: bool, usage: &Reported) -> Bytes {
        match event.payload {
            Payload::Bytes(bytes) => bytes,
            Payload::Json(json) => (self.write)(&Written {
                name: event.name,
                data: &usage.write(json),
                first,
            })
            .into(),
        }
    }
}
