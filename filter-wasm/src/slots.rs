//! Slots of keys with `max_in_flight`: until when this process holds them, and which exchanges are in them.
//!
//! When the process has not been [renewed](reeve_policy::lease::term) in time, the control plane lends its
//! slots to others. So what is under way in them is ended before that.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use reeve_policy::lease::term::Term;
use reeve_policy::lease::{Session, Tenure};

use crate::host;

const SLOTS: &str = "slots";

thread_local! {
    // One per VM, and a VM has one thread.
    /// As it was last read.
    static TERM: Cell<Term> = Cell::default();
    /// Exchanges in slots, by their context: of which session.
    static HOLDERS: RefCell<BTreeMap<u32, Session>> = RefCell::default();
}

/// Under which slots may be taken now. `None`: under none.
pub(crate) fn tenure() -> Option<Tenure> {
    let now_ms = host::monotonic_ms();
    TERM.get().tenure_at(now_ms).or_else(|| {
        TERM.set(read());
        TERM.get().tenure_at(now_ms)
    })
}

/// An exchange is in a slot of this session.
pub(crate) fn hold(context_id: u32, session: Session) {
    HOLDERS.with_borrow_mut(|holders| holders.insert(context_id, session));
}

/// It has ended.
pub(crate) fn let_go(context_id: u32) {
    HOLDERS.with_borrow_mut(|holders| holders.remove(&context_id));
}

/// Looks for news, and ends every exchange whose slot is not this VM's any more. Call on every tick of a
/// worker. `is_known`: the VM was not taken for dead.
pub(crate) fn look(own_context: u32, is_known: bool) {
    TERM.set(read());
    if HOLDERS.with_borrow(BTreeMap::is_empty) {
        return;
    }
    let session = tenure().filter(|_| is_known).map(|tenure| tenure.session);
    HOLDERS.with_borrow(|holders| {
        for (context_id, held) in holders {
            if Some(*held) != session {
                host::error(
                    "an exchange is ended: its slot of a concurrency limit is not held any more",
                );
                host::end_exchange(*context_id, own_context);
            }
        }
    });
}

/// The control plane has answered what was asked at `asked_at_ms`. Leader only.
pub(crate) fn renewed(session: Session, asked_at_ms: i64) {
    let term = read().renewed(session, asked_at_ms);
    host::shared_set(SLOTS, &term.to_bytes());
}

fn read() -> Term {
    let bytes = host::shared_get(SLOTS).0.unwrap_or_default();
    Term::from_bytes(&bytes).unwrap_or_default()
}
