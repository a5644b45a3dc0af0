//! Leases in a world that goes wrong: several Envoys with several VMs each, a control plane, and a
//! network between them that loses, delays, doubles and reorders; VMs that trap, processes that are
//! killed, a control plane that crashes, windows that end. Everything is drawn from one seed, so a
//! failure is replayed by its number:
//!
//! ```text
//! LEASE_SEED=1234 cargo test -p reeve-policy --test lease_simulation
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod chance;
mod control_plane;
mod envoy;
mod network;
mod oracle;
mod slots;
mod world;

use slots::SlotsWorld;
use world::{Hazards, World};

/// Steps of all runs together.
const STEPS: u32 = 1_200_000;
const STEPS_PER_RUN: u32 = 3_000;
/// The same of slots.
const SLOT_STEPS: u32 = 300_000;

#[test]
fn no_order_of_events_overspends_a_limit_or_counts_usage_twice() {
    let mut totals = oracle::Totals::default();
    for seed in seeds(STEPS / STEPS_PER_RUN) {
        let hazards = Hazards::of_run(seed);
        let mut world = World::new(seed, hazards);
        for _ in 0..STEPS_PER_RUN {
            world.step();
            world.check();
        }
        world.settle_down();
        world.check_at_rest();
        totals.add(&world.oracle.totals);
    }
    // A world in which nothing happens proves nothing.
    println!("{totals:?}");
    assert!(totals.admitted > 100_000, "{totals:?}");
    assert!(totals.refused > 10_000, "{totals:?}");
    assert!(totals.asked > 10_000, "{totals:?}");
    assert!(totals.trapped > 100 && totals.killed > 100, "{totals:?}");
    assert!(totals.alone > 1_000, "{totals:?}");
}

#[test]
fn never_more_requests_are_under_way_than_a_limit_has_slots() {
    let mut totals = oracle::Totals::default();
    for seed in seeds(SLOT_STEPS / STEPS_PER_RUN) {
        let mut world = SlotsWorld::new(seed);
        for _ in 0..STEPS_PER_RUN {
            world.step();
            world.check();
        }
        world.settle_down();
        world.check_at_rest();
        totals.add(&world.totals);
    }
    println!("{totals:?}");
    assert!(totals.admitted > 20_000, "{totals:?}");
    assert!(totals.refused > 5_000, "{totals:?}");
    assert!(totals.asked > 10_000, "{totals:?}");
    assert!(totals.trapped > 100 && totals.killed > 100, "{totals:?}");
    assert!(totals.expired > 100 && totals.ended > 100, "{totals:?}");
}

fn seeds(runs: u32) -> Vec<u64> {
    match option_env!("LEASE_SEED") {
        Some(seed) => vec![seed.parse().unwrap()],
        None => (0..u64::from(runs)).collect(),
    }
}
