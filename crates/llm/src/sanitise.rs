//! The one way for a stranger's text into a header, a body or a log.

use std::fmt::Write as _;

/// What [`sanitise`] gives is never longer than this, in bytes.
const MAX_LENGTH: usize = 256;

/// Printable ASCII stays; every other byte, tab and line breaks included, becomes `%XX`. Cut at 256
/// bytes, never inside a `%XX`. So the result cannot end a header line, forge a log line, move a
/// terminal's cursor or hide text by direction marks. It is for reading, not for decoding: a `%`
/// in the input stays a `%`.
pub fn sanitise(bytes: &[u8]) -> String {
    let mut clean = String::with_capacity(bytes.len().min(MAX_LENGTH));
    for &byte in bytes {
        let plain = (0x20..=0x7E).contains(&byte);
        if clean.len().saturating_add(if plain { 1 } else { 3 }) > MAX_LENGTH {
            break;
        }
        if plain {
            clean.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(clean, "%{byte:02X}");
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn line_breaks_control_bytes_and_non_ascii_are_spelt_out() {
        assert_eq!(sanitise(b"a\r\nx-evil: 1\t\0"), "a%0D%0Ax-evil: 1%09%00");
        assert_eq!(sanitise("é\u{202E}".as_bytes()), "%C3%A9%E2%80%AE");
        assert_eq!(sanitise(b"\x1b[2J\x7f\xff"), "%1B[2J%7F%FF");
        assert_eq!(sanitise(b"gpt-4o ~!%41"), "gpt-4o ~!%41");
    }

    #[test]
    fn the_result_is_short_and_never_ends_inside_an_escape() {
        assert_eq!(sanitise(&[b'a'; 1000]).len(), 256);
        assert_eq!(sanitise(&[0; 1000]).len(), 255);
        let mixed = sanitise(&[&[b'a'; 254][..], &[0]].concat());
        assert_eq!(mixed.len(), 254);
    }
}
