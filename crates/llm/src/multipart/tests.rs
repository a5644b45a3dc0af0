#[cfg(not(target_arch = "wasm32"))]
mod properties;

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const MODEL: &str = "Content-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1";
const FILE: &str = "Content-Disposition: form-data; name=\"file\"; filename=\"a b;c.mp3\"\r\n\
                    Content-Type: audio/mpeg\r\n\r\n\0\r\n\r\nID3--X\n";

/// A body of these parts, each from its first header to the end of its value.
pub(super) fn body(parts: &[&str]) -> String {
    let parts = parts.iter().map(|part| format!("--XbX\r\n{part}\r\n"));
    parts.collect::<String>() + "--XbX--\r\n"
}

/// A body of one part with these headers and the value `12345`.
pub(super) fn with_headers(headers: &str) -> String {
    body(&[&format!("{headers}\r\n\r\n12345")])
}

pub(super) fn error(body: &str) -> Option<MultipartError> {
    parts(b"XbX", body.as_bytes()).err()
}

/// Refuses each body of the table for its reason, and says which one it does not.
pub(super) fn refuses(table: &[(&str, MultipartError, String)]) {
    for (what, reason, body) in table {
        assert_eq!(error(body), Some(*reason), "{what}");
    }
}

#[test]
fn fields_and_files_are_read_with_their_places() {
    let body = body(&[MODEL, FILE]);
    let parts = parts(b"XbX", body.as_bytes()).unwrap();
    let value = |part: &Part<'_>| &body.as_bytes()[part.value.clone()];
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0].name, "model");
    assert!(!parts[0].is_file);
    assert_eq!(parts[0].content_type, None);
    assert_eq!(value(&parts[0]), b"whisper-1");
    assert_eq!(parts[1].name, "file");
    assert!(parts[1].is_file);
    assert_eq!(parts[1].content_type, Some(&b"audio/mpeg"[..]));
    assert_eq!(value(&parts[1]), b"\0\r\n\r\nID3--X\n");
}

#[test]
fn what_clients_write_is_accepted() {
    for part in [
        "content-disposition:form-data;name=\"a\"\r\n\r\n",
        "CONTENT-DISPOSITION:  form-data;  name=\"a\"\r\n\r\n12345",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\n12345",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: binary\r\n\
         Content-Type: application/json\r\nContent-Length: 5\r\n\r\n12345",
        "Content-Length: 0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
        "Content-Disposition: form-data; name=\"image[]\"; filename=\"\u{e4}%22.png\"\r\n\r\n12345",
        "Content-Disposition: form-data; name=\"a b;c=d:e/'\"\r\n\r\n\r\n",
    ] {
        assert_eq!(error(&body(&[part])), None, "{part}");
    }
    assert_eq!(error(body(&[MODEL]).trim_end()), None);
}

/// R-29, R-30
#[test]
fn only_a_plain_content_type_has_a_boundary() {
    for (content_type, expected) in [
        ("multipart/form-data; boundary=XbX", "XbX"),
        ("multipart/form-data;boundary=XbX", "XbX"),
        ("multipart/form-data; boundary=\"XbX\"", "XbX"),
        (
            "multipart/form-data; boundary=\"a=b:c/d,e?(f)\"",
            "a=b:c/d,e?(f)",
        ),
        (
            "multipart/form-data; boundary=----WebKitFormBoundaryAbC+'_-.",
            "----WebKitFormBoundaryAbC+'_-.",
        ),
    ] {
        let found = boundary(content_type.as_bytes());
        assert_eq!(found, Ok(expected.as_bytes()), "{content_type}");
    }
    for content_type in [
        "",
        "multipart/mixed; boundary=XbX",
        "Multipart/Form-Data; boundary=XbX",
        " multipart/form-data; boundary=XbX",
        "multipart/form-data ; boundary=XbX",
        "multipart/form-data, multipart/form-data; boundary=XbX",
        "application/json",
    ] {
        let found = boundary(content_type.as_bytes());
        assert_eq!(found, Err(MultipartError::NotFormData), "{content_type}");
    }
    for parameter in [
        "",
        ";",
        "; boundary",
        "; boundary=",
        "; boundary=\"\"",
        "; boundary=\"",
        "; boundary=\"XbX",
        "; boundary=XbX\"",
        "; boundary=\"X\\bX\"",
        "; boundary=\"X\"bX\"",
        "; boundary=\"X bX\"",
        "; boundary=\"XbX\" ",
        "; boundary='X=X'",
        "; boundary=X bX",
        "; boundary=XbX ",
        "; boundary=XbX;",
        "; boundary= XbX",
        "; boundary =XbX",
        "; Boundary=XbX",
        ";\tboundary=XbX",
        "; boundary=XbX; boundary=XbX",
        "; boundary=XbX; charset=utf-8",
        "; charset=utf-8; boundary=XbX",
        "; boundary*=utf-8''XbX",
        "; boundary=X#X",
        "; boundary=\"X#X\"",
        "; boundary=X\r\nX",
        "; boundary=\"X\u{e4}\"",
    ] {
        let content_type = format!("multipart/form-data{parameter}");
        let found = boundary(content_type.as_bytes());
        assert_eq!(found, Err(MultipartError::Boundary), "{content_type}");
    }
}

#[test]
fn a_boundary_has_1_to_70_bytes() {
    let longest = "b".repeat(70);
    for quote in ["", "\""] {
        let of = |text: &str| format!("multipart/form-data; boundary={quote}{text}{quote}");
        assert_eq!(boundary(of(&longest).as_bytes()), Ok(longest.as_bytes()));
        let longer = of(&(longest.clone() + "b"));
        assert_eq!(boundary(longer.as_bytes()), Err(MultipartError::Boundary));
    }
    // One that comes from elsewhere is checked as well.
    for bad in [&b""[..], &[b'b'; 71], b"a b", b"a\r\nb"] {
        assert_eq!(parts(bad, b"--"), Err(MultipartError::Boundary));
    }
}

#[test]
fn nothing_may_stand_around_the_parts() {
    let good = body(&[MODEL]);
    let dashes = "-".repeat(100_000);
    refuses(&[
        ("empty body", MultipartError::Preamble, String::new()),
        (
            "preamble",
            MultipartError::Preamble,
            format!("hello\r\n{good}"),
        ),
        (
            "blank line first",
            MultipartError::Preamble,
            format!("\r\n{good}"),
        ),
        (
            "another boundary",
            MultipartError::Preamble,
            good.replace("XbX", "YbY"),
        ),
        ("100 KB of dashes", MultipartError::Preamble, dashes.clone()),
        (
            "only the closing delimiter",
            MultipartError::NoParts,
            "--XbX--".into(),
        ),
        (
            "the same and CR LF",
            MultipartError::NoParts,
            "--XbX--\r\n".into(),
        ),
        ("epilogue", MultipartError::Epilogue, format!("{good}bye")),
        (
            "two line ends",
            MultipartError::Epilogue,
            format!("{good}\r\n"),
        ),
        (
            "LF alone at the end",
            MultipartError::Epilogue,
            good.trim_end().to_owned() + "\n",
        ),
        (
            "CR alone at the end",
            MultipartError::Epilogue,
            good.trim_end().to_owned() + "\r",
        ),
        (
            "padding at the end",
            MultipartError::Epilogue,
            good.trim_end().to_owned() + " ",
        ),
        (
            "two bodies",
            MultipartError::Epilogue,
            format!("{good}{good}"),
        ),
        (
            "missing end",
            MultipartError::MissingEnd,
            good.replace("--XbX--\r\n", ""),
        ),
        (
            "only a beginning",
            MultipartError::MissingEnd,
            "--XbX\r\n".into(),
        ),
        (
            "half an end",
            MultipartError::Delimiter,
            good.replace("--XbX--\r\n", "--XbX-"),
        ),
        (
            "an end without hyphens",
            MultipartError::Delimiter,
            good.replace("--XbX--\r\n", "--XbX"),
        ),
        (
            "a value of dashes that never ends",
            MultipartError::MissingEnd,
            format!("--XbX\r\n{dashes}"),
        ),
    ]);
    for length in 0..good.len() - 2 {
        let cut = parts(b"XbX", &good.as_bytes()[..length]);
        assert!(cut.is_err(), "cut at {length}");
    }
}

#[test]
fn the_delimiter_stands_in_its_own_line_and_nowhere_else() {
    let with_value = |value: &str| {
        body(&[&format!(
            "Content-Disposition: form-data; name=\"a\"\r\n\r\n{value}"
        )])
    };
    for (what, bad) in [
        ("LF only", body(&[MODEL, FILE]).replace("\r\n", "\n")),
        ("padding", body(&[MODEL]).replace("--XbX\r\n", "--XbX \r\n")),
        (
            "a tab",
            body(&[MODEL, FILE]).replace("\r\n--XbX\r\n", "\r\n--XbX\t\r\n"),
        ),
        (
            "LF behind",
            body(&[MODEL, FILE]).replace("\r\n--XbX\r\n", "\r\n--XbX\n"),
        ),
        (
            "LF before",
            body(&[MODEL, FILE]).replace("\r\n--XbX\r\n", "\n--XbX\r\n"),
        ),
        (
            "CR before",
            body(&[MODEL, FILE]).replace("\r\n--XbX\r\n", "\r--XbX\r\n"),
        ),
        (
            "CR behind",
            body(&[MODEL, FILE]).replace("\r\n--XbX\r\n", "\r\n--XbX\r"),
        ),
        ("longer line", with_value("1\r\n--XbXy\r\n2")),
        ("longer line after LF", with_value("1\n--XbXy")),
        ("longer line after CR", with_value("1\r--XbXy")),
        ("one hyphen", with_value("1\r\n--XbX-\r\n2")),
        ("within a line of a value", with_value("1--XbX\r\n2")),
        ("padded within a file", with_value("1\r\n --XbX\r\n2")),
        ("in a file's name", body(&[&FILE.replace("a b", "--XbX")])),
        (
            "in a field's name",
            body(&[&MODEL.replace("model", "--XbX")]),
        ),
        ("no blank line and no value", "--XbX\r\n--XbX--".into()),
    ] {
        assert_eq!(error(&bad), Some(MultipartError::Delimiter), "{what}");
    }
    // A real delimiter within a file's content ends the part, and what follows is no part.
    let inside = with_value("1\r\n--XbX\r\n2");
    assert_eq!(error(&inside), Some(MultipartError::HeadersNotEnded));
    let early_end = with_value("1\r\n--XbX--\r\n2");
    assert_eq!(error(&early_end), Some(MultipartError::Epilogue));
    // Nor is one without a CR LF of its own, where the headers' is the only one.
    let first = with_value("--XbX\r\n2");
    assert_eq!(error(&first), Some(MultipartError::HeadersNotEnded));
    // Less than the delimiter is content.
    for value in [
        "--Xb",
        "\r\n-XbX",
        "XbX--\r\n",
        "--xbx",
        "\n--X\nbX",
        "\r\n\r\n",
    ] {
        assert_eq!(error(&with_value(value)), None, "{value:?}");
    }
}

#[test]
fn a_name_occurs_once_unless_it_is_a_list() {
    let named = |names: &[&str]| {
        let parts: Vec<String> = names
            .iter()
            .map(|name| MODEL.replace("model", name))
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        error(&body(&parts))
    };
    assert_eq!(named(&["model", "Model", "models"]), None);
    assert_eq!(named(&["a[]", "b", "a[]", "a[]"]), None);
    for names in [
        &["model", "model"][..],
        &["model", "file", "model"],
        &["model[]", "model"],
        &["model", "model[]"],
        &["a[]", "a[]", "a"],
        &["a[]", "a[][]"],
        &["a[][]", "a"],
    ] {
        assert_eq!(
            named(names),
            Some(MultipartError::DuplicateName),
            "{names:?}"
        );
    }
    let as_file = FILE.replace("\"file\"", "\"model\"");
    assert_eq!(
        error(&body(&[MODEL, &as_file])),
        Some(MultipartError::DuplicateName)
    );
}

#[test]
fn a_body_has_at_most_256_parts() {
    let of = |count: usize| body(&vec![&*MODEL.replace("model", "model[]"); count]);
    assert_eq!(error(&of(256)), None);
    assert_eq!(error(&of(257)), Some(MultipartError::TooManyParts));
}

#[test]
fn splicing_changes_one_value_and_its_length() {
    let model = MODEL.replace("\r\n\r\n", "\r\nContent-Length: 9\r\n\r\n");
    let body = body(&[&model, FILE]);
    let parts = parts(b"XbX", body.as_bytes()).unwrap();
    let spliced = splice(b"XbX", body.as_bytes(), &parts[0], b"a-longer-name").unwrap();
    let expected = body
        .replace("whisper-1", "a-longer-name")
        .replace("Length: 9", "Length: 13");
    assert_eq!(String::from_utf8(spliced).unwrap(), expected);
}

#[test]
fn a_value_that_would_end_its_part_is_not_spliced_in() {
    let body = body(&[MODEL]);
    let mut parts = parts(b"XbX", body.as_bytes()).unwrap();
    for value in [&b"a\r\n--XbX\r\nb"[..], b"--XbX", b"a--XbX--"] {
        assert_eq!(splice(b"XbX", body.as_bytes(), &parts[0], value), None);
    }
    // Nor is anything spliced into a body that the part is not from.
    assert_eq!(splice(b"XbX", b"short", &parts[0], b"v"), None);
    parts[0].declared_length = Some(body.len()..body.len());
    assert_eq!(splice(b"XbX", body.as_bytes(), &parts[0], b"v"), None);
}

#[test]
fn hostile_bodies_of_many_megabytes_are_read_in_linear_time() {
    // Each of these takes hours when a search begins anew at every step.
    let size = 1 << 24;
    for filler in [
        "\r\n--Xb",
        "-",
        "\r",
        "\r\n",
        "--XbX",
        ": ",
        "\r\n--XbX\r\n",
    ] {
        let filler = filler.repeat(size / filler.len());
        assert!(error(&filler).is_some());
        assert!(error(&format!("--XbX\r\n{filler}")).is_some());
        let long = format!("--XbX\r\n{MODEL}{filler}");
        assert!(error(&long).is_some());
    }
}
