//! From stored providers to Envoy's files: reads the database, opens the keys, renders, writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reeve_policy::view::WireFormat;
use tokio::sync::Mutex;

use super::{Provider, store};
use crate::app::App;
use crate::config::Config;
use crate::db::{self, Tx};
use crate::envoy_files::{self, Credential, Gateway, Input, WriteError, Written};
use crate::error::Error;
use crate::policy_changes::{self, Change, Kind};
use crate::secrets::{Place, SealError, Secret};
use crate::settings::{self, Settings};

/// Where Envoy's files are, in the data directory.
pub const DIRECTORY: &str = "envoy";
/// Envoy lets the filter hold back this much of a request body at least, bytes, so that small
/// changes of the settings need no restart of Envoy. The filter keeps to the settings themselves.
const MIN_BODY_BUFFER_BYTES: u32 = 32 << 20;
/// How soon a change that another replica made reaches this replica's Envoy.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

/// Makes writers of Envoy's files take turns, so that an older state never overwrites a newer one.
#[derive(Debug, Default)]
pub struct EnvoyFiles(Mutex<()>);

/// Why Envoy's files are not up to date.
#[derive(Debug, thiserror::Error)]
enum FilesError {
    #[error("the key of provider `{provider}` cannot be opened: {source}")]
    Key { provider: String, source: SealError },
    #[error("the path of the data directory cannot be made absolute: {0}")]
    Directory(std::io::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("the writing task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Brings Envoy's files up to date with the database. Envoy notices by itself.
pub async fn write_envoy_files(app: &App) -> Result<Written, Error> {
    let _turn = app.envoy_files.0.lock().await;
    let mut tx = app.db.begin_read().await?;
    let providers = ready_providers(&mut tx, app).await?;
    let settings = settings::store::get(&mut tx).await?;
    drop(tx);
    let gateway = gateway(app, &settings).map_err(Error::internal)?;
    let dir = gateway.dir.clone();
    let files = envoy_files::render(&Input { gateway, providers });
    let write = tokio::task::spawn_blocking(move || envoy_files::write(&dir, &files));
    let written = write
        .await
        .map_err(|error| Error::internal(FilesError::from(error)))?;
    let written = written.map_err(|error| Error::internal(FilesError::from(error)))?;
    if written != Written::default() {
        tracing::info!(replaced = ?written.replaced, removed = ?written.removed, "Envoy's files written");
    }
    Ok(written)
}

/// Keeps Envoy's files up to date with changes of other replicas, and makes up for writes that
/// failed. Returns when the process is asked to stop.
pub async fn watch_envoy_files(app: Arc<App>) {
    let mut seen = None;
    loop {
        match changed_since(&app, seen).await {
            Ok((latest, false)) => seen = Some(latest),
            // Not seen until it is written: a failure is tried again.
            Ok((latest, true)) => match write_envoy_files(&app).await {
                Ok(_) => seen = Some(latest),
                Err(error) => log(&error),
            },
            Err(error) => log(&error.into()),
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_PERIOD) => {}
            () = app.stopped() => return,
        }
    }
}

fn log(error: &Error) {
    let cause = match error {
        Error::Internal(cause) => cause.to_string(),
        other => other.to_string(),
    };
    tracing::error!(cause, "Envoy's files are not up to date; trying again");
}

/// The newest change, and whether one since `seen` is about what the files hold.
async fn changed_since(app: &App, seen: Option<i64>) -> Result<(i64, bool), db::Error> {
    let mut tx = app.db.begin_read().await?;
    let Some(seen) = seen else {
        return Ok((policy_changes::latest(&mut tx).await?, true));
    };
    let changes = policy_changes::since(&mut tx, seen).await?;
    let latest = changes.last().map_or(seen, |change| change.sequence);
    let touches = |change: &Change| matches!(change.kind, Kind::Provider | Kind::Settings);
    Ok((latest, changes.iter().any(touches)))
}

/// The providers that requests can be sent to: those with a key, and those that ask for none. Each active
/// key besides makes one of its own, for virtual keys that are bound to it or will be.
async fn ready_providers(tx: &mut Tx, app: &App) -> Result<Vec<envoy_files::Provider>, Error> {
    let mut ready = Vec::new();
    for provider in store::all(tx).await? {
        if provider.is_key_less {
            ready.push(rendered(app, &provider, None, None));
        }
        for (place_in_use, (id, sealed)) in (0..).zip(store::active_keys(tx, &provider.name).await?)
        {
            let key = app
                .sealing_key
                .open(place(&id), &sealed)
                .map_err(|source| {
                    Error::internal(FilesError::Key {
                        provider: provider.name.clone(),
                        source,
                    })
                })?;
            if place_in_use == 0 && !provider.is_key_less {
                ready.push(rendered(app, &provider, Some(key.clone()), None));
            }
            ready.push(rendered(app, &provider, Some(key), Some(id)));
        }
    }
    Ok(ready)
}

/// Where a key's value is sealed for.
pub(super) fn place(key_id: &str) -> Place<'_> {
    Place {
        table: "provider_keys",
        row: key_id,
        column: "sealed_value",
    }
}

fn rendered(
    app: &App,
    provider: &Provider,
    key: Option<Secret>,
    key_id: Option<String>,
) -> envoy_files::Provider {
    let Config {
        dev,
        private_networks,
        ..
    } = &app.config;
    let private = super::private(*dev, provider.allow_private_network, private_networks);
    let (header, prefix) = provider.base_provider_type.credential_header();
    envoy_files::Provider {
        wire_format: wire_format_name(provider.base_provider_type.wire_format()),
        origin: provider.base_url.origin().clone(),
        egress: private.egress(&provider.base_url),
        base_path: provider.base_url.path().to_owned(),
        credential: key.map(|key| Credential {
            header,
            prefix,
            key,
        }),
        name: provider.name.clone(),
        key_id,
    }
}

/// The word for a wire format in Envoy's metadata.
const fn wire_format_name(wire_format: WireFormat) -> &'static str {
    match wire_format {
        WireFormat::OpenAi => "openai",
        WireFormat::Anthropic => "anthropic",
        WireFormat::Gemini => "gemini",
        WireFormat::Bedrock => "bedrock",
        WireFormat::Cohere => "cohere",
    }
}

fn gateway(app: &App, settings: &Settings) -> Result<Gateway, FilesError> {
    let config = &app.config;
    let absolute = |path: &Path| std::path::absolute(path).map_err(FilesError::Directory);
    let domains: &[&str] = if config.dev {
        &["localhost", "127.0.0.1", "[::1]"]
    } else {
        &["*"]
    };
    Ok(Gateway {
        // One data directory has one Envoy; its boot id tells its lives apart in the ledger.
        node_id: format!("envoy-{}", config.port),
        node_cluster: "reeve".to_owned(),
        port: config.port,
        admin_port: config.envoy_admin_port,
        http_port: config.http_port,
        grpc_port: config.grpc_port,
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        max_request_body_bytes: u32::try_from(settings.max_request_body_bytes)
            .unwrap_or(u32::MAX)
            .max(MIN_BODY_BUFFER_BYTES),
        dir: absolute(&config.data_dir.join(DIRECTORY))?,
        filter: absolute(&filter(config.filter_wasm.as_deref()))?,
        ca_bundle: ca_bundle(),
    })
}

/// The filter module: as configured, or beside this program.
fn filter(configured: Option<&Path>) -> PathBuf {
    const NAME: &str = "reeve_filter.wasm";
    match configured {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe()
            .unwrap_or_default()
            .with_file_name(NAME),
    }
}

/// Where the operating system keeps its certificate authorities.
fn ca_bundle() -> PathBuf {
    const DEBIAN: &str = "/etc/ssl/certs/ca-certificates.crt";
    const OTHERS: &[&str] = &[
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    // Where none is found Envoy names the missing file, and refuses the clusters that need it.
    [DEBIAN]
        .iter()
        .chain(OTHERS)
        .map(PathBuf::from)
        .find(|path| path.exists())
        .unwrap_or(DEBIAN.into())
}
