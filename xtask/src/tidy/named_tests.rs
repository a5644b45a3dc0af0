//! Tests that a page names: `file.py::name` and `file.rs::name` in backquotes, the name without
//! `test_`. A test that was renamed or removed takes the claim that it carried with it.

use std::path::Path;

use super::Problem;
use super::files::Files;

pub(super) fn check(path: &Path, text: &str, files: &Files) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (line, content) in text.lines().enumerate() {
        for (file, test) in content.split('`').skip(1).step_by(2).filter_map(named) {
            if !exists(file, test, files) {
                problems.push(Problem {
                    path: path.to_owned(),
                    line: Some(line.saturating_add(1)),
                    message: format!(
                        "there is no test `{test}` in a file `{file}`: name the one that shows this now"
                    ),
                });
            }
        }
    }
    problems
}

fn named(quoted: &str) -> Option<(&str, &str)> {
    let (file, test) = quoted.split_once("::")?;
    let is_file = [".py", ".rs"].iter().any(|end| file.ends_with(end));
    (is_file && !test.is_empty()).then_some((file, test))
}

fn exists(file: &str, test: &str, files: &Files) -> bool {
    let extension = file.rsplit('.').next().unwrap_or_default();
    let definition = match extension {
        "py" => format!("def test_{test}("),
        _ => format!("fn {test}("),
    };
    files
        .with_extension(extension)
        .any(|(path, text)| path.ends_with(file) && text.contains(&definition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_not_there_is_told_with_its_line() {
        let files = Files::of(&[
            (
                "tests/e2e/test_keys.py",
                "def test_a_key_is_needed(stack):\n",
            ),
            (
                "crates/llm/tests/it/paths.rs",
                "fn every_path_is_known() {}\n",
            ),
        ]);
        let page = "* `test_keys.py::a_key_is_needed`\n* `paths.rs::every_path_is_known`\n\
                    * `test_keys.py::a_key_is_none` and `Vec::new`\n* `test_locks.py::a_key_is_needed`\n";
        let lines: Vec<_> = check(Path::new("docs/red-team.md"), page, &files)
            .into_iter()
            .map(|problem| problem.line)
            .collect();
        assert_eq!(lines, [Some(3), Some(4)]);
    }
}
