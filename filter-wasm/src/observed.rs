//! What came of this process's attempts, for the control plane to judge providers by.
//!
//! Each VM counts in its own memory and writes its totals to shared data under its own number when they have
//! grown; the leader adds them up. Nobody takes turns, and a VM that dies takes with it what it had counted
//! since its last tick.

use std::cell::RefCell;

use prost::Message as _;
use reeve_policy::shares::Totals;
use reeve_proto::v1::Observed;

use crate::{flights, host};

thread_local! {
    /// One per VM, and a VM has one thread.
    static COUNTED: RefCell<Counted> = RefCell::default();
}

#[derive(Debug, Default)]
struct Counted {
    /// Of the VM; a VM that was taken for dead goes on under another one, from nothing.
    number: u64,
    totals: Totals,
    has_grown: bool,
}

/// Counts, by whatever `count` does with the totals.
pub(crate) fn count(count: impl FnOnce(&mut Totals)) {
    COUNTED.with_borrow_mut(|counted| {
        let number = flights::number();
        if counted.number != number {
            *counted = Counted {
                number,
                ..Counted::default()
            };
        }
        count(&mut counted.totals);
        counted.has_grown = true;
    });
}

/// Writes down what was counted. Call on every tick.
pub(crate) fn tick() {
    COUNTED.with_borrow_mut(|counted| {
        if std::mem::take(&mut counted.has_grown) {
            let message = Observed::from(&counted.totals);
            host::shared_set(&key(counted.number), &message.encode_to_vec());
        }
    });
}

/// What all VMs have written down, dead ones too: a total never falls. Leader only.
pub(crate) fn sum() -> Observed {
    let mut totals = Totals::new();
    for number in 1..=flights::count() {
        let Some(bytes) = host::shared_get(&key(number)).0 else {
            continue;
        };
        match Observed::decode(bytes.as_slice()) {
            Ok(observed) => {
                for (target, counts) in observed.totals() {
                    totals.entry(target).or_default().add(counts);
                }
            }
            Err(error) => host::error(&format!("counts of attempts are unusable: {error}")),
        }
    }
    Observed::from(&totals)
}

fn key(number: u64) -> String {
    format!("observed/{number}")
}
