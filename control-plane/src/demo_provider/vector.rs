//! Vectors that stand for the meaning of a text. They depend on the text alone.

use super::text;

/// The vector of length 1 for the text that `parts` are.
pub(super) fn unit(parts: &[&str], dimensions: u32) -> Vec<f32> {
    let raw: Vec<f32> = text::numbers(text::hash(parts))
        .take(dimensions as usize)
        .map(|number| {
            // The top sixteen bits, as a number from -1 to 1.
            let top = u16::try_from(number >> 48).unwrap_or(0);
            f32::from(top) / f32::from(u16::MAX) * 2.0 - 1.0
        })
        .collect();
    let length = raw.iter().map(|number| number * number).sum::<f32>().sqrt();
    raw.into_iter()
        .map(|number| number / length.max(f32::MIN_POSITIVE))
        .collect()
}
