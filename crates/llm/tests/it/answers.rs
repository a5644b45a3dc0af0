//! Usage of every answer.

use reeve_llm::{Endpoint, read_usage};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::golden::{all, documents};

#[test]
fn every_answer_gives_the_usage_that_its_provider_documents() {
    let mut wrong = Vec::new();
    for golden in all() {
        let (metered, passed) = golden.run(false);
        assert!(passed == golden.bytes, "{}", golden.name);
        let read = (metered.usage, metered.complete, metered.usage_error);
        if read != (golden.usage, golden.complete, None) {
            wrong.push(format!("{}: {read:#?}", golden.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_part_of_a_document_is_taken_for_the_whole() {
    for golden in documents() {
        let whole = golden.bytes.trim_ascii_end().len();
        for length in 0..whole {
            let part = &golden.bytes[..length];
            assert!(
                read_usage(golden.endpoint, part).is_err(),
                "{} {length}",
                golden.name
            );
        }
    }
}

#[test]
fn the_names_of_another_api_are_not_read() {
    let chat = br#"{"usage":{"prompt_tokens":5,"completion_tokens":6}}"#;
    let messages = br#"{"usage":{"input_tokens":5,"output_tokens":6}}"#;
    for (endpoint, body) in [
        (Endpoint::Responses, &chat[..]),
        (Endpoint::Messages, chat),
        (Endpoint::Converse, chat),
        (Endpoint::CohereChat, chat),
        (Endpoint::ChatCompletions, messages),
        (Endpoint::GenerateContent, messages),
        (Endpoint::Converse, messages),
    ] {
        let usage = read_usage(endpoint, body).unwrap().unwrap_or_default();
        assert_eq!(usage.total_tokens(), 0, "{endpoint:?}");
        assert!(!usage.is_complete_for(endpoint), "{endpoint:?}");
    }
}

/// A file that no test reads is no evidence.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn every_file_of_the_folder_is_in_the_table() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files = Vec::new();
    for provider in std::fs::read_dir(folder).unwrap() {
        let provider = provider.unwrap();
        for file in std::fs::read_dir(provider.path()).unwrap() {
            let name = file.unwrap().file_name();
            files.push(format!(
                "{}/{}",
                provider.file_name().to_str().unwrap(),
                name.to_str().unwrap()
            ));
        }
    }
    let mut named: Vec<_> = all().iter().map(|golden| golden.name.to_owned()).collect();
    files.sort_unstable();
    named.sort_unstable();
    assert_eq!(files, named);
}
