//! Writes Amazon's event streams: the frames that the files of Bedrock stand for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reeve_llm::Endpoint;

/// The frames of a file with a message in each line: its event type (with a `!` in front, its
/// exception type) and its JSON. Of InvokeModelWithResponseStream, the JSON of a `chunk` is the
/// event of the model's vendor, which Amazon wraps.
pub(crate) fn frames(endpoint: Endpoint, file: &str) -> Vec<Vec<u8>> {
    file.lines()
        .map(|line| {
            let (name, json) = line.split_once(' ').unwrap();
            match name.strip_prefix('!') {
                Some(exception) => exception_frame(exception, json),
                None if endpoint == Endpoint::InvokeModelStream && name == "chunk" => chunk(json),
                None => event(name, json),
            }
        })
        .collect()
}

/// An event.
pub(crate) fn event(name: &str, payload: &str) -> Vec<u8> {
    message(
        &[
            (":event-type", name),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ],
        payload.as_bytes(),
    )
}

/// An event of the model's vendor, inside one of Amazon's.
pub(crate) fn chunk(vendors: &str) -> Vec<u8> {
    let payload = format!(
        r#"{{"bytes":"{}","p":"abcdefghijkl"}}"#,
        STANDARD.encode(vendors)
    );
    event("chunk", &payload)
}

fn exception_frame(name: &str, payload: &str) -> Vec<u8> {
    message(
        &[
            (":exception-type", name),
            (":content-type", "application/json"),
            (":message-type", "exception"),
        ],
        payload.as_bytes(),
    )
}

/// Lengths, their checksum, headers, payload, the checksum of all that.
fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let headers: Vec<u8> = headers
        .iter()
        .flat_map(|(name, value)| text_header(name, value))
        .collect();
    let whole = 4 + 4 + 4 + headers.len() + payload.len() + 4;
    let mut bytes = [length(whole), length(headers.len())].concat();
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes.extend(headers);
    bytes.extend(payload);
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

/// A header whose value is text, which is type 7.
fn text_header(name: &str, value: &str) -> Vec<u8> {
    let mut header = vec![u8::try_from(name.len()).unwrap()];
    header.extend(name.bytes());
    header.push(7);
    header.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    header.extend(value.bytes());
    header
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap().to_be_bytes()
}
