//! The control plane, as far as slots go. Sessions survive its crashes, what it has seen does not.

use std::collections::BTreeMap;

use reeve_policy::lease::term::Watch;
use reeve_policy::lease::{Account, Answer, Ask, Session, Terms};
use reeve_policy::limit::Limit;

use super::{Boot, Down, Up};
use crate::envoy::ask;

pub(super) struct ControlPlane {
    pub(super) accounts: Vec<Account>,
    /// Whose it is, and a mark that changes with each renewal.
    pub(super) sessions: BTreeMap<Session, (Boot, i64)>,
    /// As the ledger counts them.
    pub(super) counted: BTreeMap<Session, u32>,
    pub(super) last_session: Session,
    pub(super) watch: Watch,
    /// What its clock shows more than the world's.
    pub(super) ahead_ms: i64,
}

impl ControlPlane {
    const fn terms(&self, max: i64) -> Terms<'_> {
        Terms {
            max,
            base: max,
            sessions: &self.counted,
            comes_back: true,
        }
    }

    pub(super) fn on_message(
        &mut self,
        boot: Boot,
        message: Up,
        limits: &[Limit],
    ) -> Vec<(Boot, Down)> {
        match message {
            Up::Renew { asked_at_ms } => {
                let live = self.sessions.iter_mut().find(|(_, (of, _))| *of == boot);
                let session = if let Some((session, (_, mark))) = live {
                    *mark += 1;
                    *session
                } else {
                    self.last_session += 1;
                    self.sessions.insert(self.last_session, (boot, 0));
                    self.counted.insert(self.last_session, 0);
                    self.last_session
                };
                vec![(
                    boot,
                    Down::Renewed {
                        session,
                        asked_at_ms,
                    },
                )]
            }
            Up::Ask { vm, limit, want } => {
                let ask = ask(&want);
                if !self.sessions.contains_key(&ask.session) {
                    return if ask.waits {
                        Vec::new()
                    } else {
                        vec![(
                            boot,
                            Down::Answer {
                                vm,
                                answer: of_one_that_is_over(ask),
                                want,
                            },
                        )]
                    };
                }
                let mut account = std::mem::take(&mut self.accounts[limit]);
                let answer = account.ask(ask, self.terms(limits[limit].max));
                let mut replies = vec![(boot, Down::Answer { vm, want, answer })];
                if answer.recall {
                    let holders = account.holders(self.terms(limits[limit].max));
                    replies.extend(holders.filter_map(|session| {
                        let (boot, _) = self.sessions.get(&session)?;
                        Some((*boot, Down::Recall { limit, session }))
                    }));
                }
                self.accounts[limit] = account;
                replies
            }
        }
    }

    pub(super) fn expire(&mut self, now_ms: i64) -> u64 {
        let sessions = self.sessions.iter();
        let marks: Vec<_> = sessions
            .map(|(session, (_, mark))| (*session, *mark))
            .collect();
        let silent = self.watch.silent(&marks, now_ms + self.ahead_ms);
        for (session, _) in &silent {
            self.sessions.remove(session);
            self.counted.remove(session);
            for account in &mut self.accounts {
                account.release(*session);
            }
        }
        u64::try_from(silent.len()).unwrap()
    }
}

/// As the ledger's writer answers.
const fn of_one_that_is_over(ask: Ask) -> Answer {
    Answer {
        lent: ask.lent,
        tight: true,
        recall: false,
        posted: 0,
        committed: 0,
    }
}
