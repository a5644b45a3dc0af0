//! What sessions that are over still hold. Nobody can know whether a process that was killed had used it,
//! so it counts as if it were; after an hour it is available again.
//!
//! A filter that has not heard of us for a quarter of that time refuses requests (`max_silence_s` of its
//! configuration), so that what is released here is not used there.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(10);
/// How long a session must have been silent.
pub(super) const SILENCE_MS: i64 = 3_600_000;

/// Works until the application stops.
pub async fn run(app: Arc<App>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = app.stopped() => return,
        }
        let connected = app.policy_sync.connected();
        let before = app.clock.now_ms().saturating_sub(SILENCE_MS);
        for session in app
            .ledger
            .release(connected, before)
            .await
            .unwrap_or_default()
        {
            tracing::warn!(
                session,
                "what a session held is released: it was not heard of for an hour"
            );
        }
    }
}
