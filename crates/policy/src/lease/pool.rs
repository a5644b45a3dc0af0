//! What one Envoy process holds of a limit; its workers share it.

use super::LeaseId;

/// A process's part of a limit in one window. Units are the limit's. All amounts are totals of the
/// window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pool {
    /// Whose it is, and in which window.
    pub id: LeaseId,
    /// Lent by the control plane, the standing lease included.
    pub lent: i64,
    /// Given back to the control plane.
    pub returned: i64,
    /// Taken by workers, less what they gave back.
    pub taken: i64,
    /// Little is left of the limit: workers keep nothing that they do not need at once.
    pub tight: bool,
    /// Used by everyone else, as the control plane last said. It decides nothing.
    pub others: i64,
    /// How often it has been recalled: workers that have not seen the last time give back all they can.
    pub recalls: i64,
    /// What may be used beyond what is held, while the control plane cannot be asked.
    pub emergency: i64,
}

/// There is too little in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// As much as is missing, at least.
    pub missing: i64,
}

impl Pool {
    /// Length of the stored form.
    pub const ENCODED_LEN: usize = 72;
    /// A worker takes up to so many times what it needs.
    const AHEAD: i64 = 16;

    /// The pool of this lease, where an earlier one is over and the new one begins with what is
    /// `standing`. A clock that steps back reopens nothing.
    #[must_use]
    pub fn at(self, id: LeaseId, standing: i64) -> Self {
        if id > self.id {
            Self {
                id,
                lent: standing,
                returned: 0,
                taken: 0,
                tight: false,
                others: 0,
                recalls: 0,
                emergency: 0,
            }
        } else {
            self
        }
    }

    /// What workers can still take. Negative: they have used more than there was.
    pub const fn free(self) -> i64 {
        self.own().saturating_add(self.emergency)
    }

    /// The same of what is held, which alone can be given back.
    const fn own(self) -> i64 {
        self.lent
            .saturating_sub(self.returned)
            .saturating_sub(self.taken)
    }

    /// Makes room for `amount`, beyond what is held by no more than `most`. `None`: not even that is enough.
    #[must_use]
    pub fn draw(self, amount: i64, most: i64) -> Option<Self> {
        let emergency = amount.saturating_sub(self.own()).max(self.emergency);
        (emergency <= most).then_some(Self { emergency, ..self })
    }

    /// A worker takes a block that covers `amount`: more than that, so that it need not come again
    /// soon, unless the limit is tight. Gives the pool to store, and what was taken.
    pub fn take(self, amount: i64) -> Result<(Self, i64), Short> {
        let ahead = if self.tight {
            amount
        } else {
            amount.saturating_mul(Self::AHEAD).min(self.free() >> 2)
        };
        self.take_exactly(ahead.max(amount))
    }

    /// The same with a block of this size: what is in no block beyond what is in use, no trap of a VM can
    /// lose.
    pub fn take_exactly(self, size: i64) -> Result<(Self, i64), Short> {
        let missing = size.saturating_sub(self.free());
        if missing > 0 {
            return Err(Short { missing });
        }
        let taken = self.taken.saturating_add(size);
        Ok((Self { taken, ..self }, size))
    }

    /// A worker has used more than was reserved for it, which nobody can refuse any more.
    #[must_use]
    pub fn overdraw(self, id: LeaseId, amount: i64) -> Self {
        self.give_back(id, 0_i64.saturating_sub(amount))
    }

    /// A worker gives back what it does not need. A block of another lease went with that.
    #[must_use]
    pub fn give_back(self, id: LeaseId, amount: i64) -> Self {
        if id != self.id {
            return self;
        }
        Self {
            taken: self.taken.saturating_sub(amount),
            ..self
        }
    }

    /// The control plane has lent `lent` in all. What comes late is known already, or no use any more.
    #[must_use]
    pub fn on_lent(self, id: LeaseId, lent: i64, tight: bool) -> Self {
        if id != self.id {
            return self;
        }
        Self {
            lent: self.lent.max(lent),
            tight,
            // What was used of it is missing first, from now on.
            emergency: 0,
            ..self
        }
    }

    /// Everyone else has used so much in this window.
    #[must_use]
    pub fn with_others(self, window_start_ms: i64, others: i64) -> Self {
        if window_start_ms != self.id.window_start_ms {
            return self;
        }
        Self { others, ..self }
    }

    /// Somebody else needs what is not used here: nothing is kept, and what is free is returned, of which
    /// the control plane is to be told.
    #[must_use]
    pub fn recall(self) -> Self {
        Self {
            recalls: self.recalls.saturating_add(1),
            tight: true,
            ..self
        }
        .return_beyond(0)
    }

    /// Returns what is free beyond `keep` to the control plane, which is to be told of `returned`.
    #[must_use]
    pub fn return_beyond(self, keep: i64) -> Self {
        let spare = self.own().saturating_sub(keep.max(0)).max(0);
        Self {
            returned: self.returned.saturating_add(spare),
            ..self
        }
    }

    /// The form in shared data: little-endian `i64` in the order of the fields.
    pub fn to_bytes(self) -> [u8; Self::ENCODED_LEN] {
        let mut bytes = [0; Self::ENCODED_LEN];
        let fields = [
            self.id.session,
            self.id.window_start_ms,
            self.lent,
            self.returned,
            self.taken,
            i64::from(self.tight),
            self.others,
            self.recalls,
            self.emergency,
        ];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// Reads [`Pool::to_bytes`]; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::ENCODED_LEN {
            return None;
        }
        let mut fields = bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|field| i64::from_le_bytes(*field));
        Some(Self {
            id: LeaseId {
                session: fields.next()?,
                window_start_ms: fields.next()?,
            },
            lent: fields.next()?,
            returned: fields.next()?,
            taken: fields.next()?,
            tight: match fields.next()? {
                0 => false,
                1 => true,
                _ => return None,
            },
            others: fields.next()?,
            recalls: fields.next()?,
            emergency: fields.next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const fn lease(window_start_ms: i64) -> LeaseId {
        LeaseId {
            session: 7,
            window_start_ms,
        }
    }

    fn pool(lent: i64) -> Pool {
        Pool::default().at(lease(1), lent)
    }

    #[test]
    fn the_last_unit_is_taken_and_not_one_more() {
        let (rest, size) = pool(10).take(10).unwrap();
        assert_eq!((size, rest.free()), (10, 0));
        assert_eq!(rest.take(1), Err(Short { missing: 1 }));
        assert_eq!(pool(7).take(10), Err(Short { missing: 3 }));
    }

    #[test]
    fn a_worker_takes_ahead_but_leaves_most_to_others() {
        let (rest, size) = pool(1_000).take(1).unwrap();
        assert_eq!((size, rest.free()), (16, 984));
        let (_, size) = pool(40).take(1).unwrap();
        assert_eq!(size, 10);
        let tight = pool(1_000).on_lent(lease(1), 1_000, true);
        assert_eq!(tight.take(1).unwrap().1, 1);
    }

    #[test]
    fn what_was_lent_only_grows() {
        let pool = pool(10).on_lent(lease(1), 50, false);
        assert_eq!(pool.on_lent(lease(1), 20, false).lent, 50);
        assert_eq!(pool.on_lent(lease(0), 90, false), pool, "another window");
    }

    #[test]
    fn what_is_returned_cannot_be_taken() {
        let (pool, _) = pool(100).on_lent(lease(1), 100, true).take(30).unwrap();
        let pool = pool.return_beyond(10);
        assert_eq!((pool.returned, pool.free()), (60, 10));
        assert_eq!(pool.return_beyond(10), pool);
    }

    #[test]
    fn what_was_overdrawn_is_missing_first() {
        let pool = pool(10).take(10).unwrap().0.overdraw(lease(1), 5);
        assert_eq!(pool.free(), -5);
        assert_eq!(pool.take(1), Err(Short { missing: 6 }));
        assert_eq!(pool.return_beyond(0), pool);
    }

    #[test]
    fn what_is_drawn_is_used_once_and_missing_when_the_control_plane_is_back() {
        let (pool, _) = pool(10).take(10).unwrap();
        let drawn = pool.draw(3, 5).unwrap();
        assert_eq!((drawn.free(), drawn.return_beyond(0)), (3, drawn));
        let (used, _) = drawn.take(3).unwrap();
        assert_eq!(used.draw(2, 5).unwrap().free(), 2);
        assert_eq!(used.draw(3, 5), None);
        let back = used.on_lent(lease(1), 10, true);
        assert_eq!(back.take(1), Err(Short { missing: 4 }));
        // Away again, in the same window: what is left of it.
        assert_eq!(back.draw(3, 5), None);
        assert_eq!(back.draw(2, 5).unwrap().free(), 2);
    }

    #[test]
    fn a_new_window_begins_with_the_standing_lease() {
        let (old, size) = pool(100).take(30).unwrap();
        let new = old.at(lease(2), 5);
        assert_eq!((new.lent, new.free()), (5, 5));
        assert_eq!(new.give_back(lease(1), size), new, "the old block is gone");
        assert_eq!(new.at(lease(1), 99), new, "a clock that steps back");
        let other = LeaseId {
            session: 8,
            ..new.id
        };
        assert_eq!(new.at(other, 3).free(), 3, "another session");
    }

    #[test]
    fn bytes_that_are_no_pool_are_none() {
        assert_eq!(Pool::from_bytes(&[0; 64]), None);
        let mut bytes = Pool {
            tight: true,
            lent: i64::MIN,
            ..pool(3)
        }
        .to_bytes();
        assert_eq!(
            Pool::from_bytes(&bytes),
            Some(Pool {
                tight: true,
                lent: i64::MIN,
                ..pool(3)
            })
        );
        bytes[40] = 2;
        assert_eq!(Pool::from_bytes(&bytes), None);
    }
}
