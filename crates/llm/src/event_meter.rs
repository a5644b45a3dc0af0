//! What the events of a stream add up to, by each API's own rules for where usage stands.

use crate::json::{self, JsonError, Kind, Token, Tokens, Value};
use crate::metered::{Metered, estimate_tokens};
use crate::{Endpoint, Usage, UsageError};

/// Adds up the events of one stream.
#[derive(Debug)]
pub(crate) struct EventMeter {
    endpoint: Endpoint,
    usage: Usage,
    usage_error: Option<UsageError>,
    /// The usage read is the final one.
    is_final: bool,
    text_bytes: u64,
    /// Events that carried text.
    pieces: u64,
}

/// The members of an event that mean something to some API.
#[derive(Default)]
struct Event<'a> {
    kind: Option<Value<'a>>,
    usage: Option<Value<'a>>,
    choices: Option<Value<'a>>,
    delta: Option<Value<'a>>,
    message: Option<Value<'a>>,
    response: Option<Value<'a>>,
    content_block: Option<Value<'a>>,
}

impl<'a> Event<'a> {
    fn read(data: &'a [u8]) -> Result<Self, JsonError> {
        let mut event = Self::default();
        for member in json::members(json::document(data)?) {
            let member = member?;
            let place = match &*member.key {
                "type" => &mut event.kind,
                "usage" => &mut event.usage,
                "choices" => &mut event.choices,
                "delta" => &mut event.delta,
                "message" => &mut event.message,
                "response" => &mut event.response,
                "content_block" => &mut event.content_block,
                _ => continue,
            };
            *place = Some(member.value);
        }
        Ok(event)
    }

    fn kind(&self) -> std::borrow::Cow<'a, str> {
        match self.kind.as_ref().map(|value| value.kind) {
            Some(Kind::String(text)) => text.decode(),
            _ => "".into(),
        }
    }

    /// OpenAI's extra chunk: usage, and no choice at all.
    fn is_usage_chunk(&self) -> bool {
        let no_choice = self.choices.as_ref().is_some_and(is_empty_array);
        no_choice
            && self
                .usage
                .as_ref()
                .is_some_and(|usage| usage.kind == Kind::Object)
    }
}

fn is_empty_array(value: &Value<'_>) -> bool {
    let inside = value
        .raw
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

impl EventMeter {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            usage: Usage::default(),
            usage_error: None,
            is_final: false,
            text_bytes: 0,
            pieces: 0,
        }
    }

    /// Takes in an event. Is it the extra usage chunk of Chat Completions?
    pub(crate) fn on_event(&mut self, data: &[u8]) -> bool {
        if data == b"[DONE]" {
            self.is_final = true;
            return false;
        }
        let Ok(event) = Event::read(data) else {
            // What cannot be read is at least counted.
            self.add_text(data.len());
            return false;
        };
        let result = match self.endpoint {
            Endpoint::ChatCompletions | Endpoint::Embeddings => self.on_chat(&event),
            Endpoint::Responses => self.on_responses(&event),
            Endpoint::Messages => self.on_messages(&event),
        };
        if let Err(error) = result {
            self.usage_error = Some(error);
        }
        self.endpoint == Endpoint::ChatCompletions && event.is_usage_chunk()
    }

    /// Takes in an event that was too long to be kept.
    pub(crate) fn on_lost(&mut self, bytes: usize) {
        self.add_text(bytes);
    }

    pub(crate) fn finish(self) -> Metered {
        let usage = if self.usage_error.is_some() {
            Usage::default()
        } else {
            self.usage
        };
        Metered {
            usage,
            complete: self.is_final && usage.is_complete_for(self.endpoint),
            usage_error: self.usage_error,
            output_bytes: self.text_bytes,
            estimated_output_tokens: estimate_tokens(self.text_bytes, self.pieces),
        }
    }

    /// Usage is in the last chunk (without choices, or with them at some compatible providers), or
    /// in every chunk, cumulative; the last one counts.
    fn on_chat(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        if let Some(choices) = &event.choices {
            self.add_text(text_length(choices));
        }
        if let Some(usage) = &event.usage
            && let Some(usage) = crate::usage::parse(self.endpoint, usage)?
        {
            self.usage = usage;
            self.is_final |= event.choices.as_ref().is_none_or(is_empty_array);
        }
        Ok(())
    }

    /// Usage is in the response object of the event that ends the stream. Only `*.delta` events
    /// count as text: the others repeat it.
    fn on_responses(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        let kind = event.kind();
        if kind.ends_with(".delta")
            && let Some(Kind::String(delta)) = event.delta.as_ref().map(|delta| delta.kind)
        {
            self.add_text(delta.decoded_len());
        }
        if matches!(
            &*kind,
            "response.completed" | "response.incomplete" | "response.failed"
        ) && let Some(response) = &event.response
            && let Some(usage) = crate::usage::member(response.raw, "usage")?
            && let Some(usage) = crate::usage::parse(self.endpoint, &usage)?
        {
            self.usage = usage;
            self.is_final = true;
        }
        Ok(())
    }

    /// Input is in `message_start`, output in `message_delta`; the delta with a stop reason is the
    /// last.
    fn on_messages(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        match &*event.kind() {
            "message_start" => {
                if let Some(message) = &event.message
                    && let Some(usage) = crate::usage::member(message.raw, "usage")?
                {
                    self.update(&usage)?;
                }
            }
            "message_delta" => {
                if let Some(usage) = &event.usage {
                    self.update(usage)?;
                    self.is_final |= match &event.delta {
                        Some(delta) => crate::usage::member(delta.raw, "stop_reason")?
                            .is_some_and(|reason| reason.kind != Kind::Null),
                        None => false,
                    };
                }
            }
            "message_stop" => self.is_final = true,
            "content_block_start" => {
                self.add_text(event.content_block.as_ref().map_or(0, text_length));
            }
            "content_block_delta" => self.add_text(event.delta.as_ref().map_or(0, text_length)),
            _ => {}
        }
        Ok(())
    }

    fn update(&mut self, usage: &Value<'_>) -> Result<(), UsageError> {
        if let Some(usage) = crate::usage::parse(self.endpoint, usage)? {
            self.usage.update(&usage);
        }
        Ok(())
    }

    fn add_text(&mut self, bytes: usize) {
        if bytes > 0 {
            self.text_bytes = self
                .text_bytes
                .saturating_add(bytes.try_into().unwrap_or(u64::MAX));
            self.pieces = self.pieces.saturating_add(1);
        }
    }
}

/// Members whose string is generated text, at whatever depth they stand in an event.
const TEXT_MEMBERS: [&str; 8] = [
    "content",
    "text",
    "arguments",
    "partial_json",
    "thinking",
    "refusal",
    "reasoning",
    "reasoning_content",
];

/// Bytes of generated text in a value. The value has been scanned before, so it has no errors left.
fn text_length(value: &Value<'_>) -> usize {
    let mut tokens = Tokens::new(value.raw);
    let mut length = 0_usize;
    let mut is_text = false;
    while let Ok(Some(token)) = tokens.read() {
        match token {
            Token::Key(name) => {
                is_text = TEXT_MEMBERS.iter().any(|member| name.is(member));
                continue;
            }
            Token::String(text) if is_text => length = length.saturating_add(text.decoded_len()),
            _ => {}
        }
        is_text = false;
    }
    length
}
