//! Usage of JSON responses.

use reeve_llm::{BodyMeter, Endpoint, read_usage};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::golden::BODIES;

#[test]
fn every_vendor_body_gives_its_usage() {
    for golden in BODIES {
        let usage = read_usage(golden.endpoint, golden.bytes).unwrap().unwrap();
        assert_eq!(usage, golden.usage, "{}", golden.name);
        let mut meter = BodyMeter::new(golden.endpoint);
        for chunk in golden.bytes.chunks(100) {
            meter.on_chunk(chunk);
        }
        let metered = meter.finish();
        assert_eq!(
            (metered.usage, metered.complete),
            (golden.usage, golden.complete)
        );
    }
}

#[test]
fn no_prefix_of_a_body_is_taken_for_a_whole_one() {
    for golden in BODIES {
        let whole = golden.bytes.trim_ascii_end().len();
        for length in 0..whole {
            let prefix = &golden.bytes[..length];
            assert!(
                read_usage(golden.endpoint, prefix).is_err(),
                "{} {length}",
                golden.name
            );
        }
    }
}

#[test]
fn the_names_of_another_api_are_not_read() {
    let chat = br#"{"usage":{"prompt_tokens":5,"completion_tokens":6}}"#;
    let usage = read_usage(Endpoint::Responses, chat).unwrap().unwrap();
    assert!(!usage.is_complete_for(Endpoint::Responses));
    let messages = br#"{"usage":{"input_tokens":5,"output_tokens":6}}"#;
    let usage = read_usage(Endpoint::ChatCompletions, messages)
        .unwrap()
        .unwrap();
    assert!(!usage.is_complete_for(Endpoint::ChatCompletions));
}
