//! How a stream is cut into chunks changes neither the usage that is read nor the bytes passed on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_llm::{Endpoint, Metered, StreamMeter};

const ENDPOINTS: [Endpoint; 3] = [
    Endpoint::ChatCompletions,
    Endpoint::Responses,
    Endpoint::Messages,
];

fn metered(endpoint: Endpoint, drop_usage: bool, chunks: &[&[u8]]) -> (Vec<u8>, Metered) {
    let mut meter = StreamMeter::new(endpoint, drop_usage);
    let mut passed_on = Vec::new();
    for (index, chunk) in chunks.iter().enumerate() {
        let last = index + 1 == chunks.len();
        match meter.on_chunk(chunk, last) {
            Some(instead) => passed_on.extend(instead),
            None => passed_on.extend_from_slice(chunk),
        }
    }
    (passed_on, meter.finish())
}

fuzz_target!(|input: (u8, bool, u8, &[u8])| {
    let (choice, drop_usage, size, stream) = input;
    let endpoint = ENDPOINTS[usize::from(choice) % ENDPOINTS.len()];
    let size = usize::from(size).max(1);
    let chunks: Vec<&[u8]> = stream.chunks(size).collect();
    if chunks.is_empty() {
        return;
    }
    let (whole_bytes, whole) = metered(endpoint, drop_usage, &[stream]);
    let (cut_bytes, cut) = metered(endpoint, drop_usage, &chunks);
    assert_eq!(whole_bytes, cut_bytes);
    assert_eq!(whole.usage, cut.usage);
    assert_eq!(whole.complete, cut.complete);
    assert_eq!(whole.output_bytes, cut.output_bytes);
    if !drop_usage {
        assert_eq!(whole_bytes, stream);
    }
});
