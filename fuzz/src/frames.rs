//! Messages of Amazon's event streams.

/// A message with these two headers.
pub fn message(event_type: &str, message_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":event-type", event_type), (":message-type", message_type)] {
        headers.push(u8::try_from(name.len()).expect("it is short"));
        headers.extend(name.bytes());
        headers.push(7);
        headers.extend(
            u16::try_from(value.len())
                .expect("it is short")
                .to_be_bytes(),
        );
        headers.extend(value.bytes());
    }
    let length = |length: usize| u32::try_from(length).expect("it is short").to_be_bytes();
    let mut message = Vec::new();
    message.extend(length(16 + headers.len() + payload.len()));
    message.extend(length(headers.len()));
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message.extend(headers);
    message.extend(payload);
    message.extend(crc32fast::hash(&message).to_be_bytes());
    message
}

/// The stream with right checksums in it, as far as its lengths make sense.
pub fn with_checksums(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    let mut start = 0;
    while let Some(lengths) = stream.get(start..start + 8) {
        let word = [lengths[0], lengths[1], lengths[2], lengths[3]];
        let checksum = crc32fast::hash(lengths);
        let length = usize::try_from(u32::from_be_bytes(word)).expect("it fits");
        let end = start.saturating_add(length);
        if length < 16 || end > stream.len() {
            break;
        }
        stream[start + 8..start + 12].copy_from_slice(&checksum.to_be_bytes());
        let checksum = crc32fast::hash(&stream[start..end - 4]);
        stream[end - 4..end].copy_from_slice(&checksum.to_be_bytes());
        start = end;
    }
    stream
}
