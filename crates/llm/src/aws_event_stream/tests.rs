use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A frame that outlives its decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Message(String, String, Vec<u8>),
    TooLong(usize),
    Broken,
}

fn event(event_type: &str, payload: &[u8]) -> Owned {
    Owned::Message(event_type.to_owned(), "event".to_owned(), payload.to_vec())
}

fn decode(chunks: &[&[u8]], limit: usize) -> Vec<Owned> {
    let mut decoder = Decoder::with_limit(limit);
    let mut frames = Vec::new();
    let mut add = |frame: Frame<'_>| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        frames.push(match frame {
            Frame::Message {
                event_type,
                message_type,
                payload,
            } => Owned::Message(text(event_type), text(message_type), payload.to_vec()),
            Frame::TooLong(length) => Owned::TooLong(length),
            Frame::Broken => Owned::Broken,
        });
    };
    for chunk in chunks {
        let mut input = *chunk;
        while let Some(frame) = decoder.next_message(&mut input) {
            add(frame);
        }
        assert!(input.is_empty());
    }
    if let Some(frame) = decoder.finish() {
        add(frame);
    }
    assert_eq!(decoder.finish(), None);
    frames
}

fn frames(stream: &[u8]) -> Vec<Owned> {
    decode(&[stream], MAX_MESSAGE_BYTES)
}

/// A header, its value with the length in front where the type has one.
fn header_of(name: &str, value_type: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    [&[length], name.as_bytes(), &[value_type], value].concat()
}

fn string_header(name: &str, value: &str) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    header_of(name, 7, &[&length, value.as_bytes()].concat())
}

/// A message with these lengths, whether they are true or not, and right checksums.
fn framed(length: usize, headers_length: usize, content: &[u8]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
    let mut bytes = [number(length), number(headers_length)].concat();
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend(content);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn message_of(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let content = [headers, payload].concat();
    framed(16 + content.len(), headers.len(), &content)
}

fn event_of(event_type: &str, payload: &[u8]) -> Vec<u8> {
    let headers = [
        string_header(":event-type", event_type),
        string_header(":content-type", "application/json"),
        string_header(":message-type", "event"),
    ];
    message_of(&headers.concat(), payload)
}

#[test]
fn the_smallest_message_is_the_one_of_the_vendors_own_test_vectors() {
    let bytes = [
        0, 0, 0, 0x10, 0, 0, 0, 0, 0x05, 0xC2, 0x48, 0xEB, 0x7D, 0x98, 0xC8, 0xFF,
    ];
    let empty = Owned::Message(String::new(), String::new(), Vec::new());
    assert_eq!(frames(&bytes), [empty]);
    assert_eq!(message_of(&[], &[]), bytes);
}

#[test]
fn messages_are_read_one_after_another() {
    let stream = [
        event_of("messageStart", b"{}"),
        event_of("contentBlockDelta", b"{\"delta\":{}}"),
        event_of("metadata", b""),
    ];
    assert_eq!(
        frames(&stream.concat()),
        [
            event("messageStart", b"{}"),
            event("contentBlockDelta", b"{\"delta\":{}}"),
            event("metadata", b""),
        ]
    );
    assert_eq!(frames(b""), []);
}

#[test]
fn an_exception_has_a_message_type_of_its_own() {
    let headers = [
        string_header(":exception-type", "throttlingException"),
        string_header(":message-type", "exception"),
    ];
    assert_eq!(
        frames(&message_of(&headers.concat(), b"{}")),
        [Owned::Message(
            String::new(),
            "exception".to_owned(),
            b"{}".to_vec()
        )]
    );
}

#[test]
fn header_values_of_every_type_are_stepped_over() {
    let headers = [
        header_of("true", 0, &[]),
        header_of("false", 1, &[]),
        header_of("byte", 2, &[7; 1]),
        header_of("short", 3, &[7; 2]),
        header_of("int", 4, &[7; 4]),
        header_of("long", 5, &[7; 8]),
        header_of("bytes", 6, &[0, 3, 7, 7, 7]),
        header_of("no bytes", 6, &[0, 0]),
        header_of("string", 7, &[0, 3, 7, 7, 7]),
        header_of("time", 8, &[7; 8]),
        header_of("uuid", 9, &[7; 16]),
        header_of("", 0, &[]),
        string_header(":message-type", "event"),
        string_header(":event-type", "chunk"),
    ];
    assert_eq!(
        frames(&message_of(&headers.concat(), b"x")),
        [event("chunk", b"x")]
    );
}

#[test]
fn a_type_that_is_no_string_is_as_good_as_none() {
    let headers = header_of(":event-type", 6, &[0, 1, b'x']);
    assert_eq!(
        frames(&message_of(&headers, b"")),
        [Owned::Message(String::new(), String::new(), Vec::new())]
    );
}

#[test]
fn impossible_framing_is_reported_once_and_then_all_is_swallowed() {
    let chunk = string_header(":event-type", "chunk");
    let broken_headers = |headers: &[u8]| message_of(headers, b"payload");
    let mut wrong_prelude = event_of("chunk", b"{}");
    wrong_prelude[11] ^= 1;
    let mut wrong_message = event_of("chunk", b"{}");
    *wrong_message.last_mut().unwrap() ^= 1;
    let mut changed_payload = event_of("chunk", b"{}");
    let at = changed_payload.len() - 5;
    changed_payload[at] ^= 1;
    let good = event_of("chunk", b"{}");
    for (what, bad) in [
        ("shorter than its own frame", framed(15, 0, &[])),
        ("no length at all", framed(0, 0, &[])),
        ("headers beyond the message", framed(20, 5, b"abcd")),
        (
            "headers without end",
            framed(20, usize::try_from(u32::MAX).unwrap(), b"abcd"),
        ),
        ("checksum of the prelude", wrong_prelude),
        ("checksum of the message", wrong_message),
        ("changed payload", changed_payload),
        ("name beyond the headers", broken_headers(&[9, b'x'])),
        ("name and no value", broken_headers(&[1, b'x'])),
        ("unknown type of value", broken_headers(&[1, b'x', 10])),
        ("half an integer", broken_headers(&[1, b'x', 4, 0, 0])),
        ("half a length", broken_headers(&[1, b'x', 7, 0])),
        (
            "string beyond the headers",
            broken_headers(&[1, b'x', 7, 0, 2, b'y']),
        ),
        (
            "event type twice",
            broken_headers(&[chunk.clone(), chunk].concat()),
        ),
    ] {
        let stream = [good.clone(), bad, good.clone()].concat();
        assert_eq!(
            frames(&stream),
            [event("chunk", b"{}"), Owned::Broken],
            "{what}"
        );
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(decode(&bytes, MAX_MESSAGE_BYTES), frames(&stream), "{what}");
    }
}

#[test]
fn a_message_that_broke_off_is_reported_at_the_end() {
    let message = event_of("chunk", b"{}");
    for length in 1..message.len() {
        let stream = [&message, &message[..length]].concat();
        for limit in [message.len(), MAX_MESSAGE_BYTES] {
            assert_eq!(
                decode(&[&stream], limit),
                [event("chunk", b"{}"), Owned::Broken],
                "{length} bytes"
            );
        }
        assert_eq!(decode(&[&message[..length]], 16), [Owned::Broken]);
    }
}

#[test]
fn messages_beyond_the_limit_are_flagged_and_the_next_one_is_read() {
    let short = event_of("chunk", b"{}");
    let long = event_of("chunk", &[b'x'; 1000]);
    let stream = [long.clone(), short.clone(), long.clone()].concat();
    assert_eq!(
        decode(&[&stream], short.len()),
        [
            Owned::TooLong(long.len()),
            event("chunk", b"{}"),
            Owned::TooLong(long.len())
        ]
    );
    assert_eq!(decode(&[&stream], long.len()).len(), 3);
    assert_eq!(decode(&[&message_of(&[], &[])], 0), [Owned::TooLong(16)]);
}

#[test]
fn the_checksum_of_a_message_beyond_the_limit_counts_too() {
    let mut long = event_of("chunk", &[b'x'; 1000]);
    long[500] ^= 1;
    assert_eq!(decode(&[&long], 100), [Owned::Broken]);
}

#[test]
fn a_message_beyond_the_limit_is_not_kept() {
    let mut decoder = Decoder::with_limit(100);
    let long = event_of("chunk", &[b'x'; 1000]);
    let mut input = &long[..900];
    assert_eq!(decoder.next_message(&mut input), None);
    assert!(decoder.bytes.capacity() < 100);
    // Nor is memory taken for bytes that were only promised.
    let mut decoder = Decoder::default();
    let mut input = &framed(MAX_MESSAGE_BYTES, 0, b"")[..12];
    assert_eq!(decoder.next_message(&mut input), None);
    assert!(decoder.bytes.capacity() < 100);
}

#[test]
fn the_input_is_left_where_the_message_ended() {
    let stream = [event_of("chunk", b"{}"), b"more".to_vec()].concat();
    let mut decoder = Decoder::default();
    let mut input = &stream[..];
    assert!(decoder.next_message(&mut input).is_some());
    assert_eq!(input, b"more");
}

#[test]
fn no_way_of_cutting_the_stream_changes_the_frames() {
    let stream = [
        event_of("a", b"{}"),
        event_of("b", &[b'x'; 20]),
        message_of(&[], b"y"),
        b"tail".to_vec(),
    ]
    .concat();
    let whole = decode(&[&stream], 90);
    assert_eq!(whole.len(), 4);
    assert_eq!(whole[1], Owned::TooLong(107));
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let chunks = [&stream[..first], &stream[first..second], &stream[second..]];
            assert_eq!(decode(&chunks, 90), whole, "cut at {first} and {second}");
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_framed_is_what_is_read(
            messages in prop::collection::vec(
                ("[a-zA-Z]{0,12}", prop::collection::vec(any::<u8>(), 0..80)),
                0..6,
            ),
            size in 1_usize..200,
        ) {
            let stream: Vec<u8> = messages
                .iter()
                .flat_map(|(event_type, payload)| event_of(event_type, payload))
                .collect();
            let expected: Vec<Owned> = messages
                .iter()
                .map(|(event_type, payload)| event(event_type, payload))
                .collect();
            let chunks: Vec<&[u8]> = stream.chunks(size).collect();
            prop_assert_eq!(decode(&chunks, MAX_MESSAGE_BYTES), expected);
        }

        #[test]
        fn one_wrong_byte_is_never_taken_for_a_message(
            payload in prop::collection::vec(any::<u8>(), 0..80),
            place in any::<prop::sample::Index>(),
            flip in 1_u8..,
        ) {
            let mut stream = event_of("chunk", &payload);
            let place = place.index(stream.len());
            stream[place] ^= flip;
            prop_assert_eq!(frames(&stream), [Owned::Broken]);
        }

        #[test]
        fn chunks_of_any_size_give_the_frames_of_the_whole(
            lengths in prop::collection::vec(0_usize..60, 0..6),
            wrong in prop::option::of((any::<prop::sample::Index>(), 1_u8..)),
            size in 1_usize..50,
            limit in 0_usize..120,
        ) {
            let mut stream: Vec<u8> = lengths
                .iter()
                .flat_map(|&length| event_of("chunk", &vec![b'x'; length]))
                .collect();
            if let (Some((place, flip)), false) = (wrong, stream.is_empty()) {
                let place = place.index(stream.len());
                stream[place] ^= flip;
            }
            let chunks: Vec<&[u8]> = stream.chunks(size).collect();
            prop_assert_eq!(decode(&chunks, limit), decode(&[&stream], limit));
        }
    }
}
