//! The headers of one part: four that forms use, written in the one way that all readers agree on.

use std::ops::Range;

use memchr::{memchr, memchr2};

use super::{
    MAX_FILENAME_BYTES, MAX_HEADER_BYTES, MAX_HEADERS, MAX_NAME_BYTES, MultipartError,
    is_token_byte, without_spaces,
};

/// What the headers of a part say.
#[derive(Debug, Default)]
pub(super) struct Headers<'b> {
    /// Name, and whether there is a file name.
    pub(super) disposition: Option<(&'b str, bool)>,
    pub(super) content_type: Option<&'b [u8]>,
    transfer_encoding: Option<()>,
    /// The place of the number. Whether it is one, and true, is for the reader of the value to see.
    pub(super) content_length: Option<Range<usize>>,
}

impl<'b> Headers<'b> {
    /// Splits a part into its headers and its value.
    pub(super) fn read(section: &'b [u8]) -> Result<(Self, &'b [u8]), MultipartError> {
        let mut headers = Self::default();
        let mut lines: usize = 0;
        let mut start: usize = 0;
        let mut rest = section;
        loop {
            let (line, after) = line(rest)?;
            rest = after;
            if line.is_empty() {
                return Ok((headers, rest));
            }
            if is_continuation(line) || is_continuation(rest) {
                return Err(MultipartError::FoldedHeader);
            }
            lines = lines.saturating_add(1);
            let end = start.saturating_add(line.len());
            let next = section.len().saturating_sub(rest.len());
            if lines > MAX_HEADERS || next > MAX_HEADER_BYTES {
                return Err(MultipartError::HeadersTooLong);
            }
            headers.add(line, end)?;
            start = next;
        }
    }

    /// Takes in a line that ends at `end` in the part.
    fn add(&mut self, line: &'b [u8], end: usize) -> Result<(), MultipartError> {
        let colon = memchr(b':', line).ok_or(MultipartError::UnknownHeader)?;
        let (name, value) = line.split_at_checked(colon).unwrap_or_default();
        let value = without_spaces(value.strip_prefix(b":").unwrap_or_default());
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"content-disposition") {
            once(&mut self.disposition, disposition(value)?)
        } else if is(b"content-type") {
            once(&mut self.content_type, content_type(value)?)
        } else if is(b"content-transfer-encoding") {
            once(&mut self.transfer_encoding, transfer_encoding(value)?)
        } else if is(b"content-length") {
            let place = end.saturating_sub(value.len())..end;
            once(&mut self.content_length, place)
        } else {
            Err(MultipartError::UnknownHeader)
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), MultipartError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(MultipartError::DuplicateHeader),
    }
}

/// The first line, without its end, and what follows it.
fn line(section: &[u8]) -> Result<(&[u8], &[u8]), MultipartError> {
    let end = memchr2(b'\r', b'\n', section).ok_or(MultipartError::HeadersNotEnded)?;
    let (line, rest) = section.split_at_checked(end).unwrap_or_default();
    let rest = rest.strip_prefix(b"\r\n").ok_or(MultipartError::LineEnd)?;
    Ok((line, rest))
}

fn is_continuation(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

/// Name, and whether there is a file name. The name comes first: some readers look for `name="`
/// alone, and would find the end of `filename="`.
fn disposition(value: &[u8]) -> Result<(&str, bool), MultipartError> {
    let mut rest = value
        .strip_prefix(b"form-data")
        .ok_or(MultipartError::Disposition)?;
    let (b"name", name) = parameter(&mut rest)? else {
        return Err(MultipartError::Disposition);
    };
    let name = field_name(name)?;
    if rest.is_empty() {
        return Ok((name, false));
    }
    let (b"filename", filename) = parameter(&mut rest)? else {
        return Err(MultipartError::Disposition);
    };
    if !(1..=MAX_FILENAME_BYTES).contains(&filename.len()) || filename.contains(&0) {
        // An empty one makes the part a file to some readers and a field to others.
        return Err(MultipartError::FileName);
    }
    if !rest.is_empty() {
        // There may be nothing more, but a `filename*` deserves its own message.
        parameter(&mut rest)?;
        return Err(MultipartError::Disposition);
    }
    Ok((name, true))
}

/// Takes `; name="value"`.
fn parameter<'b>(rest: &mut &'b [u8]) -> Result<(&'b [u8], &'b [u8]), MultipartError> {
    let text = rest.strip_prefix(b";").ok_or(MultipartError::Disposition)?;
    let text = without_spaces(text);
    let equals = memchr(b'=', text).ok_or(MultipartError::Disposition)?;
    let (name, text) = text.split_at_checked(equals).unwrap_or_default();
    if name.contains(&b'*') {
        return Err(MultipartError::ExtendedParameter);
    }
    let text = text
        .strip_prefix(b"=\"")
        .ok_or(MultipartError::Disposition)?;
    let end = memchr2(b'"', b'\\', text).ok_or(MultipartError::Disposition)?;
    let (value, text) = text.split_at_checked(end).unwrap_or_default();
    *rest = text.strip_prefix(b"\"").ok_or(MultipartError::Escape)?;
    Ok((name, value))
}

fn field_name(name: &[u8]) -> Result<&str, MultipartError> {
    // What begins so is an encoded word to readers that take a part's headers for those of a mail
    // (RFC 2047): `=?utf-8?q?model?=` is `model` to them.
    let is_encoded_word = name.windows(2).any(|pair| pair == b"=?");
    let is_good = (1..=MAX_NAME_BYTES).contains(&name.len()) && is_printable(name);
    match str::from_utf8(name) {
        Ok(name) if is_good && !is_encoded_word => Ok(name),
        _ => Err(MultipartError::Name),
    }
}

/// Checks as much as it takes to tell the type; parameters are for whoever uses the part.
fn content_type(value: &[u8]) -> Result<&[u8], MultipartError> {
    if !is_printable(value) || value.ends_with(b" ") {
        return Err(MultipartError::ContentType);
    }
    let mut halves = value
        .split(|&byte| byte == b';')
        .next()
        .unwrap_or_default()
        .split(|&byte| byte == b'/');
    let is_token = |text: &[u8]| !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte));
    match (halves.next(), halves.next(), halves.next()) {
        (Some(main), Some(sub), None) if is_token(main) && is_token(sub) => {
            if main.eq_ignore_ascii_case(b"multipart") {
                Err(MultipartError::Nested)
            } else {
                Ok(value)
            }
        }
        _ => Err(MultipartError::ContentType),
    }
}

/// Those that change no byte.
fn transfer_encoding(value: &[u8]) -> Result<(), MultipartError> {
    let known: [&[u8]; 3] = [b"binary", b"8bit", b"7bit"];
    if known.iter().any(|known| value.eq_ignore_ascii_case(known)) {
        Ok(())
    } else {
        Err(MultipartError::TransferEncoding)
    }
}

fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|byte| (0x20..=0x7E).contains(byte))
}

#[cfg(test)]
mod tests;
