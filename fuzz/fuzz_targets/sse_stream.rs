//! Chunks are an accident of the network, and nothing may depend on them. Every byte is passed on;
//! but for the usage chunk that only the gateway asked for, and that alone is taken out.
//!
//! The first line: an API's name, a number that says how to cut, and `drop` to take the chunk out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_fuzz::{input, metering, usage};
use reeve_llm::json::members;
use reeve_llm::{Endpoint, Metered, Usage};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some((words, stream)) = input::first_line(data) else {
        return;
    };
    let [name, seed, rest @ ..] = words.as_slice() else {
        return;
    };
    let (Some(endpoint), Ok(seed)) = (input::endpoint(name), seed.parse()) else {
        return;
    };
    let passed = metering::pass_every_way(seed, endpoint, false, metering::EVENTS, stream);
    assert_eq!(passed.bytes, stream);
    check_usage(endpoint, stream, &passed.metered);
    let has_usage_chunk = matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions);
    if rest == ["drop"] && has_usage_chunk {
        let filtered = metering::pass_every_way(seed, endpoint, true, metering::EVENTS, stream);
        assert_eq!(filtered.metered, passed.metered);
        check_filtered(stream, &filtered.bytes);
    }
});

fn check_usage(endpoint: Endpoint, stream: &[u8], metered: &Metered) {
    if metered.complete {
        assert_eq!(metered.usage_error, None);
        assert!(metered.usage.is_complete_for(endpoint));
    }
    let replaces = matches!(
        endpoint,
        Endpoint::ChatCompletions
            | Endpoint::Completions
            | Endpoint::Responses
            | Endpoint::StreamGenerateContent
            | Endpoint::CohereChat
    );
    if !replaces || metered.usage_error.is_some() {
        return;
    }
    // Naively: what the last event says that says something.
    let events: Vec<Value> = events(stream)
        .iter()
        .filter_map(|event| read(event))
        .collect();
    let last = events
        .iter()
        .rev()
        .find_map(|event| usage::of_event(endpoint, event));
    if last.is_none_or(|last| !usage::is_told_twice(last)) {
        let expected = last.map_or(Usage::default(), |last| usage::read(endpoint, last));
        assert_eq!(metered.usage, expected);
    }
}

/// An event that is JSON and says nothing twice; another is not read.
fn read(event: &[u8]) -> Option<Value> {
    let is_read = members(std::str::from_utf8(event).ok()?).all(|member| member.is_ok());
    serde_json::from_slice(event).ok().filter(|_| is_read)
}

/// Of the events, those are gone that hold usage and no choice; no other, and no half of one.
fn check_filtered(stream: &[u8], filtered: &[u8]) {
    let is_usage = |event: &Vec<u8>| {
        read(event).is_some_and(|event: Value| {
            event["choices"].as_array().is_some_and(Vec::is_empty) && event["usage"].is_object()
        })
    };
    let before = events(stream);
    let mark = b"\xEF\xBB\xBF";
    let begins_elsewhere = !stream.starts_with(mark) || before.first().is_some_and(is_usage);
    if filtered.starts_with(mark) && begins_elsewhere {
        // A mark that meant nothing in its place means something at the start.
        return;
    }
    let kept = before.into_iter().filter(|event| !is_usage(event));
    assert_eq!(events(filtered), kept.collect::<Vec<_>>());
}

/// The data of all events, by the letter of the standard; an unfinished one counts.
fn events(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut text = stream
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(stream)
        .to_vec();
    let mut after_cr = false;
    text.retain_mut(|byte| {
        let belongs_to_cr = after_cr && *byte == b'\n';
        after_cr = *byte == b'\r';
        if after_cr {
            *byte = b'\n';
        }
        !belongs_to_cr
    });
    let mut events = Vec::new();
    let mut data: Option<Vec<u8>> = None;
    for line in text.split(|&byte| byte == b'\n').chain([&b""[..]]) {
        if line.is_empty() {
            events.extend(data.take());
            continue;
        }
        let (name, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        if name == b"data" {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend(value);
                }
                None => data = Some(value.to_vec()),
            }
        }
    }
    events
}
