//! Chance, as an argument: the operating system's random numbers.

use reeve_policy::key_format;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

/// The operating system gave no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random number generator failed")]
pub struct RandomError;

/// A source of random bytes fit for secrets.
#[derive(Debug, Clone)]
pub struct Random(SystemRandom);

impl Default for Random {
    fn default() -> Self {
        Self(SystemRandom::new())
    }
}

impl Random {
    /// Fills `bytes`.
    pub fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomError> {
        self.0.fill(bytes).map_err(|_| RandomError)
    }

    /// `length` characters, each of the 62 letters and digits equally likely.
    pub fn base62(&self, length: usize) -> Result<String, RandomError> {
        let mut text = String::with_capacity(length);
        let mut bytes = [0; 64];
        while text.len() < length {
            self.fill(&mut bytes)?;
            let missing = length.saturating_sub(text.len());
            text.extend(
                bytes
                    .iter()
                    .filter_map(|byte| key_format::character(*byte))
                    .take(missing),
            );
        }
        Ok(text)
    }

    /// A source of new ids. All the chance it needs is drawn here, so that making ids cannot fail.
    pub fn ids(&self, now_ms: i64) -> Result<Ids, RandomError> {
        let mut seed = [0; 32];
        self.fill(&mut seed)?;
        Ok(Ids::new(seed, now_ms))
    }
}

/// Makes ids: UUID version 7 (RFC 9562), so that they sort by the time they were made.
#[derive(Debug, Clone)]
pub struct Ids {
    seed: [u8; 32],
    made: u64,
    now_ms: i64,
}

impl Ids {
    /// Ids that depend on nothing but the arguments.
    pub fn new(seed: [u8; 32], now_ms: i64) -> Self {
        Self {
            seed,
            made: 0,
            now_ms,
        }
    }

    /// The moment the things are made that get these ids; milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The next id.
    pub fn make(&mut self) -> String {
        self.made = self.made.wrapping_add(1);
        let chance = Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.made.to_le_bytes());
        let mut random = [0; 10];
        for (place, byte) in random.iter_mut().zip(chance.finalize()) {
            *place = byte;
        }
        let millis = u64::try_from(self.now_ms).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        id.hyphenated().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_new_and_sort_by_time() {
        let random = Random::default();
        let earlier = random.ids(1_000).unwrap().make();
        let mut ids = random.ids(2_000).unwrap();
        let (first, second) = (ids.make(), ids.make());
        assert_ne!(first, second);
        assert!(earlier < first && earlier < second);
        assert_eq!(first.len(), 36);
    }

    #[test]
    fn base62_has_the_length_asked_for() {
        let random = Random::default();
        for length in [0, 1, 10, 34, 500] {
            let text = random.base62(length).unwrap();
            assert_eq!(text.len(), length);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
    }
}
