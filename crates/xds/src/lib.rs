//! What Envoy is told by xDS, and who is answered what. No I/O, no clock, no chance.
//!
//! ```text
//! Input ── Snapshot::after ──► Snapshot ── Subscriber ──► Answer     one Subscriber for each stream
//! ```
//!
//! The resources, in the order in which they are sent (so that nothing names what is not there yet):
//!
//! | type | resources | file |
//! |---|---|---|
//! | clusters (CDS) | one for each provider, and one for each of its active keys | `cluster.rs`, `credential.rs` |
//! | secrets (SDS) | the provider keys, by name of provider and place | `secret.rs` |
//! | routes (RDS) | the one route configuration | `route.rs` |
//! | filters (ECDS) | the governance filter's configuration | `plugin.rs` |
//!
//! `envoy/README.md` says why each field is there.
//!
//! Invariants: a provider key is in its secret only, which is named after the place that the key may be
//! sent to, or, if Envoy signs with it, in the cluster of that place (`signature.rs`); a request that the
//! governance filter has not judged reaches no provider.

mod cluster;
mod credential;
mod egress;
mod message;
mod plugin;
mod resource_type;
mod route;
mod secret;
mod signature;
mod snapshot;
mod subscriber;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// Who an Envoy says it is.
pub use envoy_types::pb::envoy::config::core::v3::Node;
/// Envoy's discovery service, for the process that serves it.
pub use envoy_types::pb::envoy::service::discovery::v3 as discovery;
/// What an Envoy says about what it refuses.
pub use envoy_types::pb::google::rpc::Status as RpcStatus;

pub use plugin::{ATTEMPT, GOVERNANCE, GOVERNANCE_FILTER, RUNTIME, SYNC, VM_ID, configuration};
pub use resource_type::ResourceType;
pub use route::{NO_ATTEMPT, ROUTES, SLOTS, slot};
pub use snapshot::Snapshot;
pub use subscriber::{Answer, Heard, Standing, Subscriber, Verdict};

/// Name of the cluster of the control plane's admin API; it is in Envoy's bootstrap.
pub const CONTROL_PLANE_HTTP: &str = "control_plane_http";
/// Name of the cluster of the control plane's gRPC port; it is in Envoy's bootstrap.
pub const CONTROL_PLANE_GRPC: &str = "control_plane_grpc";

/// Everything that the resources are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// What does not belong to a provider.
    pub gateway: Gateway,
    /// By cluster, each once.
    pub providers: Vec<Provider>,
}

/// What does not belong to a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Host names that callers may use, without port; `*` admits any. In `--dev`, where the admin
    /// API needs no login, it must be the loopback names, or any web page that rebinds its own
    /// DNS name to 127.0.0.1 could administer the gateway.
    pub domains: Vec<String>,
    /// Largest request body that the filter may hold back, bytes.
    pub max_request_body_bytes: u32,
    /// The filter module, `reeve_filter.wasm`; absolute, as Envoy sees it.
    pub filter: PathBuf,
    /// PEM file of the certificate authorities that providers are verified against; as Envoy sees it.
    pub ca_bundle: PathBuf,
}

/// A provider as Envoy sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// `^[a-z][a-z0-9_-]{0,62}$`.
    pub name: String,
    /// The key that it is for, for virtual keys that are bound to it; none: the one that is used otherwise.
    pub key_id: Option<String>,
    /// `openai`, `anthropic`, `gemini`, `bedrock` or `cohere`; it goes into the cluster's metadata.
    pub wire_format: &'static str,
    /// Where it is.
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
    pub forbidden: Vec<(std::net::IpAddr, u8)>,
    /// Not, but for what is exempt.
    pub private: Vec<(std::net::IpAddr, u8)>,
    /// See [`Self::private`].
    pub exempt: Vec<(std::net::IpAddr, u8)>,
}

/// Where a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `https` rather than `http`.
    pub tls: bool,
    /// Its name or address.
    pub host: Host,
    /// Its port.
    pub port: u16,
}

/// A host as it stands in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A DNS name.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// How requests authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// By a key in a header.
    Header {
        /// The header.
        header: &'static str,
        /// What precedes the key, such as `Bearer `.
        prefix: &'static str,
        /// What paths begin with, below the base path, where OpenAI's API is served and wants the key as OpenAI
        /// does; none: there is no such place, or the header is the same.
        openai_side: Option<&'static str>,
        /// The key.
        key: Key,
    },
    /// By a signature of each request.
    Aws(AwsKey),
}

/// What requests to Amazon Bedrock are signed with (AWS Signature Version 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKey {
    /// Its name, which each request carries in the clear.
    pub access_key: String,
    /// What signs. It does not travel.
    pub secret_key: Key,
    /// Of temporary credentials.
    pub session_token: Option<Key>,
    /// The region that the signature is for.
    pub region: String,
}

/// A provider key. It does not show itself, and leaves nothing in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<String>);

impl Credential {
    /// Header and prefix of a key on an OpenAI side.
    pub const ON_OPENAI_SIDE: (&'static str, &'static str) = ("authorization", "Bearer ");
}

impl Key {
    /// Takes a key into custody.
    pub fn new(key: &str) -> Self {
        Self(Zeroizing::new(key.to_owned()))
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Name of the Envoy cluster of a provider.
pub fn cluster_name(provider: &str) -> String {
    format!("provider_{provider}")
}

impl Provider {
    /// Name of its cluster.
    pub fn cluster(&self) -> String {
        cluster_name(&self.stem())
    }

    /// What its cluster and its secret are called after.
    fn stem(&self) -> String {
        match &self.key_id {
            Some(key_id) => format!("{}__{key_id}", self.name),
            None => self.name.clone(),
        }
    }

    fn is_same_as(&self, other: &Self) -> bool {
        self.name == other.name && self.key_id == other.key_id
    }
}

impl Input {
    /// Together with the providers that were there before and are no longer: what serves while those
    /// who know of either are told.
    #[must_use]
    pub fn with_those_of(&self, before: &Self) -> Self {
        let is_gone = |old: &&Provider| !self.providers.iter().any(|new| new.is_same_as(old));
        let gone = before.providers.iter().filter(is_gone).cloned();
        let mut providers: Vec<Provider> = self.providers.iter().cloned().chain(gone).collect();
        providers.sort_by_cached_key(Provider::cluster);
        Self {
            gateway: self.gateway.clone(),
            providers,
        }
    }
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
