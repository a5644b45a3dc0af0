//! Bedrock's wire formats: `POST /model/{modelId}/...`.
//!
//! Converse is one format for all models. Invoke hands each model its own: Anthropic's messages to
//! those whose id contains `anthropic.`, Titan's embeddings to those whose id contains `embed`,
//! Titan's text to all others.

pub(super) mod converse;
mod event_stream;
pub(super) mod invoke;
mod titan;

use super::call::Call;

/// How long the model took, in milliseconds: as long as it was asked to.
fn latency(call: &Call<'_>) -> u64 {
    u64::try_from(call.steering.delay.as_millis()).unwrap_or(u64::MAX)
}
