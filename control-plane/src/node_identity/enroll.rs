//! Credentials as files.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::Context as _;

use super::{AUTHORITY_FILE, Authority, CERTIFICATE_FILE, Credentials, KEY_FILE};
use crate::bootstrap::{self, Gateway};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Db;
use crate::random::Random;
use crate::secrets;

/// `reeve node enroll`: credentials and a bootstrap for one more Envoy, in `directory`.
pub async fn enroll(
    config: &Config,
    node_id: &str,
    days: u16,
    directory: &Path,
) -> anyhow::Result<()> {
    let random = Random::default();
    let db = Db::open(&config.database_url)
        .await
        .context("cannot open the database")?;
    let key = config.encryption_key.as_ref();
    let sealing_key = secrets::load_or_create(key, &config.data_dir, &random)
        .context("no key to open the authority's key with")?;
    let now_ms = Clock::System.now_ms();
    let authority = Authority::load_or_create(&db, &sealing_key, &random, now_ms).await?;
    let credentials = authority.of_node(node_id, days, now_ms)?;
    db.close().await;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .and_then(|()| write(directory, &credentials))
        .with_context(|| format!("cannot write to `{}`", directory.display()))?;
    let gateway = Gateway {
        node_id: node_id.to_owned(),
        credentials: Some(std::path::absolute(directory)?),
        ..Gateway::beside(config)?
    };
    bootstrap::write(directory, &bootstrap::render(&gateway))?;
    println!(
        "`{}` has what the Envoy `{node_id}` starts with: envoy -c {}",
        directory.display(),
        directory.join(bootstrap::FILE).display()
    );
    Ok(())
}

/// Writes credentials into a directory; only the owner can read them.
pub fn write(directory: &Path, credentials: &Credentials) -> io::Result<()> {
    for (name, content) in [
        (CERTIFICATE_FILE, credentials.certificate.as_str()),
        (KEY_FILE, credentials.key.expose()),
        (AUTHORITY_FILE, &credentials.authority),
    ] {
        let temporary = directory.join(format!(".{name}.new"));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // Gone: it was left by a write that was cut off.
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content.as_bytes())?;
        fs::rename(&temporary, directory.join(name))?;
    }
    Ok(())
}
