//! What this VM has seen of answers' lengths, for reservations.

use std::cell::RefCell;

use reeve_exchange::chain::Chain;
use reeve_exchange::request::Plan;
use reeve_exchange::response::Settlement;
use reeve_policy::reservation::OutputHistory;

thread_local! {
    /// One per VM, and a VM has one thread.
    static HISTORY: RefCell<OutputHistory> = RefCell::default();
}

/// The chain with reservations of the size that was seen, where that is the setting.
pub(crate) fn size(chain: Chain) -> Chain {
    HISTORY.with_borrow(|history| chain.sized(history))
}

/// Learns from an answer.
pub(crate) fn learn(plan: &Plan, settlement: &Settlement, now_ms: i64) {
    if let Some((pair, tokens)) = plan.observed(settlement) {
        HISTORY.with_borrow_mut(|history| history.observe(pair, tokens, now_ms));
    }
}
