//! One token: how long it holds, and when the next one is asked for. Time and chance are arguments.

use super::Standing;
use crate::secrets::Secret;

/// After this part of a token's life the next one is asked for, at the earliest, in percent.
const REFRESH_PERCENT: i64 = 70;
/// And up to so much later, so that replicas do not ask all at once.
const JITTER_PERCENT: i64 = 10;
/// How long after a failure it is tried again, first and at most.
const RETRY_MS: (i64, i64) = (1_000, 60_000);
/// A token is not used to its very end: requests are on their way for a moment.
const LEEWAY_MS: i64 = 1_000;

/// What is held for one key.
#[derive(Debug)]
pub struct Held {
    /// The key as it was when its token was asked for.
    sealed: String,
    token: Option<(Secret, i64)>,
    due_ms: i64,
    failures: u32,
    error: Option<String>,
}

impl Held {
    /// Nothing yet.
    pub(super) const fn new(sealed: String, now_ms: i64) -> Self {
        Self {
            sealed,
            token: None,
            due_ms: now_ms,
            failures: 0,
            error: None,
        }
    }

    /// Is the next one to be asked for? A key that was changed is asked for at once, and the token that its
    /// former self got is used until then.
    pub(super) fn is_due(&self, sealed: &str, now_ms: i64) -> bool {
        self.sealed != sealed || now_ms >= self.due_ms
    }

    /// A token is asked for with the key as it is now.
    pub(super) fn ask(&mut self, sealed: String) {
        self.sealed = sealed;
    }

    pub(super) fn current(&self, now_ms: i64) -> Option<Secret> {
        let (token, expires_at_ms) = self.token.as_ref()?;
        (now_ms < *expires_at_ms).then(|| token.clone())
    }

    pub(super) fn standing(&self, now_ms: i64) -> Standing {
        let ends = self.token.as_ref().map(|(_, expires_at_ms)| *expires_at_ms);
        Standing {
            expires_at_ms: ends.filter(|ends| now_ms < *ends),
            error: self.error.clone(),
        }
    }

    /// There is a new one, which lives so long. `chance` is any byte.
    pub(super) fn received(&mut self, token: Secret, lives_ms: i64, now_ms: i64, chance: u8) {
        let later = JITTER_PERCENT.saturating_mul(chance.into()) / 255;
        let percent = REFRESH_PERCENT.saturating_add(later);
        let wait_ms = (lives_ms / 100).saturating_mul(percent).max(RETRY_MS.0);
        let used_ms = lives_ms.saturating_sub(LEEWAY_MS).max(LEEWAY_MS);
        self.token = Some((token, now_ms.saturating_add(used_ms)));
        self.due_ms = now_ms.saturating_add(wait_ms);
        self.failures = 0;
        self.error = None;
    }

    /// There is none. The one before is used to its end.
    pub(super) fn failed(&mut self, error: String, now_ms: i64, chance: u8) {
        let (first, most) = RETRY_MS;
        let doubled = first.saturating_mul(1 << self.failures.min(16));
        let wait_ms = doubled.min(most);
        let later = wait_ms.saturating_mul(chance.into()) / 1_024;
        self.due_ms = now_ms.saturating_add(wait_ms).saturating_add(later);
        self.failures = self.failures.saturating_add(1);
        self.error = Some(error);
    }

    /// Forgets a token that has ended; true: it just has.
    pub(super) fn end(&mut self, now_ms: i64) -> bool {
        let ended = self.token.as_ref().is_some_and(|(_, ends)| now_ms >= *ends);
        if ended {
            self.token = None;
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> Held {
        Held::new("sealed".to_owned(), 0)
    }

    #[test]
    fn the_next_token_is_asked_for_while_the_last_one_holds() {
        for (chance, due_ms) in [(0, 2_520_000), (255, 2_880_000)] {
            let mut held = held();
            assert!(held.is_due("sealed", 0));
            held.received(Secret::new("t1"), 3_600_000, 0, chance);
            assert!(!held.is_due("sealed", due_ms - 1) && held.is_due("sealed", due_ms));
            assert_eq!(held.current(3_598_999), Some(Secret::new("t1")));
            assert_eq!(held.current(3_599_000), None);
        }
    }

    #[test]
    fn a_key_that_was_changed_is_asked_for_at_once_and_its_token_used_meanwhile() {
        let mut held = held();
        held.received(Secret::new("t1"), 3_600_000, 0, 0);
        assert!(held.is_due("changed", 1));
        held.ask("changed".to_owned());
        held.failed("down".to_owned(), 1, 0);
        assert!(!held.is_due("changed", 2));
        assert_eq!(held.current(2), Some(Secret::new("t1")));
    }

    #[test]
    fn a_failure_keeps_the_last_token_to_its_end_and_is_told() {
        let mut held = held();
        held.received(Secret::new("t1"), 100_000, 0, 0);
        held.failed("down".to_owned(), 70_000, 0);
        assert_eq!(held.current(98_999), Some(Secret::new("t1")));
        let standing = held.standing(98_999);
        assert_eq!(standing.expires_at_ms, Some(99_000));
        assert_eq!(standing.error.as_deref(), Some("down"));
        assert!(!held.end(98_999) && held.end(99_000) && !held.end(99_001));
        assert_eq!(held.standing(99_000).expires_at_ms, None);
        held.received(Secret::new("t2"), 100_000, 99_000, 0);
        assert_eq!(held.standing(99_000).error, None);
    }

    #[test]
    fn who_is_down_is_asked_less_and_less_often_but_every_minute() {
        let mut held = held();
        let mut waits = Vec::new();
        for _ in 0..8 {
            held.failed("down".to_owned(), 0, 0);
            waits.push(held.due_ms / 1_000);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        held.failed("down".to_owned(), 0, 255);
        assert!((60_001..75_000).contains(&held.due_ms), "{}", held.due_ms);
    }
}
