//! What a conversion did, for the person who refreshes the catalogue.

use std::collections::BTreeMap;
use std::fmt;

use super::decimal::Price;

/// Counts of a conversion.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Rows left out, by reason.
    skipped: BTreeMap<&'static str, usize>,
    /// Price fields that the catalogue has no place for, by name.
    unread: BTreeMap<String, usize>,
    /// Prices rounded up to a whole nano-dollar per 1,000,000 units.
    rounded_up: usize,
    /// Prices cleared of float noise.
    denoised: usize,
    /// Rows whose prices were all zero: listed without a price.
    pub(super) only_zeros: usize,
    /// Cache prices of zero: left out, so that cached tokens cost what input costs.
    pub(super) zero_cache_prices: usize,
    /// Second rows of one model: the row with more prices was kept.
    pub(super) duplicates: usize,
    /// Of those, pairs that did not agree.
    pub(super) conflicts: usize,
}

impl Report {
    /// Counts how a price was read, and hands it on.
    pub(super) fn price(&mut self, price: Price) -> i64 {
        self.rounded_up += usize::from(price.rounded_up);
        self.denoised += usize::from(price.denoised);
        price.nano
    }

    pub(super) fn skipped(&mut self, reason: &'static str) {
        *self.skipped.entry(reason).or_default() += 1;
    }

    pub(super) fn unread(&mut self, name: &str) {
        *self.unread.entry(name.to_owned()).or_default() += 1;
    }

    pub(super) fn skipped_rows(&self) -> usize {
        self.skipped.values().sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "rows skipped: {}", self.skipped_rows())?;
        for (reason, rows) in &self.skipped {
            writeln!(formatter, "  {reason}: {rows}")?;
        }
        writeln!(
            formatter,
            "second rows of a model: {} ({} differed; the one with more prices was kept)",
            self.duplicates, self.conflicts
        )?;
        writeln!(
            formatter,
            "prices rounded up to a nano-dollar: {}",
            self.rounded_up
        )?;
        writeln!(
            formatter,
            "prices cleared of float noise: {}",
            self.denoised
        )?;
        writeln!(
            formatter,
            "models with prices of zero only, now unpriced: {}",
            self.only_zeros
        )?;
        writeln!(
            formatter,
            "cache prices of zero left out: {}",
            self.zero_cache_prices
        )?;
        writeln!(formatter, "price fields not in the catalogue:")?;
        for (name, rows) in &self.unread {
            writeln!(formatter, "  {name}: {rows}")?;
        }
        Ok(())
    }
}
