//! Reads a complete `multipart/form-data` body (RFC 7578, with the framing of RFC 2046 section 5.1),
//! as callers send audio and images.
//!
//! A body is judged here and read again by the provider, and readers of multipart differ more than
//! those of JSON: in what ends a line, in what may stand around a delimiter, in which of two fields
//! or of two names they take. So this reader accepts only what all of them read alike, which is what
//! clients write: CR LF everywhere, quoted names without escapes, no text before, after or between
//! the parts, and `--boundary` nowhere but in the delimiters. RFC 2046 would allow more.
//!
//! What it does not judge is for whoever uses the parts, since it depends on what a field means:
//!
//! * a name that only resembles another (`Model`, `model[0]`, `_charset_`);
//! * a content type on a part without a file name: some servers decode the text by its charset,
//!   and some take `application/octet-stream` for a file.
//!
//! All lengths and places are in bytes. Time is linear in the body's length.

mod headers;

use std::collections::BTreeMap;
use std::ops::Range;

use memchr::{memchr, memmem};

use headers::Headers;

/// The most parts in one body.
pub const MAX_PARTS: usize = 256;
/// The most header lines of one part.
pub const MAX_HEADERS: usize = 8;
/// The longest headers of one part, all lines with their ends together.
pub const MAX_HEADER_BYTES: usize = 4 << 10;
/// The longest name of a field.
pub const MAX_NAME_BYTES: usize = 128;
/// The longest file name.
pub const MAX_FILENAME_BYTES: usize = 1 << 10;
/// The longest boundary (RFC 2046 section 5.1.1).
pub const MAX_BOUNDARY_BYTES: usize = 70;

/// One field of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'b> {
    /// Its name: 1 to [`MAX_NAME_BYTES`] bytes of printable ASCII, without `"`, `\` and `=?`. No other part
    /// has it, unless it ends in `[]`.
    pub name: &'b str,
    /// It has a file name.
    pub is_file: bool,
    /// Its content type, as it was written: printable ASCII, with parameters if it has any, and never
    /// `multipart/*`.
    pub content_type: Option<&'b [u8]>,
    /// The place of its value in the body.
    pub value: Range<usize>,
    /// The place of the number in its Content-Length, if it has one. Whoever changes the value must
    /// change the number too; [`splice`] does both.
    pub declared_length: Option<Range<usize>>,
}

/// Why a body is not one that all readers read alike. The messages are for the caller; they repeat
/// nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The content type is another one, or written with capitals or spaces.
    #[error("the Content-Type must be `multipart/form-data` with a boundary")]
    NotFormData,
    /// No boundary, a bad one, or something beside it.
    #[error(
        "the Content-Type must have exactly one parameter, boundary: 1 to {MAX_BOUNDARY_BYTES} \
         letters, digits or '()+_,-./:=? (in double quotes unless all are letters, digits or '+_-.)"
    )]
    Boundary,
    /// The body is empty or does not begin with the boundary.
    #[error(
        "the body must begin with two hyphens and the boundary of its Content-Type; \
         send nothing before them"
    )]
    Preamble,
    /// The delimiter's text somewhere else, or a delimiter's line with something else in it.
    #[error(
        "two hyphens and the boundary may stand only in a line of their own, begun and ended by \
         CR LF; add nothing to that line, and choose a boundary that occurs in no part"
    )]
    Delimiter,
    /// The closing delimiter is missing; the body may be cut.
    #[error("the body must end with two hyphens, the boundary and two hyphens; was it cut off?")]
    MissingEnd,
    /// Something follows the closing delimiter.
    #[error("nothing but one CR LF may follow the closing delimiter; send nothing after it")]
    Epilogue,
    /// A closing delimiter and nothing else.
    #[error("the body has no parts; send each field as a part")]
    NoParts,
    /// More than [`MAX_PARTS`].
    #[error("the body has more than {MAX_PARTS} parts; send fewer")]
    TooManyParts,
    /// A CR without LF or a LF without CR.
    #[error("lines of a part's headers must end with CR LF; send no CR or LF alone")]
    LineEnd,
    /// No blank line.
    #[error("a part's headers must end with an empty line; add one before the value")]
    HeadersNotEnded,
    /// More than [`MAX_HEADERS`] lines or [`MAX_HEADER_BYTES`].
    #[error(
        "a part may have at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes together; \
         send fewer or shorter ones"
    )]
    HeadersTooLong,
    /// A line that begins with white space.
    #[error("a part's header may not be folded; write each in one line")]
    FoldedHeader,
    /// A header that no form needs, or a line that is none.
    #[error(
        "a part may have the headers Content-Disposition, Content-Type, Content-Transfer-Encoding \
         and Content-Length; remove all others"
    )]
    UnknownHeader,
    /// The same header twice.
    #[error("a part may have each header once; remove the second one")]
    DuplicateHeader,
    /// No Content-Disposition, or not as it must be written.
    #[error(
        "each part must have a Content-Disposition of exactly this form: form-data; name=\"...\" or \
         form-data; name=\"...\"; filename=\"...\""
    )]
    Disposition,
    /// A backslash.
    #[error(
        "the name and filename of a part may not contain a backslash; rename the field or file"
    )]
    Escape,
    /// `name*`, `filename*`, `filename*0` and the like.
    #[error("a part may not have name* or filename*; send name and filename instead")]
    ExtendedParameter,
    /// The name is empty, too long or not printable ASCII.
    #[error(
        "the name of a part must be 1 to {MAX_NAME_BYTES} bytes of printable ASCII, without `=?`"
    )]
    Name,
    /// The file name is empty, too long or has a NUL.
    #[error(
        "the filename of a part must be 1 to {MAX_FILENAME_BYTES} bytes without NUL; \
         leave filename out when the part is no file"
    )]
    FileName,
    /// The same name twice, or a name both with and without `[]`.
    #[error(
        "a field occurs twice; send each field once, or let the name of a list end in [] each time"
    )]
    DuplicateName,
    /// Not a media type.
    #[error(
        "the Content-Type of a part must be a media type in printable ASCII, such as audio/mpeg"
    )]
    ContentType,
    /// `multipart/*` within a part.
    #[error("a part may not itself be multipart; send each file as a part of its own")]
    Nested,
    /// An encoding that changes bytes, or an unknown one.
    #[error(
        "the Content-Transfer-Encoding of a part must be binary, 8bit or 7bit; \
         send its value as it is, or leave the header out"
    )]
    TransferEncoding,
    /// Not the true length, or not in plain digits.
    #[error(
        "the Content-Length of a part must be the length of its value in bytes, in plain digits; \
         correct it or leave it out"
    )]
    ContentLength,
}

/// The boundary that a Content-Type names. It must be `multipart/form-data` in lower case with this
/// one parameter; after the semicolon there may be spaces.
pub fn boundary(content_type: &[u8]) -> Result<&[u8], MultipartError> {
    let end = memchr(b';', content_type).unwrap_or(content_type.len());
    let (essence, parameter) = content_type
        .split_at_checked(end)
        .unwrap_or((content_type, &[]));
    if essence != b"multipart/form-data" {
        return Err(MultipartError::NotFormData);
    }
    let value = parameter
        .strip_prefix(b";")
        .and_then(|parameter| without_spaces(parameter).strip_prefix(b"boundary="))
        .ok_or(MultipartError::Boundary)?;
    let boundary = match value {
        [b'"', quoted @ .., b'"'] => quoted,
        token if token.iter().all(|&byte| is_token_byte(byte)) => token,
        _ => return Err(MultipartError::Boundary),
    };
    check_boundary(boundary)?;
    Ok(boundary)
}

/// The parts of a complete body, in their order. `boundary` is what [`boundary`] gave.
pub fn parts<'b>(boundary: &[u8], body: &'b [u8]) -> Result<Vec<Part<'b>>, MultipartError> {
    check_boundary(boundary)?;
    let delimiter = delimiter(boundary);
    let finder = memmem::Finder::new(&delimiter);
    let mut parts = Vec::new();
    let mut names = Names::default();
    let mut rest = body
        .strip_prefix(&*delimiter)
        .ok_or(MultipartError::Preamble)?;
    // Each turn begins right behind a delimiter's text.
    while let Some(section) = rest.strip_prefix(b"\r\n") {
        let start = body.len().saturating_sub(section.len());
        // The delimiter's text is searched in headers too. Some readers cut there before they look
        // at headers, and some at the text alone, wherever in a line it stands.
        let end = finder.find(section).ok_or(MultipartError::MissingEnd)?;
        let (section, after) = section.split_at_checked(end).unwrap_or_default();
        rest = after.strip_prefix(&*delimiter).unwrap_or_default();
        // The CR LF before a delimiter belongs to it.
        let section = section
            .strip_suffix(b"\r\n")
            .ok_or(MultipartError::Delimiter)?;
        if parts.len() >= MAX_PARTS {
            return Err(MultipartError::TooManyParts);
        }
        let part = part(section, start)?;
        names.add(part.name)?;
        parts.push(part);
    }
    match rest.strip_prefix(b"--") {
        None => Err(MultipartError::Delimiter),
        Some(b"" | b"\r\n") if parts.is_empty() => Err(MultipartError::NoParts),
        Some(b"" | b"\r\n") => Ok(parts),
        Some(_) => Err(MultipartError::Epilogue),
    }
}

/// The body with another value in a part, and with its length where the part declares one. `None`
/// when the value contains the delimiter, for then it would end the part; or when the part is not
/// one of this body's.
pub fn splice(boundary: &[u8], body: &[u8], part: &Part<'_>, value: &[u8]) -> Option<Vec<u8>> {
    if memmem::find(value, &delimiter(boundary)).is_some() {
        return None;
    }
    // That the places are in order is checked as well: what comes out is sent.
    body.get(part.value.clone())?;
    let behind = body.get(part.value.end..)?;
    let spliced = match &part.declared_length {
        None => [body.get(..part.value.start)?, value, behind].concat(),
        Some(number) => {
            body.get(number.clone())?;
            let before = body.get(..number.start)?;
            let between = body.get(number.end..part.value.start)?;
            let length = value.len().to_string();
            [before, length.as_bytes(), between, value, behind].concat()
        }
    };
    Some(spliced)
}

/// The body with a new field in front of its first part. `None` when the value contains the delimiter.
pub fn prepend(boundary: &[u8], body: &[u8], name: &str, value: &[u8]) -> Option<Vec<u8>> {
    let delimiter = delimiter(boundary);
    if memmem::find(value, &delimiter).is_some() {
        return None;
    }
    let head = format!("\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
    Some([&delimiter, head.as_bytes(), value, b"\r\n", body].concat())
}

/// Reads what stands between two delimiters; it begins at `start` in the body.
fn part(section: &[u8], start: usize) -> Result<Part<'_>, MultipartError> {
    let (headers, value) = Headers::read(section)?;
    let (name, is_file) = headers.disposition.ok_or(MultipartError::Disposition)?;
    let value_start = section.len().saturating_sub(value.len());
    let place =
        |range: Range<usize>| start.saturating_add(range.start)..start.saturating_add(range.end);
    if let Some(number) = &headers.content_length {
        // As text: whatever other way of writing the number there is, some reader trips over it.
        if section.get(number.clone()) != Some(value.len().to_string().as_bytes()) {
            return Err(MultipartError::ContentLength);
        }
    }
    Ok(Part {
        name,
        is_file,
        content_type: headers.content_type,
        value: place(value_start..section.len()),
        declared_length: headers.content_length.map(place),
    })
}

/// The names so far, by what they are without `[]`. A name in two spellings (`a` and `a[]`, `a[]` and
/// `a[][]`) is refused, since readers that make lists of the one let the other overwrite it.
#[derive(Default)]
struct Names<'b>(BTreeMap<&'b str, &'b str>);

impl<'b> Names<'b> {
    fn add(&mut self, name: &'b str) -> Result<(), MultipartError> {
        let stem = name.trim_end_matches("[]");
        match self.0.insert(stem, name) {
            None => Ok(()),
            Some(earlier) if earlier == name && name != stem => Ok(()),
            Some(_) => Err(MultipartError::DuplicateName),
        }
    }
}

fn delimiter(boundary: &[u8]) -> Vec<u8> {
    [b"--", boundary].concat()
}

/// `bcharsnospace` of RFC 2046. Without spaces, CR and LF it can only stand within one line.
fn check_boundary(boundary: &[u8]) -> Result<(), MultipartError> {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(byte);
    if (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()) && boundary.iter().all(is_good) {
        Ok(())
    } else {
        Err(MultipartError::Boundary)
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Without spaces at the start; tabs stay, and make it an error.
fn without_spaces(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_prefix(b" ") {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests;
