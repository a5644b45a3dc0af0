//! One string or one number. Each function starts at an offset, checks the whole token and says
//! where it ends.

use std::borrow::Cow;

use super::JsonError;
use super::bulk;

/// A number with more characters than this is refused. The longest exact `f64` anyone writes has
/// 24; the limit keeps the check for overflow short.
const MAX_NUMBER_LENGTH: usize = 128;

/// A JSON string between its quotes, escapes not yet decoded. Its escapes are known to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// What the string says. Borrowed unless there is an escape in it.
    pub fn decode(self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut decoded = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some((before, after)) = rest.split_once('\\') {
            decoded.push_str(before);
            let (character, remaining) = unescape(after);
            decoded.push(character);
            rest = remaining;
        }
        decoded.push_str(rest);
        Cow::Owned(decoded)
    }

    /// Length in bytes of what the string says.
    pub fn decoded_len(self) -> usize {
        if self.escaped {
            self.decode().len()
        } else {
            self.raw.len()
        }
    }

    /// Does the string say exactly this?
    pub fn is(self, expected: &str) -> bool {
        if self.escaped {
            self.decode() == expected
        } else {
            self.raw == expected
        }
    }
}

/// The character behind a backslash, and what follows it. Only called on text that [`string`] has
/// accepted, so the fallbacks are never taken; they are there because a total function cannot
/// panic.
fn unescape(after: &str) -> (char, &str) {
    let mut characters = after.chars();
    let character = match characters.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return unescape_unicode(characters.as_str()),
        Some(other) => other,
        None => char::REPLACEMENT_CHARACTER,
    };
    (character, characters.as_str())
}

/// `XXXX` or `XXXX\uXXXX`, the `\u` in front already taken.
fn unescape_unicode(digits: &str) -> (char, &str) {
    let (first, rest) = four_digits(digits);
    if let Some(character) = char::from_u32(first) {
        return (character, rest);
    }
    let (second, rest) = four_digits(rest.strip_prefix("\\u").unwrap_or_default());
    // Ten bits of each; the sum of what is left has no carry.
    let above_the_first_plane = ((first & 0x3FF) << 10) | (second & 0x3FF);
    let scalar = above_the_first_plane.saturating_add(0x1_0000);
    (
        char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER),
        rest,
    )
}

fn four_digits(text: &str) -> (u32, &str) {
    let (digits, rest) = text.split_at_checked(4).unwrap_or((text, ""));
    (u32::from_str_radix(digits, 16).unwrap_or(0xFFFD), rest)
}

/// The string whose opening quote stands at `open`, and the offset after its closing quote.
pub(super) fn string(text: &str, open: usize) -> Result<(Text<'_>, usize), JsonError> {
    let bytes = text.as_bytes();
    let start = open.saturating_add(1);
    let mut at = start;
    let mut escaped = false;
    loop {
        match bytes.get(at) {
            Some(b'"') => {
                let raw = text.get(start..at).unwrap_or_default();
                return Ok((Text { raw, escaped }, at.saturating_add(1)));
            }
            Some(b'\\') => {
                escaped = true;
                at = escape(bytes, at)?;
            }
            Some(0..0x20) => {
                return Err(JsonError::Syntax {
                    at,
                    expected: "an escaped control character",
                });
            }
            Some(_) => {
                let rest = bytes.get(at..).unwrap_or_default();
                at = at.saturating_add(bulk::find::<b'"', b'\\', 0x20>(rest));
            }
            None => {
                return Err(JsonError::Syntax {
                    at,
                    expected: "a closing quote",
                });
            }
        }
    }
}

/// Checks the escape whose backslash stands at `at`; gives the offset after it.
fn escape(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let after = |count: usize| at.saturating_add(count);
    match bytes.get(after(1)) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(after(2)),
        Some(b'u') => match hex4(bytes, after(2))? {
            0xD800..=0xDBFF => {
                let low = bytes.get(after(6)..after(8)) == Some(b"\\u")
                    && matches!(hex4(bytes, after(8))?, 0xDC00..=0xDFFF);
                if low {
                    Ok(after(12))
                } else {
                    Err(JsonError::LoneSurrogate { at })
                }
            }
            0xDC00..=0xDFFF => Err(JsonError::LoneSurrogate { at }),
            _ => Ok(after(6)),
        },
        _ => Err(JsonError::Syntax {
            at: after(1),
            expected: "an escape of RFC 8259",
        }),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Result<u32, JsonError> {
    let wrong = JsonError::Syntax {
        at,
        expected: "four hexadecimal digits",
    };
    let digits = bytes.get(at..at.saturating_add(4)).ok_or(wrong)?;
    digits.iter().try_fold(0, |value, &digit| {
        let digit = char::from(digit).to_digit(16).ok_or(wrong)?;
        Ok(value << 4 | digit)
    })
}

/// The number that starts at `start`, and the offset after it.
pub(super) fn number(text: &str, start: usize) -> Result<(&str, usize), JsonError> {
    let bytes = text.as_bytes();
    let mut at = start;
    if bytes.get(at) == Some(&b'-') {
        at = at.saturating_add(1);
    }
    at = match bytes.get(at) {
        Some(b'0') => at.saturating_add(1),
        Some(b'1'..=b'9') => digits(bytes, at)?,
        _ => {
            return Err(JsonError::Syntax {
                at,
                expected: "a digit",
            });
        }
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at.saturating_add(1))?;
    }
    let mut has_exponent = false;
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        has_exponent = true;
        at = at.saturating_add(1);
        if matches!(bytes.get(at), Some(b'+' | b'-')) {
            at = at.saturating_add(1);
        }
        at = digits(bytes, at)?;
    }
    let number = text.get(start..at).unwrap_or_default();
    // Without an exponent, 128 characters cannot overflow; with one, parsers differ in what they
    // read (an error, infinity), so that none of them gets the chance.
    let too_large = number.len() > MAX_NUMBER_LENGTH
        || (has_exponent && !number.parse::<f64>().is_ok_and(f64::is_finite));
    if too_large {
        Err(JsonError::NumberTooLarge { at: start })
    } else {
        Ok((number, at))
    }
}

/// At least one digit at `at`; gives the offset after the last.
fn digits(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let rest = bytes.get(at..).unwrap_or_default();
    let count = rest
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(rest.len());
    if count == 0 {
        Err(JsonError::Syntax {
            at,
            expected: "a digit",
        })
    } else {
        Ok(at.saturating_add(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn decoded(json: &str) -> Result<String, JsonError> {
        let (text, end) = string(json, 0)?;
        assert_eq!(end, json.len());
        assert_eq!(text.decoded_len(), text.decode().len());
        Ok(text.decode().into_owned())
    }

    #[test]
    fn every_escape_is_decoded() {
        assert_eq!(
            decoded(r#""\"\\\/\b\f\n\r\tA""#).unwrap(),
            "\"\\/\u{8}\u{c}\n\r\tA"
        );
        assert_eq!(decoded(r#""a\u006dé\ud83d\ude00z""#).unwrap(), "amé😀z");
        assert_eq!(decoded(r#""\u0000""#).unwrap(), "\0");
    }

    #[test]
    fn half_a_surrogate_pair_is_refused() {
        for json in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83dx""#,
            r#""\ud83d\ud83d""#,
            r#""\ud83d\n""#,
        ] {
            assert_eq!(
                decoded(json),
                Err(JsonError::LoneSurrogate { at: 1 }),
                "{json}"
            );
        }
    }

    #[test]
    fn strings_that_are_not_json_are_refused() {
        for json in [
            "\"a",
            "\"\\",
            "\"\\x41\"",
            "\"\\u12g4\"",
            "\"\\u12",
            "\"a\nb\"",
            "\"\u{0}\"",
        ] {
            assert!(decoded(json).is_err(), "{json}");
        }
    }

    #[test]
    fn numbers_follow_the_grammar() {
        for good in ["0", "-0", "10", "1.5", "1e3", "1E-3", "-0.1e+10", "1e308"] {
            assert_eq!(number(good, 0), Ok((good, good.len())));
        }
        for bad in ["-", "+1", ".5", "1.", "1e", "1e+", "NaN", "Infinity"] {
            assert!(
                matches!(number(bad, 0), Err(JsonError::Syntax { .. })),
                "{bad}"
            );
        }
        assert_eq!(
            number("01", 0),
            Ok(("0", 1)),
            "the rest is for the caller to refuse"
        );
    }

    #[test]
    fn numbers_beyond_a_float_are_refused() {
        let endless = "9".repeat(200);
        for bad in ["1e999999", "-1e400", endless.as_str()] {
            assert_eq!(number(bad, 0), Err(JsonError::NumberTooLarge { at: 0 }));
        }
    }
}
