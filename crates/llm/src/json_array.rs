//! Splits a JSON array into its elements while it arrives, a chunk at a time. Gemini's
//! `streamGenerateContent` answers so when the caller did not ask for `alt=sse`: one array of
//! objects (`[{...},\r\n{...}]`), each sent when it is ready. The grammar is that of RFC 8259.
//!
//! It only finds where elements begin and end, by counting brackets outside strings. It never fails,
//! and it does not check grammar: whoever gets an element reads it strictly. For text that is valid
//! JSON the borders are right; for other text they are somewhere, the same for every chunking.
//!
//! An element is an object or an array. Whatever else stands between elements is skipped: commas,
//! white space, numbers, words, bytes that make no sense, and strings, whole, so that a bracket
//! inside one begins no element. All lengths are in bytes.

use crate::json::bulk;

/// The longest element that a [`Splitter`] keeps unless told otherwise, in bytes: as much as an image
/// in it needs.
pub const MAX_ELEMENT_BYTES: usize = 16 << 20;

/// What ends with the bytes read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element<'a> {
    /// One element from its first bracket to its last; or a whole document that is one object, which
    /// is how servers send errors.
    Whole(&'a [u8]),
    /// An element longer than the limit. Its content is lost to the reader; the number is its
    /// length, as far as it came.
    TooLong(usize),
    /// The beginning of an element that broke off, from [`Splitter::finish`] alone.
    Unfinished(&'a [u8]),
}

/// The state between chunks.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    /// The current element so far; empty once it is longer than the limit.
    element: Vec<u8>,
    /// Bytes of the current element, kept or not.
    length: usize,
    /// Brackets that are open within the current element; none: between elements.
    depth: usize,
    /// The outer array's bracket was read, so the next `[` begins an element.
    in_array: bool,
    in_string: bool,
    /// The last byte was a backslash in a string, so the next one cannot end it.
    escaped: bool,
    /// The element was handed out; its bytes go when the next call comes.
    element_ended: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::with_limit(MAX_ELEMENT_BYTES)
    }
}

impl Splitter {
    /// A splitter that keeps elements up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            element: Vec::new(),
            length: 0,
            depth: 0,
            in_array: false,
            in_string: false,
            escaped: false,
            element_ended: false,
        }
    }

    /// Reads from `input` up to the end of an element, and moves `input` past it. `None`: the chunk
    /// is used up, and what comes next is in the next one.
    pub fn next_element(&mut self, input: &mut &[u8]) -> Option<Element<'_>> {
        self.forget_element();
        // Where the current element begins in this chunk.
        let mut start = *input;
        let mut rest = *input;
        loop {
            if self.in_string {
                rest = self.skip_string(rest);
            }
            let Some((&byte, after)) = rest.split_first() else {
                break;
            };
            match byte {
                b'"' => self.in_string = true,
                b'[' if self.depth == 0 && !self.in_array => self.in_array = true,
                b'{' | b'[' => {
                    if self.depth == 0 {
                        start = rest;
                    }
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' | b']' if self.depth > 0 => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        self.keep(start, after);
                        *input = after;
                        return Some(self.end_element());
                    }
                }
                b']' => self.in_array = false,
                _ => {}
            }
            rest = after;
        }
        if self.depth > 0 {
            self.keep(start, &[]);
        }
        *input = &[];
        None
    }

    /// What is left when the stream ends: the beginning of an element, which may hold the last usage
    /// that a meter will see. The splitter is as new after it.
    pub fn finish(&mut self) -> Option<Element<'_>> {
        self.forget_element();
        let broke_off = self.depth > 0;
        self.depth = 0;
        self.in_array = false;
        self.in_string = false;
        self.escaped = false;
        if !broke_off {
            return None;
        }
        Some(match self.end_element() {
            Element::Whole(beginning) => Element::Unfinished(beginning),
            too_long => too_long,
        })
    }

    /// Reads on inside a string; what is left begins after its closing quote, or is empty.
    fn skip_string<'i>(&mut self, mut rest: &'i [u8]) -> &'i [u8] {
        loop {
            if std::mem::take(&mut self.escaped) {
                let Some((_, after)) = rest.split_first() else {
                    self.escaped = true;
                    return &[];
                };
                rest = after;
            }
            let end = bulk::find::<b'"', b'\\', 0>(rest);
            match rest.get(end..).and_then(<[u8]>::split_first) {
                Some((b'"', after)) => {
                    self.in_string = false;
                    return after;
                }
                Some((_, after)) => {
                    self.escaped = true;
                    rest = after;
                }
                None => return &[],
            }
        }
    }

    /// Keeps the bytes from `start` up to where `after` begins, its tail, unless the element has
    /// become too long.
    fn keep(&mut self, start: &[u8], after: &[u8]) {
        let end = start.len().saturating_sub(after.len());
        let piece = start.get(..end).unwrap_or_default();
        self.length = self.length.saturating_add(piece.len());
        if self.length > self.limit {
            self.element = Vec::new();
        } else {
            self.element.extend_from_slice(piece);
        }
    }

    fn end_element(&mut self) -> Element<'_> {
        self.element_ended = true;
        if self.length > self.limit {
            Element::TooLong(self.length)
        } else {
            Element::Whole(&self.element)
        }
    }

    fn forget_element(&mut self) {
        if std::mem::take(&mut self.element_ended) {
            self.element.clear();
            self.length = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// All elements; one too long shows as `<n>`, one that broke off ends in `...`.
    fn split(chunks: &[&[u8]], limit: usize) -> Vec<String> {
        let mut splitter = Splitter::with_limit(limit);
        let mut elements = Vec::new();
        let mut add = |element: Element<'_>| match element {
            Element::Whole(bytes) => elements.push(String::from_utf8_lossy(bytes).into_owned()),
            Element::TooLong(length) => elements.push(format!("<{length}>")),
            Element::Unfinished(bytes) => {
                elements.push(format!("{}...", String::from_utf8_lossy(bytes)));
            }
        };
        for chunk in chunks {
            let mut input = *chunk;
            while let Some(element) = splitter.next_element(&mut input) {
                add(element);
            }
            assert!(input.is_empty());
        }
        if let Some(element) = splitter.finish() {
            add(element);
        }
        assert_eq!(splitter.finish(), None);
        elements
    }

    fn elements(text: &str) -> Vec<String> {
        split(&[text.as_bytes()], MAX_ELEMENT_BYTES)
    }

    #[test]
    fn elements_are_what_stands_between_the_commas() {
        assert_eq!(
            elements("[{\"a\":1},\r\n{\"b\":{\"c\":[2]}}\n,\r\n{}]\r\n"),
            ["{\"a\":1}", "{\"b\":{\"c\":[2]}}", "{}"]
        );
        assert_eq!(elements("[]"), [""; 0]);
        assert_eq!(elements(""), [""; 0]);
    }

    #[test]
    fn a_single_object_is_one_element() {
        assert_eq!(
            elements(" {\"error\":{\"code\":429}}\n"),
            ["{\"error\":{\"code\":429}}"]
        );
    }

    #[test]
    fn brackets_and_quotes_inside_strings_do_not_count() {
        for element in [
            r#"{"a":"}]{["}"#,
            r#"{"a":"\"}"}"#,
            r#"{"a":"\\"}"#,
            r#"{"a":"\\\"}"}"#,
            r#"{"}":1}"#,
            r#"{"a":"\u007d"}"#,
        ] {
            assert_eq!(
                elements(&format!("[{element},{element}]")),
                [element, element]
            );
        }
    }

    #[test]
    fn a_nested_array_is_one_element_and_what_is_in_it_none() {
        assert_eq!(
            elements(r#"[[{"a":1}],{"b":2},[]]"#),
            [r#"[{"a":1}]"#, r#"{"b":2}"#, "[]"]
        );
    }

    #[test]
    fn what_is_neither_object_nor_array_is_skipped() {
        assert_eq!(
            elements(r#"[1,true,null,"{}","\"{",{"a":1}]"#),
            [r#"{"a":1}"#]
        );
        assert_eq!(elements("\u{FEFF}])}'}[{}]"), ["{}"]);
        assert_eq!(elements("[{}}}],,;[{}]"), ["{}", "{}"]);
        assert_eq!(elements("{}\n{}\n"), ["{}", "{}"]);
    }

    #[test]
    fn an_element_that_broke_off_is_handed_out_at_the_end() {
        assert_eq!(
            elements(r#"[{"a":1},{"b":"x]"#),
            [r#"{"a":1}"#, r#"{"b":"x]..."#]
        );
        assert_eq!(elements(r#"[{"a":1},"x"#), [r#"{"a":1}"#]);
        assert_eq!(elements("["), [""; 0]);
    }

    #[test]
    fn a_splitter_is_as_new_after_the_end() {
        let mut splitter = Splitter::default();
        let mut input: &[u8] = br#"[{"a":"\"#;
        assert_eq!(splitter.next_element(&mut input), None);
        assert_eq!(splitter.finish(), Some(Element::Unfinished(br#"{"a":"\"#)));
        let mut input: &[u8] = br#"[{"b":2}]"#;
        assert_eq!(
            splitter.next_element(&mut input),
            Some(Element::Whole(br#"{"b":2}"#))
        );
    }

    #[test]
    fn elements_beyond_the_limit_are_flagged_and_not_kept() {
        let text = br#"[{"a":123},{"a":12},{"a":1234"#;
        let all = [r#"{"a":123}"#, r#"{"a":12}"#, r#"{"a":1234..."#];
        assert_eq!(split(&[text], 9), all);
        assert_eq!(split(&[text], 8), ["<9>", r#"{"a":12}"#, "<9>"]);
    }

    #[test]
    fn an_element_of_any_length_takes_no_more_memory_than_the_limit() {
        let mut splitter = Splitter::with_limit(8);
        let mut input: &[u8] = &[b'['; 1000];
        assert_eq!(splitter.next_element(&mut input), None);
        assert_eq!(splitter.element.capacity(), 0);
        assert_eq!(splitter.finish(), Some(Element::TooLong(999)));
    }

    #[test]
    fn the_input_is_left_where_the_element_ended() {
        let mut splitter = Splitter::default();
        let mut input: &[u8] = b"[{},{";
        assert_eq!(
            splitter.next_element(&mut input),
            Some(Element::Whole(b"{}"))
        );
        assert_eq!(input, b",{");
    }

    #[test]
    fn no_way_of_cutting_the_text_changes_the_elements() {
        let text =
            "x[{\"a\":\"\\\"}😀\"},\"{\\\\\",\r\n[{\"b\":[1]}],{\"c\":\"0123456789\"}],{\"d\":\"\\"
                .as_bytes();
        let whole = split(&[text], 16);
        assert_eq!(
            whole,
            [
                "{\"a\":\"\\\"}😀\"}",
                "[{\"b\":[1]}]",
                "<18>",
                "{\"d\":\"\\..."
            ]
        );
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let chunks = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(split(&chunks, 16), whole, "cut at {first} and {second}");
            }
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(split(&bytes, 16), whole);
    }

    #[cfg(not(target_arch = "wasm32"))]
    mod properties {
        use super::split;
        use crate::json_array::MAX_ELEMENT_BYTES;
        use proptest::prelude::*;
        use serde_json::{Map, Value};

        fn value() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<i64>().prop_map(Value::from),
                any::<String>().prop_map(Value::from),
                "[\\[\\]{}\",\\\\]{0,6}".prop_map(Value::from),
            ];
            leaf.prop_recursive(4, 24, 5, |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                    object(inner).prop_map(Value::from),
                ]
            })
        }

        fn object(
            value: impl Strategy<Value = Value>,
        ) -> impl Strategy<Value = Map<String, Value>> {
            prop::collection::btree_map(any::<String>(), value, 0..5)
                .prop_map(|members| members.into_iter().collect())
        }

        proptest! {
            #[test]
            fn the_elements_of_an_array_of_objects_are_its_objects_in_order(
                objects in prop::collection::vec(object(value()), 0..6),
                size in 1_usize..40,
            ) {
                let texts: Vec<String> = objects
                    .iter()
                    .map(|object| serde_json::to_string(object).unwrap())
                    .collect();
                let array = serde_json::to_string(&objects).unwrap();
                let spaced = format!("[{}\r\n]\n", texts.join(",\r\n"));
                for text in [array, spaced] {
                    let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                    prop_assert_eq!(&split(&chunks, MAX_ELEMENT_BYTES), &texts);
                }
            }

            #[test]
            fn chunks_of_any_size_give_the_elements_of_the_whole(
                text in "[\\[\\]{}\",\\\\a ]{0,80}",
                size in 1_usize..12,
                limit in 0_usize..24,
            ) {
                let whole = split(&[text.as_bytes()], limit);
                let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                prop_assert_eq!(split(&chunks, limit), whole);
            }
        }
    }
}
