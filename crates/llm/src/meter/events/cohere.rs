//! Cohere's streams.

use super::{Event, EventMeter};
use crate::UsageError;
use crate::usage::{self, member};

impl EventMeter {
    /// Usage is in the delta of `message-end`.
    pub(super) fn on_cohere(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        match &*event.kind() {
            "message-end" => {
                if let Some(delta) = &event.delta
                    && let Some(value) = member(delta.raw, "usage")?
                    && let Some(usage) = usage::parse(self.endpoint, &value)?
                {
                    self.usage = usage;
                    self.is_final = true;
                }
            }
            _ => self.add_text_of(event.delta.as_ref()),
        }
        Ok(())
    }
}
