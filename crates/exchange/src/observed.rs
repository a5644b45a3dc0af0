//! What came of the attempts of an exchange, for adaptive shares: each attempt is counted once, as soon as that
//! is known.

use reeve_policy::shares::{Counts, Seen, Target, Totals};

use crate::chain::Chain;
use crate::request::Plan;
use crate::response::Outcome;

/// What a status says about who sent it. 403 is not held against a provider: some say so of what a request
/// holds, and nobody's requests shall move the shares of others.
pub const fn of_status(status: u16) -> Seen {
    match status {
        401 | 402 => Seen::KeyRefused,
        429 => Seen::RateLimited,
        500 | 502..=504 | 520..=524 | 529 => Seen::Failed,
        0 => Seen::Unanswered,
        _ => Seen::Answered,
    }
}

/// See the module. One per exchange.
#[derive(Debug, Default)]
pub struct Attempts {
    /// So many attempts have been counted.
    counted: usize,
    /// The last of these had an answer that can break off.
    began: bool,
}

impl Attempts {
    /// The head of an answer has come in this attempt, from 0. `first_byte_ms`: how long it took, if that is
    /// known. `status_of`: what an earlier attempt had answered; 0: nothing.
    pub fn on_head(
        &mut self,
        chain: &Chain,
        attempt: usize,
        status: u16,
        first_byte_ms: Option<i64>,
        status_of: impl Fn(usize) -> u16,
        totals: &mut Totals,
    ) {
        self.count_failed(chain, attempt, status_of, totals);
        let is_good = (200..300).contains(&status);
        let first_byte_ms = first_byte_ms.filter(|_| is_good);
        let first_byte_ms = first_byte_ms.and_then(|ms| u64::try_from(ms).ok());
        of(totals, chain.attempt(attempt)).count(of_status(status), first_byte_ms);
        self.counted = attempt.saturating_add(1);
        self.began = is_good;
    }

    /// The exchange has ended in this attempt.
    pub fn on_end(
        &mut self,
        chain: &Chain,
        attempt: usize,
        outcome: Outcome,
        status_of: impl Fn(usize) -> u16,
        totals: &mut Totals,
    ) {
        if self.counted > attempt {
            if self.began && outcome == Outcome::UpstreamReset {
                of(totals, chain.attempt(attempt)).break_off();
            }
            return;
        }
        self.count_failed(chain, attempt, status_of, totals);
        // Of a caller that did not wait for it nobody knows what would have come.
        if outcome == Outcome::UpstreamReset {
            of(totals, chain.attempt(attempt)).count(Seen::Unanswered, None);
        }
        self.counted = attempt.saturating_add(1);
    }

    /// All before this one have failed, or it were not made.
    fn count_failed(
        &self,
        chain: &Chain,
        attempt: usize,
        status_of: impl Fn(usize) -> u16,
        totals: &mut Totals,
    ) {
        for failed in self.counted..attempt {
            of(totals, chain.attempt(failed)).count(of_status(status_of(failed)), None);
        }
    }
}

fn of<'t>(totals: &'t mut Totals, plan: &Plan) -> &'t mut Counts {
    let target = Target {
        provider: plan.provider.clone(),
        key_id: plan.provider_key_id.clone(),
    };
    totals.entry(target).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Policy, chain, config};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const BODY: &str = r#"{"model":"gpt-4o","max_tokens":100,"messages":[]}"#;

    /// Azure with its key `k`, then `OpenAI`.
    fn two() -> Chain {
        let policy = Policy::governed()
            .with_settings(|settings| settings.providers[1].key_ids = vec!["k".into()])
            .with_key(|key| {
                key.provider_configs = vec![
                    config("azure", &["*"], Some(1)),
                    config("openai", &["*"], Some(0)),
                ];
            });
        chain(&policy, "/v1/chat/completions", BODY).unwrap()
    }

    fn told(totals: &Totals, provider: &str, key_id: Option<&str>) -> Counts {
        let target = Target {
            provider: provider.into(),
            key_id: key_id.map(Into::into),
        };
        totals.get(&target).copied().unwrap_or_default()
    }

    #[test]
    fn an_attempt_that_failed_is_counted_though_another_one_answered() {
        for (status, seen) in [
            (503, Seen::Failed),
            (0, Seen::Unanswered),
            (429, Seen::RateLimited),
        ] {
            let (chain, mut totals) = (two(), Totals::new());
            let mut attempts = Attempts::default();
            attempts.on_head(&chain, 1, 200, Some(70), |_| status, &mut totals);
            attempts.on_end(&chain, 1, Outcome::Complete, |_| status, &mut totals);
            let mut expected = Counts::default();
            expected.count(seen, None);
            assert_eq!(told(&totals, "azure", Some("k")), expected);
            let mut expected = Counts::default();
            expected.count(Seen::Answered, Some(70));
            assert_eq!(told(&totals, "openai", None), expected);
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_one_attempt_and_one_error() {
        let (chain, mut totals) = (two(), Totals::new());
        let mut attempts = Attempts::default();
        attempts.on_head(&chain, 0, 200, Some(70), |_| 0, &mut totals);
        attempts.on_end(&chain, 0, Outcome::UpstreamReset, |_| 0, &mut totals);
        let told = told(&totals, "azure", Some("k"));
        assert_eq!((told.attempts, told.errors(), told.broken_off), (1, 1, 1));
    }

    #[test]
    fn what_never_answered_is_an_error_unless_the_caller_went_away() {
        for (outcome, errors) in [
            (Outcome::UpstreamReset, 1),
            (Outcome::DownstreamDisconnect, 0),
        ] {
            let (chain, mut totals) = (two(), Totals::new());
            let mut attempts = Attempts::default();
            attempts.on_end(&chain, 0, outcome, |_| 0, &mut totals);
            let told = told(&totals, "azure", Some("k"));
            assert_eq!((told.attempts, told.errors()), (errors, errors));
        }
    }

    #[test]
    fn a_request_that_is_itself_to_blame_speaks_against_nobody() {
        for status in [400, 403, 404, 413, 422, 501, 505] {
            let (chain, mut totals) = (two(), Totals::new());
            let mut attempts = Attempts::default();
            attempts.on_head(&chain, 0, status, Some(70), |_| 0, &mut totals);
            attempts.on_end(&chain, 0, Outcome::Complete, |_| 0, &mut totals);
            let told = told(&totals, "azure", Some("k"));
            assert_eq!(
                (told.attempts, told.errors(), told.timed),
                (1, 0, 0),
                "{status}"
            );
        }
    }
}
