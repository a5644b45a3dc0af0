//! The most attacked parser: what is judged must be what the provider reads.
//!
//! The first line names the API, the rest is the body. `request_members` makes bodies that are
//! mostly accepted; here they come as they come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_fuzz::{input, requests};
use reeve_llm::BodyKind;

fuzz_target!(|data: &[u8]| {
    let Some((words, body)) = input::first_line(data) else {
        return;
    };
    let Some(endpoint) = input::endpoint(words[0]) else {
        return;
    };
    if endpoint.body() == BodyKind::Json {
        requests::check_json(endpoint, body);
    }
});
