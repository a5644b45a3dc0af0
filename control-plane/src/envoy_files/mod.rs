//! The files that configure Envoy: its bootstrap, the clusters of the providers (CDS), the routes to them
//! (RDS) and their keys (SDS).
//!
//! [`render`] is pure: what the control plane knows goes in, the files' texts come out.
//! [`write`] puts them into a directory that Envoy watches. `envoy/README.md` says why each field
//! is there, `envoy/bootstrap.example.yaml` shows a rendered bootstrap with comments.
//!
//! Invariants: a provider key is in SDS files only, which are named after the place that the key
//! may be sent to; a request that the governance filter has not judged reaches no provider.

mod bootstrap;
mod cluster;
mod egress;
mod listener;
mod local_reply;
mod observability;
mod plugin;
mod route;
mod secret;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

pub use writer::{WriteError, Written, write};

use crate::secrets::Secret;

/// Name of the cluster of the control plane's admin API.
pub const CONTROL_PLANE_HTTP: &str = "control_plane_http";
/// Name of the cluster of the control plane's policy stream.
pub const CONTROL_PLANE_GRPC: &str = "control_plane_grpc";
/// Name of a cluster without endpoints, where a request goes that the governance filter sends nowhere.
pub const NOBODY: &str = "reeve_nobody";

const BOOTSTRAP_FILE: &str = "bootstrap.json";
const CLUSTERS_FILE: &str = "clusters.json";
const ROUTES_FILE: &str = "routes.json";
const SECRETS_DIR: &str = "secrets";

/// Everything that the files are made of.
#[derive(Debug, Clone)]
pub struct Input {
    pub gateway: Gateway,
    pub providers: Vec<Provider>,
}

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
    /// The control plane's policy stream.
    pub grpc_port: u16,
    /// Host names that callers may use, without port; `*` admits any. In `--dev`, where the admin
    /// API needs no login, it must be the loopback names, or any web page that rebinds its own
    /// DNS name to 127.0.0.1 could administer the gateway.
    pub domains: Vec<String>,
    /// Largest request body that the filter may hold back, bytes.
    pub max_request_body_bytes: u32,
    /// The directory that the files are written to; absolute, because Envoy runs elsewhere.
    pub dir: PathBuf,
    /// The filter module, `reeve_filter.wasm`; absolute.
    pub filter: PathBuf,
    /// PEM file of the certificate authorities that providers are verified against.
    pub ca_bundle: PathBuf,
}

/// A provider as Envoy sees it.
#[derive(Debug, Clone)]
pub struct Provider {
    /// `^[a-z][a-z0-9_-]{0,62}$`.
    pub name: String,
    /// The key that it is for, for virtual keys that are bound to it; none: the one that is used otherwise.
    pub key_id: Option<String>,
    /// `openai`, `anthropic`, `gemini`, `bedrock` or `cohere`; it goes into the cluster's metadata.
    pub wire_format: &'static str,
    pub origin: Origin,
    /// Where it must not be, whatever its name leads to.
    pub egress: Egress,
    /// Path in front of every request path, without trailing slash; empty: none.
    pub base_path: String,
    /// How requests authenticate; none for a provider that asks for no key.
    pub credential: Option<Credential>,
}

/// Where Envoy must not connect to for a provider: networks, as an address and how many of its bits count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    /// Never.
    pub forbidden: Vec<(IpAddr, u8)>,
    /// Not, but for what is exempt.
    pub private: Vec<(IpAddr, u8)>,
    pub exempt: Vec<(IpAddr, u8)>,
}

/// Where a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `https` rather than `http`.
    pub tls: bool,
    pub host: Host,
    pub port: u16,
}

/// A host as it stands in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

/// A provider key and the header it travels in.
#[derive(Debug, Clone)]
pub struct Credential {
    pub header: &'static str,
    /// What precedes the key, such as `Bearer `.
    pub prefix: &'static str,
    pub key: Secret,
}

/// The rendered files.
#[derive(Debug, Clone)]
pub struct Files {
    pub bootstrap: String,
    pub clusters: String,
    pub routes: String,
    /// File name (in the secrets directory) to content.
    pub secrets: BTreeMap<String, Secret>,
}

/// Name of the Envoy cluster of a provider.
pub fn cluster_name(provider: &str) -> String {
    format!("provider_{provider}")
}

impl Provider {
    /// What its cluster and its secret are called after.
    fn stem(&self) -> String {
        match &self.key_id {
            Some(key_id) => format!("{}__{key_id}", self.name),
            None => self.name.clone(),
        }
    }

    fn cluster(&self) -> String {
        cluster_name(&self.stem())
    }
}

/// Renders every file. Equal input gives equal bytes, so an unchanged file can be left alone.
pub fn render(input: &Input) -> Files {
    let gateway = &input.gateway;
    Files {
        bootstrap: text(&bootstrap::bootstrap(gateway)),
        clusters: text(&cluster::clusters(gateway, &input.providers)),
        routes: text(&route::routes(gateway, &input.providers)),
        secrets: input.providers.iter().filter_map(secret::file).collect(),
    }
}

fn text(json: &serde_json::Value) -> String {
    format!("{json:#}\n")
}

impl Origin {
    /// The `host` header of requests to it: the port is there when it is not the scheme's own.
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        };
        let default_port = if self.tls { 443 } else { 80 };
        if self.port == default_port {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}
