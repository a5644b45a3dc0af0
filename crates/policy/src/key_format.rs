//! The text form of credentials: prefix, identifier, secret, checksum.
//!
//! `sk-bf-` + 10 characters that identify the key + 34 secret ones (202 bits) + 6 of checksum, all
//! base62. The checksum (CRC-32 of everything before it) lets a scanner tell a leaked key from
//! noise, and the filter refuse a random guess without looking it up. The same scheme carries admin
//! tokens under another prefix.

/// How every virtual key starts. Compared without regard to case, as Bifrost does.
pub const VIRTUAL_KEY_PREFIX: &str = "sk-bf-";
/// Characters that identify a key; not secret.
pub const ID_LEN: usize = 10;
/// Secret characters.
pub const SECRET_LEN: usize = 34;
/// Characters of checksum.
pub const CHECKSUM_LEN: usize = 6;
/// Longest value that is looked at as a virtual key.
pub const MAX_LEN: usize = 256;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Could this be a virtual key? Prefix, length and characters only; it may still be unknown.
pub fn looks_like_virtual_key(value: &[u8]) -> bool {
    let Some((prefix, rest)) = value.split_at_checked(VIRTUAL_KEY_PREFIX.len()) else {
        return false;
    };
    prefix.eq_ignore_ascii_case(VIRTUAL_KEY_PREFIX.as_bytes())
        && !rest.is_empty()
        && value.len() <= MAX_LEN
        && rest
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A value of the length that Reeve makes must carry its checksum. Values of other lengths were
/// imported from elsewhere and have none.
pub fn checksum_is_plausible(value: &[u8]) -> bool {
    let body_len = ID_LEN.saturating_add(SECRET_LEN);
    let made_here = VIRTUAL_KEY_PREFIX
        .len()
        .saturating_add(body_len)
        .saturating_add(CHECKSUM_LEN);
    if value.len() != made_here
        || value
            .iter()
            .skip(VIRTUAL_KEY_PREFIX.len())
            .any(|b| *b == b'-')
    {
        return true;
    }
    let covered = value.len().saturating_sub(CHECKSUM_LEN);
    value
        .split_at_checked(covered)
        .is_some_and(|(covered, checksum)| checksum == checksum_of(covered).as_slice())
}

/// Appends the checksum to `prefix` + `id` + `secret`.
pub fn assemble(prefix: &str, id: &str, secret: &str) -> String {
    let mut value = format!("{prefix}{id}{secret}");
    let checksum = checksum_of(value.as_bytes());
    value.extend(checksum.map(char::from));
    value
}

/// The base62 character of a byte drawn at random, or `None` when the byte must be drawn again so
/// that every character is equally likely (rejection sampling).
pub fn character(random: u8) -> Option<char> {
    // 248 is the largest multiple of 62 in a byte.
    if random >= 248 {
        return None;
    }
    let index = usize::from(random).checked_rem(ALPHABET.len())?;
    ALPHABET.get(index).copied().map(char::from)
}

/// Six base62 characters of the CRC-32 of `bytes`, padded on the left.
fn checksum_of(bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32(bytes);
    let mut text = [b'0'; CHECKSUM_LEN];
    for place in text.iter_mut().rev() {
        let index = usize::try_from(rest.checked_rem(62).unwrap_or_default()).unwrap_or_default();
        *place = ALPHABET.get(index).copied().unwrap_or(b'0');
        rest = rest.checked_div(62).unwrap_or_default();
    }
    text
}

/// CRC-32 as IEEE 802.3 and zip use it (reflected, polynomial 0xEDB88320). Bit by bit: it runs over
/// fifty bytes.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let odd = crc & 1 == 1;
            crc >>= 1;
            if odd {
                crc ^= 0xEDB8_8320;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn made() -> String {
        assemble(
            VIRTUAL_KEY_PREFIX,
            "0123456789",
            "abcdefghijklmnopqrstuvwxyzABCDEFGH",
        )
    }

    #[test]
    fn the_crc_is_the_one_everybody_else_computes() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_key_made_here_looks_like_one_and_carries_its_checksum() {
        let value = made();
        assert_eq!(value.len(), 56);
        assert!(looks_like_virtual_key(value.as_bytes()));
        assert!(checksum_is_plausible(value.as_bytes()));
    }

    #[test]
    fn every_single_wrong_character_is_noticed() {
        let value = made().into_bytes();
        for position in VIRTUAL_KEY_PREFIX.len()..value.len() {
            let mut wrong = value.clone();
            wrong[position] = if wrong[position] == b'x' { b'y' } else { b'x' };
            assert!(!checksum_is_plausible(&wrong), "position {position}");
        }
    }

    #[test]
    fn an_imported_key_needs_no_checksum() {
        let imported = b"sk-bf-123e4567-e89b-12d3-a456-426614174000";
        assert!(looks_like_virtual_key(imported));
        assert!(checksum_is_plausible(imported));
    }

    #[test]
    fn other_credentials_do_not_look_like_virtual_keys() {
        for value in [
            &b"sk-proj-abc"[..],
            b"sk-bf-",
            b"sk-bf",
            b"",
            b"sk-bf-a b",
            b"sk-bf-a,b",
            b"sk-bf-caf\xe9",
            b"sk-bf-\0",
            &[b'a'; 300],
        ] {
            assert!(!looks_like_virtual_key(value), "{value:?}");
        }
        assert!(looks_like_virtual_key(b"SK-BF-abc"));
    }

    #[test]
    fn every_character_is_equally_likely() {
        let mut seen = std::collections::BTreeMap::new();
        for byte in 0..=u8::MAX {
            if let Some(character) = character(byte) {
                *seen.entry(character).or_insert(0) += 1;
            }
        }
        assert_eq!(seen.len(), 62);
        assert!(seen.values().all(|times| *times == 4));
    }
}
