//! No spelling but the table's is found, and no credential stays in a query.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reeve_llm::{find, query_without_credentials, split_query};

fuzz_target!(|target: &[u8]| {
    let (path, query) = split_query(target);
    if let Ok(found) = find(b"POST", path) {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'/';
        assert!(path.iter().all(plain));
        assert!(path.starts_with(b"/") && path.ends_with(found.upstream_suffix.as_bytes()));
        assert!(!path.windows(2).any(|pair| pair == b"//"));
    }
    let clean = query_without_credentials(query.unwrap_or_default());
    assert_eq!(query_without_credentials(&clean), clean);
    assert!(
        !clean
            .split(|&byte| byte == b'&')
            .any(|pair| pair.starts_with(b"api_key="))
    );
});
