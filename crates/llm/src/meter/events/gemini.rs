//! Gemini's streams.

use super::{Event, EventMeter, gives_a_reason};
use crate::UsageError;
use crate::json;
use crate::usage;

impl EventMeter {
    /// Usage is in every element, cumulative; the last one counts. The element with a finish reason
    /// is the last, and so is one that says why the prompt was blocked. (Feedback without a reason
    /// comes with the first.)
    pub(super) fn on_gemini(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        self.add_text_of(event.candidates.as_ref());
        if let Some(usage) = &event.usage_metadata
            && let Some(usage) = usage::parse(self.endpoint, usage)?
        {
            self.usage = usage;
        }
        if let Some(feedback) = &event.prompt_feedback {
            self.is_final |= gives_a_reason(feedback.raw, "blockReason")?;
        }
        if let Some(candidates) = &event.candidates {
            for candidate in json::elements(candidates) {
                self.is_final |= gives_a_reason(candidate?, "finishReason")?;
            }
        }
        Ok(())
    }
}
