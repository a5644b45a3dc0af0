use crate::multipart::MultipartError;
use crate::multipart::tests::{body, error, refuses, with_headers};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn headers_are_lines_of_a_known_kind() {
    let line = "Content-Disposition: form-data; name=\"a\"";
    refuses(&[
        (
            "no headers",
            MultipartError::Disposition,
            body(&["\r\n12345"]),
        ),
        (
            "no blank line",
            MultipartError::HeadersNotEnded,
            body(&[line]),
        ),
        (
            "only a line end",
            MultipartError::HeadersNotEnded,
            body(&[&format!("{line}\r\n")]),
        ),
        (
            "CR without LF",
            MultipartError::LineEnd,
            with_headers(&format!("{line}\rX: y")),
        ),
        (
            "LF without CR",
            MultipartError::LineEnd,
            with_headers(&format!("{line}\nX: y")),
        ),
        (
            "LF LF",
            MultipartError::LineEnd,
            body(&[&format!("{line}\n\n12345")]),
        ),
        (
            "CR in a name",
            MultipartError::LineEnd,
            with_headers(&line.replace('a', "a\rb")),
        ),
        (
            "CR CR LF",
            MultipartError::LineEnd,
            with_headers(&format!("{line}\r")),
        ),
        (
            "folding",
            MultipartError::FoldedHeader,
            with_headers(&line.replace("; ", ";\r\n ")),
        ),
        (
            "folding by a tab",
            MultipartError::FoldedHeader,
            with_headers(&line.replace("; ", ";\r\n\t")),
        ),
        (
            "unknown header",
            MultipartError::UnknownHeader,
            with_headers(&format!("{line}\r\nX-A: b")),
        ),
        (
            "no header",
            MultipartError::UnknownHeader,
            with_headers(&format!("{line}\r\nhello")),
        ),
        (
            "no name",
            MultipartError::UnknownHeader,
            with_headers(&format!("{line}\r\n: b")),
        ),
        (
            "space before the colon",
            MultipartError::UnknownHeader,
            with_headers(&line.replace(':', " :")),
        ),
        (
            "two dispositions",
            MultipartError::DuplicateHeader,
            with_headers(&format!("{line}\r\n{line}")),
        ),
        (
            "two content types",
            MultipartError::DuplicateHeader,
            with_headers(&format!("{line}\r\nContent-Type: a/b\r\ncontent-type: a/b")),
        ),
        (
            "two lengths",
            MultipartError::DuplicateHeader,
            with_headers(&format!("{line}\r\nContent-Length: 5\r\ncontent-length: 5")),
        ),
        (
            "two encodings",
            MultipartError::DuplicateHeader,
            with_headers(&format!(
                "{line}\r\nContent-Transfer-Encoding: 8bit\r\ncontent-transfer-encoding: 8bit"
            )),
        ),
        (
            "nine headers",
            MultipartError::UnknownHeader,
            with_headers(&format!("{line}{}", "\r\nX: y".repeat(8))),
        ),
    ]);
}

#[test]
fn headers_of_a_part_have_a_longest_length() {
    let of_length = |length: usize| {
        let line = "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: a/";
        with_headers(&format!("{line}{}", "b".repeat(length - line.len() - 2)))
    };
    assert_eq!(error(&of_length(4096)), None);
    assert_eq!(
        error(&of_length(4097)),
        Some(MultipartError::HeadersTooLong)
    );
    let endless = of_length(1 << 20);
    assert_eq!(error(&endless), Some(MultipartError::HeadersTooLong));
}

#[test]
fn the_disposition_is_written_in_one_way() {
    let with = |text: &str| with_headers(&format!("Content-Disposition: {text}"));
    for text in [
        "",
        "form-data",
        "form-data;",
        "form-data; ",
        "form-data; name",
        "form-data; name=",
        "form-data; name=a",
        "form-data; name='a'",
        "form-data; name=\"a",
        "form-data; name=\"a\" ",
        "form-data; name=\"a\";",
        "form-data; name=\"a\"b",
        "form-data; name=\"a\"\"b\"",
        "form-data; name =\"a\"",
        "form-data; name= \"a\"",
        "form-data ; name=\"a\"",
        "form-data;\tname=\"a\"",
        "form-data; Name=\"a\"",
        "form-data; filename=\"a\"",
        "form-data; filename=\"a\"; name=\"a\"",
        "form-data; name=\"a\"; name=\"b\"",
        "form-data; name=\"a\"; filename=b",
        "form-data; name=\"a\"; filename=\"b\"; filename=\"c\"",
        "form-data; name=\"a\"; filename=\"b\"; name=\"c\"",
        "form-data; name=\"a\"; size=\"1\"",
        "form-data; name=\"a\" filename=\"b\"",
        "form-data, name=\"a\"",
        "Form-Data; name=\"a\"",
        "attachment; name=\"a\"",
        "file; name=\"a\"",
    ] {
        assert_eq!(
            error(&with(text)),
            Some(MultipartError::Disposition),
            "{text}"
        );
    }
    for text in [
        "form-data; name*=utf-8''model",
        "form-data; name*=\"utf-8''model\"",
        "form-data; name*0=\"mo\"; name*1=\"del\"",
        "form-data; name=\"a\"; filename*=utf-8''b",
        "form-data; name=\"a\"; name*=utf-8''b",
        "form-data; name=\"a\"; filename=\"b\"; filename*=utf-8''b",
    ] {
        assert_eq!(
            error(&with(text)),
            Some(MultipartError::ExtendedParameter),
            "{text}"
        );
    }
    for text in [
        "form-data; name=\"a\\\"b\"",
        "form-data; name=\"a\\b\"",
        "form-data; name=\"a\"; filename=\"a\\\"b\"",
        "form-data; name=\"a\"; filename=\"C:\\a\"",
    ] {
        assert_eq!(error(&with(text)), Some(MultipartError::Escape), "{text}");
    }
}

#[test]
fn a_name_that_readers_of_mail_would_decode_is_refused() {
    for name in ["=?utf-8?q?model?=", "x =?us-ascii?b?bW9kZWw=?=", "=?"] {
        let headers = format!("Content-Disposition: form-data; name=\"{name}\"");
        assert_eq!(error(&with_headers(&headers)), Some(MultipartError::Name));
    }
}

#[test]
fn names_and_file_names_have_a_shortest_and_a_longest_length() {
    let name =
        |name: &str| with_headers(&format!("Content-Disposition: form-data; name=\"{name}\""));
    assert_eq!(error(&name(&"n".repeat(128))), None);
    for bad in ["", &"n".repeat(129), "mod\u{e9}l", "a\tb", "a\0b", "a\x7fb"] {
        assert_eq!(error(&name(bad)), Some(MultipartError::Name), "{bad:?}");
    }
    let file = |name: &str| {
        with_headers(&format!(
            "Content-Disposition: form-data; name=\"f\"; filename=\"{name}\""
        ))
    };
    assert_eq!(error(&file(&"n".repeat(1024))), None);
    assert_eq!(error(&file("\u{65e5}\u{1}\t;=")), None);
    for bad in ["", &"n".repeat(1025), "a\0b"] {
        assert_eq!(error(&file(bad)), Some(MultipartError::FileName));
    }
}

#[test]
fn a_value_is_sent_as_it_is_and_as_long_as_it_says() {
    let with = |header: &str| {
        error(&with_headers(&format!(
            "Content-Disposition: form-data; name=\"a\"\r\n{header}"
        )))
    };
    for value in [
        "multipart/mixed; boundary=Y",
        "Multipart/Form-Data",
        "multipart/x",
    ] {
        assert_eq!(
            with(&format!("Content-Type: {value}")),
            Some(MultipartError::Nested),
            "{value}"
        );
    }
    for value in [
        "", "a", "a/", "/b", "a/b/c", "a /b", "a/b ", "a/b ;c=d", "a,b/c", "a/\u{e4}", "a/b;\t",
    ] {
        let found = with(&format!("Content-Type: {value}"));
        assert_eq!(found, Some(MultipartError::ContentType), "{value}");
    }
    for value in [
        "",
        "base64",
        "quoted-printable",
        "x-gzip",
        "8bit ",
        "8bit, base64",
    ] {
        let found = with(&format!("Content-Transfer-Encoding: {value}"));
        assert_eq!(found, Some(MultipartError::TransferEncoding), "{value}");
    }
    assert_eq!(with("Content-Length: 5"), None);
    for value in [
        "",
        "4",
        "6",
        "05",
        "+5",
        "-5",
        "5 ",
        "5, 5",
        "0x5",
        "5.0",
        "99999999999999999999999",
    ] {
        let found = with(&format!("Content-Length: {value}"));
        assert_eq!(found, Some(MultipartError::ContentLength), "{value}");
    }
}
