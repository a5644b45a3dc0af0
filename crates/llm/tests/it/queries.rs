//! What of a query goes on to a provider: of a short list, and nothing else.

use reeve_llm::{Endpoint, QueryError, WireFormat, judge_query};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Every parameter that some API takes, with what becomes of it.
const KNOWN: [(&str, &str); 5] = [
    ("api-version=2025-04-01-preview", ""),
    ("beta=true", "beta=true"),
    ("beta=false", "beta=false"),
    ("alt=json", "alt=json"),
    ("alt=sse", "alt=sse"),
];

fn takes(endpoint: Endpoint, dialect: WireFormat, parameter: &str) -> bool {
    match parameter.split_once('=').unwrap() {
        ("api-version", _) => dialect == WireFormat::OpenAi,
        ("beta", _) => dialect == WireFormat::Anthropic,
        ("alt", "json") => dialect == WireFormat::Gemini,
        ("alt", "sse") => {
            dialect == WireFormat::Gemini && endpoint == Endpoint::StreamGenerateContent
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_dialect_takes_its_own_parameters_and_no_other() {
    for endpoint in Endpoint::ALL {
        for dialect in WireFormat::ALL {
            for (parameter, becomes) in KNOWN {
                let judged = judge_query(endpoint, dialect, parameter.as_bytes());
                if takes(endpoint, dialect, parameter) {
                    assert_eq!(judged.as_deref(), Ok(becomes), "{endpoint:?} {parameter}");
                } else {
                    assert!(judged.is_err(), "{endpoint:?} {dialect:?} {parameter}");
                }
                let twice = format!("{parameter}&{parameter}");
                assert!(judge_query(endpoint, dialect, twice.as_bytes()).is_err());
            }
        }
    }
}

///
#[test]
fn a_model_in_a_query_is_refused_by_every_api() {
    for endpoint in Endpoint::ALL {
        for dialect in WireFormat::ALL {
            for query in [
                "model=m",
                "MODEL=m",
                "%6d%6f%64%65%6c=m",
                "models[]=m",
                "model",
            ] {
                assert_eq!(
                    judge_query(endpoint, dialect, query.as_bytes()),
                    Err(QueryError::Model),
                    "{endpoint:?} {query}"
                );
            }
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn query() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            select(KNOWN.map(|(parameter, _)| parameter.to_owned()).to_vec()),
            select(
                [
                    "&",
                    ";",
                    "=",
                    "%",
                    "%26",
                    "%3d",
                    "key=sk-bf-x",
                    "sk-bf-",
                    "x",
                    "fields=a",
                    "$alt=proto",
                    "\r\n",
                    "#",
                    "?",
                    "\u{e9}",
                    "model=m",
                ]
                .map(str::to_owned)
                .to_vec()
            ),
            any::<String>(),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        ///
        #[test]
        fn whatever_is_asked_only_what_is_on_the_list_goes_on(
            query in query(),
            endpoint in select(Endpoint::ALL.to_vec()),
            dialect in select(WireFormat::ALL.to_vec()),
        ) {
            if let Ok(forwarded) = judge_query(endpoint, dialect, query.as_bytes()) {
                for parameter in forwarded.split('&').filter(|parameter| !parameter.is_empty()) {
                    let known = KNOWN.iter().any(|(_, becomes)| *becomes == parameter);
                    prop_assert!(known && takes(endpoint, dialect, parameter), "{forwarded}");
                    prop_assert!(query.contains(parameter));
                }
            }
        }
    }
}
