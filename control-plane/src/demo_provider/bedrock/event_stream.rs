//! AWS's binary framing of events, `application/vnd.amazon.eventstream`.
//!
//! ```text
//! u32  length of the whole message      (all numbers are big-endian)
//! u32  length of the headers
//! u32  CRC-32 of the eight bytes above
//! ...  headers: u8 length and name, u8 type (7: text), u16 length and value
//! ...  payload
//! u32  CRC-32 of everything above
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::demo_provider::events::Framing;

/// The type of a header whose value is a text.
const TEXT: u8 = 7;
/// Bytes of a message beside its headers and its payload.
const OVERHEAD: usize = 16;

/// Events whose data is the payload.
pub(super) const EVENTS: Framing = Framing {
    content_type: "application/vnd.amazon.eventstream",
    write: |event| message(event.name.unwrap_or_default(), event.data),
    end: "",
};

/// Events of a model's own format, each in a `chunk`.
pub(super) const CHUNKS: Framing = Framing {
    write: |event| {
        let payload = json!({"bytes": STANDARD.encode(event.data)});
        message("chunk", &payload.to_string())
    },
    ..EVENTS
};

/// The bytes of one event.
fn message(event: &str, payload: &str) -> Vec<u8> {
    let headers = [
        (":event-type", event),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    let headers: Vec<u8> = headers
        .into_iter()
        .flat_map(|(name, value)| header(name, value))
        .collect();
    let mut message = Vec::new();
    message.extend(length(OVERHEAD + headers.len() + payload.len()));
    message.extend(length(headers.len()));
    message.extend(checksum(&message));
    message.extend(headers);
    message.extend(payload.as_bytes());
    message.extend(checksum(&message));
    message
}

fn header(name: &str, value: &str) -> Vec<u8> {
    // Names and values are constants of this folder, far from the limits of their lengths.
    let name_length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    let value_length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    let [high, low] = value_length.to_be_bytes();
    [
        &[name_length],
        name.as_bytes(),
        &[TEXT, high, low],
        value.as_bytes(),
    ]
    .concat()
}

/// Far from the limit: a message carries one token, or usage that may have come in a header.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32fast::hash(bytes).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_to_the_byte() {
        let message = message("chunk", "{}");
        let expected = [
            &b"\x00\x00\x00\x5d\x00\x00\x00\x4b"[..],
            b"\x0b:event-type\x07\x00\x05chunk",
            b"\x0d:content-type\x07\x00\x10application/json",
            b"\x0d:message-type\x07\x00\x05event",
            b"{}",
        ];
        let (prelude, rest) = message.split_at(12);
        let (body, end) = rest.split_at(rest.len() - 4);
        assert_eq!([&prelude[..8], body].concat(), expected.concat());
        assert_eq!(prelude[8..], checksum(&prelude[..8]));
        assert_eq!(end, checksum(&message[..message.len() - 4]));
    }

    #[test]
    fn the_checksum_is_that_of_ieee() {
        // The check value that every catalogue of CRCs has for CRC-32.
        assert_eq!(checksum(b"123456789"), [0xcb, 0xf4, 0x39, 0x26]);
    }
}
