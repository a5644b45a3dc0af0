//! How an answer is cut into chunks changes nothing, and an answer that breaks off is not free.

use reeve_llm::{Metered, Output};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::golden::{Golden, documents, pass, streams};

/// What is metered of an answer that breaks off after so many bytes.
fn cut_off(golden: &Golden, length: usize) -> Metered {
    let mut meter = golden.meter(false);
    // Nobody says that it ended: that is how the filter sees a reset.
    let _passed_as_it_is = meter.on_chunk(&golden.bytes[..length], false);
    meter.finish()
}

/// R-45, R-42
#[test]
fn no_way_of_cutting_a_stream_in_two_changes_usage_or_bytes() {
    for golden in streams() {
        // CR LF has every state that the other line ends have, and one more.
        let golden = golden.with_line_ends("\r\n");
        let whole = golden.run(true);
        // Everywhere in what is short; the property below finds the places that this leaves out.
        let step = golden.bytes.len() / 300 + 1;
        for cut in (0..=golden.bytes.len()).step_by(step) {
            let (head, tail) = golden.bytes.split_at(cut);
            let parts = pass(golden.meter(true), [head, tail]);
            assert!(parts == whole, "{} cut at {cut}", golden.name);
        }
        let bytes = pass(golden.meter(true), golden.bytes.chunks(1));
        assert!(bytes == whole, "{} byte by byte", golden.name);
    }
}

#[test]
fn no_way_of_cutting_a_document_changes_usage_or_bytes() {
    for golden in documents() {
        let whole = golden.run(true);
        for size in [1, 7, 64, 1000] {
            let parts = pass(golden.meter(true), golden.bytes.chunks(size));
            assert!(parts == whole, "{} by {size}", golden.name);
        }
    }
}

/// R-43
#[test]
fn what_was_said_before_a_stream_broke_off_is_never_free() {
    for golden in streams() {
        let Some(from) = golden.text_from else {
            continue;
        };
        for length in (from..=golden.bytes.len()).step_by(golden.bytes.len() / 300 + 1) {
            let metered = cut_off(golden, length);
            let charged = if metered.complete {
                metered.usage.output_tokens
            } else {
                metered
                    .usage
                    .output_tokens
                    .max(metered.estimated_output_tokens)
            };
            assert!(charged > Some(0), "{} after {length}", golden.name);
            // To break off is not to report nonsense, for which all that was reserved is charged.
            assert_eq!(metered.usage_error, None, "{} after {length}", golden.name);
        }
    }
}

/// R-43
#[test]
fn a_stream_that_broke_off_costs_no_less_than_one_that_broke_off_earlier() {
    for golden in streams() {
        let mut seen = 0;
        for length in golden.ends_of_events() {
            let metered = cut_off(golden, length);
            assert!(metered.output_bytes >= seen, "{} {length}", golden.name);
            seen = metered.output_bytes;
        }
        assert_eq!(seen, golden.text_bytes, "{}", golden.name);
    }
}

/// R-43
#[test]
fn only_the_end_of_a_stream_completes_its_usage() {
    for golden in streams() {
        let ends = golden.ends_of_events();
        let complete: Vec<bool> = ends
            .iter()
            .map(|&end| cut_off(golden, end).complete)
            .collect();
        assert_eq!(complete.last(), Some(&golden.complete), "{}", golden.name);
        // Once complete, it stays so; and its usage does not change any more.
        for (index, _) in complete.iter().enumerate().filter(|(_, done)| **done) {
            let metered = cut_off(golden, ends[index]);
            assert_eq!(metered.usage, golden.usage, "{} {index}", golden.name);
        }
    }
}

/// R-43
#[test]
fn a_document_that_broke_off_is_estimated_by_its_length_or_charged_as_reserved() {
    for golden in documents() {
        let whole = golden.bytes.trim_ascii_end().len();
        for length in 1..whole {
            let metered = cut_off(golden, length);
            if golden.endpoint.output() == Output::Free {
                continue;
            }
            let counted = golden.head.counts[1].is_some();
            assert_eq!(metered.complete, counted, "{} {length}", golden.name);
            match golden.endpoint.output() {
                Output::Text => assert!(metered.estimated_output_tokens > Some(0)),
                Output::Media => assert_eq!(metered.estimated_output_tokens, None),
                Output::Nothing | Output::Free => {}
            }
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use proptest::prelude::*;
    use proptest::sample::Index;
    use reeve_llm::{Endpoint, ResponseMeter};

    use crate::golden::{EVENT_STREAM, all, pass};

    /// The pieces that cuts make of bytes.
    fn cut<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut from = 0;
        let mut pieces = Vec::new();
        for cut in cuts.into_iter().chain([bytes.len()]) {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// R-45, R-42
        #[test]
        fn no_way_of_cutting_an_answer_changes_usage_or_bytes(
            which in any::<Index>(),
            cuts in prop::collection::vec(any::<Index>(), 0..12),
            line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            drop in any::<bool>(),
        ) {
            let golden = all()[which.index(all().len())].with_line_ends(line_end);
            let parts = pass(golden.meter(drop), cut(&golden.bytes, &cuts));
            prop_assert!(parts == golden.run(drop), "{}", golden.name);
        }

        #[test]
        fn noise_between_events_does_not_make_cutting_matter(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}",
                "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}", "data: [DONE]", "data:", ": c",
                "\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\u{FEFF}", "event: x", "x",
            ]), 0..20),
            cuts in prop::collection::vec(any::<Index>(), 0..8),
        ) {
            let stream = pieces.concat();
            let meter = || ResponseMeter::new(Endpoint::ChatCompletions, true, EVENT_STREAM);
            let whole = pass(meter(), [stream.as_bytes()]);
            prop_assert_eq!(pass(meter(), cut(stream.as_bytes(), &cuts)), whole);
        }
    }
}
