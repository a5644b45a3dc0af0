//! How the body of one attempt differs from that of the first: in one place, where the model's name
//! stands.

/// Bytes to put in the place of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Where what goes begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What comes instead.
    pub bytes: Vec<u8>,
}

impl Edit {
    /// The smallest edit that makes `new` of `old`; `None`: they are the same.
    pub fn between(old: &[u8], new: &[u8]) -> Option<Self> {
        let before = same(old.iter().zip(new));
        if before == old.len() && before == new.len() {
            return None;
        }
        let (old_rest, new_rest) = (old.get(before..)?, new.get(before..)?);
        let behind = same(old_rest.iter().rev().zip(new_rest.iter().rev()));
        Some(Self {
            start: before,
            end: old.len().saturating_sub(behind),
            bytes: new.get(before..new.len().saturating_sub(behind))?.to_vec(),
        })
    }

    /// The body after the edit.
    pub fn apply(&self, body: &[u8]) -> Vec<u8> {
        let before = body.get(..self.start).unwrap_or(body);
        let behind = body.get(self.end..).unwrap_or_default();
        [before, &self.bytes, behind].concat()
    }

    /// Length of a body of `length` bytes after the edit.
    pub fn length_after(&self, length: usize) -> usize {
        let removed = self.end.saturating_sub(self.start);
        length
            .saturating_sub(removed)
            .saturating_add(self.bytes.len())
    }
}

/// How many pairs are equal before the first that is not.
fn same<'a>(pairs: impl Iterator<Item = (&'a u8, &'a u8)>) -> usize {
    pairs.take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn what_differs_and_no_more_is_replaced() {
        for (old, new) in [
            (
                r#"{"model":"gpt-4o","n":1}"#,
                r#"{"model":"gpt-4o-mini","n":1}"#,
            ),
            (r#"{"model":"gpt-4o-mini"}"#, r#"{"model":"gpt-4o"}"#),
            ("aaa", "aa"),
            ("aa", "aaa"),
            ("", "x"),
            ("x", ""),
            ("abc", "xyz"),
        ] {
            let edit = Edit::between(old.as_bytes(), new.as_bytes()).unwrap();
            assert_eq!(edit.apply(old.as_bytes()), new.as_bytes(), "{old} {new}");
            assert_eq!(edit.length_after(old.len()), new.len(), "{old} {new}");
            assert!(edit.bytes.len() <= 5, "{edit:?}");
        }
        assert_eq!(Edit::between(b"same", b"same"), None);
    }
}
