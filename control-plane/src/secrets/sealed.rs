use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};

use super::Secret;
use crate::random::{Random, RandomError};

/// Length of the key, bytes.
pub(super) const KEY_LEN: usize = 32;
const FORMAT: &str = "v1";

/// Where a sealed value lives. It is authenticated with the value, so that a ciphertext that
/// somebody moves to another row or column does not open there.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub table: &'a str,
    pub row: &'a str,
    pub column: &'a str,
}

impl Place<'_> {
    fn authenticated_data(self) -> String {
        format!("{}|{}|{}|{FORMAT}", self.table, self.row, self.column)
    }
}

/// Why a value could not be sealed or opened.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SealError {
    #[error(transparent)]
    NoRandomness(#[from] RandomError),
    #[error("the value could not be encrypted")]
    NotEncrypted,
    #[error("the stored value is not in the sealed format `{FORMAT}`")]
    UnknownFormat,
    #[error(
        "the stored value was sealed with encryption key `{sealed_with}`, but `{configured}` is \
         configured: restore the key file or REEVE_ENCRYPTION_KEY that belongs to this database"
    )]
    WrongKey {
        sealed_with: String,
        configured: String,
    },
    #[error("the stored value was altered, or moved here from another row")]
    Altered,
}

/// The key that protects secrets in the database: AES-256-GCM.
///
/// A sealed value is the text `v1.<key fingerprint>.<base64 of nonce, ciphertext and tag>`. Nonces
/// are random, 96 bits: safe for some 2^32 values per key (NIST SP 800-38D, 8.3), far above what a
/// database of provider keys holds.
pub struct SealingKey {
    key: LessSafeKey,
    fingerprint: String,
}

impl SealingKey {
    /// # Errors
    /// None for a key of 32 bytes; the cipher's own refusal is passed on.
    pub fn new(key: &[u8; KEY_LEN]) -> Result<Self, SealError> {
        let unbound =
            UnboundKey::new(&AES_256_GCM, key).map_err(|_refused| SealError::NotEncrypted)?;
        Ok(Self {
            key: LessSafeKey::new(unbound),
            fingerprint: fingerprint(key),
        })
    }

    /// Encrypts `secret` for `place`.
    pub fn seal(
        &self,
        random: &Random,
        place: Place<'_>,
        secret: &Secret,
    ) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_LEN];
        random.fill(&mut nonce)?;
        let mut sealed = secret.expose().as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(place.authenticated_data()),
                &mut sealed,
            )
            .map_err(|_failed| SealError::NotEncrypted)?;
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        Ok(format!(
            "{FORMAT}.{}.{}",
            self.fingerprint,
            STANDARD.encode(bytes)
        ))
    }

    /// Decrypts what [`SealingKey::seal`] made for the same `place`.
    pub fn open(&self, place: Place<'_>, sealed: &str) -> Result<Secret, SealError> {
        let mut parts = sealed.splitn(3, '.');
        let (Some(FORMAT), Some(sealed_with), Some(bytes)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(SealError::UnknownFormat);
        };
        if sealed_with != self.fingerprint {
            return Err(SealError::WrongKey {
                sealed_with: sealed_with.to_owned(),
                configured: self.fingerprint.clone(),
            });
        }
        let bytes = STANDARD
            .decode(bytes)
            .map_err(|_invalid| SealError::Altered)?;
        let (nonce, ciphertext) = bytes
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Altered)?;
        let mut ciphertext = ciphertext.to_vec();
        let plain = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(place.authenticated_data()),
                &mut ciphertext,
            )
            .map_err(|_failed| SealError::Altered)?;
        let text = std::str::from_utf8(plain).map_err(|_invalid| SealError::Altered)?;
        Ok(Secret::new(text))
    }

    /// Names the key without giving it away, for logs and errors.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealingKey({})", self.fingerprint)
    }
}

/// Four bytes of a hash: enough to tell two keys apart, useless for finding one.
fn fingerprint(key: &[u8; KEY_LEN]) -> String {
    use std::fmt::Write as _;
    let mut message = b"reeve encryption key fingerprint".to_vec();
    message.extend_from_slice(key);
    let hash = digest(&SHA256, &message);
    hash.as_ref()
        .iter()
        .take(4)
        .fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place {
        table: "provider_keys",
        row: "key-1",
        column: "value",
    };

    fn key(byte: u8) -> SealingKey {
        SealingKey::new(&[byte; KEY_LEN]).unwrap()
    }

    fn seal(key: &SealingKey, text: &str) -> String {
        key.seal(&Random::default(), HERE, &Secret::new(text))
            .unwrap()
    }

    #[test]
    fn what_was_sealed_opens_again() {
        for text in ["", "sk-live-0123456789", "ünïcödé", &"x".repeat(10_000)] {
            let sealed = seal(&key(1), text);
            assert_eq!(key(1).open(HERE, &sealed).unwrap().expose(), text);
        }
    }

    #[test]
    fn sealing_twice_gives_two_ciphertexts() {
        assert_ne!(seal(&key(1), "same"), seal(&key(1), "same"));
    }

    #[test]
    fn the_plain_text_is_not_in_the_sealed_value() {
        let sealed = seal(&key(1), "sk-live-0123456789");
        let bytes = STANDARD.decode(sealed.rsplit('.').next().unwrap()).unwrap();
        assert!(!sealed.contains("sk-live"));
        assert!(!bytes.windows(7).any(|window| window == b"sk-live"));
    }

    #[test]
    fn any_altered_byte_is_noticed() {
        let sealed = seal(&key(1), "sk-live-0123456789");
        let (head, body) = sealed.rsplit_once('.').unwrap();
        let bytes = STANDARD.decode(body).unwrap();
        for position in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[position] ^= 1;
            let altered = format!("{head}.{}", STANDARD.encode(altered));
            assert_eq!(
                key(1).open(HERE, &altered),
                Err(SealError::Altered),
                "byte {position}"
            );
        }
        for length in 0..bytes.len() {
            let cut = format!("{head}.{}", STANDARD.encode(&bytes[..length]));
            assert_eq!(
                key(1).open(HERE, &cut),
                Err(SealError::Altered),
                "{length} bytes left"
            );
        }
    }

    #[test]
    fn a_value_moved_to_another_row_column_or_table_does_not_open() {
        let sealed = seal(&key(1), "sk-live-0123456789");
        for elsewhere in [
            Place {
                row: "key-2",
                ..HERE
            },
            Place {
                column: "name",
                ..HERE
            },
            Place {
                table: "teams",
                ..HERE
            },
        ] {
            assert_eq!(key(1).open(elsewhere, &sealed), Err(SealError::Altered));
        }
    }

    #[test]
    fn the_wrong_key_is_named_with_the_remedy() {
        let error = key(2).open(HERE, &seal(&key(1), "secret")).unwrap_err();
        assert!(matches!(error, SealError::WrongKey { .. }));
        let message = error.to_string();
        assert!(message.contains(key(1).fingerprint()), "{message}");
        assert!(message.contains("REEVE_ENCRYPTION_KEY"), "{message}");
    }

    #[test]
    fn text_that_was_never_sealed_is_refused() {
        for text in ["", "sk-live-0123456789", "v1", "v1.abc", "v2.0.AAAA"] {
            assert_eq!(
                key(1).open(HERE, text),
                Err(SealError::UnknownFormat),
                "{text}"
            );
        }
    }

    #[test]
    fn debug_output_shows_the_fingerprint_only() {
        let shown = format!("{:?}", key(7));
        assert_eq!(shown, format!("SealingKey({})", key(7).fingerprint()));
        assert_ne!(key(1).fingerprint(), key(7).fingerprint());
    }
}
