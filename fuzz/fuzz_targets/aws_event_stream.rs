//! Chunks are an accident of the network; a stream that breaks, breaks once, and is never whole; and
//! every byte is passed on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_fuzz::frames::with_checksums;
use reeve_fuzz::input::cut;
use reeve_fuzz::{metering, usage};
use reeve_llm::aws_event_stream::{Decoder, Frame};
use reeve_llm::{Endpoint, Usage, UsageError};
use serde_json::Value;

#[derive(Debug, PartialEq)]
enum Owned {
    Message(Vec<u8>, Vec<u8>, Vec<u8>),
    TooLong(usize),
    Broken,
}

fn owned(frame: Frame<'_>) -> Owned {
    match frame {
        Frame::Message {
            event_type,
            message_type,
            payload,
        } => Owned::Message(event_type.to_vec(), message_type.to_vec(), payload.to_vec()),
        Frame::TooLong(length) => Owned::TooLong(length),
        Frame::Broken => Owned::Broken,
    }
}

fn decode<'a>(limit: usize, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Owned> {
    let mut decoder = Decoder::with_limit(limit);
    let mut frames = Vec::new();
    for mut chunk in chunks {
        while let Some(frame) = decoder.next_message(&mut chunk) {
            frames.push(owned(frame));
        }
        assert!(chunk.is_empty());
    }
    frames.extend(decoder.finish().map(owned));
    assert_eq!(decoder.finish(), None);
    frames
}

fuzz_target!(|data: &[u8]| {
    // The first byte says how to cut the rest, the second what is too long.
    let [seed, limit, stream @ ..] = data else {
        return;
    };
    for limit in [usize::from(*limit), 4 << 20] {
        for stream in [stream, &with_checksums(stream)] {
            let whole = decode(limit, std::iter::once(stream));
            assert_eq!(decode(limit, cut(*seed, stream)), whole);

            let mut frame_bytes = 0;
            for (index, frame) in whole.iter().enumerate() {
                frame_bytes += match frame {
                    Owned::Message(event_type, message_type, payload) => {
                        16 + event_type.len() + message_type.len() + payload.len()
                    }
                    Owned::TooLong(length) => {
                        assert!(*length > limit);
                        *length
                    }
                    Owned::Broken => {
                        assert_eq!(index + 1, whole.len());
                        0
                    }
                };
            }
            assert!(frame_bytes <= stream.len());
        }
    }
    for endpoint in [Endpoint::ConverseStream, Endpoint::InvokeModelStream] {
        check_metering(*seed, endpoint, &with_checksums(stream));
    }
});

fn check_metering(seed: u8, endpoint: Endpoint, stream: &[u8]) {
    let passed = metering::pass_every_way(seed, endpoint, false, metering::FRAMES, stream);
    assert_eq!(passed.bytes, stream);
    let metered = passed.metered;
    match metered.usage_error {
        None => {}
        // What was read before the break stands.
        Some(UsageError::Framing) => assert!(!metered.complete),
        Some(_) => assert_eq!((metered.complete, metered.usage), (false, Usage::default())),
    }
    if metered.complete && endpoint == Endpoint::ConverseStream {
        // The last word is the last usage that a whole message holds.
        let frames = decode(usize::MAX, std::iter::once(stream));
        let reported = frames.iter().rev().find_map(|frame| match frame {
            Owned::Message(event, message, payload)
                if event == b"metadata" && message == b"event" =>
            {
                let payload: Value = serde_json::from_slice(payload).ok()?;
                payload["usage"]
                    .is_object()
                    .then(|| usage::read(endpoint, &payload["usage"]))
            }
            _ => None,
        });
        assert_eq!(reported, Some(metered.usage));
    }
}
