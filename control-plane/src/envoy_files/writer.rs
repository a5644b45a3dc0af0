use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{BOOTSTRAP_FILE, CLUSTERS_FILE, Files, ROUTES_FILE, SECRETS_DIR};

/// What a write changed on disk: file names within the directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub replaced: Vec<String>,
    pub removed: Vec<String>,
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write Envoy's configuration `{}`: {source}", path.display())]
pub struct WriteError {
    path: PathBuf,
    source: io::Error,
}

/// Brings `dir` to the state `files`. Running it twice writes nothing the second time.
///
/// Each file is replaced whole, by a rename, which is also what Envoy watches for. The order is
/// what keeps Envoy consistent while it reads along: keys before the clusters that use them, these before
/// the routes to them, and keys that nobody uses any more last. Calls must not overlap.
///
/// # Errors
/// The first file or directory that could not be written. What was written before it stays, and
/// the next call completes the work.
pub fn write(dir: &Path, files: &Files) -> Result<Written, WriteError> {
    let secrets = dir.join(SECRETS_DIR);
    private_directory(dir)?;
    private_directory(&secrets)?;
    let mut written = Written::default();
    for (name, content) in &files.secrets {
        replace(&secrets, name, content.expose(), &mut written)?;
    }
    replace(dir, CLUSTERS_FILE, &files.clusters, &mut written)?;
    replace(dir, ROUTES_FILE, &files.routes, &mut written)?;
    replace(dir, BOOTSTRAP_FILE, &files.bootstrap, &mut written)?;
    remove_others(
        &secrets,
        &files.secrets.keys().map(String::as_str).collect(),
        &mut written,
    )?;
    Ok(written)
}

fn private_directory(dir: &Path) -> Result<(), WriteError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        // It may have been there before, open to others.
        .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o700)))
        .map_err(at(dir))
}

fn replace(dir: &Path, name: &str, content: &str, written: &mut Written) -> Result<(), WriteError> {
    let path = dir.join(name);
    if fs::read(&path).is_ok_and(|present| present == content.as_bytes()) {
        return Ok(());
    }
    let temporary = dir.join(format!(".{name}.new"));
    write_private(&temporary, content).map_err(at(&temporary))?;
    // Without the directory's own sync a power cut may undo the rename.
    fs::rename(&temporary, &path)
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(at(&path))?;
    written.replaced.push(name.to_owned());
    Ok(())
}

fn write_private(path: &Path, content: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // Gone: it was left by a write that was cut off, perhaps with another mode.
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn remove_others(
    dir: &Path,
    keep: &BTreeSet<&str>,
    written: &mut Written,
) -> Result<(), WriteError> {
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let path = entry.map_err(at(dir))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !keep.contains(name.as_str()) {
            fs::remove_file(&path).map_err(at(&path))?;
            written.removed.push(name);
        }
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    move |source| WriteError {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::secrets::Secret;

    fn files(clusters: &str, secrets: &[(&str, &str)]) -> Files {
        let secrets: BTreeMap<String, Secret> = secrets
            .iter()
            .map(|(name, content)| ((*name).to_owned(), Secret::new(*content)))
            .collect();
        Files {
            bootstrap: "bootstrap".into(),
            clusters: clusters.into(),
            routes: "routes".into(),
            secrets,
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_can_read_what_is_written() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("envoy");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        write(&dir, &files("c", &[("openai-1.json", "key")])).unwrap();
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join("secrets")), 0o700);
        for file in [
            "bootstrap.json",
            "clusters.json",
            "routes.json",
            "secrets/openai-1.json",
        ] {
            assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
        }
    }

    #[test]
    fn keys_come_before_the_clusters_that_use_them_and_go_after_them() {
        let dir = tempfile::tempdir().unwrap();
        let first = write(dir.path(), &files("c", &[("a.json", "1"), ("b.json", "2")])).unwrap();
        assert_eq!(
            first.replaced,
            [
                "a.json",
                "b.json",
                "clusters.json",
                "routes.json",
                "bootstrap.json"
            ]
        );
        let second = write(dir.path(), &files("d", &[("b.json", "2")])).unwrap();
        assert_eq!(second.replaced, ["clusters.json"]);
        assert_eq!(second.removed, ["a.json"]);
        assert!(!dir.path().join("secrets/a.json").exists());
    }

    #[test]
    fn writing_the_same_again_touches_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = files("c", &[("a.json", "1")]);
        write(dir.path(), &files).unwrap();
        assert_eq!(write(dir.path(), &files).unwrap(), Written::default());
    }

    #[test]
    fn what_a_write_that_was_cut_off_left_behind_is_cleared() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("secrets")).unwrap();
        fs::write(dir.path().join("secrets/.a.json.new"), "half").unwrap();
        fs::write(dir.path().join("secrets/.gone.json.new"), "half").unwrap();
        write(dir.path(), &files("c", &[("a.json", "1")])).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path().join("secrets"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["a.json"]);
        assert_eq!(mode(&dir.path().join("secrets/a.json")), 0o600);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let message = write(&file.join("envoy"), &files("c", &[]))
            .unwrap_err()
            .to_string();
        assert!(message.contains("file/envoy"), "{message}");
    }
}
