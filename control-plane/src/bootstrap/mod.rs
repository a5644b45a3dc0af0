//! Envoy's bootstrap: who this Envoy is, where it listens, how it treats callers, and where it gets
//! everything else (`reeve_xds`, by `crate::ads`).
//!
//! [`render`] is pure. [`write`] puts the text into the data directory, for `reeve up` and for whoever
//! starts Envoy by hand. `envoy/README.md` says why each field is there,
//! `envoy/bootstrap.example.yaml` shows a rendered bootstrap with comments.
//!
//! Invariants: callers cannot set what the filter and Envoy tell each other; nothing is served before
//! the governance filter has its configuration.

mod clusters;
mod discovery;
mod listener;
mod local_reply;
mod observability;
mod plugin;
mod process;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

pub use writer::{WriteError, write};

use crate::config::Config;

/// Where it is written, in the data directory.
pub const DIRECTORY: &str = "envoy";
/// Its file.
pub const FILE: &str = "bootstrap.json";

/// The Envoy process and its surroundings.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// `node.id`: names this Envoy in the usage ledger, so no two Envoys may share it.
    pub node_id: String,
    /// `node.cluster`: names the fleet.
    pub node_cluster: String,
    /// Where the LLM APIs are served.
    pub port: u16,
    /// Envoy's own admin interface.
    pub admin_port: u16,
    /// The control plane's REST API.
    pub http_port: u16,
    /// The control plane's streams.
    pub grpc_port: u16,
    /// The filter module, `reeve_filter.wasm`; absolute, because Envoy runs elsewhere.
    pub filter: PathBuf,
    /// Directory of the credentials for the control plane's streams ([`crate::node_identity`]);
    /// absolute. `None`: they are in the clear.
    pub credentials: Option<PathBuf>,
}

impl Gateway {
    /// The Envoy beside this control plane. Only in `--dev` it needs no credentials.
    ///
    /// # Errors
    /// When there is no working directory to make paths absolute with.
    pub fn beside(config: &Config) -> io::Result<Self> {
        Ok(Self {
            // One data directory has one Envoy; its boot id tells its lives apart in the ledger.
            node_id: format!("envoy-{}", config.port),
            node_cluster: "reeve".to_owned(),
            port: config.port,
            admin_port: config.envoy_admin_port,
            http_port: config.http_port,
            grpc_port: config.grpc_port,
            filter: filter(config.filter_wasm.as_deref())?,
            credentials: if config.dev {
                None
            } else {
                Some(std::path::absolute(config.data_dir.join(DIRECTORY))?)
            },
        })
    }
}

/// The filter module: as configured, or beside this program; absolute.
///
/// # Errors
/// When there is no working directory to make the path absolute with.
pub fn filter(configured: Option<&Path>) -> io::Result<PathBuf> {
    const NAME: &str = "reeve_filter.wasm";
    let path = match configured {
        Some(path) => path.to_path_buf(),
        None => std::env::current_exe()
            .unwrap_or_default()
            .with_file_name(NAME),
    };
    std::path::absolute(path)
}

/// Renders it. Equal input gives equal bytes, so an unchanged file can be left alone.
pub fn render(gateway: &Gateway) -> String {
    format!("{:#}\n", process::bootstrap(gateway))
}
