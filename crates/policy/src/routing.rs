//! Choosing among providers by weight, with the draw given.

use sha2::{Digest as _, Sha256};

/// In which order to try those with `weights`: first the one that is drawn, then the others with a weight,
/// heaviest first. What has no weight (`None`) is not in the order, unless nothing can be drawn: then it
/// begins with the first of all.
pub fn order(weights: &[Option<u32>], draw: u64) -> Vec<usize> {
    if weights.is_empty() {
        return Vec::new();
    }
    let numbers: Vec<u32> = weights.iter().map(|weight| weight.unwrap_or(0)).collect();
    let first = choose(&numbers, draw).unwrap_or(0);
    let mut others: Vec<(u32, usize)> = weights
        .iter()
        .enumerate()
        .filter_map(|(index, weight)| weight.map(|weight| (weight, index)))
        .filter(|(_, index)| *index != first)
        .collect();
    // A stable sort: equal weights stay as they are configured.
    others.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let others = others.into_iter().map(|(_, index)| index);
    std::iter::once(first).chain(others).collect()
}

/// The draw of a session: always the same for one key, so that what a provider has cached for the session
/// is found again. Uniform over sessions.
pub fn draw_of_session(key_id: &str, session: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(key_id.as_bytes());
    // An id holds no NUL, so no two pairs are written alike.
    hash.update([0]);
    hash.update(session);
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

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
    fn the_drawn_one_comes_first_and_the_rest_by_weight() {
        let weights = [Some(1), None, Some(3), Some(2), Some(3)];
        // 1 of 9 parts, then 3, 2 and 3.
        let part = |of_nine: u64| of_nine * (u64::MAX / 9) + 1_000;
        assert_eq!(order(&weights, part(0)), [0, 2, 4, 3]);
        assert_eq!(order(&weights, part(1)), [2, 4, 3, 0]);
        assert_eq!(order(&weights, part(4)), [3, 2, 4, 0]);
        assert_eq!(order(&weights, part(8)), [4, 2, 3, 0]);
    }

    #[test]
    fn without_a_weight_there_is_the_first_and_nothing_after_it() {
        assert_eq!(order(&[None, None], 7), [0]);
        assert_eq!(order(&[None, Some(0)], 7), [0, 1]);
        assert!(order(&[], 7).is_empty());
    }

    /// SplitMix64, so that the sequence is the same every time.
    fn draws(seed: u64) -> impl Iterator<Item = u64> {
        (1..).map(move |step: u64| {
            let next = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        })
    }

    fn assert_within_three_sigma(counts: [u32; 3], weights: [u32; 3]) {
        let draws: i128 = counts.iter().map(|count| i128::from(*count)).sum();
        let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
        for (count, weight) in counts.into_iter().zip(weights) {
            let weight = i128::from(weight);
            // Both sides times the square of the sum, so that all numbers are whole.
            let off = i128::from(count) * sum - draws * weight;
            let variance = draws * weight * (sum - weight);
            assert!(off * off <= 9 * variance, "{counts:?} of {weights:?}");
        }
    }

    #[test]
    fn ten_thousand_draws_and_sessions_split_by_weight_within_three_sigma() {
        let weights = [500_000, 300_000, 200_000];
        let configured = weights.map(Some);
        for seed in [7, 8, 9] {
            let mut drawn = [0_u32; 3];
            for draw in draws(seed).take(10_000) {
                drawn[order(&configured, draw)[0]] += 1;
            }
            assert_within_three_sigma(drawn, weights);
        }
        let mut of_sessions = [0_u32; 3];
        for session in 0..10_000_u32 {
            let draw = draw_of_session("key-1", format!("session-{session}").as_bytes());
            of_sessions[order(&configured, draw)[0]] += 1;
        }
        assert_within_three_sigma(of_sessions, weights);
    }

    #[test]
    fn a_session_is_drawn_alike_every_time_and_apart_for_each_key() {
        let draw = draw_of_session("key-1", b"s");
        assert_eq!(draw, draw_of_session("key-1", b"s"));
        assert_ne!(draw, draw_of_session("key-2", b"s"));
        assert_ne!(draw_of_session("k", b"1s"), draw_of_session("k1", b"s"));
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
