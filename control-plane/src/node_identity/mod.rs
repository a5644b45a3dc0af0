//! Who an Envoy is: certificates for the gRPC port, and what a caller of it may say of itself.
//!
//! Over that port go provider keys, policy, money and usage. So outside of `--dev` it is mutual TLS:
//! the control plane has a small certificate authority of its own ([`Authority`]), and every Envoy a
//! certificate for its node id, made by `reeve node enroll` (the Envoy beside the control plane gets
//! its own at each start). Certificates of a mesh are taken as well, when a trust bundle and a trust
//! domain are configured.
//!
//! Invariants: the authority's key is stored encrypted; a node speaks only for itself ([`Caller`]).

mod authority;
mod caller;
mod enroll;
mod store;
#[cfg(test)]
mod tests;

pub use authority::{Authority, Credentials, IdentityError};
pub use caller::{Caller, Callers, Mesh};
pub use enroll::{enroll, write};

/// Trust domain of our own certificates: a node is `spiffe://reeve.internal/node/<node id>`.
pub const TRUST_DOMAIN: &str = "reeve.internal";
/// The control plane's name in its certificate.
pub const SERVER_NAME: &str = "control-plane.reeve.internal";
/// Files of an Envoy's credentials: its certificate, its key, and the authority.
pub const CERTIFICATE_FILE: &str = "node.pem";
/// See [`CERTIFICATE_FILE`].
pub const KEY_FILE: &str = "node-key.pem";
/// See [`CERTIFICATE_FILE`].
pub const AUTHORITY_FILE: &str = "authority.pem";
/// How long a node's certificate is good for, if nothing else is said.
pub const DEFAULT_DAYS: u16 = 365;

/// Longest node id that is enrolled, characters.
const MAX_NODE_ID: usize = 128;

/// Can an Envoy of this name be enrolled? `Err`: why not.
pub fn check_node_id(node_id: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=MAX_NODE_ID).contains(&node_id.len()) && node_id.bytes().all(fits) {
        return Ok(());
    }
    Err(format!(
        "a node id has 1 to {MAX_NODE_ID} letters, digits, `-`, `_` and `.`"
    ))
}

fn own_id(node_id: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/node/{node_id}")
}
