//! News of what others have spent, for one stream.
//!
//! The ledger's writer tells what it has posted. As long as each of its revisions follows on the last
//! one that was told, nothing is read from the database; where one is missing, because another replica has
//! posted or the stream was slow, what has changed since is read there.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_policy::lease::Session;
use reeve_proto::v1::SpentByOthers;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, watch};

use super::Hub;
use crate::ledger::Key;
use crate::ledger::spending::Spending;

/// See the module.
pub(super) struct News {
    session: Session,
    posted: broadcast::Receiver<Arc<Spending>>,
    /// The newest revision that was seen in the database.
    seen: watch::Receiver<i64>,
    /// Up to which everything was told or is in `untold`.
    revision: i64,
    untold: BTreeMap<Key, i64>,
    has_gap: bool,
}

/// What there is to tell.
pub(super) enum Untold {
    /// All of it.
    Known(Vec<SpentByOthers>),
    /// What has changed after this revision: the database knows.
    Since(i64),
}

impl News {
    /// Subscribes. Whatever is read from the database after this is followed by news without a gap.
    pub(super) fn of(hub: &Hub, session: Session) -> Self {
        Self {
            session,
            posted: hub.posted.0.subscribe(),
            seen: hub.seen.subscribe(),
            revision: 0,
            untold: BTreeMap::new(),
            has_gap: false,
        }
    }

    /// What was read from the database is true of this revision.
    pub(super) fn told(&mut self, revision: i64) {
        self.revision = revision;
        self.untold.clear();
        self.has_gap = false;
    }

    /// Returns when there is something to tell. Nothing is lost when it is dropped before.
    pub(super) async fn arrived(&mut self) {
        // The senders outlive the stream, so neither channel can end.
        while !self.has_gap && self.untold.is_empty() {
            tokio::select! {
                biased;
                posted = self.posted.recv() => match posted {
                    Ok(spending) => self.take(&spending),
                    Err(RecvError::Lagged(_)) => self.has_gap = true,
                    Err(RecvError::Closed) => return,
                },
                _ = self.seen.changed() => {
                    let seen = *self.seen.borrow_and_update();
                    self.has_gap |= seen > self.revision;
                }
            }
        }
    }

    /// What has come by now, once.
    pub(super) fn take_untold(&mut self) -> Untold {
        loop {
            match self.posted.try_recv() {
                Ok(spending) => self.take(&spending),
                Err(TryRecvError::Lagged(_)) => self.has_gap = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        if self.has_gap {
            return Untold::Since(self.revision);
        }
        let untold = std::mem::take(&mut self.untold);
        let untold = untold.into_iter().map(|(key, amount)| SpentByOthers {
            limit_id: key.limit_id,
            window_start_ms: key.window_start_ms,
            amount,
        });
        Untold::Known(untold.collect())
    }

    fn take(&mut self, spending: &Spending) {
        let Spending { revision, changes } = spending;
        if *revision <= self.revision || self.has_gap {
            return;
        }
        if *revision != self.revision.saturating_add(1) {
            self.has_gap = true;
            return;
        }
        self.revision = *revision;
        for change in changes {
            if let Some(amount) = change.by_others(self.session) {
                self.untold.insert(change.key.clone(), amount);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use reeve_policy::lease::{Account, Holding};

    use super::*;
    use crate::ledger::spending::Change;

    const ME: Session = 1;
    const OTHER: Session = 2;

    fn key() -> Key {
        Key {
            limit_id: "budget".into(),
            window_start_ms: 7,
        }
    }

    /// A session posts, and has posted so much by then.
    fn posts(hub: &Hub, revision: i64, by: Session, posted: i64) {
        let holding = Holding {
            posted,
            ..Holding::default()
        };
        let account = Account::from_holdings([(by, holding)]);
        let changes = vec![Change::new(&key(), &account, vec![by])];
        hub.spent(Spending { revision, changes });
    }

    fn known(news: &mut News) -> Vec<i64> {
        match news.take_untold() {
            Untold::Known(limits) => limits.into_iter().map(|limit| limit.amount).collect(),
            Untold::Since(revision) => panic!("a gap after {revision}"),
        }
    }

    #[tokio::test]
    async fn what_others_post_is_told_once_however_often_it_changed() {
        let hub = Hub::default();
        let mut news = News::of(&hub, ME);
        news.told(4);
        for (revision, posted) in [(4, 10), (5, 20), (6, 30)] {
            posts(&hub, revision, OTHER, posted);
        }
        news.arrived().await;
        assert_eq!(known(&mut news), [30_i64]);
        assert!(known(&mut news).is_empty());
    }

    #[tokio::test]
    async fn what_a_stream_posts_itself_is_no_news_to_it() {
        let hub = Hub::default();
        let (mut mine, mut others) = (News::of(&hub, ME), News::of(&hub, OTHER));
        posts(&hub, 1, ME, 10);
        assert!(known(&mut mine).is_empty());
        assert_eq!(known(&mut others), [10_i64]);
    }

    #[tokio::test]
    async fn a_revision_of_another_replica_is_read_from_the_database() {
        let hub = Hub::default();
        let mut news = News::of(&hub, ME);
        posts(&hub, 1, OTHER, 10);
        posts(&hub, 3, OTHER, 30);
        assert!(matches!(news.take_untold(), Untold::Since(1)));
        news.told(3);
        posts(&hub, 4, OTHER, 40);
        assert_eq!(known(&mut news), [40_i64]);
        // Nobody here has posted it, but it is there.
        hub.seen.send_replace(5);
        news.arrived().await;
        assert!(matches!(news.take_untold(), Untold::Since(4)));
    }

    #[tokio::test]
    async fn a_stream_that_was_too_slow_asks_the_database() {
        let hub = Hub::default();
        let mut news = News::of(&hub, ME);
        for revision in 1..=3_000 {
            posts(&hub, revision, OTHER, revision);
        }
        news.arrived().await;
        assert!(matches!(news.take_untold(), Untold::Since(0)));
    }
}
