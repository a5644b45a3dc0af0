//! Asking again for what others are giving back, for as long as a request can be held.

use std::time::Duration;

use reeve_policy::lease::{Answer, Ask};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Key, Ledger, Unavailable};

/// From the first return to asking again, so that many who wait for one limit ask once for much.
const PAUSE: Duration = Duration::from_millis(10);

impl Ledger {
    /// As [`ask`](Self::ask); when others were told to give back what is needed here, waits for it, up to
    /// `patience`.
    pub async fn ask_patiently(
        &self,
        asks: Vec<(Key, Ask)>,
        patience: Duration,
    ) -> Result<Vec<(Key, Answer)>, Unavailable> {
        let deadline = Instant::now() + patience;
        let mut freed = self.freed.subscribe();
        let mut answers = self.ask(asks.clone()).await?;
        let mut is_last = false;
        while !is_last && answers.iter().any(|(_, answer)| answer.recall) {
            // The last time without having heard of anything: another replica may have, a moment ago.
            is_last = timeout_at(deadline, freed.changed()).await.is_err();
            if !is_last {
                sleep(PAUSE).await;
                freed.mark_unchanged();
            }
            let asks = asks.iter().zip(&answers);
            let asks = asks.map(|((key, ask), (_, answer))| (key.clone(), missing(*ask, answer)));
            answers = self.ask(asks.collect()).await?;
        }
        Ok(answers)
    }
}

/// What is still missing of what was asked for.
fn missing(ask: Ask, answer: &Answer) -> Ask {
    let got = answer.lent.saturating_sub(ask.lent);
    Ask {
        want: ask.want.saturating_sub(got).max(0),
        ..ask
    }
}
