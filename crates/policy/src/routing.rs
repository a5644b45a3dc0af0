//! Choosing among providers by weight, with the draw given.

/// Picks one of `weights` with probability weight ÷ sum. `draw` is a uniform `u64`. `None` when no
/// weight is positive.
pub fn choose(weights: &[u32], draw: u64) -> Option<usize> {
    let sum: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    // The high bits of draw × sum: uniform enough (a bias of sum ÷ 2⁶⁴) and free of division.
    let product = u128::from(draw).checked_mul(u128::from(sum))?;
    let mut point = u64::try_from(product >> 64).ok()?;
    for (index, weight) in weights.iter().enumerate() {
        match point.checked_sub(u64::from(*weight)) {
            None => return Some(index),
            Some(rest) => point = rest,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn nothing_is_drawn_from_no_weight() {
        assert_eq!(choose(&[], 7), None);
        assert_eq!(choose(&[0, 0], u64::MAX), None);
    }

    #[test]
    fn a_weight_of_zero_is_never_drawn() {
        for step in 0..1000u64 {
            assert_eq!(
                choose(&[0, 5, 0], step.wrapping_mul(u64::MAX / 999)),
                Some(1)
            );
        }
    }

    #[test]
    fn shares_are_in_proportion_to_weights() {
        let mut counts = [0u32; 2];
        let steps = 10_000u64;
        for step in 0..steps {
            let index = choose(&[700_000, 300_000], step * (u64::MAX / steps)).unwrap();
            counts[index] += 1;
        }
        assert!(counts[0].abs_diff(7000) <= 1, "{counts:?}");
    }
}
