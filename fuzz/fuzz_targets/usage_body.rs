//! What is billed is what the provider's own accounting says, at its one place: read naively from a
//! tree it is the same, for every API. The first line names the API, the rest is the response.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_fuzz::{input, metering, usage};
use reeve_llm::{Endpoint, Usage, read_usage};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((words, body)) = input::first_line(data) else {
        return;
    };
    let Some(endpoint) = input::endpoint(words[0]) else {
        return;
    };
    let metered = metering::pass_every_way(7, endpoint, false, metering::JSON, body).metered;
    let ours = read_usage(endpoint, body);
    // A stream of Gemini's is an array, whose elements are read one by one.
    if endpoint != Endpoint::StreamGenerateContent {
        let usage = ours.ok().flatten().unwrap_or_default();
        // Of several faults either may be found first.
        let is_unreadable = metered.usage_error.is_some();
        assert_eq!((metered.usage, is_unreadable), (usage, ours.is_err()));
        assert!(!metered.complete || ours.is_ok());
    }
    let Ok(ours) = ours else {
        return;
    };
    let document: Value = serde_json::from_slice(body).expect("we accepted it");
    let place = usage::place(endpoint, &document);
    let Some(ours) = ours else {
        assert!(place.is_null() || usage::read(endpoint, place) == Usage::default());
        return;
    };
    if !usage::is_told_twice(place) {
        assert_eq!(ours, usage::read(endpoint, place));
    }
    assert!(ours.total_tokens() <= 5 << 42);
});
