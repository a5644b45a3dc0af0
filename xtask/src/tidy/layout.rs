//! Where things are: short files, one folder per resource with the same names in each.

use std::path::Path;

use super::Problem;
use super::files::Files;

/// Longest Rust file, lines. A longer one holds two ideas.
const LONGEST: usize = 500;

const CONTROL_PLANE: &str = "control-plane/src";
/// Resources of the admin API; a folder with routes and a store is one as well.
const RESOURCES: [&str; 5] = ["customers", "models", "providers", "teams", "virtual_keys"];
const FILES_OF_A_RESOURCE: [&str; 4] = ["mod.rs", "routes.rs", "store.rs", "tests.rs"];

pub(super) fn check(files: &Files) -> Vec<Problem> {
    let mut problems = too_long(files);
    problems.extend(incomplete_resources(files));
    problems
}

fn too_long(files: &Files) -> Vec<Problem> {
    files
        .with_extension("rs")
        .filter_map(|(path, text)| {
            let lines = text.lines().count();
            (lines > LONGEST).then(|| Problem {
                path: path.into(),
                line: None,
                message: format!("{lines} lines; split it by ideas, {LONGEST} is the most"),
            })
        })
        .collect()
}

fn incomplete_resources(files: &Files) -> Vec<Problem> {
    let parent = Path::new(CONTROL_PLANE);
    let mut problems = Vec::new();
    for folder in files.folders_in(parent) {
        let has = |name: &str| files.has_file(&folder.join(name));
        let named = RESOURCES.iter().any(|name| folder == parent.join(name));
        let is_resource = named || (has("routes.rs") && has("store.rs"));
        if !is_resource {
            continue;
        }
        for name in FILES_OF_A_RESOURCE {
            if !has(name) {
                problems.push(Problem {
                    path: folder.into(),
                    line: None,
                    message: format!("a resource has a {name}; see docs/adding-a-resource.md"),
                });
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_500_lines_passes_and_one_of_501_does_not() {
        let (long, longer) = ("\n".repeat(500), "\n".repeat(501));
        assert!(check(&Files::of(&[("a.rs", &long)])).is_empty());
        let problems = check(&Files::of(&[("a.rs", &longer)]));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.starts_with("501 lines"));
    }

    #[test]
    fn a_named_resource_without_tests_is_reported() {
        let files = Files::of(&[
            ("control-plane/src/teams/mod.rs", ""),
            ("control-plane/src/teams/routes.rs", ""),
            ("control-plane/src/teams/store.rs", ""),
        ]);
        let problems = check(&files);
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0]
                .to_string()
                .contains("src/teams: a resource has a tests.rs")
        );
    }

    #[test]
    fn a_folder_with_routes_and_store_is_a_resource_too() {
        let files = Files::of(&[
            ("control-plane/src/usage/mod.rs", ""),
            ("control-plane/src/usage/routes.rs", ""),
            ("control-plane/src/usage/store.rs", ""),
            ("control-plane/src/auth/store.rs", ""),
        ]);
        assert_eq!(check(&files).len(), 1);
    }

    #[test]
    fn a_complete_resource_may_have_more_files() {
        let files = Files::of(&[
            ("control-plane/src/teams/mod.rs", ""),
            ("control-plane/src/teams/routes.rs", ""),
            ("control-plane/src/teams/store.rs", ""),
            ("control-plane/src/teams/tests.rs", ""),
            ("control-plane/src/teams/name.rs", ""),
        ]);
        assert!(check(&files).is_empty());
    }
}
