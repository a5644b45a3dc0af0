//! Asking again for what others are giving back, for as long as a request can be held.

use std::time::Duration;

use reeve_policy::lease::{Answer, Ask};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Key, Ledger, Unavailable};

/// From the first return to asking again, so that many who wait for one limit ask once for much.
const PAUSE: Duration = Duration::from_millis(10);
/// So long without news, and it is asked again. What is asked for is recalled again with it: a recall is
/// said once, and an Envoy that was just changing its replica, or a replica that was just starting, has
/// missed it.
const AGAIN: Duration = Duration::from_millis(200);

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
            let again = deadline.min(Instant::now() + AGAIN);
            if timeout_at(again, freed.changed()).await.is_ok() {
                sleep(PAUSE).await;
                freed.mark_unchanged();
            }
            // There may be news all the time, of other limits.
            is_last = Instant::now() >= deadline;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Job;
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(500);

    /// Asks where there is nothing until `news` of other limits have come so often with an answer. Gives how
    /// often was asked, and how long it took.
    async fn ask_in_vain(news: u32) -> (u32, Duration) {
        let ledger = Arc::new(Ledger::default());
        let mut jobs = ledger.take_inbox().unwrap();
        let waiting = {
            let ledger = Arc::clone(&ledger);
            let key = Key {
                limit_id: "l".to_owned(),
                window_start_ms: 0,
            };
            let ask = Ask {
                session: 1,
                lent: 0,
                returned: 0,
                want: 1,
                waits: true,
            };
            tokio::spawn(async move { ledger.ask_patiently(vec![(key, ask)], PATIENCE).await })
        };
        let start = Instant::now();
        let mut asked = 0;
        while !waiting.is_finished() {
            tokio::select! {
                job = jobs.recv() => {
                    let Some(Job::Ask { asks, reply }) = job else { panic!("{job:?}") };
                    asked += 1;
                    let nothing = Answer {
                        lent: 0,
                        tight: true,
                        recall: true,
                        posted: 0,
                        committed: 0,
                    };
                    let answers = asks.into_iter().map(|(key, _)| (key, nothing)).collect();
                    reply.send(Ok(answers)).unwrap();
                    if asked <= news {
                        ledger.freed.send_replace(());
                    }
                }
                () = sleep(Duration::from_millis(1)) => {}
            }
        }
        assert!(waiting.await.unwrap().unwrap()[0].1.recall);
        (asked, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_recall_that_nobody_hears_is_said_again_while_the_request_is_held() {
        let (asked, took) = ask_in_vain(0).await;
        assert_eq!(asked, 4, "at once, twice while it waits, and at the end");
        assert!(took < PATIENCE + PAUSE, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn news_without_end_hold_a_request_no_longer_than_its_patience() {
        let (_, took) = ask_in_vain(u32::MAX).await;
        assert!((PATIENCE..PATIENCE + PAUSE * 2).contains(&took), "{took:?}");
    }
}
