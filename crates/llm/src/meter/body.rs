//! Meters a response that is one JSON document.

use super::metered::{Metered, estimate};
use crate::usage::{Report, read_report};
use crate::{Endpoint, Usage, UsageError};

/// Responses are kept up to this length; of a longer one the usage is not known, and it is
/// estimated. Only embeddings in bulk and images come near it.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// Keeps a response until its end, since usage may stand anywhere in it.
#[derive(Debug)]
pub(super) struct BodyMeter {
    endpoint: Endpoint,
    /// What header fields say; the body knows it in more detail, if it knows it.
    counted: Usage,
    body: Vec<u8>,
    length: u64,
}

impl BodyMeter {
    pub(super) fn new(endpoint: Endpoint, counted: Usage) -> Self {
        Self {
            endpoint,
            counted,
            body: Vec::new(),
            length: 0,
        }
    }

    /// Takes the next bytes of the response.
    pub(super) fn on_chunk(&mut self, bytes: &[u8]) {
        self.length = self
            .length
            .saturating_add(bytes.len().try_into().unwrap_or(u64::MAX));
        if self.is_too_long() {
            self.body = Vec::new();
        } else {
            self.body.extend_from_slice(bytes);
        }
    }

    /// The result, at the response's end or where it broke off.
    ///
    /// The estimate takes the whole document for output, wrapping included: it is only used for
    /// responses that say nothing usable about themselves, and errs on the dear side.
    pub(super) fn finish(self) -> Metered {
        let read = if self.is_too_long() {
            Err(UsageError::TooLong)
        } else {
            read_report(self.endpoint, &self.body)
        };
        let counted_is_complete =
            self.counted != Usage::default() && self.counted.is_complete_for(self.endpoint);
        let (report, usage_error) = match read {
            Ok(report) => (report, None),
            // A body of a vendor that we do not know; Amazon has counted it.
            Err(_) if counted_is_complete => (Report::default(), None),
            Err(error) => (Report::default(), Some(error)),
        };
        let mut usage = report.usage.unwrap_or_default();
        if !usage.is_complete_for(self.endpoint) {
            usage.update(&self.counted);
        }
        let output = self.endpoint.output();
        Metered {
            usage,
            service_tier: report.service_tier,
            search_units: report.search_units,
            seconds: report.seconds,
            complete: usage_error.is_none() && usage.is_complete_for(self.endpoint),
            usage_error,
            output_bytes: self.length,
            estimated_output_tokens: estimate(output, self.length, 0),
        }
    }

    fn is_too_long(&self) -> bool {
        usize::try_from(self.length).map_or(true, |length| length > MAX_BODY_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const BODY: &[u8] = br#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#;

    #[test]
    fn a_body_beyond_the_limit_is_estimated_and_not_kept() {
        let mut meter = BodyMeter::new(Endpoint::ChatCompletions, Usage::default());
        for _ in 0..17 {
            meter.on_chunk(&vec![b' '; 1 << 20]);
        }
        meter.on_chunk(BODY);
        assert_eq!(meter.body.len(), 0);
        let metered = meter.finish();
        assert_eq!(metered.usage_error, Some(UsageError::TooLong));
        assert!(metered.output_bytes > 17 << 20);
    }
}
