//! Exact decimals: the text of a JSON number → an integer, without a binary float in between.
//!
//! A price of `1.5e-07` dollars per token has no exact `f64`; read as text and shifted by powers of
//! ten it is exactly 150,000,000 nano-dollars per million tokens.

use anyhow::{Context as _, Result, bail};

/// Powers of ten from dollars per unit to nano-dollars per 1,000,000 units: 9 + 6.
const PRICE_SHIFT: i32 = 15;

/// Digits that a decimal keeps on its way through an `f64` (C's `DBL_DIG`). More digits than that
/// are the print of somebody's float arithmetic (`2.0000000000000003e-07`), not of a price list.
const FLOAT_DIGITS: u32 = 15;

/// A price and what it took to make an integer of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Price {
    /// Nano-dollars per 1,000,000 units.
    pub(super) nano: i64,
    /// The price list's number was not a whole number of nano-dollars; `nano` is the next above.
    pub(super) rounded_up: bool,
    /// The number carried float noise, dropped first (see [`FLOAT_DIGITS`]).
    pub(super) denoised: bool,
}

/// Reads dollars per unit.
pub(super) fn price(text: &str) -> Result<Price> {
    let mut decimal = Decimal::parse(text)?;
    let denoised = decimal.drop_float_noise();
    let (value, rounded_up) = decimal.shifted(PRICE_SHIFT)?;
    let nano = i64::try_from(value).with_context(|| format!("price {text} is too large"))?;
    Ok(Price {
        nano,
        rounded_up,
        denoised,
    })
}

/// Reads a count of tokens; `256000.0` and `2.56e5` are 256000.
pub(super) fn count(text: &str) -> Result<u64> {
    let (value, rounded_up) = Decimal::parse(text)?.shifted(0)?;
    if rounded_up {
        bail!("{text} is not a whole number");
    }
    u64::try_from(value).with_context(|| format!("{text} is too large for a count"))
}

/// `digits * 10^exponent`, never negative.
struct Decimal {
    digits: u128,
    exponent: i32,
}

impl Decimal {
    /// Reads a JSON number (RFC 8259, section 6) that is not negative.
    fn parse(text: &str) -> Result<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (
                mantissa,
                exponent
                    .parse::<i32>()
                    .with_context(|| format!("{text}: bad exponent"))?,
            ),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
            bail!("{text} is not a number of zero or more");
        }
        let digits = format!("{whole}{fraction}")
            .parse()
            .with_context(|| format!("{text} has too many digits"))?;
        let places = i32::try_from(fraction.len())?;
        let exponent = exponent
            .checked_sub(places)
            .with_context(|| format!("{text}: bad exponent"))?;
        Ok(Self { digits, exponent })
    }

    /// Rounds to [`FLOAT_DIGITS`] significant digits, half up; says whether there were more.
    fn drop_float_noise(&mut self) -> bool {
        let surplus = self.digits.checked_ilog10().map_or(0, |log| log + 1);
        let Some(surplus) = surplus
            .checked_sub(FLOAT_DIGITS)
            .filter(|&surplus| surplus > 0)
        else {
            return false;
        };
        let unit = 10_u128.pow(surplus);
        // At most 10^39 / 10^24: far from overflow. The places move from digits to exponent.
        self.digits = (self.digits + unit / 2) / unit * unit;
        true
    }

    /// `self * 10^shift` as an integer, rounded up, and whether rounding was needed.
    fn shifted(&self, shift: i32) -> Result<(u128, bool)> {
        let power = self.exponent.saturating_add(shift);
        if self.digits == 0 {
            return Ok((0, false));
        }
        if power >= 0 {
            let value = 10_u128
                .checked_pow(power.unsigned_abs())
                .and_then(|factor| self.digits.checked_mul(factor))
                .context("number is too large")?;
            return Ok((value, false));
        }
        // A divisor that does not fit is larger than any 128-bit number: a sliver above zero.
        match 10_u128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => Ok((
                self.digits.div_ceil(divisor),
                !self.digits.is_multiple_of(divisor),
            )),
            None => Ok((1, true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{count, price};

    fn nano(text: &str) -> i64 {
        let price = price(text).unwrap();
        assert!(!price.rounded_up && !price.denoised, "{text} is exact");
        price.nano
    }

    #[test]
    fn every_spelling_of_a_price_gives_the_same_integer() {
        for text in [
            "1.5e-07",
            "1.5E-7",
            "15e-8",
            "0.00000015",
            "0.000000150",
            "0.15e-06",
        ] {
            assert_eq!(nano(text), 150_000_000, "{text}");
        }
        assert_eq!(nano("2.5e-6"), 2_500_000_000);
        assert_eq!(nano("1e-05"), 10_000_000_000);
        assert_eq!(nano("0.04"), 40_000_000_000_000);
        assert_eq!(nano("3"), 3_000_000_000_000_000);
        assert_eq!(nano("0"), 0);
        assert_eq!(nano("0.0"), 0);
        assert_eq!(nano("0e-99999"), 0);
    }

    #[test]
    fn prices_without_an_exact_float_stay_exact() {
        // As f64: 6.874999999999999e-8 * 1e15, 1.0002999999999999e-7 * 1e15.
        assert_eq!(nano("6.875e-08"), 68_750_000);
        assert_eq!(nano("1.0003e-07"), 100_030_000);
    }

    #[test]
    fn fractions_of_a_nano_dollar_are_rounded_up() {
        for (text, expected) in [
            ("1.0000001e-15", 2),
            ("1e-16", 1),
            ("1e-300", 1),
            ("3.3333333333e-05", 33_333_333_333),
            ("3.33333333331e-05", 33_333_333_334),
        ] {
            let price = price(text).unwrap();
            assert_eq!(price.nano, expected, "{text}");
            assert_eq!(price.rounded_up, text != "3.3333333333e-05", "{text}");
        }
    }

    #[test]
    fn float_noise_is_dropped_before_rounding() {
        for (text, expected, rounded_up) in [
            ("2.0000000000000003e-07", 200_000_000, false),
            ("5.9999999999999995e-06", 6_000_000_000, false),
            ("3.3333333333333335e-05", 33_333_333_334, true),
        ] {
            let price = price(text).unwrap();
            assert_eq!(
                (price.nano, price.rounded_up),
                (expected, rounded_up),
                "{text}"
            );
            assert!(price.denoised, "{text}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "", "-1e-6", "+1", "abc", "1e", "e5", ".5", "1.2.3", "NaN", "1e99", "null",
        ] {
            assert!(price(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn counts_are_whole_numbers_in_any_spelling() {
        assert_eq!(count("128000").unwrap(), 128_000);
        assert_eq!(count("256000.0").unwrap(), 256_000);
        assert_eq!(count("2.56e5").unwrap(), 256_000);
        for text in ["1.5", "-1", "\"1\"", "99999999999999999999"] {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
