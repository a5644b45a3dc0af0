//! Patience with a database that does not answer.

use std::fmt::Display;
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Repeats `attempt` until it succeeds, ever more slowly. A row of failures is one line in the log,
/// and its end another.
pub(crate) async fn until_ok<T, E: Display, F: Future<Output = Result<T, E>>>(
    what: &'static str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let mut wait = SHORTEST;
    let mut failures: u64 = 0;
    loop {
        match attempt().await {
            Ok(done) => {
                if failures > 0 {
                    tracing::info!(what, failures, "succeeded again");
                }
                return done;
            }
            Err(error) => {
                if failures == 0 {
                    tracing::error!(what, %error, "failed; it is repeated until it succeeds");
                }
                failures = failures.saturating_add(1);
                tokio::time::sleep(wait).await;
                wait = wait.saturating_mul(2).min(LONGEST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_failure_is_followed_by_another_attempt() {
        let attempts = Cell::new(0);
        let done = until_ok("test", || async {
            attempts.set(attempts.get() + 1);
            if attempts.get() < 3 {
                Err("no")
            } else {
                Ok(attempts.get())
            }
        });
        assert_eq!(done.await, 3);
    }
}
