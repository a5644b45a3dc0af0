//! Chunks are an accident of the network; in an array of objects, its objects are found, and metered as
//! they would be if each came as an event.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_fuzz::input::cut;
use reeve_fuzz::metering;
use reeve_llm::Endpoint;
use reeve_llm::json_array::{Element, Splitter};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
enum Owned {
    Whole(Vec<u8>),
    TooLong(usize),
    Unfinished(Vec<u8>),
}

fn owned(element: Element<'_>) -> Owned {
    match element {
        Element::Whole(bytes) => Owned::Whole(bytes.to_vec()),
        Element::TooLong(length) => Owned::TooLong(length),
        Element::Unfinished(bytes) => Owned::Unfinished(bytes.to_vec()),
    }
}

fn split<'a>(limit: usize, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<Owned> {
    let mut splitter = Splitter::with_limit(limit);
    let mut elements = Vec::new();
    for mut chunk in chunks {
        while let Some(element) = splitter.next_element(&mut chunk) {
            elements.push(owned(element));
        }
        assert!(chunk.is_empty());
    }
    let last = splitter.finish().map(owned);
    assert!(!matches!(last, Some(Owned::Whole(_))));
    elements.extend(last);
    assert_eq!(splitter.finish(), None);
    elements
}

fuzz_target!(|data: &[u8]| {
    // The first byte says how to cut the rest, the second what is too long.
    let [seed, limit, text @ ..] = data else {
        return;
    };
    let limit = usize::from(*limit);
    let all = split(usize::MAX, std::iter::once(text));
    let within = split(limit, std::iter::once(text));
    assert_eq!(split(usize::MAX, cut(*seed, text)), all);
    assert_eq!(split(limit, cut(*seed, text)), within);

    // The limit decides what is kept, not where elements end.
    let cut_off = all.iter().map(|element| match element {
        Owned::Whole(bytes) | Owned::Unfinished(bytes) if bytes.len() > limit => {
            Owned::TooLong(bytes.len())
        }
        other => other.clone(),
    });
    assert_eq!(cut_off.collect::<Vec<_>>(), within);

    let endpoint = Endpoint::StreamGenerateContent;
    let array = metering::pass_every_way(*seed, endpoint, false, metering::JSON, text);
    assert_eq!(array.bytes, text);
    let has_no_line_end = |element: &Owned| match element {
        Owned::Whole(bytes) | Owned::Unfinished(bytes) => {
            !bytes.contains(&b'\n') && !bytes.contains(&b'\r')
        }
        Owned::TooLong(_) => false,
    };
    if all.iter().all(has_no_line_end) {
        let event = |element: &Owned| match element {
            Owned::Whole(bytes) | Owned::Unfinished(bytes) => {
                [b"data: ", bytes.as_slice(), b"\n\n"].concat()
            }
            Owned::TooLong(_) => Vec::new(),
        };
        let stream: Vec<u8> = all.iter().flat_map(event).collect();
        let events = metering::whole(endpoint, false, metering::EVENTS, &stream);
        assert_eq!(events.metered, array.metered);
    }

    // Where the text is JSON, the elements are the array's objects and arrays.
    let theirs = match serde_json::from_slice(text) {
        Ok(Value::Array(elements)) => elements,
        Ok(single @ Value::Object(_)) => vec![single],
        _ => return,
    };
    let ours: Vec<Value> = all
        .iter()
        .map(|element| match element {
            Owned::Whole(bytes) => serde_json::from_slice(bytes).expect("it is part of JSON"),
            other => panic!("{other:?} in valid JSON"),
        })
        .collect();
    let has_inside = |value: &Value| value.is_object() || value.is_array();
    let theirs: Vec<Value> = theirs.into_iter().filter(has_inside).collect();
    assert_eq!(ours, theirs);
});
