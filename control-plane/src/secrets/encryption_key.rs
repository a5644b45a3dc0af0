use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use zeroize::Zeroizing;

use super::sealed::KEY_LEN;
use super::{SealError, SealingKey, Secret};
use crate::random::Random;

const FILE_NAME: &str = "encryption.key";
/// Base64 with or without padding: people paste both.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why there is no usable encryption key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "{origin} must be the base64 of exactly {KEY_LEN} bytes; make one with \
         `openssl rand -base64 32`"
    )]
    Malformed { origin: String },
    #[error(
        "`{}` can be read by others (mode {mode:03o}); run `chmod 600` on it, and consider the \
         key known to them", path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("`{}`: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The encryption key: `configured` (the value of REEVE_ENCRYPTION_KEY) if there is one, else the
/// file `encryption.key` in `data_dir`, which is made on the first start.
pub fn load_or_create(
    configured: Option<&Secret>,
    data_dir: &Path,
    random: &Random,
) -> Result<SealingKey, KeyError> {
    if let Some(text) = configured {
        return parse(text.expose(), "REEVE_ENCRYPTION_KEY");
    }
    let path = data_dir.join(FILE_NAME);
    if !path.exists() {
        create(&path, random)?;
    }
    let at_path = |source| KeyError::Io {
        path: path.clone(),
        source,
    };
    let mode = fs::metadata(&path).map_err(at_path)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path, mode });
    }
    let text = Zeroizing::new(fs::read_to_string(&path).map_err(at_path)?);
    parse(&text, &format!("`{}`", path.display()))
}

fn parse(text: &str, origin: &str) -> Result<SealingKey, KeyError> {
    let malformed = || KeyError::Malformed {
        origin: origin.to_owned(),
    };
    let bytes = LENIENT
        .decode(text.trim())
        .map_err(|_invalid| malformed())?;
    let bytes = Zeroizing::new(bytes);
    let key: &[u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_length| malformed())?;
    Ok(SealingKey::new(key)?)
}

/// Writes a new key whole or not at all, and never over an existing one: two processes that start
/// at once must not each seal with a key of their own.
fn create(path: &Path, random: &Random) -> Result<(), KeyError> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    random.fill(key.as_mut()).map_err(SealError::from)?;
    let text = Zeroizing::new(format!("{}\n", STANDARD.encode(key.as_ref())));
    let temporary = path.with_extension(format!("key.{}.new", std::process::id()));
    let written = write_new(&temporary, text.as_bytes())
        // Unlike a rename, a hard link fails when the name is taken.
        .and_then(|()| match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
    let removed = fs::remove_file(&temporary);
    written.and(removed).map_err(|source| KeyError::Io {
        path: path.to_path_buf(),
        source,
    })
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(dir: &Path) -> Result<SealingKey, KeyError> {
        load_or_create(None, dir, &Random::default())
    }

    #[test]
    fn the_first_start_makes_a_key_that_only_its_owner_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path()).unwrap();
        let mode = fs::metadata(dir.path().join(FILE_NAME))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(load(dir.path()).unwrap().fingerprint(), first.fingerprint());
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn two_first_starts_at_once_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        create(&dir.path().join(FILE_NAME), &Random::default()).unwrap();
        let first = load(dir.path()).unwrap();
        create(&dir.path().join(FILE_NAME), &Random::default()).unwrap();
        assert_eq!(load(dir.path()).unwrap().fingerprint(), first.fingerprint());
    }

    #[test]
    fn the_configured_key_wins_and_no_file_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let text = STANDARD.encode([9; KEY_LEN]);
        for spelling in [
            text.clone(),
            text.trim_end_matches('=').to_owned(),
            format!("{text}\n"),
        ] {
            let key = load_or_create(Some(&Secret::new(spelling)), dir.path(), &Random::default());
            assert_eq!(
                key.unwrap().fingerprint(),
                SealingKey::new(&[9; KEY_LEN]).unwrap().fingerprint()
            );
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            "",
            "short",
            &STANDARD.encode([1; 31]),
            &STANDARD.encode([1; 33]),
        ] {
            let error = load_or_create(Some(&Secret::new(text)), dir.path(), &Random::default())
                .unwrap_err();
            let message = error.to_string();
            assert!(message.contains("REEVE_ENCRYPTION_KEY"), "{message}");
            assert!(message.contains("32 bytes"), "{message}");
        }
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path()).unwrap();
        let path = dir.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            load(dir.path()),
            Err(KeyError::Exposed { mode: 0o644, .. })
        ));
    }

    #[test]
    fn a_damaged_key_file_is_reported_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path()).unwrap();
        let path = dir.path().join(FILE_NAME);
        fs::write(&path, "garbage").unwrap();
        let message = load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("encryption.key"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "garbage");
    }
}
