//! What one worker's VM holds of a limit, in its own memory.

use super::LeaseId;

/// A worker's part of a limit in one window. Units are the limit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Block {
    /// Whose it is, and in which window.
    pub id: LeaseId,
    /// Taken from the pool, less what was given back.
    pub size: i64,
    /// Settled.
    pub used: i64,
    /// Reserved for requests in flight.
    pub reserved: i64,
}

impl Block {
    /// A block of this lease, with nothing in it.
    pub const fn empty(id: LeaseId) -> Self {
        Self {
            id,
            size: 0,
            used: 0,
            reserved: 0,
        }
    }

    /// What can be reserved.
    pub const fn slack(self) -> i64 {
        self.size
            .saturating_sub(self.used)
            .saturating_sub(self.reserved)
    }

    /// How much more the block must hold before `amount` can be reserved.
    pub fn missing(self, amount: i64) -> i64 {
        amount.max(0).saturating_sub(self.slack()).max(0)
    }

    /// Takes in what came from the pool.
    pub const fn grow(&mut self, amount: i64) {
        self.size = self.size.saturating_add(amount);
    }

    /// Reserves `amount`, if it is there.
    pub fn reserve(&mut self, amount: i64) -> bool {
        let fits = self.missing(amount) == 0;
        if fits {
            self.reserved = self.reserved.saturating_add(amount.max(0));
        }
        fits
    }

    /// Replaces a reservation by what was really used; zero gives it back. Gives what was used beyond
    /// the block: it has been used, so the pool must hand it over ([`super::Pool::overdraw`]).
    #[must_use]
    pub fn settle(&mut self, reserved: i64, used: i64) -> i64 {
        self.reserved = self.reserved.saturating_sub(reserved.max(0)).max(0);
        self.used = self.used.saturating_add(used.max(0));
        let overdrawn = 0_i64.saturating_sub(self.slack()).max(0);
        self.grow(overdrawn);
        overdrawn
    }

    /// Forgets a reservation, and with it as much of the block.
    pub const fn write_off(&mut self, amount: i64) {
        self.reserved = self.reserved.saturating_sub(amount);
        self.size = self.size.saturating_sub(amount);
    }

    /// Takes everything beyond `keep` out, for the pool.
    pub fn shrink(&mut self, keep: i64) -> i64 {
        let spare = self.slack().saturating_sub(keep.max(0)).max(0);
        self.size = self.size.saturating_sub(spare);
        spare
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn settling_returns_what_was_not_used() {
        let mut block = Block::empty(LeaseId::default());
        block.grow(10);
        assert!(block.reserve(10));
        assert_eq!((block.reserve(1), block.missing(1)), (false, 1));
        assert_eq!(block.settle(10, 4), 0);
        assert_eq!(block.slack(), 6);
        assert_eq!((block.shrink(2), block.slack()), (4, 2));
    }

    #[test]
    fn usage_beyond_the_reservation_is_not_hidden() {
        let mut block = Block::empty(LeaseId::default());
        block.grow(10);
        assert!(block.reserve(5));
        assert_eq!(block.settle(5, 50), 40);
        assert_eq!((block.size, block.slack(), block.missing(5)), (50, 0, 5));
    }
}
