//! The bootstrap's file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::FILE;

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write Envoy's bootstrap `{}`: {source}", path.display())]
pub struct WriteError {
    path: PathBuf,
    source: io::Error,
}

/// Writes the bootstrap into `dir`, whole, by a rename; an equal one is left alone.
///
/// # Errors
/// The file or directory that could not be written.
pub fn write(dir: &Path, bootstrap: &str) -> Result<(), WriteError> {
    private_directory(dir)?;
    forget_files_of_earlier_versions(dir)?;
    let path = dir.join(FILE);
    if fs::read(&path).is_ok_and(|present| present == bootstrap.as_bytes()) {
        return Ok(());
    }
    let temporary = dir.join(format!(".{FILE}.new"));
    write_private(&temporary, bootstrap).map_err(at(&temporary))?;
    // Without the directory's own sync a power cut may undo the rename.
    fs::rename(&temporary, &path)
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(at(&path))
}

/// Until 0.1, provider keys lay here in the clear, because Envoy read them from files.
fn forget_files_of_earlier_versions(dir: &Path) -> Result<(), WriteError> {
    let missing_is_fine = |result: io::Result<()>| match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let (secrets, clusters) = (dir.join("secrets"), dir.join("clusters.json"));
    missing_is_fine(fs::remove_dir_all(&secrets)).map_err(at(&secrets))?;
    missing_is_fine(fs::remove_file(&clusters)).map_err(at(&clusters))
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

fn at(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    move |source| WriteError {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_can_read_what_is_written() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("envoy");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        write(&dir, "{}").unwrap();
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join(FILE)), 0o600);
        assert_eq!(fs::read(dir.join(FILE)).unwrap(), b"{}");
    }

    #[test]
    fn writing_the_same_again_touches_nothing_and_another_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let inode = |text: &str| {
            write(dir.path(), text).unwrap();
            fs::metadata(dir.path().join(FILE)).unwrap().ino()
        };
        let first = inode("{}");
        assert_eq!(inode("{}"), first);
        inode("[]");
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), b"[]");
    }

    #[test]
    fn keys_that_an_earlier_version_left_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("secrets")).unwrap();
        fs::write(dir.path().join("secrets/openai-1.json"), "sk-planted").unwrap();
        fs::write(dir.path().join("clusters.json"), "{}").unwrap();
        write(dir.path(), "{}").unwrap();
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, [FILE]);
    }

    #[test]
    fn a_write_that_was_cut_off_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let half = dir.path().join(format!(".{FILE}.new"));
        fs::write(&half, "half").unwrap();
        fs::set_permissions(&half, fs::Permissions::from_mode(0o644)).unwrap();
        write(dir.path(), "{}").unwrap();
        assert_eq!(mode(&dir.path().join(FILE)), 0o600);
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let message = write(&file.join("envoy"), "{}").unwrap_err().to_string();
        assert!(message.contains("file/envoy"), "{message}");
    }
}
