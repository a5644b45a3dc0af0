//! Two other readers as witnesses, as different from this one and from each other as real ones are:
//! what is accepted, they read the same way.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::multipart::{Part, boundary, parts, splice};

type Fields = Vec<(String, Vec<u8>)>;

const BOUNDARY: &[u8] = b"XbX";
const DELIMITER: &[u8] = b"--XbX";

/// Reads as the laxest servers do: cut at the delimiter's text wherever it stands, headers up to the
/// first blank line, and the name is what follows the first `name="`.
fn by_cutting(body: &[u8]) -> Fields {
    let mut pieces = vec![Vec::new()];
    let mut at = 0;
    while at < body.len() {
        if body[at..].starts_with(DELIMITER) {
            pieces.push(Vec::new());
            at += DELIMITER.len();
        } else {
            pieces.last_mut().unwrap().push(body[at]);
            at += 1;
        }
    }
    let last = pieces.len() - 1;
    pieces[1..last]
        .iter()
        .filter_map(|piece| {
            let blank = piece.windows(4).position(|four| four == b"\r\n\r\n")?;
            let headers = String::from_utf8_lossy(&piece[..blank]).into_owned();
            let (_, name) = headers.split_once("name=\"")?;
            let (name, _) = name.split_once('"')?;
            let value = &piece[blank + 4..piece.len().max(blank + 6) - 2];
            Some((name.to_owned(), value.to_vec()))
        })
        .collect()
}

/// Reads as servers do that go line by line: LF ends a line, white space around a line is nothing,
/// and folded headers are one.
fn by_lines(body: &[u8]) -> Fields {
    let mut fields = Fields::new();
    let mut headers: Option<String> = None;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let trimmed = line.trim_ascii();
        if trimmed == DELIMITER || trimmed == [DELIMITER, b"--"].concat() {
            if let Some((_, value)) = fields.last_mut() {
                let value_end = value.strip_suffix(b"\r\n").or(value.strip_suffix(b"\n"));
                *value = value_end.unwrap_or(value).to_vec();
            }
            if trimmed != DELIMITER {
                break;
            }
            headers = Some(String::new());
        } else if let Some(text) = &mut headers {
            if trimmed.is_empty() {
                let name = disposition_name(text);
                headers = None;
                fields.push((name, Vec::new()));
            } else {
                if !line.starts_with(b" ") && !line.starts_with(b"\t") {
                    text.push('\n');
                }
                text.push_str(&String::from_utf8_lossy(trimmed));
            }
        } else if let Some((_, value)) = fields.last_mut() {
            value.extend(line);
        }
    }
    fields
}

/// The last parameter `name` of the last disposition wins here.
fn disposition_name(headers: &str) -> String {
    let mut found = String::new();
    for line in headers.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if !name.trim().eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        let mut in_quotes = false;
        let is_border = |character: char| {
            in_quotes ^= character == '"';
            character == ';' && !in_quotes
        };
        for parameter in value.split(is_border) {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            if name
                .trim()
                .trim_end_matches('*')
                .eq_ignore_ascii_case("name")
            {
                value.trim().trim_matches('"').clone_into(&mut found);
            }
        }
    }
    found
}

fn fields(parts: &[Part<'_>], body: &[u8]) -> Fields {
    let field = |part: &Part<'_>| (part.name.to_owned(), body[part.value.clone()].to_vec());
    parts.iter().map(field).collect()
}

/// Bytes among which everything that frames a part turns up.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"--Xb".to_vec()),
        Just(b"bX--".to_vec()),
        Just(b"Content-Disposition: form-data; name=\"model\"\r\n\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..6)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("the delimiter", |value| {
            !value.windows(DELIMITER.len()).any(|part| part == DELIMITER)
        })
}

/// A part as clients write it; its name is made unique by its number.
fn part(number: usize) -> impl Strategy<Value = Vec<u8>> {
    let filename = prop::option::of("[^\"\\\\\r\n\0]{1,8}");
    let content_type = prop::option::of("[a-z]{1,6}/[a-z]{1,6}(; charset=utf-8)?");
    (
        "[ -!#->@-\\[\\]-~]{0,8}",
        filename,
        content_type,
        any::<bool>(),
        value(),
    )
        .prop_map(move |(name, filename, content_type, length, value)| {
            let mut head = format!("Content-Disposition: form-data; name=\"{number}{name}\"");
            if let Some(filename) = filename {
                write!(head, "; filename=\"{filename}\"").unwrap();
            }
            if let Some(content_type) = content_type {
                write!(head, "\r\nContent-Type: {content_type}").unwrap();
            }
            if length {
                write!(head, "\r\nContent-Length: {}", value.len()).unwrap();
            }
            [head.as_bytes(), b"\r\n\r\n", &value].concat()
        })
        .prop_filter("the delimiter", |part| {
            !part.windows(DELIMITER.len()).any(|four| four == DELIMITER)
        })
}

fn good_body() -> impl Strategy<Value = Vec<u8>> {
    (1_usize..5)
        .prop_flat_map(|count| (0..count).map(part).collect::<Vec<_>>())
        .prop_map(|parts| {
            let mut body = Vec::new();
            for part in parts {
                body.extend([DELIMITER, b"\r\n", &part, b"\r\n"].concat());
            }
            [&body, DELIMITER, b"--\r\n"].concat()
        })
}

/// A good body in which something was put in, or put in the place of something.
fn spoilt_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\r\n--XbX\r\n"),
        Just("--XbX"),
        Just("--XbX--"),
        Just("\n--XbX\n"),
        Just("\r\n"),
        Just("\n"),
        Just("\r"),
        Just(" "),
        Just("\""),
        Just("\\"),
        Just(";"),
        Just("; name=\"model\""),
        Just("; filename*=utf-8''x"),
        Just("\r\nContent-Disposition: form-data; name=\"model\""),
        Just(""),
    ];
    (good_body(), any::<Index>(), 0_usize..12, piece).prop_map(|(body, at, removed, piece)| {
        let at = at.index(body.len());
        let after = (at + removed).min(body.len());
        [&body[..at], piece.as_bytes(), &body[after..]].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_clients_write_is_accepted_and_every_reader_reads_it_alike(body in good_body()) {
        let parts = parts(BOUNDARY, &body);
        prop_assert!(parts.is_ok(), "{parts:?}");
        let ours = fields(&parts.unwrap(), &body);
        prop_assert_eq!(&by_cutting(&body), &ours);
        prop_assert_eq!(&by_lines(&body), &ours);
    }

    #[test]
    fn what_is_accepted_although_it_was_tampered_with_every_reader_reads_alike(
        body in spoilt_body(),
    ) {
        if let Ok(parts) = parts(BOUNDARY, &body) {
            let ours = fields(&parts, &body);
            prop_assert_eq!(&by_cutting(&body), &ours);
            prop_assert_eq!(&by_lines(&body), &ours);
        }
    }

    #[test]
    fn splicing_changes_that_value_and_nothing_else(
        body in good_body(),
        which in any::<Index>(),
        value in value(),
    ) {
        let before = parts(BOUNDARY, &body).unwrap();
        let which = which.index(before.len());
        let spliced = splice(BOUNDARY, &body, &before[which], &value).unwrap();
        let after = parts(BOUNDARY, &spliced).unwrap();
        let mut expected = fields(&before, &body);
        expected[which].1 = value;
        prop_assert_eq!(fields(&after, &spliced), expected);
        for (before, after) in before.iter().zip(&after) {
            prop_assert_eq!(before.is_file, after.is_file);
            prop_assert_eq!(before.content_type, after.content_type);
        }
    }

    #[test]
    fn bytes_of_any_kind_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parts(BOUNDARY, &body);
        let _ = parts(BOUNDARY, &[DELIMITER, b"\r\n", &body].concat());
        let _ = boundary(&body);
    }
}
