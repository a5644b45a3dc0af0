//! The repository's own files, read once: no build output, no downloads, no data.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Folders that are not ours; hidden ones are left out too.
const SKIPPED: [&str; 4] = ["target", "data", "node_modules", "__pycache__"];

/// The folder of generated files, which are there but not to be judged.
const GENERATED: &str = "gen";

/// Extensions of the files whose text is kept.
const READ: [&str; 3] = ["rs", "md", "py"];

/// Every file by its path from the root.
#[derive(Debug, Default)]
pub(super) struct Files {
    texts: BTreeMap<PathBuf, String>,
    folders: Vec<PathBuf>,
}

impl Files {
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Self::default();
        files.read_folder(root, Path::new(""))?;
        Ok(files)
    }

    fn read_folder(&mut self, root: &Path, folder: &Path) -> anyhow::Result<()> {
        let shown = || format!("read folder {}", folder.display());
        for entry in fs::read_dir(root.join(folder)).with_context(shown)? {
            let entry = entry.with_context(shown)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || SKIPPED.contains(&name.as_str()) {
                continue;
            }
            let path = folder.join(&name);
            let kind = entry.file_type().with_context(shown)?;
            if kind.is_dir() {
                self.folders.push(path.clone());
                self.read_folder(root, &path)?;
            } else if kind.is_file() {
                self.insert(root, path)?;
            }
        }
        Ok(())
    }

    fn insert(&mut self, root: &Path, path: PathBuf) -> anyhow::Result<()> {
        let generated = path
            .parent()
            .is_some_and(|folder| folder.ends_with(GENERATED));
        let text = if !generated && READ.iter().any(|extension| has_extension(&path, extension)) {
            fs::read_to_string(root.join(&path))
                .with_context(|| format!("read {}", path.display()))?
        } else {
            String::new()
        };
        self.texts.insert(path, text);
        Ok(())
    }

    /// Paths and texts of the files to judge.
    pub(super) fn with_extension<'f>(
        &'f self,
        extension: &'f str,
    ) -> impl Iterator<Item = (&'f Path, &'f str)> {
        self.texts
            .iter()
            .filter(move |(path, _)| has_extension(path, extension))
            .map(|(path, text)| (path.as_path(), text.as_str()))
    }

    pub(super) fn has_file(&self, path: &Path) -> bool {
        self.texts.contains_key(path)
    }

    /// A file or a folder.
    pub(super) fn exists(&self, path: &Path) -> bool {
        self.has_file(path) || self.has_folder(path)
    }

    pub(super) fn has_folder(&self, path: &Path) -> bool {
        self.folders.iter().any(|folder| folder == path)
    }

    /// The folders directly inside `parent`.
    pub(super) fn folders_in<'f>(&'f self, parent: &'f Path) -> impl Iterator<Item = &'f Path> {
        self.folders
            .iter()
            .filter(move |folder| folder.parent() == Some(parent))
            .map(PathBuf::as_path)
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

#[cfg(test)]
impl Files {
    /// A repository made of these paths and texts.
    pub(super) fn of(texts: &[(&str, &str)]) -> Self {
        let mut files = Self::default();
        for (path, text) in texts {
            let path = Path::new(path);
            files.texts.insert(path.into(), (*text).into());
            for folder in path.ancestors().skip(1) {
                if !folder.as_os_str().is_empty() && !files.has_folder(folder) {
                    files.folders.push(folder.into());
                }
            }
        }
        files
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_files_exist_but_are_not_judged_and_hidden_ones_are_not_even_there() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["src/gen", ".cache", "src/deep"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in ["src/gen/a.rs", ".cache/b.rs", "src/deep/c.rs"] {
            fs::write(root.path().join(file), "fn main() {}").unwrap();
        }

        let files = Files::read(root.path()).unwrap();

        let judged: Vec<_> = files
            .with_extension("rs")
            .filter(|(_, text)| !text.is_empty())
            .map(|(path, _)| path)
            .collect();
        assert_eq!(judged, [Path::new("src/deep/c.rs")]);
        assert!(files.exists(Path::new("src/gen/a.rs")));
        assert!(!files.exists(Path::new(".cache")));
    }
}
