//! What is billed is what the provider's own accounting says, at its one place.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_llm::{Endpoint, read_usage};
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    for (endpoint, input, output) in [
        (
            Endpoint::ChatCompletions,
            "prompt_tokens",
            "completion_tokens",
        ),
        (Endpoint::Responses, "input_tokens", "output_tokens"),
        (Endpoint::Messages, "input_tokens", "output_tokens"),
    ] {
        let Ok(usage) = read_usage(endpoint, body) else {
            continue;
        };
        let theirs: Value = serde_json::from_slice(body).expect("we accepted it");
        let Some(usage) = usage else {
            assert!(theirs["usage"].is_null());
            continue;
        };
        let theirs = &theirs["usage"];
        let cached = if endpoint == Endpoint::Messages {
            0
        } else {
            usage.cache_read_tokens.unwrap_or(0)
        };
        assert_eq!(
            usage.input_tokens.map(|uncached| uncached + cached),
            theirs[input].as_u64()
        );
        // The total may show more output than the output's own count.
        assert!(usage.output_tokens >= theirs[output].as_u64());
        for count in [
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_write_tokens,
        ] {
            assert!(count.unwrap_or(0) <= 1 << 40);
        }
    }
});
