//! The control plane. What it has committed survives its crashes: each message is one transaction.

use std::collections::BTreeMap;

use reeve_policy::lease::{Account, Session, Terms, divisor};

use crate::envoy::ask;
use crate::network::{Down, LimitNumber, Up, WindowStart};

pub(crate) struct ControlPlane {
    pub(crate) maxima: Vec<i64>,
    pub(crate) accounts: BTreeMap<(LimitNumber, WindowStart), Account>,
    /// Counted with their standing leases: those that live, and those that may.
    pub(crate) sessions: BTreeMap<Session, u32>,
    /// Usage is counted up to this number, per session.
    pub(crate) acknowledged: BTreeMap<Session, u64>,
}

impl ControlPlane {
    pub(crate) fn new(maxima: Vec<i64>) -> Self {
        Self {
            maxima,
            accounts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        }
    }

    /// A new process; gives its divisor, and of what it has no standing lease.
    pub(crate) fn join(&mut self, session: Session) -> (u32, Vec<(LimitNumber, WindowStart)>) {
        let divisor = divisor(u32::try_from(self.sessions.len()).unwrap());
        let Self {
            accounts,
            maxima,
            sessions,
            ..
        } = self;
        let mut withheld = Vec::new();
        for ((limit, window), account) in accounts {
            if !account.join(session, divisor, terms(maxima, *limit, sessions)) {
                withheld.push((*limit, *window));
            }
        }
        self.sessions.insert(session, divisor);
        (divisor, withheld)
    }

    /// A session that is over for so long that nobody can still use what it held.
    pub(crate) fn release(&mut self, session: Session) {
        self.sessions.remove(&session);
        for account in self.accounts.values_mut() {
            account.release(session);
        }
    }

    pub(crate) fn on_message(&mut self, message: Up) -> Vec<(Session, Down)> {
        let Self {
            accounts,
            maxima,
            sessions,
            acknowledged,
        } = self;
        match message {
            Up::Ask { vm, limit, want } => {
                let window = want.lease.window_start_ms;
                let account = accounts.entry((limit, window)).or_default();
                let terms = terms(maxima, limit, sessions);
                let ask = ask(&want);
                let answer = account.ask(ask, terms);
                let mut replies = vec![(ask.session, Down::Answer { vm, want, answer })];
                if answer.recall {
                    let holders = account.holders(terms);
                    replies.extend(holders.map(|holder| (holder, Down::Recall { limit, window })));
                }
                replies
            }
            Up::Usage { session, records } => {
                let acknowledged = acknowledged.entry(session).or_default();
                for record in records {
                    if record.sequence != *acknowledged + 1 {
                        continue;
                    }
                    *acknowledged = record.sequence;
                    for (limit, window, amount) in record.charges {
                        let account = accounts.entry((limit, window)).or_default();
                        account.post(session, amount, terms(maxima, limit, sessions));
                    }
                }
                let sequence = *acknowledged;
                vec![(session, Down::Acknowledged { sequence })]
            }
        }
    }

    pub(crate) fn terms(&self, limit: LimitNumber) -> Terms<'_> {
        terms(&self.maxima, limit, &self.sessions)
    }
}

fn terms<'a>(
    maxima: &[i64],
    limit: LimitNumber,
    sessions: &'a BTreeMap<Session, u32>,
) -> Terms<'a> {
    Terms {
        max: maxima[limit],
        base: maxima[limit],
        sessions,
        comes_back: false,
    }
}
