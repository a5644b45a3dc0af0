//! Money: integer nano-dollars.
//!
//! A token costs fractions of a micro-dollar, and a sum of a million binary fractions is not the sum
//! of the bills. So money is an `i64` count of 10⁻⁹ US dollars (±9.2 billion dollars), converted from
//! and to decimal text exactly.

use core::fmt;

/// Nano-dollars in one dollar.
pub const NANOS_PER_DOLLAR: i64 = 1_000_000_000;

/// An amount of money in nano-dollars (10⁻⁹ USD).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(i64);

/// Why a text is not an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a decimal number as JSON writes it.
    #[error("not a decimal number")]
    Malformed,
    /// Finer than a nano-dollar.
    #[error("finer than a nano-dollar (at most 9 decimal places)")]
    TooFine,
    /// Beyond ±9.2 billion dollars.
    #[error("too large (at most 9223372036 dollars)")]
    TooLarge,
}

impl Nanos {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From a count of nano-dollars.
    pub const fn new(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The count of nano-dollars.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reads a decimal amount of dollars, as a JSON number is written (`100.00`, `1e-7`), exactly.
    pub fn parse_dollars(text: &str) -> Result<Self, MoneyError> {
        let (digits, exponent) = decimal(text)?;
        // Shift the decimal point nine places: dollars to nano-dollars.
        let shift = exponent.checked_add(9).ok_or(MoneyError::TooLarge)?;
        let magnitude = if digits.magnitude == 0 {
            0
        } else if shift >= 0 {
            let factor = power_of_ten(shift).ok_or(MoneyError::TooLarge)?;
            digits
                .magnitude
                .checked_mul(factor)
                .ok_or(MoneyError::TooLarge)?
        } else {
            let places = shift.checked_neg().ok_or(MoneyError::TooFine)?;
            let divisor = power_of_ten(places).ok_or(MoneyError::TooFine)?;
            let whole = digits
                .magnitude
                .checked_div(divisor)
                .ok_or(MoneyError::TooFine)?;
            if whole.checked_mul(divisor) != Some(digits.magnitude) {
                return Err(MoneyError::TooFine);
            }
            whole
        };
        let magnitude = i64::try_from(magnitude).map_err(|_| MoneyError::TooLarge)?;
        Ok(Self(if digits.negative {
            magnitude.saturating_neg()
        } else {
            magnitude
        }))
    }

    /// Sum, or `None` beyond the range.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(nanos) => Some(Self(nanos)),
            None => None,
        }
    }
}

/// Dollars as a decimal number without superfluous zeros: `0.000045`, `100`, `-2.5`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let per_dollar = NANOS_PER_DOLLAR.unsigned_abs();
        let dollars = magnitude.checked_div(per_dollar).unwrap_or_default();
        let rest = magnitude.checked_rem(per_dollar).unwrap_or_default();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        write!(f, "{dollars}")?;
        if rest != 0 {
            let decimals = format!("{rest:09}");
            write!(f, ".{}", decimals.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

struct Digits {
    negative: bool,
    magnitude: u128,
}

/// Splits a JSON number (RFC 8259 section 6) into all its digits and a power of ten.
fn decimal(text: &str) -> Result<(Digits, i32), MoneyError> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            exponent.parse::<i16>().map_err(|_| MoneyError::Malformed)?,
        ),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(MoneyError::Malformed),
        None => (mantissa, ""),
    };
    if whole.is_empty() {
        return Err(MoneyError::Malformed);
    }
    // Trailing zeros of a fraction say nothing; dropping them keeps `100.000000000000` readable.
    let fraction = fraction.trim_end_matches('0');
    let mut magnitude: u128 = 0;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte
            .checked_sub(b'0')
            .filter(|d| *d <= 9)
            .ok_or(MoneyError::Malformed)?;
        magnitude = magnitude
            .checked_mul(10)
            .and_then(|m| m.checked_add(u128::from(digit)))
            .ok_or(MoneyError::TooLarge)?;
    }
    let places = i32::try_from(fraction.len()).map_err(|_| MoneyError::TooFine)?;
    let exponent = i32::from(exponent)
        .checked_sub(places)
        .ok_or(MoneyError::TooFine)?;
    Ok((
        Digits {
            negative,
            magnitude,
        },
        exponent,
    ))
}

fn power_of_ten(exponent: i32) -> Option<u128> {
    10u128.checked_pow(u32::try_from(exponent).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn nanos(text: &str) -> Result<i64, MoneyError> {
        Nanos::parse_dollars(text).map(Nanos::get)
    }

    #[test]
    fn dollars_become_nanos_exactly() {
        for (text, expected) in [
            ("100.00", 100_000_000_000),
            ("0", 0),
            ("-0", 0),
            ("0.1", 100_000_000),
            ("0.000000001", 1),
            ("1e-9", 1),
            ("1.5E2", 150_000_000_000),
            ("-2.5", -2_500_000_000),
            ("100.000000000000000", 100_000_000_000),
            ("9223372036.854775807", i64::MAX),
            ("0e30000", 0),
        ] {
            assert_eq!(nanos(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_exact_amount_is_refused() {
        for (text, error) in [
            ("", MoneyError::Malformed),
            ("-", MoneyError::Malformed),
            (".5", MoneyError::Malformed),
            ("5.", MoneyError::Malformed),
            ("1,000", MoneyError::Malformed),
            ("NaN", MoneyError::Malformed),
            ("1e", MoneyError::Malformed),
            ("١", MoneyError::Malformed),
            ("0.0000000001", MoneyError::TooFine),
            ("1e-10", MoneyError::TooFine),
            ("1e-32000", MoneyError::TooFine),
            ("9223372036.854775808", MoneyError::TooLarge),
            ("1e300", MoneyError::TooLarge),
        ] {
            assert_eq!(nanos(text), Err(error), "{text}");
        }
    }

    #[test]
    fn an_amount_is_written_without_superfluous_zeros() {
        for (amount, expected) in [
            (45_000, "0.000045"),
            (100_000_000_000, "100"),
            (-2_500_000_000, "-2.5"),
            (0, "0"),
        ] {
            assert_eq!(Nanos::new(amount).to_string(), expected);
        }
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn every_amount_survives_being_written_and_read(amount: i64) {
            // i64::MIN has no positive counterpart; no amount of money is that small.
            let amount = amount.max(-i64::MAX);
            proptest::prop_assert_eq!(nanos(&Nanos::new(amount).to_string()), Ok(amount));
        }

        #[test]
        fn no_text_is_too_strange_to_be_refused_calmly(text in "\\PC{0,40}") {
            let _ = Nanos::parse_dollars(&text);
        }
    }
}
