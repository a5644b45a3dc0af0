//! Bedrock's streams.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Event, EventMeter};
use crate::UsageError;
use crate::json::{self, Kind};
use crate::usage::{self, bedrock, member};

impl EventMeter {
    /// ConverseStream: the event's name is in its frame; `metadata` is the last, with the usage.
    pub(super) fn on_converse(
        &mut self,
        event_type: &[u8],
        payload: &[u8],
    ) -> Result<(), UsageError> {
        match event_type {
            b"contentBlockStart" | b"contentBlockDelta" => {
                match json::document(payload).and_then(Event::read) {
                    Ok(event) => self.add_text_of(event.delta.as_ref()),
                    Err(_unreadable) => self.on_lost(payload.len()),
                }
            }
            b"metadata" => {
                if let Some(value) = member(json::document(payload)?, "usage")?
                    && let Some(usage) = usage::parse(self.endpoint, &value)?
                {
                    self.usage = usage;
                    self.is_final = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// InvokeModelWithResponseStream: a `chunk` holds an event of the model's vendor in base64.
    pub(super) fn on_chunk(&mut self, event_type: &[u8], payload: &[u8]) -> Result<(), UsageError> {
        if event_type != b"chunk" {
            return Ok(());
        }
        let bytes = member(json::document(payload)?, "bytes")?;
        let decoded = bytes.and_then(|bytes| match bytes.kind {
            Kind::String(text) => STANDARD.decode(text.decode().as_bytes()).ok(),
            _ => None,
        });
        match decoded {
            Some(event) => {
                self.on_event(&event);
            }
            None => self.on_lost(payload.len()),
        }
        Ok(())
    }

    /// An event of the model's vendor. Amazon adds its own count to the last one. Of the vendors,
    /// Anthropic's events are known; of the others', the length stands for the text.
    pub(super) fn on_invoke(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        if event.kind.is_none() {
            self.add_text(event.length);
        }
        self.on_messages(event)?;
        if let Some(metrics) = &event.invocation_metrics {
            let mut counted = bedrock::metrics(metrics)?;
            if self.usage.cache_write_1h_tokens.is_some() {
                // Amazon counts together what the vendor told apart.
                counted.cache_write_5m_tokens = None;
            }
            self.usage.update(&counted);
            self.is_final = true;
        }
        Ok(())
    }
}
