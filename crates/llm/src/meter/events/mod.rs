//! What the events of a stream add up to, by each API's own rules for where usage stands.

mod anthropic;
mod bedrock;
mod cohere;
mod gemini;
mod openai;
mod text;

use std::borrow::Cow;

use super::metered::{Metered, estimate};
use crate::endpoint::Output;
use crate::json::{self, JsonError, Kind, Value};
use crate::usage::anthropic::Counts;
use crate::usage::member;
use crate::{Endpoint, ServiceTier, Usage, UsageError, WireFormat};

/// Adds up the events of one stream.
#[derive(Debug)]
pub(crate) struct EventMeter {
    endpoint: Endpoint,
    usage: Usage,
    service_tier: Option<ServiceTier>,
    /// Anthropic's counts, which come piece by piece.
    counts: Counts,
    /// Of Anthropic: what the whole answer has of output was told.
    output_told: bool,
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
    /// Bytes of the whole.
    length: usize,
    kind: Option<Value<'a>>,
    usage: Option<Value<'a>>,
    service_tier: Option<Value<'a>>,
    choices: Option<Value<'a>>,
    delta: Option<Value<'a>>,
    message: Option<Value<'a>>,
    response: Option<Value<'a>>,
    content_block: Option<Value<'a>>,
    usage_metadata: Option<Value<'a>>,
    candidates: Option<Value<'a>>,
    prompt_feedback: Option<Value<'a>>,
    x_groq: Option<Value<'a>>,
    invocation_metrics: Option<Value<'a>>,
}

impl<'a> Event<'a> {
    fn read(text: &'a str) -> Result<Self, JsonError> {
        let mut event = Self {
            length: text.len(),
            ..Self::default()
        };
        for member in json::members(text) {
            let member = member?;
            let place = match &*member.key {
                "type" => &mut event.kind,
                "usage" => &mut event.usage,
                "service_tier" => &mut event.service_tier,
                "choices" => &mut event.choices,
                "delta" => &mut event.delta,
                "message" => &mut event.message,
                "response" => &mut event.response,
                "content_block" => &mut event.content_block,
                "usageMetadata" => &mut event.usage_metadata,
                "candidates" => &mut event.candidates,
                "promptFeedback" => &mut event.prompt_feedback,
                "x_groq" => &mut event.x_groq,
                "amazon-bedrock-invocationMetrics" => &mut event.invocation_metrics,
                _ => continue,
            };
            *place = Some(member.value);
        }
        Ok(event)
    }

    fn kind(&self) -> Cow<'a, str> {
        match self.kind.as_ref().map(|value| value.kind) {
            Some(Kind::String(text)) => text.decode(),
            _ => "".into(),
        }
    }
}

impl EventMeter {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            usage: Usage::default(),
            service_tier: None,
            counts: Counts::default(),
            output_told: false,
            usage_error: None,
            is_final: false,
            text_bytes: 0,
            pieces: 0,
        }
    }

    /// Takes in an event. Is it the extra usage chunk of OpenAI's completions?
    pub(crate) fn on_event(&mut self, data: &[u8]) -> bool {
        if data == b"[DONE]" {
            self.is_final = true;
            return false;
        }
        let read = json::document(data).and_then(Event::read);
        let Ok(event) = read else {
            // What cannot be read is at least counted.
            self.on_lost(data.len());
            return false;
        };
        let result = match self.endpoint.home() {
            WireFormat::OpenAi => self.on_openai(&event),
            WireFormat::Anthropic => self.on_messages(&event),
            WireFormat::Gemini => self.on_gemini(&event),
            WireFormat::Bedrock => self.on_invoke(&event),
            WireFormat::Cohere => self.on_cohere(&event),
        };
        self.note(result);
        openai::is_usage_chunk(self.endpoint, &event)
    }

    /// Takes in a message of one of Bedrock's streams.
    pub(crate) fn on_frame(&mut self, event_type: &[u8], payload: &[u8]) {
        let result = match self.endpoint {
            Endpoint::ConverseStream => self.on_converse(event_type, payload),
            _ => self.on_chunk(event_type, payload),
        };
        self.note(result);
    }

    /// Takes in an event that was too long to be kept, or that cannot be read.
    pub(crate) fn on_lost(&mut self, bytes: usize) {
        self.add_text(bytes);
    }

    pub(crate) fn finish(self) -> Metered {
        let usage = if self.usage_error.is_some() {
            Usage::default()
        } else {
            self.usage
        };
        let output = self.endpoint.output();
        Metered {
            usage,
            service_tier: self.service_tier,
            search_units: None,
            seconds: None,
            complete: self.is_final
                && self.usage_error.is_none()
                && usage.is_complete_for(self.endpoint),
            usage_error: self.usage_error,
            output_bytes: self.text_bytes,
            estimated_output_tokens: estimate(output, self.text_bytes, self.pieces),
        }
    }

    fn note(&mut self, result: Result<(), UsageError>) {
        if let Err(error) = result {
            self.usage_error = Some(error);
        }
    }

    /// What is told last counts, and what says nothing takes nothing back.
    fn tell_tier(&mut self, tier: Option<ServiceTier>) {
        self.service_tier = tier.or(self.service_tier);
    }

    /// Takes in a piece of Anthropic's counts. They are put together anew each time: which part of
    /// what was written to the cache stays for an hour may be told later than the whole.
    fn update_counts(&mut self, counts: Counts) -> Result<(), UsageError> {
        self.counts.update(counts);
        self.usage = self.counts.into_usage()?;
        Ok(())
    }

    /// Counts text, for an API whose output is text.
    fn add_text(&mut self, bytes: usize) {
        if bytes > 0 && self.endpoint.output() == Output::Text {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            self.text_bytes = self.text_bytes.saturating_add(bytes);
            self.pieces = self.pieces.saturating_add(1);
        }
    }

    /// Counts the text in a value.
    fn add_text_of(&mut self, value: Option<&Value<'_>>) {
        self.add_text(value.map_or(0, text::length));
    }
}

/// Does the object say in its member of that name why it is the last of its kind?
fn gives_a_reason(object: &str, name: &str) -> Result<bool, JsonError> {
    Ok(object.starts_with('{')
        && member(object, name)?.is_some_and(|reason| reason.kind != Kind::Null))
}
