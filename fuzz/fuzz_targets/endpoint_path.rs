//! No spelling but the table's is found, a model in a path is named once and means the same at the
//! provider, and of a query goes on only what is known.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_llm::{
    Endpoint, Match, ModelPlace, WireFormat, entries, find, is_model_name, judge_query, split_query,
};

fuzz_target!(|data: &[u8]| {
    // A method, a space, a target.
    let Some(space) = data.iter().position(|&byte| byte == b' ') else {
        return;
    };
    let (method, target) = (&data[..space], &data[space + 1..]);
    let (path, query) = split_query(target);
    assert!(!path.contains(&b'?'));
    let found = find(method, path);
    if let Ok(api) = &found.api {
        let entry = entries().find(|entry| {
            entry.method.as_bytes() == method
                && entry.api == Ok(api.endpoint)
                && entry.dialect == found.dialect
                && entry.provider == api.provider
                && is_spelt(path, &entry.path, api)
        });
        assert!(
            entry.is_some_and(|entry| { (entry.model == ModelPlace::Path) == api.model.is_some() })
        );
        check_upstream(api);
    }
    let query = query.unwrap_or_default();
    for dialect in WireFormat::ALL {
        for endpoint in [Endpoint::StreamGenerateContent, Endpoint::ChatCompletions] {
            let Ok(forwarded) = judge_query(endpoint, dialect, query) else {
                continue;
            };
            assert!(matches!(
                forwarded.as_str(),
                "" | "beta=true" | "beta=false" | "alt=sse" | "alt=json"
            ));
            let again = judge_query(endpoint, dialect, forwarded.as_bytes());
            assert_eq!(again.as_deref(), Ok(forwarded.as_str()));
        }
    }
});

/// Is the path that of the table, byte for byte but for the model, and is that decoded once?
fn is_spelt(path: &[u8], template: &str, api: &Match) -> bool {
    let Some((before, after)) = template.split_once("{model}") else {
        return api.model.is_none() && path == template.as_bytes();
    };
    let middle = path
        .strip_prefix(before.as_bytes())
        .and_then(|rest| rest.strip_suffix(after.as_bytes()));
    let (Some(middle), Some(model)) = (middle, &api.model) else {
        return false;
    };
    let mut pieces = middle.split(|&byte| byte == b'%');
    let mut decoded = pieces.next().unwrap_or_default().to_vec();
    for piece in pieces {
        let Some((digits, plain)) = piece.split_at_checked(2) else {
            return false;
        };
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let Ok(byte) = u8::from_str_radix(digits, 16) else {
            return false;
        };
        decoded.push(byte);
        decoded.extend(plain);
    }
    is_model_name(model) && decoded == model.as_bytes()
}

/// Where the provider is asked is in the table too, and means the same API and model.
fn check_upstream(api: &Match) {
    let model = api.model.as_deref().unwrap_or("gpt-4o");
    for (format, mount) in [
        (WireFormat::OpenAi, "/v1"),
        (WireFormat::Anthropic, "/v1"),
        (WireFormat::Gemini, "/v1beta"),
        (WireFormat::Bedrock, ""),
        (WireFormat::Cohere, "/cohere"),
    ] {
        let Some(path) = api.endpoint.upstream_path(format, model) else {
            continue;
        };
        let again = find(b"POST", format!("{mount}{path}").as_bytes());
        let again = again.api.expect("a provider has it there");
        assert_eq!(again.endpoint.operation(), api.endpoint.operation());
        if api.endpoint.names_model_in_path() {
            assert_eq!(again.endpoint, api.endpoint);
            assert_eq!(again.model.as_deref(), Some(model));
        } else {
            assert_eq!(again.model, None);
        }
    }
}
