//! What is billed beside tokens: searches, characters, seconds, images.

/// Prices of units, nano-dollars per million of them; 0: not billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnitPrices {
    /// A search of a reranker, as its vendor counts them.
    pub search: i64,
    /// A character that is spoken.
    pub character: i64,
    /// A second of audio that is listened to.
    pub second: i64,
    /// An image that is made.
    pub image: i64,
}

/// Units of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Units {
    /// See [`UnitPrices::search`].
    pub searches: u64,
    /// See [`UnitPrices::character`].
    pub characters: u64,
    /// See [`UnitPrices::second`].
    pub seconds: u64,
    /// See [`UnitPrices::image`].
    pub images: u64,
}

impl UnitPrices {
    /// Is any unit billed?
    pub fn any(self) -> bool {
        self != Self::default()
    }

    const fn each(self) -> [i64; 4] {
        [self.search, self.character, self.second, self.image]
    }
}

impl Units {
    /// What they cost, in millionths of a nano-dollar. `None`: beyond all range, or a price below zero.
    pub(crate) fn millionths(self, prices: UnitPrices) -> Option<i128> {
        let units = [self.searches, self.characters, self.seconds, self.images];
        let mut sum: i128 = 0;
        for (count, price) in units.into_iter().zip(prices.each()) {
            if price < 0 {
                return None;
            }
            sum = sum.checked_add(i128::from(count).checked_mul(i128::from(price))?)?;
        }
        Some(sum)
    }
}
