//! Whatever header fields arrive, at most one credential is found: the one value that looks like a
//! virtual key and stands where a key may stand, wherever the fields stand.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use reeve_exchange::credentials::{SOURCES, presented};
use reeve_exchange::headers::{Headers, is_private};
use reeve_fuzz::input;
use reeve_policy::key_format::{checksum_is_plausible, looks_like_virtual_key};

fuzz_target!(|data: &[u8]| {
    let (mut fields, _) = input::fields(data);
    let ours = presented(Headers::new(&fields)).map(|key| key.map(<[u8]>::to_vec));

    // Read naively: everything that could be meant.
    let values = |source: &str| {
        let of_it = fields.iter().filter(|(name, _)| name == source);
        of_it.map(|(_, value)| value.as_slice()).collect::<Vec<_>>()
    };
    let is_repeated = SOURCES.iter().any(|source| values(source).len() > 1);
    let meant: BTreeSet<Vec<u8>> = SOURCES
        .iter()
        .flat_map(|&source| {
            values(source).into_iter().filter_map(move |value| {
                let value = if source == "authorization" {
                    let (scheme, token) = value.split_at_checked("bearer ".len())?;
                    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)?
                } else {
                    value
                };
                looks_like_virtual_key(value).then(|| value.to_vec())
            })
        })
        .collect();
    match &ours {
        Ok(found) => {
            assert!(!is_repeated);
            assert!(meant.len() <= 1);
            assert_eq!(found.as_ref(), meant.first());
            if let Some(found) = found {
                let _ = checksum_is_plausible(found);
            }
        }
        // A joined `authorization` is ambiguous whatever is in it.
        Err(_) => assert!(
            is_repeated
                || meant.len() > 1
                || values("authorization")
                    .iter()
                    .any(|value| value.contains(&b','))
        ),
    }

    fields.reverse();
    let reversed = presented(Headers::new(&fields)).map(|key| key.map(<[u8]>::to_vec));
    assert_eq!(reversed, ours);
    fields.push(("x-unrelated".into(), b"sk-bf-other".to_vec()));
    let with_another = presented(Headers::new(&fields)).map(|key| key.map(<[u8]>::to_vec));
    assert_eq!(with_another, ours);
    // What is forwarded presents nothing.
    fields.retain(|(name, _)| !is_private(name));
    assert_eq!(presented(Headers::new(&fields)), Ok(None));
});
