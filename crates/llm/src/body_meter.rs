//! Meters a response that is one JSON document.

use crate::metered::{Metered, estimate_tokens};
use crate::usage::read_usage;
use crate::{Endpoint, UsageError};

/// Responses are kept up to this length; of a longer one the usage is not known, and it is
/// estimated. Only embeddings in bulk come near it.
pub const MAX_BODY_BYTES: usize = 16 << 20;

/// Keeps a response until its end, since usage may stand anywhere in it.
#[derive(Debug)]
pub struct BodyMeter {
    endpoint: Endpoint,
    body: Vec<u8>,
    length: u64,
}

impl BodyMeter {
    /// A meter for a response of this API.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            body: Vec::new(),
            length: 0,
        }
    }

    /// Takes the next bytes of the response.
    pub fn on_chunk(&mut self, bytes: &[u8]) {
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
    pub fn finish(self) -> Metered {
        let read = if self.is_too_long() {
            Err(UsageError::TooLong)
        } else {
            read_usage(self.endpoint, &self.body)
        };
        let usage = read.ok().flatten().unwrap_or_default();
        let output_bytes = if self.endpoint == Endpoint::Embeddings {
            0
        } else {
            self.length
        };
        Metered {
            usage,
            complete: usage.is_complete_for(self.endpoint),
            usage_error: read.err(),
            output_bytes,
            estimated_output_tokens: estimate_tokens(output_bytes, 0),
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

    fn metered(endpoint: Endpoint, chunks: &[&[u8]]) -> Metered {
        let mut meter = BodyMeter::new(endpoint);
        for chunk in chunks {
            meter.on_chunk(chunk);
        }
        meter.finish()
    }

    #[test]
    fn every_way_of_cutting_the_body_reads_the_same_usage() {
        let whole = metered(Endpoint::ChatCompletions, &[BODY]);
        assert!(whole.complete);
        assert_eq!(whole.usage.output_tokens, Some(2));
        for cut in 0..=BODY.len() {
            let (head, tail) = BODY.split_at(cut);
            assert_eq!(metered(Endpoint::ChatCompletions, &[head, tail]), whole);
        }
    }

    #[test]
    fn a_body_that_breaks_off_is_estimated_and_not_free() {
        let half = metered(Endpoint::ChatCompletions, &[BODY.split_at(30).0]);
        assert!(!half.complete);
        assert!(matches!(half.usage_error, Some(UsageError::Json(_))));
        assert_eq!(half.estimated_output_tokens, 10);
    }

    #[test]
    fn a_body_without_usage_is_not_complete() {
        let metered = metered(Endpoint::ChatCompletions, &[b"{\"choices\":[]}"]);
        assert_eq!((metered.complete, metered.usage_error), (false, None));
        assert!(metered.estimated_output_tokens > 0);
    }

    #[test]
    fn a_body_beyond_the_limit_is_estimated_and_not_kept() {
        let mut meter = BodyMeter::new(Endpoint::ChatCompletions);
        for _ in 0..17 {
            meter.on_chunk(&vec![b' '; 1 << 20]);
        }
        meter.on_chunk(BODY);
        assert_eq!(meter.body.len(), 0);
        let metered = meter.finish();
        assert_eq!(metered.usage_error, Some(UsageError::TooLong));
        assert!(metered.output_bytes > 17 << 20);
    }

    #[test]
    fn embeddings_have_no_output() {
        let body = br#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#;
        let metered = metered(Endpoint::Embeddings, &[body]);
        assert!(metered.complete);
        assert_eq!(
            (metered.output_bytes, metered.estimated_output_tokens),
            (0, 0)
        );
    }
}
