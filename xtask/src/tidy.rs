//! `cargo xtask tidy`: the rules of this repository that no compiler knows. A rule is a function
//! from text to problems, so that it is tested without a repository; this file finds the text.

mod arrows;
mod banned;
mod documents;
mod files;
mod layout;
mod named_tests;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use crate::workspace;
use files::Files;

/// Something to put right.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// Path from the root of the repository.
    path: PathBuf,
    /// From 1; absent when the whole file is at fault.
    line: Option<usize>,
    /// What is wrong, and what to do.
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.message)
    }
}

pub(crate) fn run() -> anyhow::Result<()> {
    let files = Files::read(&workspace::root())?;
    let mut problems = arrows::check(&metadata()?)?;
    problems.extend(layout::check(&files));
    for (path, text) in files.with_extension("rs") {
        problems.extend(banned::check(path, text));
    }
    for (path, text) in files.with_extension("md") {
        problems.extend(documents::check(path, text, &files));
        problems.extend(named_tests::check(path, text, &files));
    }

    problems.sort();
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} to put right", count(problems.len(), "thing"));
    }
    Ok(())
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What cargo knows of the workspace, as JSON.
fn metadata() -> anyhow::Result<String> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(workspace::root())
        .output()
        .context("run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).context("cargo metadata is not UTF-8")
}
