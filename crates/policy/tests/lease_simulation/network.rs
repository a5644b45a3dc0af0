//! Messages between processes and control plane: totals, so that none of what the network does to
//! them matters.

use reeve_policy::lease::{Answer, Session, Want};

use crate::chance::Chance;

/// A limit, by its number.
pub(crate) type LimitNumber = usize;
/// A window, by its start.
pub(crate) type WindowStart = i64;

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) sequence: u64,
    pub(crate) charges: Vec<(LimitNumber, WindowStart, i64)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Up {
    /// Of a VM.
    Ask {
        vm: usize,
        limit: LimitNumber,
        want: Want,
    },
    Usage {
        session: Session,
        records: Vec<Record>,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Down {
    Answer {
        vm: usize,
        want: Want,
        answer: Answer,
    },
    Acknowledged {
        sequence: u64,
    },
    Recall {
        limit: LimitNumber,
        window: WindowStart,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Message<M> {
    /// Who sent it, or who is to have it.
    pub(crate) session: Session,
    due: u64,
    pub(crate) body: M,
}

/// One direction.
pub(crate) struct Wire<M> {
    messages: Vec<Message<M>>,
}

impl<M: Clone> Wire<M> {
    pub(crate) fn new() -> Self {
        Self {
            messages: Vec::new(),
        }
    }

    /// `worst` is how long a message is delayed at most, in steps; 0: nothing goes wrong.
    pub(crate) fn send(
        &mut self,
        chance: &mut Chance,
        now: u64,
        worst: u64,
        session: Session,
        body: M,
    ) {
        let copies = match worst {
            0 => 1,
            _ if chance.once_in(20) => 0,
            _ if chance.once_in(10) => 2,
            _ => 1,
        };
        for _ in 0..copies {
            self.messages.push(Message {
                session,
                due: now + chance.below(worst + 1),
                body: body.clone(),
            });
        }
    }

    /// A message that has arrived; any of them.
    pub(crate) fn take(&mut self, now: u64) -> Option<Message<M>> {
        let index = self
            .messages
            .iter()
            .position(|message| message.due <= now)?;
        Some(self.messages.swap_remove(index))
    }

    /// What is on its way from or to a process that is cut off now.
    pub(crate) fn lose_of(&mut self, session: Session) {
        self.messages.retain(|message| message.session != session);
    }

    pub(crate) fn lose_all(&mut self) {
        self.messages.clear();
    }
}
