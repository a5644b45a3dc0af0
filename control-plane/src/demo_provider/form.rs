//! Reads a request body that is `multipart/form-data`: texts and files (RFC 7578).

use axum::body::Bytes;
use axum::http::HeaderValue;
use memchr::memmem;
use serde_json::Value;

use super::fields::{Fields, invalid};
use super::refusal::Refusal;

/// Fields that are numbers or flags: a form knows only texts, so they are read as JSON.
const NOT_TEXT: [&str; 3] = ["n", "partial_images", "stream"];

/// A request body: a form.
#[derive(Debug)]
pub(super) struct Form {
    /// What is no file, by name; of several with one name the last.
    pub(super) fields: Fields,
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    /// Of the form's field, not of the file.
    name: String,
    bytes: Bytes,
}

impl Form {
    /// Parses a body.
    ///
    /// # Errors
    /// A 400 when it is not such a form from its first boundary to its last.
    pub(super) fn parse(content_type: Option<&HeaderValue>, body: &Bytes) -> Result<Self, Refusal> {
        let boundary = content_type
            .and_then(|value| value.to_str().ok())
            .and_then(boundary)
            .ok_or_else(|| {
                let problem = "must be `multipart/form-data` with a boundary";
                invalid("content-type", problem)
            })?;
        let mut files = Vec::new();
        let mut fields = Vec::new();
        for part in parts(&boundary, body).ok_or_else(broken)? {
            let part = Part::read(part).ok_or_else(broken)?;
            if part.is_file {
                files.push(File {
                    name: part.name,
                    bytes: body.slice_ref(part.content),
                });
            } else {
                let text = str::from_utf8(part.content)
                    .map_err(|_| invalid(&part.name, "must be UTF-8"))?;
                let value = match serde_json::from_str(text) {
                    Ok(value) if NOT_TEXT.contains(&part.name.as_str()) => value,
                    _ => Value::from(text),
                };
                fields.push((part.name, value));
            }
        }
        Ok(Self {
            fields: fields.into_iter().collect(),
            files,
        })
    }

    /// The first file called `name`, or `name[]` as some clients do for lists.
    ///
    /// # Errors
    /// A 400 when there is none.
    pub(super) fn file(&self, name: &str) -> Result<&Bytes, Refusal> {
        self.files
            .iter()
            .find(|file| file.name.strip_suffix("[]").unwrap_or(&file.name) == name)
            .map(|file| &file.bytes)
            .ok_or_else(|| invalid(name, "must be a file"))
    }

    /// Every file.
    pub(super) fn files(&self) -> impl Iterator<Item = &Bytes> {
        self.files.iter().map(|file| &file.bytes)
    }
}

fn broken() -> Refusal {
    Refusal::invalid("the body is not a whole multipart form with the boundary of its content-type")
}

fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty())
            .then(|| value.to_owned())
    })
}

/// What stands between the boundaries, if the last one is there.
fn parts<'a>(boundary: &str, body: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let first = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = match body.strip_prefix(first.as_bytes()) {
        Some(rest) => rest,
        None => split(body, delimiter.as_bytes())?.1,
    };
    let mut parts = Vec::new();
    while !rest.starts_with(b"--") {
        let (part, after) = split(rest.strip_prefix(b"\r\n")?, delimiter.as_bytes())?;
        parts.push(part);
        rest = after;
    }
    Some(parts)
}

/// What stands before the first `delimiter`, and what behind it.
fn split<'a>(bytes: &'a [u8], delimiter: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (before, found) = bytes.split_at_checked(memmem::find(bytes, delimiter)?)?;
    Some((before, found.strip_prefix(delimiter)?))
}

/// One part of a form.
struct Part<'a> {
    name: String,
    is_file: bool,
    content: &'a [u8],
}

impl<'a> Part<'a> {
    fn read(part: &'a [u8]) -> Option<Self> {
        let (head, content) = split(part, b"\r\n\r\n")?;
        let head = str::from_utf8(head).ok()?;
        let disposition = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim()
                .eq_ignore_ascii_case("content-disposition")
                .then_some(value)
        })?;
        Some(Self {
            name: quoted(disposition, "name")?.to_owned(),
            is_file: quoted(disposition, "filename").is_some()
                || disposition.contains("filename*="),
            content,
        })
    }
}

/// The value of a parameter in quotes. Every client in use quotes, and escapes a quote as `%22`.
fn quoted<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let mut pieces = header.split('"');
    // Outside and inside of quotes take turns.
    while let (Some(outside), Some(inside)) = (pieces.next(), pieces.next()) {
        let last = outside.rsplit(';').next()?.trim();
        if last.strip_suffix('=') == Some(name) {
            return Some(inside);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: HeaderValue = HeaderValue::from_static("multipart/form-data; boundary=\"xyz\"");

    fn parse(body: &'static [u8]) -> Result<Form, Refusal> {
        Form::parse(Some(&TYPE), &Bytes::from_static(body))
    }

    #[test]
    fn texts_and_files_are_told_apart_and_no_byte_is_lost() {
        let form = parse(
            b"--xyz\r\ncontent-disposition: form-data; name=\"prompt\"\r\n\r\n12\r\n\
              --xyz\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n3\r\n\
              --xyz\r\nContent-Type: image/png\r\n\
              Content-Disposition: form-data; filename=\"a;b name=.png\"; name=\"image[]\"\r\n\r\n\
              \xff\r\n\r\n--xy\r\n--xyz--\r\n",
        )
        .unwrap();
        assert_eq!(form.fields.text("prompt").unwrap(), "12");
        assert_eq!(form.fields.number("n", 9).unwrap(), Some(3));
        assert_eq!(&form.file("image").unwrap()[..], b"\xff\r\n\r\n--xy");
        assert_eq!(form.files().count(), 1);
        assert!(form.file("mask").is_err());
    }

    #[test]
    fn what_stands_before_the_first_boundary_is_skipped() {
        let form = parse(
            b"hello\r\n--xyz\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nb\r\n--xyz--",
        );
        assert_eq!(form.unwrap().fields.text("a").unwrap(), "b");
        assert!(parse(b"--xyz--").is_ok());
    }

    #[test]
    fn a_form_that_is_not_whole_is_refused() {
        for body in [
            &b""[..],
            b"--xyz",
            b"--xyz\r\n",
            b"--xyz\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nb",
            b"--xyz\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nb\r\n--xyz",
            b"--xyz\r\ncontent-disposition: form-data\r\n\r\nb\r\n--xyz--",
            b"--xyz\r\ncontent-disposition: form-data; name=\"a\"\r\n--xyz--",
            b"--other--",
        ] {
            assert!(parse(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn another_content_type_is_no_form() {
        for other in [
            "application/json",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/mixed; boundary=xyz",
        ] {
            let refusal = Form::parse(
                Some(&HeaderValue::from_static(other)),
                &Bytes::from_static(b"--xyz--"),
            )
            .unwrap_err();
            assert_eq!(refusal.param.as_deref(), Some("content-type"));
        }
    }
}
