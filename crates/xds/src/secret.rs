use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{GenericSecret, Secret};
use sha2::{Digest as _, Sha256};

use crate::{Credential, Origin, Provider};

/// Name of the secret that holds a provider's key.
///
/// It holds a digest of the place that the key may be sent to. A provider that moves gets another
/// secret and its cluster is replaced with it; were the name the same, the old cluster could send the
/// new key to the old host in between. Changing the key alone changes the secret's content only.
pub(crate) fn name(stem: &str, origin: &Origin) -> String {
    let scheme = if origin.tls { "https" } else { "http" };
    let digest = Sha256::digest(format!("{scheme}://{}", origin.authority()));
    let digest: u64 = digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    format!("{stem}-{digest:016x}")
}

/// The secret of a provider. None for a provider without a key that travels in a header.
pub(crate) fn secret(provider: &Provider) -> Option<Secret> {
    let Some(Credential::Header { key, .. }) = &provider.credential else {
        return None;
    };
    let key = DataSource {
        specifier: Some(Specifier::InlineString(key.expose().to_owned())),
        ..DataSource::default()
    };
    Some(Secret {
        name: name(&provider.stem(), &provider.origin),
        r#type: Some(Type::GenericSecret(GenericSecret {
            secret: Some(key),
            ..GenericSecret::default()
        })),
    })
}
