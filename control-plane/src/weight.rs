//! Weights: relative shares, read and written exactly.

use reeve_policy::money::Nanos;

use crate::http::number::Number;
use crate::invalid::Invalid;

/// One whole share, in parts per million.
pub const WHOLE_PPM: u32 = 1_000_000;
/// Greatest weight.
const MAX: u32 = 1_000;
/// Nano-units in a part per million: weights are read by the same exact decimals as money.
const NANOS_PER_PPM: i64 = 1_000;

/// Reads the field `weight`, exactly; parts per million.
pub fn parse(weight: &Number) -> Result<u32, Invalid> {
    let fault = || {
        Invalid::field(
            "weight",
            "must be from 0 to 1000, with at most 6 decimal places",
        )
    };
    let nanos = Nanos::parse_dollars(weight.as_str())
        .map_err(|_| fault())?
        .get();
    if nanos.checked_rem(NANOS_PER_PPM) != Some(0) {
        return Err(fault());
    }
    nanos
        .checked_div(NANOS_PER_PPM)
        .and_then(|ppm| u32::try_from(ppm).ok())
        .filter(|ppm| *ppm <= MAX.saturating_mul(WHOLE_PPM))
        .ok_or_else(fault)
}

/// Writes parts per million as the weight that was read.
pub fn number(ppm: u32) -> Number {
    Number::from_display(Nanos::new(i64::from(ppm).saturating_mul(NANOS_PER_PPM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<u32, Invalid> {
        parse(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_weight_is_exact_to_the_millionth() {
        for (text, ppm) in [("0.7", 700_000), ("0", 0), ("1e-6", 1), ("70", 70_000_000)] {
            assert_eq!(read(text), Ok(ppm), "{text}");
        }
        assert_eq!(number(300_000).as_str(), "0.3");
    }

    #[test]
    fn a_weight_out_of_range_is_refused() {
        for text in ["-0.1", "0.0000001", "1000.000001", "1e300"] {
            assert_eq!(
                read(text).unwrap_err().field.as_deref(),
                Some("weight"),
                "{text}"
            );
        }
    }
}
