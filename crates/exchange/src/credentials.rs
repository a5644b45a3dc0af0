//! Which virtual key was presented.
//!
//! Clients of several vendors put their key in several headers. Each is looked at; a value that does
//! not look like a virtual key is some other credential and authenticates nobody. Two different
//! virtual keys are a mistake or an attack, never a choice.

use reeve_policy::key_format::{VIRTUAL_KEY_PREFIX, looks_like_virtual_key};

use crate::Denial;
use crate::headers::Headers;

/// Header fields that may carry a virtual key. All of them are removed before the provider.
pub const SOURCES: [&str; 5] = [
    "x-bf-vk",
    "authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
];

/// The virtual key that the request presents, if it presents one.
pub fn presented<'a>(headers: Headers<'a>) -> Result<Option<&'a [u8]>, Denial> {
    let mut found: Option<&'a [u8]> = None;
    for source in SOURCES {
        let mut values = headers.all(source);
        let Some(value) = values.next() else { continue };
        if values.next().is_some() {
            // Repeated: which one a provider would believe is anybody's guess.
            return Err(Denial::AmbiguousCredentials);
        }
        let candidate = if source == "authorization" {
            if value.contains(&b',') && may_hold_a_key(value) {
                // Envoy joins a repeated `authorization` with a comma.
                return Err(Denial::AmbiguousCredentials);
            }
            bearer(value)
        } else {
            Some(value)
        };
        let Some(candidate) = candidate.filter(|value| looks_like_virtual_key(value)) else {
            continue;
        };
        match found {
            Some(earlier) if earlier != candidate => return Err(Denial::AmbiguousCredentials),
            _ => found = Some(candidate),
        }
    }
    Ok(found)
}

/// Is there anything in it that somebody may take for a bearer token or a virtual key? (A signature
/// of AWS has commas, and neither.)
fn may_hold_a_key(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let holds = |text: &[u8]| lower.windows(text.len()).any(|window| window == text);
    holds(b"bearer") || holds(VIRTUAL_KEY_PREFIX.as_bytes())
}

/// The token of `Bearer <token>` (RFC 6750; the scheme's case does not matter, RFC 9110 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn found(fields: &[(&str, &[u8])]) -> Result<Option<Vec<u8>>, Denial> {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
            .collect();
        presented(Headers::new(&fields)).map(|key| key.map(<[u8]>::to_vec))
    }

    const KEY: &[u8] = b"sk-bf-abc";

    #[test]
    fn every_source_is_read() {
        for source in SOURCES {
            let value = if source == "authorization" {
                b"Bearer sk-bf-abc"
            } else {
                KEY
            };
            assert_eq!(
                found(&[(source, value)]).unwrap().as_deref(),
                Some(KEY),
                "{source}"
            );
        }
    }

    #[test]
    fn the_bearer_scheme_is_read_in_any_case_with_one_space() {
        for (value, read) in [
            (&b"bearer sk-bf-abc"[..], true),
            (b"BEARER sk-bf-abc", true),
            (b"Bearer  sk-bf-abc", false),
            (b"Bearer\tsk-bf-abc", false),
            (b"Bearer sk-bf-abc ", false),
            (b"Basic sk-bf-abc", false),
            (b"sk-bf-abc", false),
            (b"Bearer", false),
            (b"Bearer caf\xe9", false),
        ] {
            assert_eq!(
                found(&[("authorization", value)]).unwrap().is_some(),
                read,
                "{value:?}"
            );
        }
    }

    #[test]
    fn another_credential_authenticates_nobody() {
        assert_eq!(found(&[("authorization", b"Bearer sk-proj-abc")]), Ok(None));
        assert_eq!(found(&[]), Ok(None));
    }

    #[test]
    fn a_signature_of_aws_is_another_credential_and_hides_no_key() {
        let signature = "AWS4-HMAC-SHA256 Credential=AKIA/20261124/us-east-1/bedrock/aws4_request, \
                         SignedHeaders=host;x-amz-date, Signature=00ff";
        assert_eq!(found(&[("authorization", signature.as_bytes())]), Ok(None));
        let fields = [("x-bf-vk", KEY), ("authorization", signature.as_bytes())];
        assert_eq!(found(&fields).unwrap().as_deref(), Some(KEY));
        for joined in ["Bearer sk-bf-abc", "SK-BF-abc"] {
            let value = format!("{signature},{joined}");
            assert_eq!(
                found(&[("authorization", value.as_bytes())]),
                Err(Denial::AmbiguousCredentials)
            );
        }
    }

    #[test]
    fn the_same_key_in_two_places_is_one_key() {
        let fields = [
            ("x-bf-vk", KEY),
            ("authorization", &b"Bearer sk-bf-abc"[..]),
        ];
        assert_eq!(found(&fields).unwrap().as_deref(), Some(KEY));
    }

    #[test]
    fn a_foreign_key_beside_a_virtual_key_is_not_ambiguous() {
        let fields = [
            ("x-bf-vk", KEY),
            ("authorization", &b"Bearer sk-proj-abc"[..]),
        ];
        assert_eq!(found(&fields).unwrap().as_deref(), Some(KEY));
    }

    #[test]
    fn two_different_keys_in_any_two_places_are_ambiguous() {
        for first in SOURCES {
            for second in SOURCES {
                let value = |source, key: &str| match source {
                    "authorization" => format!("Bearer {key}").into_bytes(),
                    _ => key.as_bytes().to_vec(),
                };
                let fields = [
                    (first, value(first, "sk-bf-a")),
                    (second, value(second, "sk-bf-b")),
                ];
                let fields: Vec<_> = fields.iter().map(|(n, v)| (*n, v.as_slice())).collect();
                assert_eq!(
                    found(&fields),
                    Err(Denial::AmbiguousCredentials),
                    "{first} {second}"
                );
            }
        }
    }

    #[test]
    fn a_repeated_or_joined_header_is_ambiguous_even_when_its_values_agree() {
        assert_eq!(
            found(&[("x-api-key", KEY), ("x-api-key", KEY)]),
            Err(Denial::AmbiguousCredentials)
        );
        assert_eq!(
            found(&[("authorization", b"Bearer sk-bf-abc,Bearer sk-bf-abc")]),
            Err(Denial::AmbiguousCredentials)
        );
    }
}
