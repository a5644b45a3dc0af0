//! How long slots are held without a word from the control plane.
//!
//! A session of slots is renewed every few seconds. Its process stops using them, and ends what it has
//! running in them, when [`LASTS_MS`] have passed since it **sent** the last request to renew that was
//! answered. The control plane gives them to others when it has **seen** no renewal for
//! [`FREED_AFTER_MS`], which is later whatever the network does. Both measure by clocks that only go
//! forward, and neither needs the other's.

use std::collections::BTreeMap;

use super::{Session, Tenure};

/// How often a process asks to be renewed.
pub const RENEW_EVERY_MS: i64 = 5_000;
/// How long a renewal lasts.
pub const LASTS_MS: i64 = 30_000;
/// After so long without a renewal the slots are free for others.
pub const FREED_AFTER_MS: i64 = 40_000;

/// A process's session of slots, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Term {
    session: Session,
    until_ms: i64,
}

impl Term {
    /// Length of the stored form.
    pub const ENCODED_LEN: usize = 16;

    /// The tenure, if it has not ended by `now_ms`. Nothing of slots stands ready unasked: it would go
    /// round and round under a limit that was lowered.
    pub fn tenure_at(self, now_ms: i64) -> Option<Tenure> {
        (self.session != 0 && now_ms < self.until_ms).then_some(Tenure {
            session: self.session,
            divisor: 0,
        })
    }

    /// Renewed by the answer to what was asked at `asked_at_ms`. One that comes late takes nothing back.
    #[must_use]
    pub fn renewed(self, session: Session, asked_at_ms: i64) -> Self {
        let until_ms = asked_at_ms.saturating_add(LASTS_MS);
        if (session, until_ms) > (self.session, self.until_ms) {
            Self { session, until_ms }
        } else {
            self
        }
    }

    /// The form in shared data: little-endian.
    pub fn to_bytes(self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [0; Self::ENCODED_LEN];
        for (place, field) in bytes.chunks_exact_mut(8).zip([self.session, self.until_ms]) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Reads [`Term::to_bytes`]; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::ENCODED_LEN {
            return None;
        }
        let words = bytes.as_chunks::<8>().0;
        let mut words = words.iter().map(|word| i64::from_le_bytes(*word));
        Some(Self {
            session: words.next()?,
            until_ms: words.next()?,
        })
    }
}

/// The control plane's eye on sessions of slots. What it does not know yet it has just seen, so after a
/// start of its own nobody is silent.
#[derive(Debug, Default)]
pub struct Watch {
    seen: BTreeMap<Session, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    mark: i64,
    since_ms: i64,
}

impl Watch {
    /// Who has been silent for too long, of sessions with a mark that changes at each renewal.
    pub fn silent(&mut self, marks: &[(Session, i64)], now_ms: i64) -> Vec<(Session, i64)> {
        let before = std::mem::take(&mut self.seen);
        let mut silent = Vec::new();
        for (session, mark) in marks.iter().copied() {
            let seen = before.get(&session).filter(|seen| seen.mark == mark);
            let since_ms = seen.map_or(now_ms, |seen| seen.since_ms);
            if now_ms.saturating_sub(since_ms) >= FREED_AFTER_MS {
                silent.push((session, mark));
            }
            self.seen.insert(session, Seen { mark, since_ms });
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_term_ends_so_long_after_the_last_question_that_was_answered() {
        let session = |term: Term, now_ms| term.tenure_at(now_ms).map(|tenure| tenure.session);
        let term = Term::default().renewed(3, 1_000);
        assert_eq!(session(term, 1_000 + LASTS_MS - 1), Some(3));
        assert_eq!(session(term, 1_000 + LASTS_MS), None);
        assert_eq!(term.renewed(3, 500), term, "a late answer");
        let next = term.renewed(4, 900);
        assert_eq!(session(next, 900), Some(4));
        assert_eq!(next.renewed(3, 90_000), next, "the one before");
        assert_eq!(session(Term::default(), 0), None);
    }

    #[test]
    fn bytes_that_are_no_term_are_none() {
        let term = Term::default().renewed(3, 1_000);
        assert_eq!(Term::from_bytes(&term.to_bytes()), Some(term));
        assert_eq!(Term::from_bytes(&[0; 15]), None);
    }

    #[test]
    fn who_is_not_renewed_is_silent_and_a_start_forgives() {
        let mut watch = Watch::default();
        assert_eq!(watch.silent(&[(1, 7), (2, 7)], 0), []);
        assert_eq!(watch.silent(&[(1, 8), (2, 7)], FREED_AFTER_MS - 1), []);
        assert_eq!(watch.silent(&[(1, 8), (2, 7)], FREED_AFTER_MS), [(2, 7)]);
        let mut anew = Watch::default();
        assert_eq!(anew.silent(&[(2, 7)], 2 * FREED_AFTER_MS), []);
    }

    #[test]
    fn a_process_stops_before_others_begin() {
        const { assert!(RENEW_EVERY_MS * 4 < LASTS_MS && LASTS_MS + 5_000 < FREED_AFTER_MS) }
    }
}
