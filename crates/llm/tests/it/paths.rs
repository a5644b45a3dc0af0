//! Which API a path is. The path table is on file: a change to it is a change to that file.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use reeve_llm::{Endpoint, PathError, WireFormat, entries, find, place_of};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Method (`*`: any), path, dialect, provider (`-`: none), place of the model, API (`!`: refused).
const TABLE: &str = include_str!("../path_table.txt");

/// A name that a model can have.
pub(crate) const MODEL: &str = "us.vendor-x.m_1@v2:0+y";

/// A line of the table. Its paths are told by rules of its own, so that they can disagree with ours.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    dialect: &'static str,
    provider: Option<&'static str>,
    api: &'static str,
}

static LINES: LazyLock<Vec<Line>> = LazyLock::new(|| {
    let lines = TABLE.lines().map(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let [method, path, dialect, provider, _, api] = columns[..] else {
            panic!("{line}");
        };
        Line {
            method,
            path,
            dialect,
            provider: (provider != "-").then_some(provider),
            api,
        }
    });
    lines.collect()
});

pub(crate) fn lines() -> &'static [Line] {
    &LINES
}

/// All paths at which something is, with `{model}` for a name.
static SERVED: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let served = lines().iter().filter(|line| !line.api.starts_with('!'));
    served.map(|line| line.path).collect()
});

impl Line {
    /// A path of this line.
    pub(crate) fn example(&self) -> String {
        self.path.replace("{model}", MODEL).replace('…', "x/y")
    }

    /// What stands for the model in a path; nothing, where there is no model. `None`: it is no path
    /// of this line.
    fn model_in<'p>(&self, path: &'p str) -> Option<&'p str> {
        if let Some(top) = self.path.strip_suffix("/…") {
            let rest = path.strip_prefix(top)?;
            // Where an API is at the top, only what is below it is refused.
            let is_below = rest.len() > 1 && rest.starts_with('/');
            let is_top = matches!(rest, "" | "/") && !SERVED.contains(top);
            return (is_below || is_top).then_some("");
        }
        let Some((before, after)) = self.path.split_once("{model}") else {
            return (path == self.path).then_some("");
        };
        let model = path.strip_prefix(before)?.strip_suffix(after)?;
        let may_be_long = after.is_empty();
        (!model.is_empty() && (may_be_long || !model.contains('/'))).then_some(model)
    }

    fn takes(&self, method: &str) -> bool {
        self.method == "*" || self.method == method
    }
}

/// What the lines say about a path, and so must the table: at most one of them is right.
fn check(method: &str, path: &str) {
    let at_path: Vec<_> = lines()
        .iter()
        .filter_map(|line| Some((line, line.model_in(path)?)))
        .collect();
    let right: Vec<_> = at_path
        .iter()
        .filter(|(line, _)| line.takes(method))
        .collect();
    let found = find(method.as_bytes(), path.as_bytes());
    let dialect = found.dialect.as_str();
    match right[..] {
        [] if at_path.is_empty() => {
            assert_eq!(found.api, Err(PathError::NotFound), "{method} {path}");
        }
        [] => {
            let Err(PathError::MethodNotAllowed(allowed)) = found.api else {
                panic!("{method} {path}: {found:?}");
            };
            let is_right =
                |(line, _): &(&Line, &str)| (line.method, line.dialect) == (allowed, dialect);
            assert!(at_path.iter().any(is_right), "{method} {path}");
        }
        [(line, model)] => {
            assert_eq!(dialect, line.dialect, "{method} {path}");
            match found.api {
                Ok(found) => {
                    assert_eq!(found.endpoint.name(), line.api, "{method} {path}");
                    assert_eq!(found.provider, line.provider, "{method} {path}");
                    assert_eq!(found.model.as_deref().unwrap_or_default(), *model);
                }
                Err(PathError::Unserved(why)) => {
                    assert_eq!(
                        Some(why.name()),
                        line.api.strip_prefix('!'),
                        "{method} {path}"
                    );
                }
                other => panic!("{method} {path}: {other:?}"),
            }
        }
        ref more => panic!("{method} {path} is in several rows: {more:?}"),
    }
}

#[test]
fn the_table_is_the_one_on_file() {
    let on_file = TABLE
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let entries = entries().map(|entry| {
        let api = match entry.api {
            Ok(endpoint) => endpoint.name().to_owned(),
            Err(why) => format!("!{}", why.name()),
        };
        let place = format!("{:?}", entry.model).to_lowercase();
        let dialect = entry.dialect.as_str();
        let provider = entry.provider.unwrap_or("-");
        format!(
            "{} {} {dialect} {provider} {place} {api}",
            entry.method, entry.path
        )
    });
    let on_file: Vec<String> = on_file.collect();
    let entries: Vec<String> = entries.collect();
    for (number, (line, entry)) in on_file.iter().zip(&entries).enumerate() {
        assert_eq!(line, entry, "line {}", number + 1);
    }
    assert_eq!(on_file.len(), entries.len());
}

///
#[test]
fn every_row_is_found_by_its_method_and_no_two_answer_for_one_path() {
    for line in lines() {
        let path = line.example();
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "post",
            "POST ", "",
        ] {
            check(method, &path);
        }
    }
}

///
#[test]
fn a_path_is_found_below_its_own_prefixes_and_no_other() {
    let prefixes = [
        "",
        "/openai",
        "/anthropic",
        "/genai",
        "/bedrock",
        "/cohere",
        "/langchain",
        "/litellm",
        "/azure",
        "/openai/openai",
    ];
    let bases = ["", "/v1", "/v1beta", "/v1beta/openai", "/v2"];
    let mut suffixes = BTreeSet::new();
    for line in lines() {
        let path = line.example();
        for prefix in prefixes {
            for base in bases {
                let suffix = path
                    .strip_prefix(prefix)
                    .and_then(|path| path.strip_prefix(base));
                suffixes.extend(suffix.map(str::to_owned));
            }
        }
    }
    let mut tried = 0;
    for suffix in &suffixes {
        for prefix in prefixes {
            for base in bases {
                let path = format!("{prefix}{base}{suffix}");
                check("POST", &path);
                check("GET", &path);
                tried += 2;
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

///
#[test]
fn every_api_has_a_path_and_every_path_that_is_served_has_a_provider_that_serves_it() {
    let apis: BTreeSet<_> = lines().iter().map(|line| line.api).collect();
    for endpoint in Endpoint::ALL {
        assert!(apis.contains(endpoint.name()), "{endpoint:?}");
        let formats = WireFormat::ALL.into_iter();
        let serving = formats.filter(|format| endpoint.is_served_by(*format));
        // Lists of models are answered here.
        let answered_here = matches!(endpoint, Endpoint::ListModels | Endpoint::GetModel);
        assert_eq!(serving.count() == 0, answered_here, "{endpoint:?}");
    }
}

#[test]
fn where_a_provider_lacks_an_api_its_own_for_that_purpose_is_named() {
    use Endpoint::*;
    use WireFormat::{Anthropic, Bedrock, Cohere, Gemini, OpenAi};
    for (asked, format, instead) in [
        (
            ChatCompletions,
            Bedrock,
            Some("POST /model/{model}/converse"),
        ),
        (Responses, Anthropic, Some("POST /v1/chat/completions")),
        (Responses, Gemini, Some("POST /v1/chat/completions")),
        (Responses, Bedrock, Some("POST /model/{model}/converse")),
        (Completions, Cohere, Some("POST /v1/chat/completions")),
        (Embeddings, Cohere, Some("POST /v2/embed")),
        (Embeddings, Anthropic, None),
        (Messages, OpenAi, Some("POST /v1/chat/completions")),
        (
            Messages,
            Gemini,
            Some("POST /v1/models/{model}:generateContent"),
        ),
        (GenerateContent, Anthropic, Some("POST /v1/messages")),
        (
            ConverseStream,
            Gemini,
            Some("POST /v1/models/{model}:streamGenerateContent"),
        ),
        (CohereChat, Bedrock, Some("POST /model/{model}/converse")),
        (Speech, Anthropic, None),
    ] {
        let found = asked.instead_at(format).and_then(place_of);
        assert_eq!(found.as_deref(), instead, "{asked:?} {format:?}");
    }
}

#[test]
fn an_unknown_path_is_refused_in_the_dialect_that_it_looks_like() {
    for (path, dialect) in [
        ("/v1/nothing", WireFormat::OpenAi),
        ("/", WireFormat::OpenAi),
        ("/v1/messages/x", WireFormat::Anthropic),
        ("/anthropic/v1/complete", WireFormat::Anthropic),
        ("/v1beta/corpora", WireFormat::Gemini),
        ("/genai/v1/x", WireFormat::Gemini),
        ("/v1beta/openai/x", WireFormat::OpenAi),
        ("/genai/v1beta/openai/x", WireFormat::OpenAi),
        ("/model/x/y", WireFormat::Bedrock),
        ("/bedrock/guardrail/x/version/1/apply", WireFormat::Bedrock),
        ("/v2/classify", WireFormat::Cohere),
        ("/cohere/v1/tokenize", WireFormat::Cohere),
        ("/cohere/compatibility/v1/embeddings", WireFormat::OpenAi),
    ] {
        let found = find(b"POST", path.as_bytes());
        assert_eq!(found.api, Err(PathError::NotFound), "{path}");
        assert_eq!(found.dialect, dialect, "{path}");
    }
}
