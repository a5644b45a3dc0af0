//! paths that are written otherwise. A server that decodes, cuts or folds paths would take
//! them for a path of the table; here they are not found. Only in the name of a model are letters
//! decoded, once, and what goes to the provider is made from that name.

use reeve_llm::{BodyKind, WireFormat, find};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::paths::{MODEL, lines};

/// What can stand in the place of a slash, for one reader or another.
const SLASHES: [&str; 12] = [
    "//",
    "///",
    "/./",
    "/x/../",
    "/%2e/",
    "/.%2e/x/../",
    "%2f",
    "%2F",
    "%252f",
    "\\",
    "%5c",
    "/\\/",
];

/// What can stand behind a path.
const TAILS: [&str; 34] = [
    "/",
    "//",
    "/.",
    "/..",
    "/%2e",
    "/x/..",
    ";",
    ";x=1",
    "/;x",
    "%3b",
    "%00",
    "\0",
    "#",
    "#x",
    "%23",
    "?",
    "%3f",
    " ",
    "%20",
    "\t",
    "%09",
    "\r\n",
    "%0d%0a",
    ".",
    "..",
    ".json",
    "*",
    "%",
    "%zz",
    "%c0%af",
    "%c0%ae",
    "\u{200B}",
    "\u{FF0F}",
    "%EF%BC%8F",
];

/// What can stand in front of one.
const HEADS: [&str; 14] = [
    "/",
    "//",
    "/.",
    "/x/..",
    "/%2e",
    "\\",
    "http://evil",
    "https://evil:443",
    "HTTP://EVIL",
    "//evil",
    " ",
    "%2f",
    "*",
    "\u{FEFF}",
];

/// Ways of writing a letter.
fn letters(letter: char) -> [String; 6] {
    let code = u32::from(letter);
    [
        format!("%{code:02x}"),
        format!("%{code:02X}"),
        format!("%25{code:02x}"),
        // Overlong UTF-8.
        format!("%{:02x}%{:02x}", 0xC0 | (code >> 6), 0x80 | (code & 0x3F)),
        // Full width.
        char::from_u32(code + 0xFEE0).unwrap().to_string(),
        format!("{letter}\u{301}"),
    ]
}

/// Other spellings of a path.
fn spellings(path: &str) -> Vec<String> {
    let mut spellings = Vec::new();
    for (at, _) in path.match_indices('/') {
        let (before, after) = (&path[..at], &path[at + 1..]);
        spellings.extend(SLASHES.map(|slash| format!("{before}{slash}{after}")));
        // In each segment, its first and last letter.
        let end = after.find('/').unwrap_or(after.len());
        let segment = &after[..end];
        let bounds = [
            segment.find(|c: char| c.is_ascii_alphabetic()),
            segment.rfind(|c: char| c.is_ascii_alphabetic()),
        ];
        for letter_at in bounds.into_iter().flatten() {
            let letter_at = at + 1 + letter_at;
            let (before, rest) = path.split_at(letter_at);
            let (letter, after) = rest.split_at(1);
            let letter = letter.chars().next().unwrap();
            spellings.extend(letters(letter).map(|letter| format!("{before}{letter}{after}")));
            let other_case = if letter.is_ascii_uppercase() {
                letter.to_ascii_lowercase()
            } else {
                letter.to_ascii_uppercase()
            };
            spellings.push(format!("{before}{other_case}{after}"));
        }
        for between in [";", ";x=1", "%00", "%20", ".", "%2e"] {
            spellings.push(format!("{before}{between}/{after}"));
        }
    }
    if let Some((at, _)) = path.rmatch_indices(':').next() {
        let (before, after) = (&path[..at], &path[at + 1..]);
        spellings.extend(
            ["%3a", "%3A", "%253a", "/", "::"].map(|colon| format!("{before}{colon}{after}")),
        );
    }
    spellings.extend(TAILS.map(|tail| format!("{path}{tail}")));
    spellings.extend(HEADS.map(|head| format!("{head}{path}")));
    spellings.push(path.to_uppercase());
    spellings.push(path.trim_start_matches('/').to_owned());
    spellings
}

/// Decodes `%XX` once, as a reader of our own.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Nothing in it that some reader takes for something else.
fn is_canonical(path: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:@+-".contains(&byte);
    path.starts_with('/')
        && path.bytes().all(known)
        && path[1..]
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."))
}

#[test]
fn a_path_that_is_written_otherwise_is_refused_or_goes_on_as_it_was_judged() {
    let mut tried = 0;
    for line in lines() {
        let method = if line.method == "*" {
            "POST"
        } else {
            line.method
        };
        let path = line.example();
        for spelling in spellings(&path) {
            tried += 1;
            let Ok(found) = find(method.as_bytes(), spelling.as_bytes()).api else {
                continue;
            };
            let upstream = |model: &str| {
                let paths =
                    WireFormat::ALL.map(|format| found.endpoint.upstream_path(format, model));
                paths.into_iter().flatten().collect::<Vec<_>>()
            };
            if found.endpoint.body() == BodyKind::Nothing {
                // Answered here, whatever model it asks for.
                assert!(upstream("m").is_empty(), "{spelling}");
                continue;
            }
            // It may only be the name of a model that is written otherwise.
            let written = line
                .path
                .split_once("{model}")
                .and_then(|(before, after)| spelling.strip_prefix(before)?.strip_suffix(after))
                .unwrap_or_else(|| panic!("{spelling} was taken for {path}: {found:?}"));
            let model = found.model.clone().unwrap();
            assert_eq!(decoded(written).as_ref(), Some(&model), "{spelling}");
            for path in upstream(&model) {
                assert!(is_canonical(&path), "{spelling} goes on as {path}");
            }
        }
        // The path itself is the one that is found.
        let canonical = find(method.as_bytes(), path.as_bytes()).api;
        if let Ok(found) = canonical {
            let model = line.path.contains("{model}").then_some(MODEL);
            assert_eq!(found.model.as_deref(), model);
        }
    }
    assert!(tried > 20_000, "{tried}");
}
