//! Decodes `text/event-stream` as the HTML standard defines it (section 9.2, "Server-sent
//! events"), a chunk at a time. It never fails: every sequence of bytes is some event stream.
//!
//! It reads `data` only. Names, ids and retry times have no part in metering: both vendors repeat
//! the event's name as `type` in its JSON.

use crate::json::bulk;

/// The longest line, and the most data in one event, that a [`Decoder`] keeps unless told otherwise.
pub const MAX_LINE_BYTES: usize = 256 << 10;

/// What ends with the bytes read last: a run of lines up to and with a blank one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// An event with this data.
    Event(&'a [u8]),
    /// A block of which a line, or all its data together, was longer than the limit. Its content is
    /// lost to the reader; the number is how many bytes long the lost lines were.
    TooLong(usize),
    /// A blank line without an event: comments (which keep a connection alive), or nothing.
    Blank,
    /// The line feed of a CR LF whose CR ended the block before, at the end of a chunk. It shares
    /// that block's fate.
    LineFeed,
}

/// The state between chunks.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Bytes of the current line, kept or not.
    line_length: usize,
    /// The data of the current event, lines joined by LF.
    data: Vec<u8>,
    has_data: bool,
    /// Bytes lost in the current block.
    lost: usize,
    /// The last byte was a CR, so a LF belongs to it; and if so, whether it ended a block.
    after_cr: Option<AfterCr>,
    /// No line has been read yet, so that a byte order mark may come.
    at_start: bool,
    /// The block was handed out; its data goes when the next call comes.
    block_ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterCr {
    InBlock,
    BlockEnded,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(MAX_LINE_BYTES)
    }
}

impl Decoder {
    /// A decoder that keeps lines and data up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            line_length: 0,
            data: Vec::new(),
            has_data: false,
            lost: 0,
            after_cr: None,
            at_start: true,
            block_ended: false,
        }
    }

    /// Reads from `input` up to the end of a block, and moves `input` past it. `None`: the chunk is
    /// used up, and the block goes on in the next one.
    pub fn next_block(&mut self, input: &mut &[u8]) -> Option<Block<'_>> {
        self.forget_block();
        loop {
            if let Some(after) = self.after_cr {
                let &first = input.first()?;
                self.after_cr = None;
                if first == b'\n' {
                    *input = input.get(1..).unwrap_or_default();
                    if after == AfterCr::BlockEnded {
                        return Some(Block::LineFeed);
                    }
                }
            }
            let end = bulk::find::<b'\n', b'\r', 0>(input);
            let (line, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
            let Some((&terminator, rest)) = rest.split_first() else {
                self.keep(line);
                *input = &[];
                return None;
            };
            *input = rest;
            let blank = self.end_line(line);
            if terminator == b'\r' {
                self.after_cr = Some(if blank {
                    AfterCr::BlockEnded
                } else {
                    AfterCr::InBlock
                });
            }
            if blank {
                if terminator == b'\r' && !input.is_empty() {
                    // The LF that is already here belongs to this block.
                    self.after_cr = None;
                    *input = input.strip_prefix(b"\n").unwrap_or(input);
                }
                return Some(self.end_block());
            }
        }
    }

    /// What is left when the stream ends. The standard throws an unfinished event away; a meter must
    /// not, for a server that forgets the last blank line has still done the work.
    pub fn finish(&mut self) -> Option<Block<'_>> {
        self.forget_block();
        self.end_line(&[]);
        match self.end_block() {
            Block::Blank => None,
            block => Some(block),
        }
    }

    fn forget_block(&mut self) {
        if std::mem::take(&mut self.block_ended) {
            self.data.clear();
            self.has_data = false;
            self.lost = 0;
        }
    }

    fn end_block(&mut self) -> Block<'_> {
        self.block_ended = true;
        if self.lost > 0 {
            Block::TooLong(self.lost)
        } else if self.has_data {
            Block::Event(&self.data)
        } else {
            Block::Blank
        }
    }

    /// Keeps a piece of a line, unless the line has become too long.
    fn keep(&mut self, piece: &[u8]) {
        self.line_length = self.line_length.saturating_add(piece.len());
        if self.line_length > self.limit {
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(piece);
        }
    }

    /// Takes in a line whose last piece is `piece`; is it a blank one?
    fn end_line(&mut self, piece: &[u8]) -> bool {
        if self.line_length == 0 && piece.len() <= self.limit {
            return self.read_line(piece);
        }
        self.keep(piece);
        let length = std::mem::take(&mut self.line_length);
        let mut line = std::mem::take(&mut self.line);
        if length > self.limit {
            self.at_start = false;
            self.lost = self.lost.saturating_add(length);
            return false;
        }
        let blank = self.read_line(&line);
        // The allocation serves the next line.
        line.clear();
        self.line = line;
        blank
    }

    fn read_line(&mut self, line: &[u8]) -> bool {
        let line = if std::mem::take(&mut self.at_start) {
            line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
        } else {
            line
        };
        if line.is_empty() {
            return true;
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            // Another field, or a comment.
            _ => return false,
        };
        // A line feed joins it to what is there.
        let joined = value.len().saturating_add(usize::from(self.has_data));
        if self.data.len().saturating_add(joined) > self.limit {
            self.lost = self.lost.saturating_add(value.len());
            return false;
        }
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// The data of all events; a line too long shows as `<n>`.
    fn decode(chunks: &[&[u8]], limit: usize) -> Vec<String> {
        let mut decoder = Decoder::with_limit(limit);
        let mut events = Vec::new();
        let mut add = |block: Block<'_>| match block {
            Block::Event(data) => events.push(String::from_utf8_lossy(data).into_owned()),
            Block::TooLong(bytes) => events.push(format!("<{bytes}>")),
            Block::Blank | Block::LineFeed => {}
        };
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(block) = decoder.next_block(&mut input) {
                add(block);
            }
            assert!(input.is_empty());
        }
        if let Some(block) = decoder.finish() {
            add(block);
        }
        events
    }

    fn events(stream: &str) -> Vec<String> {
        decode(&[stream.as_bytes()], MAX_LINE_BYTES)
    }

    #[test]
    fn fields_are_read_as_the_standard_says() {
        assert_eq!(events("data: a\n\n"), ["a"]);
        assert_eq!(events("data:a\n\ndata:  b\n\n"), ["a", " b"]);
        assert_eq!(events("data: a\ndata: b\ndata\ndata:\n\n"), ["a\nb\n\n"]);
        assert_eq!(events("event: x\nid: 1\nretry: 5\ndata: a\n\n"), ["a"]);
        assert_eq!(events("data\n\n"), [""]);
        assert_eq!(
            events("data :a\n\ndatax: b\n\n data: c\n\nDATA: d\n\n"),
            [""; 0]
        );
    }

    #[test]
    fn comments_and_blank_lines_are_no_events() {
        assert_eq!(events(": ping\n\n\n\n:\n\nevent: x\n\n"), [""; 0]);
        assert_eq!(events(": x\ndata: a\n:y\n\n"), ["a"]);
    }

    #[test]
    fn every_kind_of_line_end_works_also_mixed() {
        for stream in [
            "data: a\r\rdata: b\r\r",
            "data: a\r\n\r\ndata: b\r\n\r\n",
            "data: a\n\r\ndata: b\r\n\n",
        ] {
            assert_eq!(events(stream), ["a", "b"], "{stream:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_ignored_at_the_start_and_only_there() {
        assert_eq!(events("\u{FEFF}data: a\n\n\u{FEFF}data: b\n\n"), ["a"]);
        assert_eq!(events("\u{FEFF}\u{FEFF}data: a\n\n"), [""; 0]);
    }

    #[test]
    fn an_unfinished_last_event_is_kept_for_the_meter() {
        assert_eq!(events("data: a\n\ndata: b"), ["a", "b"]);
        assert_eq!(events("data: a\n\ndata: b\n"), ["a", "b"]);
        assert_eq!(events("data: a\n\ndat"), ["a"]);
    }

    #[test]
    fn lines_beyond_the_limit_are_flagged_and_not_kept() {
        let stream =
            b"data: 12345678901234567890\n\ndata: a\n\ndata: 1234\ndata: 5678\ndata: 9\n\n";
        assert_eq!(decode(&[stream], 12), ["<26>", "a", "1234\n5678\n9"]);
        assert_eq!(decode(&[stream], 10), ["<26>", "a", "<1>"]);
        let mut decoder = Decoder::with_limit(8);
        let mut input: &[u8] = &[b'x'; 1000];
        assert_eq!(decoder.next_block(&mut input), None);
        assert_eq!(decoder.line.capacity(), 0);
    }

    #[test]
    fn no_way_of_cutting_the_stream_changes_the_events() {
        let stream = "\u{FEFF}: hi\r\n\r\nevent: e\r\ndata: a😀\r\ndata: b\r\n\r\ndata: c\r\rdata: 12345678901234567\n\n\
                      data: d\n\ndata: [DONE]\n\ndata: tail"
            .as_bytes();
        let whole = decode(&[stream], 16);
        assert_eq!(whole, ["a😀\nb", "c", "<23>", "d", "[DONE]", "tail"]);
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let chunks = [&stream[..first], &stream[first..second], &stream[second..]];
                assert_eq!(decode(&chunks, 16), whole, "cut at {first} and {second}");
            }
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(decode(&bytes, 16), whole);
    }

    #[test]
    fn only_one_line_feed_belongs_to_a_carriage_return() {
        let mut decoder = Decoder::default();
        let mut input: &[u8] = b"data: a\r\n\r\n\n";
        assert_eq!(decoder.next_block(&mut input), Some(Block::Event(b"a")));
        assert_eq!(input, b"\n");
        assert_eq!(decoder.next_block(&mut input), Some(Block::Blank));
        let mut input: &[u8] = b"\r";
        assert_eq!(decoder.next_block(&mut input), Some(Block::Blank));
        let mut input: &[u8] = b"\n\n";
        assert_eq!(decoder.next_block(&mut input), Some(Block::LineFeed));
        assert_eq!(decoder.next_block(&mut input), Some(Block::Blank));
    }

    #[test]
    fn a_line_feed_that_comes_late_is_reported_as_part_of_the_block_before() {
        let mut decoder = Decoder::default();
        let mut input: &[u8] = b"data: a\r\n\r";
        assert_eq!(decoder.next_block(&mut input), Some(Block::Event(b"a")));
        assert_eq!(decoder.next_block(&mut input), None);
        let mut input: &[u8] = b"\ndata: b\n\n";
        assert_eq!(decoder.next_block(&mut input), Some(Block::LineFeed));
        assert_eq!(input.len(), 9);
        assert_eq!(decoder.next_block(&mut input), Some(Block::Event(b"b")));
    }
}
