//! OpenAI's streams.

use super::{Event, EventMeter, gives_a_reason, text};
use crate::json::{self, Kind, Value};
use crate::usage::{self, member, tier_in};
use crate::{Endpoint, ServiceTier, UsageError};

impl EventMeter {
    pub(super) fn on_openai(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        match self.endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions => self.on_chunks(event),
            Endpoint::Responses => self.on_responses(event),
            _ => self.on_media(event),
        }
    }

    /// Usage is in the last chunk (without choices, or with them at some compatible providers), or
    /// in every chunk, cumulative; the last one counts. It is the last word where no choice goes on,
    /// for not everybody sends `[DONE]`.
    fn on_chunks(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        self.tell_tier(event.service_tier.as_ref().and_then(ServiceTier::read));
        if let Some(choices) = &event.choices {
            self.add_text(text::length_of_choices(choices, self.endpoint));
        }
        if let Some(usage) = usage_of_chunk(event)?
            && let Some(usage) = usage::parse(self.endpoint, &usage)?
        {
            self.usage = usage;
            let mut goes_on = false;
            if let Some(choices) = &event.choices {
                for choice in json::elements(choices) {
                    goes_on |= !gives_a_reason(choice?, "finish_reason")?;
                }
            }
            self.is_final |= !goes_on;
        }
        Ok(())
    }

    /// Usage is in the response object of the event that ends the stream. Only `*.delta` events
    /// count as text: the others repeat it.
    fn on_responses(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        let kind = event.kind();
        self.add_delta(&kind, event);
        if let Some(response) = &event.response {
            self.tell_tier(tier_in(response)?);
        }
        if matches!(
            &*kind,
            "response.completed" | "response.incomplete" | "response.failed"
        ) && let Some(response) = &event.response
            && let Some(usage) = member(response.raw, "usage")?
            && let Some(usage) = usage::parse(self.endpoint, &usage)?
        {
            self.usage = usage;
            self.is_final = true;
        }
        Ok(())
    }

    /// Speech, transcripts and images: usage is in the event that ends the stream, be it
    /// `transcript.text.done`, `speech.audio.done` or `image_generation.completed`.
    fn on_media(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        let kind = event.kind();
        self.add_delta(&kind, event);
        if matches!(last_word(&kind), "done" | "completed")
            && let Some(usage) = &event.usage
            && let Some(usage) = usage::parse(self.endpoint, usage)?
        {
            self.usage = usage;
            self.is_final = true;
        }
        Ok(())
    }

    fn add_delta(&mut self, kind: &str, event: &Event<'_>) {
        if last_word(kind) == "delta"
            && let Some(Kind::String(delta)) = event.delta.as_ref().map(|delta| delta.kind)
        {
            self.add_text(delta.decoded_len());
        }
    }
}

/// `delta` of `response.output_text.delta`.
fn last_word(kind: &str) -> &str {
    kind.rsplit('.').next().unwrap_or_default()
}

/// Where a chunk has its usage. Groq has it in a place of its own as well.
fn usage_of_chunk<'a>(event: &Event<'a>) -> Result<Option<Value<'a>>, UsageError> {
    match (&event.usage, &event.x_groq) {
        (Some(usage), _) if usage.kind != Kind::Null => Ok(Some(usage.clone())),
        (_, Some(groq)) if groq.kind == Kind::Object => Ok(member(groq.raw, "usage")?),
        _ => Ok(None),
    }
}

/// The extra chunk of completions: usage, and no choice at all.
pub(super) fn is_usage_chunk(endpoint: Endpoint, event: &Event<'_>) -> bool {
    matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions)
        && event.choices.as_ref().is_some_and(is_empty_array)
        && event
            .usage
            .as_ref()
            .is_some_and(|usage| usage.kind == Kind::Object)
}

fn is_empty_array(value: &Value<'_>) -> bool {
    let inside = value
        .raw
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}
