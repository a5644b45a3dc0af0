//! Waiting until a change is in force: who is told "updated" may rely on it with the next request.
//!
//! Every Envoy that is connected is waited for, but not for long: one that hangs must not stop the
//! administrator who may be trying to mend it. Its stream ends soon, and it gets the change first
//! thing when it comes back.

use std::time::Duration;

use tokio::time::timeout;

use super::Hub;
use crate::ads::Ads;

/// How long a change waits for Envoys that do not take it.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns when everything up to `sequence` of `policy_changes` is in force in every Envoy that is
/// connected to this process, or after a second. Envoys of other replicas follow when their replica
/// next looks, within a second too. An Envoy that refuses a part of its configuration is not waited
/// for; it is in `/api/nodes`.
pub async fn wait(hub: &Hub, ads: &Ads, sequence: i64) {
    let everywhere = everywhere(hub, ads, sequence);
    if timeout(PATIENCE, everywhere).await.is_err() {
        let filters = lagging(hub);
        let envoys = ads.lagging();
        tracing::warn!(?filters, ?envoys, "a change is not in force everywhere yet");
    }
}

async fn everywhere(hub: &Hub, ads: &Ads, sequence: i64) {
    let mut compiled = hub.compiled.subscribe();
    // The sender lives as long as `hub`, so this cannot fail.
    let _ = compiled.wait_for(|compiled| *compiled >= sequence).await;
    applied(hub).await;
    ads.settled().await;
}

/// Returns when every filter that is connected has applied what is published.
pub(super) async fn applied(hub: &Hub) {
    // Subscribed before anything is looked at, so that no news falls in between.
    let mut news = hub.nodes.news();
    while !lagging(hub).is_empty() {
        // The sender lives as long as `hub`.
        let _ = news.changed().await;
    }
}

/// Names of the connected Envoys whose filter has not applied what is published.
fn lagging(hub: &Hub) -> Vec<String> {
    let published = hub.position();
    hub.nodes
        .list()
        .into_iter()
        .filter(|(_, state)| {
            published.is_some_and(|published| {
                state.applied.epoch != published.epoch || state.applied.version < published.version
            })
        })
        .map(|(boot, _)| boot.node_id)
        .collect()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::entries::{Entries, Position};
    use super::*;
    use crate::usage::Boot;

    fn boot(node_id: &str) -> Boot {
        Boot {
            node_id: node_id.into(),
            boot_id: "b1".into(),
        }
    }

    fn published() -> (Hub, Position) {
        let hub = Hub::default();
        let entries = Entries::new(7, Vec::new());
        let position = entries.position();
        hub.published.send_replace(Some(entries));
        hub.compiled.send_replace(5);
        (hub, position)
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_waits_for_every_envoy_that_is_connected() {
        let (hub, position) = published();
        let ads = Ads::default();
        let (_has_it, _) = hub.nodes.enter(boot("envoy-1"), position, 0);
        let (lags, _) = hub.nodes.enter(boot("envoy-2"), Position::default(), 0);
        let start = Instant::now();
        let late = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            lags.applied(position);
        };
        tokio::join!(wait(&hub, &ads, 5), late);
        assert_eq!(start.elapsed(), Duration::from_millis(30));
    }

    #[tokio::test(start_paused = true)]
    async fn an_envoy_that_goes_away_is_waited_for_no_longer() {
        let (hub, _) = published();
        let ads = Ads::default();
        let (lags, _) = hub.nodes.enter(boot("envoy-1"), Position::default(), 0);
        let start = Instant::now();
        let gone = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            drop(lags);
        };
        tokio::join!(wait(&hub, &ads, 5), gone);
        assert_eq!(start.elapsed(), Duration::from_millis(30));
    }

    #[tokio::test(start_paused = true)]
    async fn an_envoy_that_hangs_delays_a_change_for_a_second_only() {
        let (hub, _) = published();
        let ads = Ads::default();
        let (_hangs, _) = hub.nodes.enter(boot("envoy-1"), Position::default(), 0);
        let start = Instant::now();
        wait(&hub, &ads, 5).await;
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_is_not_compiled_yet_is_not_in_force() {
        let (hub, _) = published();
        let ads = Ads::default();
        let start = Instant::now();
        let later = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            hub.compiled.send_replace(6);
        };
        tokio::join!(wait(&hub, &ads, 6), later);
        assert_eq!(start.elapsed(), Duration::from_millis(10));
    }
}
