//! What a transaction has posted, for the streams: so they need not ask the database what has changed.

use reeve_policy::lease::{Account, Session};

use super::Key;

/// What one revision of the holdings has changed.
#[derive(Debug)]
pub struct Spending {
    /// One more than that of the change before.
    pub revision: i64,
    /// Windows that are current, in which something was posted.
    pub changes: Vec<Change>,
}

/// What has been posted in one window.
#[derive(Debug)]
pub struct Change {
    /// The window.
    pub key: Key,
    /// By session, in all.
    posted: Vec<(Session, i64)>,
    /// Whose part has changed.
    by: Vec<Session>,
}

impl Change {
    pub(crate) fn new(key: &Key, account: &Account, by: Vec<Session>) -> Self {
        let posted = account.holdings();
        Self {
            key: key.clone(),
            posted: posted
                .map(|(session, holding)| (session, holding.posted))
                .collect(),
            by,
        }
    }

    /// What everyone but `session` has posted; `None`: nobody else has changed it.
    pub fn by_others(&self, session: Session) -> Option<i64> {
        if self.by.iter().all(|by| *by == session) {
            return None;
        }
        let others = self.posted.iter().filter(|(other, _)| *other != session);
        let others = others.map(|(_, posted)| *posted);
        Some(others.fold(0, i64::saturating_add))
    }
}
