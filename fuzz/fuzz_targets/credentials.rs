//! Whatever header values arrive: at most one credential is found, it stands in the request, and it
//! looks like a virtual key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_exchange::credentials::presented;
use reeve_exchange::headers::Headers;
use reeve_policy::key_format::{checksum_is_plausible, looks_like_virtual_key};

const NAMES: [&str; 6] =
    ["x-bf-vk", "authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"];

fuzz_target!(|values: Vec<(u8, Vec<u8>)>| {
    let fields: Vec<(String, Vec<u8>)> = values
        .into_iter()
        .map(|(name, value)| (NAMES[usize::from(name) % NAMES.len()].to_owned(), value))
        .collect();
    if let Ok(Some(found)) = presented(Headers::new(&fields)) {
        assert!(looks_like_virtual_key(found));
        let _ = checksum_is_plausible(found);
        assert!(fields.iter().any(|(name, value)| {
            name != "cookie" && value.windows(found.len()).any(|part| part == found)
        }));
    }
});
