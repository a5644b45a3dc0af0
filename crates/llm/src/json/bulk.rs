//! Finds the next byte of interest. Bodies are mostly long runs of dull bytes, so those are tested
//! eight at a time, in a word, with plain arithmetic: it is fast on every target, where loops over
//! single bytes become vector code on some and sixty-four branches on others.

/// A one in each byte.
const ONES: u64 = u64::MAX / 255;
/// Words tested with one branch.
const BLOCK: usize = 2;
/// Words tested one by one before that: names and most values end within them.
const SHORT: usize = 3;

/// Index of the first byte that is `A`, or `B`, or below `BELOW`, or the length. All three must be
/// ASCII.
#[inline]
pub(crate) fn find<const A: u8, const B: u8, const BELOW: u8>(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate().take(SHORT) {
        let hits = hits::<A, B, BELOW>(*word);
        if hits != 0 {
            return at(index, hits);
        }
    }
    let (blocks, _) = words.get(SHORT..).unwrap_or_default().as_chunks::<BLOCK>();
    let is_dull = |block: &&[[u8; 8]; BLOCK]| {
        block
            .iter()
            .fold(0, |all, word| all | hits::<A, B, BELOW>(*word))
            == 0
    };
    let dull = blocks.iter().take_while(is_dull).count();
    let dull = dull.saturating_mul(BLOCK).saturating_add(SHORT);
    for (index, word) in words.iter().enumerate().skip(dull) {
        let hits = hits::<A, B, BELOW>(*word);
        if hits != 0 {
            return at(index, hits);
        }
    }
    let is_hit = |&byte: &u8| byte == A || byte == B || byte < BELOW;
    let in_tail = tail.iter().position(is_hit).unwrap_or(tail.len());
    words.len().saturating_mul(8).saturating_add(in_tail)
}

/// The offset of the first hit in the word at `index`.
fn at(index: usize, hits: u64) -> usize {
    let byte = usize::try_from(hits.trailing_zeros() >> 3).unwrap_or_default();
    index.saturating_mul(8).saturating_add(byte)
}

/// The highest bit of each byte that is a hit. In each term the subtraction wraps for a hit, and for
/// a byte that is not ASCII, which `!word` takes out. A borrow may raise false hits, but only above
/// a true one, so that the lowest is always true.
fn hits<const A: u8, const B: u8, const BELOW: u8>(word: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(word);
    let terms = (word ^ ONES.wrapping_mul(u64::from(A))).wrapping_sub(ONES)
        | (word ^ ONES.wrapping_mul(u64::from(B))).wrapping_sub(ONES)
        | word.wrapping_sub(ONES.wrapping_mul(u64::from(BELOW)));
    terms & !word & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::find;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn the_first_hit_is_found_wherever_it_stands() {
        for length in 0..200 {
            for hit in 0..=length {
                let mut bytes = vec![b'a'; length];
                if let Some(byte) = bytes.get_mut(hit) {
                    *byte = b'"';
                }
                // A second hit behind the first changes nothing.
                if let Some(byte) = bytes.get_mut(hit + 1) {
                    *byte = 0;
                }
                assert_eq!(find::<b'"', b'\\', 0x20>(&bytes), hit, "length {length}");
            }
        }
    }

    #[test]
    fn every_byte_is_judged_as_one_by_one() {
        for length in [1, 8, 40, 120] {
            for byte in 0..=255 {
                for at in [0, length / 2, length - 1] {
                    let mut bytes = vec![0xE9; length];
                    bytes[at] = byte;
                    let json = byte == b'"' || byte == b'\\' || byte < 0x20;
                    let expected = if json { at } else { length };
                    assert_eq!(
                        find::<b'"', b'\\', 0x20>(&bytes),
                        expected,
                        "{byte} at {at}"
                    );
                    let line = byte == b'\n' || byte == b'\r';
                    let expected = if line { at } else { length };
                    assert_eq!(find::<b'\n', b'\r', 0>(&bytes), expected, "{byte} at {at}");
                }
            }
        }
    }
}
