use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{Origin, Provider};
use crate::secrets::Secret;

/// Name of a provider's SDS resource, and of its file without `.json`.
///
/// It holds a digest of the place that the key may be sent to. A provider that moves gets another
/// file and its cluster is replaced with it; were the file shared, the old cluster could send the
/// new key to the old host in between. Changing the key alone changes the file's content only.
pub(super) fn name(provider: &str, origin: &Origin) -> String {
    let scheme = if origin.tls { "https" } else { "http" };
    let digest = Sha256::digest(format!("{scheme}://{}", origin.authority()));
    let digest: u64 = digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    format!("{provider}-{digest:016x}")
}

/// The SDS file of a provider: name and content. None for a provider without credential.
pub(super) fn file(provider: &Provider) -> Option<(String, Secret)> {
    let credential = provider.credential.as_ref()?;
    let name = name(&provider.stem(), &provider.origin);
    let content = json!({
        "resources": [{
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": name,
            "generic_secret": {"secret": {"inline_string": credential.key.expose()}},
        }],
    });
    Some((format!("{name}.json"), Secret::new(super::text(&content))))
}
