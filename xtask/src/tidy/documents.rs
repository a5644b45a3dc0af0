//! Every path that a document names exists. A guide to files that are gone is worse than none.

use std::path::{Component, Path, PathBuf};

use super::Problem;
use super::files::Files;

/// Made by builds and runs, so absent from a fresh clone.
const MADE_LATER: [&str; 2] = ["data", "target"];

pub(super) fn check(document: &Path, text: &str, files: &Files) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut in_code_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_code_block = !in_code_block;
            continue;
        }
        if in_code_block {
            continue;
        }
        let mut report = |named: &str| {
            problems.push(Problem {
                path: document.into(),
                line: Some(number),
                message: format!("`{named}` does not exist; name the file that took its place"),
            });
        };
        for quoted in code_spans(line) {
            if is_path_here(quoted, files) && !files.exists(&clean(Path::new(quoted))) {
                report(quoted);
            }
        }
        for target in links(line) {
            let folder = document.parent().unwrap_or(Path::new(""));
            let file = target.split('#').next().unwrap_or(target);
            if !file.is_empty() && !is_elsewhere(file) && !files.exists(&clean(&folder.join(file)))
            {
                report(target);
            }
        }
    }
    problems
}

/// What stands between backticks.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The targets of `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// Whether a quoted text means a file of this repository: it has a slash and begins with the name
/// of a file or folder at the root, or it is the bare name of a document.
fn is_path_here(quoted: &str, files: &Files) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if !quoted.chars().all(plain) || quoted.contains("/.") {
        return false;
    }
    match quoted.split_once('/') {
        Some((first, _)) => !MADE_LATER.contains(&first) && files.exists(Path::new(first)),
        None => Path::new(quoted)
            .extension()
            .is_some_and(|extension| extension == "md"),
    }
}

fn is_elsewhere(target: &str) -> bool {
    target.contains("://") || target.starts_with("mailto:")
}

/// Without `.` and `..`, and without a slash at the end.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::Normal(name) => cleaned.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(document: &str, text: &str) -> Vec<String> {
        let files = Files::of(&[
            ("README.md", ""),
            ("docs/adr/0001-pytest.md", ""),
            ("crates/policy/src/limit.rs", ""),
        ]);
        check(Path::new(document), text, &files)
            .into_iter()
            .map(|problem| problem.message.split('`').nth(1).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_file_that_is_gone_is_reported_and_one_that_is_there_is_not() {
        let text = "See `crates/policy/src/limit.rs`, `crates/policy/` and `crates/gone.rs`.";
        assert_eq!(missing("README.md", text), ["crates/gone.rs"]);
    }

    #[test]
    fn links_are_relative_to_their_document() {
        assert!(
            missing(
                "docs/guide.md",
                "[one](adr/0001-pytest.md#why) [two](../README.md)"
            )
            .is_empty()
        );
        assert_eq!(
            missing("README.md", "[one](adr/0001-pytest.md)"),
            ["adr/0001-pytest.md"]
        );
    }

    #[test]
    fn a_document_named_without_a_folder_is_at_the_root() {
        assert_eq!(
            missing("docs/guide.md", "`README.md` and `LOST.md`"),
            ["LOST.md"]
        );
    }

    #[test]
    fn what_is_no_path_of_ours_is_left_alone() {
        let text = "`/api/providers`, `openai/gpt-4o`, `crates/<name>/src`, `target/x.wasm`, \
                    [site](https://example.org/gone.md), [part](#below), `cargo xtask tidy`";
        assert!(missing("README.md", text).is_empty());
    }

    #[test]
    fn a_code_block_is_not_prose() {
        assert!(missing("README.md", "```\n`crates/gone.rs`\n```\n").is_empty());
    }
}
