//! Who may depend on whom. A crate is a guarantee: what it cannot see it cannot do. A new edge needs
//! a conscious line here.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Deserialize;

use super::Problem;

/// What a crate of ours may depend on.
struct Rule {
    name: &'static str,
    ours: &'static [&'static str],
    others: Others,
}

/// Crates by others.
enum Others {
    /// These alone: a crate without I/O, clock and chance must not get them by the back door.
    Only(&'static [&'static str]),
    /// Any that is not reserved for another crate.
    Any,
}

const RULES: &[Rule] = &[
    Rule {
        name: "reeve-policy",
        ours: &[],
        others: Others::Only(&["jiff", "regex-automata", "sha2", "thiserror"]),
    },
    Rule {
        name: "reeve-llm",
        ours: &[],
        others: Others::Only(&["base64", "crc32fast", "memchr", "thiserror"]),
    },
    Rule {
        name: "reeve-guardrails",
        ours: &[],
        others: Others::Only(&[]),
    },
    Rule {
        name: "reeve-exchange",
        ours: &["reeve-policy", "reeve-llm"],
        others: Others::Only(&["thiserror"]),
    },
    Rule {
        name: "reeve-proto",
        ours: &["reeve-policy"],
        others: Others::Only(&["prost", "thiserror", "tonic", "tonic-prost"]),
    },
    Rule {
        name: "reeve-xds",
        ours: &[],
        others: Others::Only(&["envoy-types", "prost", "serde_json", "sha2", "zeroize"]),
    },
    Rule {
        name: "reeve-filter",
        ours: &["reeve-exchange", "reeve-llm", "reeve-policy", "reeve-proto"],
        others: Others::Only(&["prost", "proxy-wasm", "serde", "serde_json"]),
    },
    Rule {
        name: "reeve-control-plane",
        // `reeve-exchange`: what a request would be answered is told by the code that answers it.
        ours: &[
            "reeve-exchange",
            "reeve-proto",
            "reeve-policy",
            "reeve-llm",
            "reeve-guardrails",
            "reeve-xds",
        ],
        others: Others::Any,
    },
    // It measures from outside: it knows the wire, and nothing of how the product works.
    Rule {
        name: "reeve-bench",
        ours: &["reeve-proto"],
        others: Others::Any,
    },
    Rule {
        name: "xtask",
        ours: &[],
        others: Others::Any,
    },
];

/// No part of the product: it may see what only one crate of the product may.
const OUTSIDE: &str = "reeve-bench";

/// Crates that only one of ours may see.
const RESERVED: &[(&str, &str)] = &[
    ("envoy-types", "reeve-xds"),
    ("proxy-wasm", "reeve-filter"),
    ("axum", "reeve-control-plane"),
    ("cel", "reeve-control-plane"),
    ("hyper", "reeve-control-plane"),
    ("sqlx", "reeve-control-plane"),
    ("tokio", "reeve-control-plane"),
    ("tonic", "reeve-control-plane"),
    ("tonic-prost", "reeve-control-plane"),
];

/// Behind a feature that the filter does not ask for.
const OPTIONAL_IN_PROTO: &[&str] = &["tonic", "tonic-prost"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or none for a normal one.
    kind: Option<String>,
    optional: bool,
}

/// Judges the output of `cargo metadata --no-deps`.
pub(super) fn check(metadata: &str) -> anyhow::Result<Vec<Problem>> {
    let metadata: Metadata = serde_json::from_str(metadata).context("parse cargo metadata")?;
    let ours: Vec<&str> = metadata
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let manifest = package.manifest_path.strip_prefix(&metadata.workspace_root);
        let path = manifest.unwrap_or(&package.manifest_path).to_path_buf();
        let mut report = |message| {
            problems.push(Problem {
                path: path.clone(),
                line: None,
                message,
            });
        };
        let Some(rule) = RULES.iter().find(|rule| rule.name == package.name) else {
            report(format!(
                "crate {} has no rule; say in xtask/src/tidy/arrows.rs what it may depend on",
                package.name
            ));
            continue;
        };
        for dependency in &package.dependencies {
            if let Some(message) = judge(rule, dependency, &ours) {
                report(message);
            }
        }
    }
    Ok(problems)
}

fn judge(rule: &Rule, dependency: &Dependency, ours: &[&str]) -> Option<String> {
    let name = dependency.name.as_str();
    let in_tests = dependency.kind.as_deref() == Some("dev");
    let optional_in_proto = rule.name == "reeve-proto" && OPTIONAL_IN_PROTO.contains(&name);
    if optional_in_proto && !dependency.optional {
        return Some(format!(
            "{name} must be optional here, or the filter would get it too"
        ));
    }
    if let Some((_, owner)) = RESERVED.iter().find(|(reserved, _)| *reserved == name)
        && *owner != rule.name
        && rule.name != OUTSIDE
        && !optional_in_proto
    {
        return Some(format!(
            "{name} is for {owner} alone; move what needs it there"
        ));
    }
    if ours.contains(&name) {
        let allowed = rule.ours.contains(&name) || in_tests;
        return (!allowed).then(|| {
            format!(
                "{} must not depend on {name}; move the code, or change the arrow in \
                 xtask/src/tidy/arrows.rs and ARCHITECTURE.md",
                rule.name
            )
        });
    }
    match rule.others {
        Others::Only(allowed) if !in_tests && !allowed.contains(&name) => Some(format!(
            "{name} is not among the crates that {} may use; do without it, or add it in \
             xtask/src/tidy/arrows.rs when it has no I/O, no clock and no randomness",
            rule.name
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Problems of a workspace with one crate of interest, and reeve-policy and reeve-llm beside it.
    fn problems(name: &str, dependencies: &str) -> Vec<String> {
        let other = |name: &str| {
            format!(
                r#"{{"name": "{name}", "manifest_path": "/r/{name}/Cargo.toml", "dependencies": []}}"#
            )
        };
        let others: Vec<String> = ["reeve-policy", "reeve-llm", "reeve-filter"]
            .into_iter()
            .filter(|other| *other != name)
            .map(other)
            .collect();
        let metadata = format!(
            r#"{{"workspace_root": "/r", "packages": [{}, {{
                "name": "{name}", "manifest_path": "/r/x/Cargo.toml",
                "dependencies": [{dependencies}]}}]}}"#,
            others.join(", ")
        );
        check(&metadata)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn normal(name: &str) -> String {
        format!(r#"{{"name": "{name}", "kind": null, "optional": false}}"#)
    }

    fn optional(name: &str) -> String {
        format!(r#"{{"name": "{name}", "kind": null, "optional": true}}"#)
    }

    fn dev(name: &str) -> String {
        format!(r#"{{"name": "{name}", "kind": "dev", "optional": false}}"#)
    }

    #[test]
    fn an_arrow_of_the_design_is_accepted() {
        assert!(problems("reeve-exchange", &normal("reeve-policy")).is_empty());
        assert!(problems("reeve-control-plane", &normal("axum")).is_empty());
    }

    #[test]
    fn a_leaf_imports_no_other_crate_of_ours() {
        let found = problems("reeve-llm", &normal("reeve-policy"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("x/Cargo.toml: reeve-llm must not depend on reeve-policy"));
    }

    #[test]
    fn the_control_plane_never_imports_the_filter() {
        assert_eq!(
            problems("reeve-control-plane", &normal("reeve-filter")).len(),
            1
        );
    }

    #[test]
    fn a_pure_crate_takes_only_listed_crates() {
        assert_eq!(problems("reeve-policy", &normal("uuid")).len(), 1);
        assert!(problems("reeve-policy", &dev("proptest")).is_empty());
    }

    #[test]
    fn tokio_is_reserved_even_in_tests() {
        assert_eq!(problems("reeve-policy", &dev("tokio")).len(), 1);
        assert_eq!(problems("xtask", &normal("tokio")).len(), 1);
    }

    #[test]
    fn the_benchmark_sees_the_wire_and_no_part_of_the_product() {
        assert!(problems("reeve-bench", &normal("tokio")).is_empty());
        assert_eq!(problems("reeve-bench", &normal("reeve-llm")).len(), 1);
    }

    #[test]
    fn tonic_in_proto_is_optional() {
        assert!(problems("reeve-proto", &optional("tonic")).is_empty());
        assert_eq!(problems("reeve-proto", &normal("tonic")).len(), 1);
    }

    #[test]
    fn a_new_crate_needs_a_rule() {
        let found = problems("reeve-surprise", "");
        assert!(
            found[0].contains("crate reeve-surprise has no rule"),
            "{found:?}"
        );
    }
}
