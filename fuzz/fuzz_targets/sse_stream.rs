//! Chunks are an accident of the network; nothing may depend on them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_llm::{Endpoint, Metered, StreamMeter};

fn pass<'a>(
    endpoint: Endpoint,
    drop: bool,
    chunks: impl Iterator<Item = &'a [u8]>,
) -> (Metered, Vec<u8>) {
    let mut meter = StreamMeter::new(endpoint, drop);
    let mut passed = Vec::new();
    for chunk in chunks {
        passed.extend(
            meter
                .on_chunk(chunk, false)
                .unwrap_or_else(|| chunk.to_vec()),
        );
    }
    passed.extend(meter.on_chunk(&[], true).unwrap_or_default());
    (meter.finish(), passed)
}

fuzz_target!(|data: &[u8]| {
    // The first byte says how to cut the rest.
    let Some((&cut, stream)) = data.split_first() else {
        return;
    };
    for endpoint in [
        Endpoint::ChatCompletions,
        Endpoint::Responses,
        Endpoint::Messages,
    ] {
        for drop in [false, true] {
            let whole = pass(endpoint, drop, std::iter::once(stream));
            let size = usize::from(cut) + 1;
            let parts = pass(endpoint, drop, stream.chunks(size));
            assert_eq!(parts, whole);
            if !drop || endpoint != Endpoint::ChatCompletions {
                assert_eq!(whole.1, stream);
            }
        }
    }
});
