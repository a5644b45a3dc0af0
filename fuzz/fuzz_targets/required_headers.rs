//! Patterns that administrators write, against values that callers send: another engine, given the
//! pattern with its anchors put around its syntax tree instead of its text, matches the same.
//!
//! The first line is what is required (`x-env: prod|dev`), the others are the values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_policy::access::ModelList;
use reeve_policy::required_headers::{Fault, RequiredHeader};
use regex_automata::nfa::thompson::{self, pikevm::PikeVM};
use regex_automata::util::syntax;
use regex_syntax::hir::{Hir, Look};

/// Longer patterns only take longer.
const MAX_PATTERN: usize = 64;

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|&byte| byte == b'\n');
    let Some(Ok(required)) = lines.next().map(std::str::from_utf8) else {
        return;
    };
    let values: Vec<&[u8]> = lines.collect();
    let Ok(header) = RequiredHeader::parse(required) else {
        return;
    };
    let written = header.to_string();
    let read_again = RequiredHeader::parse(&written);
    assert_eq!(read_again.as_ref(), Ok(&header), "{written}");
    assert!(header.name().bytes().all(|byte| byte.is_ascii_graphic()));
    assert_eq!(header.name(), header.name().to_ascii_lowercase());

    let pattern = written.split_once(": ").map(|(_, pattern)| pattern);
    if pattern.is_some_and(|pattern| pattern.len() > MAX_PATTERN) {
        return;
    }
    let engine = pattern.map(|pattern| anchored(pattern, false));
    let mut expected = if values.is_empty() {
        Err(Fault::Missing)
    } else {
        Ok(())
    };
    for value in &values {
        let value = value.trim_ascii();
        expected = expected.and_then(|()| match &engine {
            _ if value.is_empty() => Err(Fault::Missing),
            Some(engine) if !is_match(engine, value) => Err(Fault::Mismatch),
            _ => Ok(()),
        });
    }
    assert_eq!(header.judge(values.iter().copied()), expected);

    // The same pattern for models, where case does not matter.
    if let Some(pattern) = pattern {
        let entry = format!("regex:{pattern}");
        let Ok(list) = ModelList::compile(&[entry], "openai") else {
            return;
        };
        let engine = anchored(pattern, true);
        for model in values
            .iter()
            .filter_map(|value| std::str::from_utf8(value).ok())
        {
            assert_eq!(
                list.names(model),
                is_match(&engine, model.as_bytes()),
                "{model}"
            );
        }
    }
});

fn anchored(pattern: &str, ignore_case: bool) -> PikeVM {
    let config = syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .case_insensitive(ignore_case);
    let tree = syntax::parse_with(pattern, &config).expect("it was accepted");
    let tree = Hir::concat(vec![Hir::look(Look::Start), tree, Hir::look(Look::End)]);
    let nfa = thompson::Compiler::new()
        .configure(thompson::Config::new().utf8(false))
        .build_from_hir(&tree)
        .expect("it was accepted");
    PikeVM::new_from_nfa(nfa).expect("it was accepted")
}

fn is_match(engine: &PikeVM, text: &[u8]) -> bool {
    engine.is_match(&mut engine.create_cache(), text)
}
