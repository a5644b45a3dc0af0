//! What a vendor's module has to say to one request.

use serde_json::Value;

use super::events::{Event, Events, Framing, SSE};

/// The answer to one request.
pub(super) struct Reply {
    /// The model that was asked for.
    pub(super) model: String,
    /// Tokens of the prompt, cached ones included.
    pub(super) input_tokens: u64,
    /// Output tokens that the answer does not show: they are made before its first word.
    pub(super) hidden_tokens: u64,
    /// Headers of this answer alone.
    pub(super) headers: Vec<(&'static str, String)>,
    /// The answer itself.
    pub(super) content: Content,
}

impl Reply {
    /// An answer that hides nothing and has no headers of its own.
    pub(super) fn new(model: impl Into<String>, input_tokens: u64, content: Content) -> Self {
        Self {
            model: model.into(),
            input_tokens,
            hidden_tokens: 0,
            headers: Vec::new(),
            content,
        }
    }

    /// With output tokens that the answer does not show.
    pub(super) fn hiding(self, hidden_tokens: u64) -> Self {
        Self {
            hidden_tokens,
            ..self
        }
    }

    /// With a header, if it has a value.
    pub(super) fn with_header(mut self, name: &'static str, value: Option<String>) -> Self {
        self.headers.extend(value.map(|value| (name, value)));
        self
    }
}

/// The kinds of answers.
pub(super) enum Content {
    /// One JSON body, with the tokens it carries.
    Json { body: Value, output_tokens: u64 },
    /// Plain text, with its tokens.
    Text { text: String, output_tokens: u64 },
    /// A stream.
    Stream { framing: Framing, events: Events },
}

impl Content {
    /// One JSON body, with the tokens it carries.
    pub(super) fn json(body: Value, output_tokens: u64) -> Self {
        Self::Json {
            body,
            output_tokens,
        }
    }

    /// Server-sent events.
    pub(super) fn sse(events: impl Iterator<Item = Event> + Send + 'static) -> Self {
        Self::stream(SSE, events)
    }

    /// Events that are nothing but bytes.
    pub(super) fn bytes(
        content_type: &'static str,
        events: impl Iterator<Item = Event> + Send + 'static,
    ) -> Self {
        // None of them is framed.
        let framing = Framing {
            content_type,
            ..SSE
        };
        Self::stream(framing, events)
    }

    /// Events in any framing.
    pub(super) fn stream(
        framing: Framing,
        events: impl Iterator<Item = Event> + Send + 'static,
    ) -> Self {
        Self::Stream {
            framing,
            events: Box::new(events),
        }
    }
}
