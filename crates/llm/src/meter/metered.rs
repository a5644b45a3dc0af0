//! The result of metering a response.

use crate::endpoint::Output;
use crate::{ServiceTier, Usage, UsageError};

/// Bytes of visible text per token, for an estimate. English has about 4.5, code 3 to 4, Chinese 3;
/// the low end, so that a cut stream is not cheaper than a whole one.
const BYTES_PER_TOKEN: u64 = 3;

/// What a response used, as far as it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    /// What the provider reported so far; nothing, if what it reported is unusable.
    pub usage: Usage,
    /// The tier that it was served in, if the provider says so.
    pub service_tier: Option<ServiceTier>,
    /// Searches that it is billed as.
    pub search_units: Option<u64>,
    /// Seconds of audio that it is billed as.
    pub seconds: Option<u64>,
    /// The report is final and whole: bill it. Otherwise bill the larger of report and estimate.
    pub complete: bool,
    /// Why the report is unusable.
    pub usage_error: Option<UsageError>,
    /// Bytes of output seen.
    pub output_bytes: u64,
    /// Output tokens estimated from what was seen, for a response that ended early or does not
    /// report. `None`: what was seen says nothing about tokens (audio, images).
    pub estimated_output_tokens: Option<u64>,
}

/// Estimates the tokens of text in a response that is billed for `output`. A piece is an event that
/// carried text: providers send at least one token in each.
pub(crate) fn estimate(output: Output, text_bytes: u64, pieces: u64) -> Option<u64> {
    match output {
        Output::Text => Some(text_bytes.div_ceil(BYTES_PER_TOKEN).max(pieces)),
        Output::Media => None,
        Output::Nothing | Output::Free => Some(0),
    }
}
