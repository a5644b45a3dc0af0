//! Decodes `application/vnd.amazon.eventstream`, a chunk at a time: the binary framing in which
//! Amazon Bedrock streams its answers. AWS describes it under "Event stream encoding" in the
//! developer guides of Lex and Transcribe. All integers are big-endian, all lengths are in bytes:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the whole message, these four bytes and everything below included |
//! | 4 | length of all headers together |
//! | 4 | CRC-32 (that of gzip) of the eight bytes above |
//! | | headers: length of the name in one byte, name, type of the value in one byte, value |
//! | | payload |
//! | 4 | CRC-32 of everything above |
//!
//! There is no mark to find the next message by. So once the framing is impossible, or a checksum is
//! wrong, nothing after it can be trusted: the decoder says so once, and reads no more.

use crc32fast::Hasher;

/// The longest message that a [`Decoder`] keeps unless told otherwise, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Both lengths and their checksum.
const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
/// A message without headers and payload.
const MIN_MESSAGE_BYTES: usize = PRELUDE_BYTES + CHECKSUM_BYTES;

/// What ends with the bytes read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message whose framing and checksums are right.
    Message {
        /// The header `:event-type`, such as `chunk`; empty when there is none.
        event_type: &'a [u8],
        /// The header `:message-type`: `event`, `exception` or `error`; empty when there is none.
        message_type: &'a [u8],
        /// What the message carries; JSON at Bedrock.
        payload: &'a [u8],
    },
    /// A message of this length, which is beyond the limit. Its checksums are right; its content is
    /// lost to the reader.
    TooLong(usize),
    /// The framing is impossible, a checksum is wrong, or the stream broke off in a message. It is
    /// the last frame.
    Broken,
}

/// The state between chunks.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    state: State,
    /// The current message so far, or the part of it that [`State`] says.
    bytes: Vec<u8>,
    /// The message was handed out; its bytes go when the next call comes.
    message_ended: bool,
}

#[derive(Debug)]
enum State {
    /// In the first twelve bytes.
    Prelude,
    /// In the rest of a message that is kept whole.
    Kept { prelude: Prelude },
    /// In the rest of a message that is too long. Only its own checksum will be kept.
    TooLong {
        length: usize,
        /// Bytes before the checksum that are still to come.
        left: usize,
        checksum: Hasher,
    },
    /// Nothing is read any more.
    Broken,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MAX_MESSAGE_BYTES)
    }
}

impl Decoder {
    /// A decoder that keeps messages up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            state: State::Prelude,
            bytes: Vec::new(),
            message_ended: false,
        }
    }

    /// Reads from `input` up to the end of a message, and moves `input` past it. `None`: the chunk
    /// is used up, and the message goes on in the next one.
    pub fn next_message(&mut self, input: &mut &[u8]) -> Option<Frame<'_>> {
        self.forget_message();
        loop {
            match &mut self.state {
                State::Prelude => {
                    fill(&mut self.bytes, PRELUDE_BYTES, input)?;
                    match Prelude::read(&self.bytes) {
                        Some(prelude) => self.begin(prelude),
                        None => return Some(self.break_off()),
                    }
                }
                State::Kept { prelude } => {
                    let prelude = *prelude;
                    fill(&mut self.bytes, prelude.message, input)?;
                    return Some(self.end_kept(prelude));
                }
                State::TooLong {
                    length,
                    left,
                    checksum,
                } => {
                    let (skipped, rest) = input.split_at_checked(*left).unwrap_or((input, &[]));
                    checksum.update(skipped);
                    *left = left.saturating_sub(skipped.len());
                    *input = rest;
                    if *left > 0 {
                        return None;
                    }
                    fill(&mut self.bytes, CHECKSUM_BYTES, input)?;
                    let (length, checksum) = (*length, checksum.clone().finalize());
                    return Some(self.end_too_long(length, checksum));
                }
                State::Broken => {
                    *input = &[];
                    return None;
                }
            }
        }
    }

    /// What is left when the stream ends: nothing, unless it broke off in a message.
    pub fn finish(&mut self) -> Option<Frame<'_>> {
        self.forget_message();
        match self.state {
            State::Broken => None,
            State::Prelude if self.bytes.is_empty() => None,
            State::Prelude | State::Kept { .. } | State::TooLong { .. } => Some(self.break_off()),
        }
    }

    fn begin(&mut self, prelude: Prelude) {
        self.state = if prelude.message <= self.limit {
            State::Kept { prelude }
        } else {
            let mut checksum = Hasher::new();
            checksum.update(&self.bytes);
            self.bytes.clear();
            State::TooLong {
                length: prelude.message,
                left: prelude.message.saturating_sub(MIN_MESSAGE_BYTES),
                checksum,
            }
        };
    }

    fn end_kept(&mut self, prelude: Prelude) -> Frame<'_> {
        self.message_ended = true;
        let frame = message(prelude, &self.bytes);
        self.state = match frame {
            Some(_) => State::Prelude,
            None => State::Broken,
        };
        frame.unwrap_or(Frame::Broken)
    }

    fn end_too_long(&mut self, length: usize, checksum: u32) -> Frame<'_> {
        if *self.bytes != checksum.to_be_bytes() {
            return self.break_off();
        }
        self.message_ended = true;
        self.state = State::Prelude;
        Frame::TooLong(length)
    }

    fn break_off(&mut self) -> Frame<'_> {
        self.state = State::Broken;
        self.bytes = Vec::new();
        Frame::Broken
    }

    fn forget_message(&mut self) {
        if std::mem::take(&mut self.message_ended) {
            self.bytes.clear();
        }
    }
}

/// Moves bytes from `input` to `bytes` until there are `length`. `None`: there are not enough yet.
fn fill(bytes: &mut Vec<u8>, length: usize, input: &mut &[u8]) -> Option<()> {
    let missing = length.saturating_sub(bytes.len());
    let (taken, rest) = input.split_at_checked(missing).unwrap_or((input, &[]));
    bytes.extend_from_slice(taken);
    *input = rest;
    (taken.len() == missing).then_some(())
}

/// The lengths that a message begins with. They agree with each other.
#[derive(Clone, Copy, Debug)]
struct Prelude {
    message: usize,
    headers: usize,
}

impl Prelude {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (lengths, mut checksum) = bytes.split_at_checked(8)?;
        if u32::from_be_bytes(take(&mut checksum)?) != crc32fast::hash(lengths) {
            return None;
        }
        let mut lengths = lengths;
        let message = usize::try_from(u32::from_be_bytes(take(&mut lengths)?)).ok()?;
        let headers = usize::try_from(u32::from_be_bytes(take(&mut lengths)?)).ok()?;
        let room = message.checked_sub(MIN_MESSAGE_BYTES)?;
        (headers <= room).then_some(Self { message, headers })
    }
}

/// Reads a whole message; `None` when its checksum or its headers are wrong.
fn message(prelude: Prelude, bytes: &[u8]) -> Option<Frame<'_>> {
    let (content, checksum) = bytes.split_last_chunk()?;
    if u32::from_be_bytes(*checksum) != crc32fast::hash(content) {
        return None;
    }
    let (_, content) = content.split_at_checked(PRELUDE_BYTES)?;
    let (mut headers, payload) = content.split_at_checked(prelude.headers)?;
    let mut event_type = None;
    let mut message_type = None;
    while !headers.is_empty() {
        let (name, value) = header(&mut headers)?;
        let place = match name {
            b":event-type" => &mut event_type,
            b":message-type" => &mut message_type,
            _ => continue,
        };
        // A header may appear only once; readers differ in which one they would take.
        if place.replace(value.unwrap_or_default()).is_some() {
            return None;
        }
    }
    Some(Frame::Message {
        event_type: event_type.unwrap_or_default(),
        message_type: message_type.unwrap_or_default(),
        payload,
    })
}

/// Takes one header: its name, and its value if that is a string.
fn header<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let [name_length] = take(bytes)?;
    let name = take_slice(bytes, usize::from(name_length))?;
    let [value_type] = take(bytes)?;
    let length = match value_type {
        // True and false, which have no value beside their type.
        0 | 1 => 0,
        // Integers of one, two, four and eight bytes; 8 is a time in milliseconds.
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        // Bytes and strings, whose length is written before them.
        6 | 7 => usize::from(u16::from_be_bytes(take(bytes)?)),
        // A UUID.
        9 => 16,
        _ => return None,
    };
    let value = take_slice(bytes, length)?;
    Some((name, (value_type == 7).then_some(value)))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn take_slice<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests;
