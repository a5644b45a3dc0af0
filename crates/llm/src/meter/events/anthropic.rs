//! Anthropic's streams, directly or inside Bedrock's.

use super::{Event, EventMeter, gives_a_reason};
use crate::UsageError;
use crate::json::Kind;
use crate::usage::anthropic::Counts;
use crate::usage::{member, tier_in};

impl EventMeter {
    /// Input is in `message_start`, output in `message_delta`; the delta with a stop reason is the
    /// last. The output in `message_start` is that of the beginning, so it is not the last word.
    pub(super) fn on_messages(&mut self, event: &Event<'_>) -> Result<(), UsageError> {
        match &*event.kind() {
            "message_start" => {
                if let Some(message) = &event.message
                    && let Some(usage) = member(message.raw, "usage")?
                    && usage.kind != Kind::Null
                {
                    self.tell_tier(tier_in(&usage)?);
                    self.update_counts(Counts::read(&usage)?)?;
                }
            }
            "message_delta" => {
                if let Some(usage) = &event.usage
                    && usage.kind != Kind::Null
                {
                    self.tell_tier(tier_in(usage)?);
                    let counts = Counts::read(usage)?;
                    self.output_told |= counts.tell_output();
                    self.update_counts(counts)?;
                }
                if let Some(delta) = &event.delta {
                    self.is_final |= self.output_told && gives_a_reason(delta.raw, "stop_reason")?;
                }
            }
            "message_stop" => self.is_final |= self.output_told,
            "content_block_start" => self.add_text_of(event.content_block.as_ref()),
            "content_block_delta" => self.add_text_of(event.delta.as_ref()),
            _ => {}
        }
        Ok(())
    }
}
