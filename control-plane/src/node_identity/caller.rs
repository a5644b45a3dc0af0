use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic::{Request, Status};
use webpki::EndEntityCert;

use super::{Credentials, TRUST_DOMAIN, own_id};

const SPIFFE: &str = "spiffe://";

/// Who may call the gRPC port.
#[derive(Debug, Clone)]
pub enum Callers {
    /// Whoever reaches it: `--dev`, on loopback.
    Anyone,
    /// Whoever has a certificate.
    Certified(Option<Mesh>),
}

/// Somebody else's certificates that are as good as ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mesh {
    /// Certificates of its authorities, PEM.
    pub trust_bundle: String,
    /// The SPIFFE id that Envoys have there, or under which theirs are: `spiffe://cluster.local/ns/envoys`.
    pub identities: String,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Anyone, and it may say that it is anyone.
    Anyone,
    /// The holder of a certificate with this SPIFFE id.
    Certified {
        /// `spiffe://<trust domain>/<path>`.
        id: String,
        /// [`Mesh::identities`], if a mesh's certificates are taken.
        mesh: Option<String>,
    },
}

impl Callers {
    /// How the port is served. `None`: in the clear.
    pub fn tls(&self, server: &Credentials) -> Option<ServerTlsConfig> {
        let Self::Certified(mesh) = self else {
            return None;
        };
        let mut authorities = server.authority.clone();
        if let Some(mesh) = mesh {
            authorities.push('\n');
            authorities.push_str(&mesh.trust_bundle);
        }
        let identity = Identity::from_pem(&server.certificate, server.key.expose());
        Some(
            ServerTlsConfig::new()
                .identity(identity)
                .client_ca_root(Certificate::from_pem(authorities)),
        )
    }

    /// Who has sent a request. (That its certificate is valid, TLS has seen to.)
    pub fn identify<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let Self::Certified(mesh) = self else {
            return Ok(Caller::Anyone);
        };
        let certificates = request.peer_certs();
        let leaf = certificates.as_ref().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| Status::unauthenticated("there is no certificate"))?;
        let leaf = EndEntityCert::try_from(leaf)
            .map_err(|_| Status::unauthenticated("the certificate cannot be read"))?;
        let mut ids = leaf.valid_uri_names();
        // One, as SPIFFE says; of several nobody could tell which one counts.
        let (Some(id), None) = (ids.next(), ids.next()) else {
            return Err(Status::unauthenticated(
                "the certificate must have exactly one URI, its SPIFFE id",
            ));
        };
        Ok(Caller::Certified {
            id: id.to_owned(),
            mesh: mesh.as_ref().map(|mesh| mesh.identities.clone()),
        })
    }
}

impl Caller {
    /// Is it the node that it says it is?
    pub fn check(&self, node_id: &str) -> Result<(), Status> {
        if self.may_speak_for(node_id) {
            return Ok(());
        }
        let Self::Certified { id, .. } = self else {
            return Ok(());
        };
        tracing::warn!(node.id = node_id, ?id, "a node speaks for another: refused");
        Err(Status::permission_denied(format!(
            "the certificate is for another node; enroll this one with `reeve node enroll {node_id}`"
        )))
    }

    fn may_speak_for(&self, node_id: &str) -> bool {
        let Self::Certified { id, mesh } = self else {
            return true;
        };
        if *id == own_id(node_id) {
            return true;
        }
        if !mesh.as_ref().is_some_and(|mesh| is_or_is_under(id, mesh)) {
            return false;
        }
        let path = id.strip_prefix(SPIFFE).and_then(|id| id.split_once('/'));
        path.is_some_and(|(_, path)| {
            // Pods of one service account share its identity: they add their own names.
            is_or_is_under(node_id, path)
                || namespace_of_istio(node_id).is_some_and(|it| namespace_of(path) == Some(it))
        })
    }
}

fn is_or_is_under(name: &str, root: &str) -> bool {
    name.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The namespace of a Kubernetes service account, `ns/<namespace>/sa/<name>`.
fn namespace_of(path: &str) -> Option<&str> {
    let (namespace, account) = path.strip_prefix("ns/")?.split_once('/')?;
    account.starts_with("sa/").then_some(namespace)
}

/// The namespace of the pod that Istio has named, `<type>~<address>~<pod>.<namespace>~<DNS domain>`.
fn namespace_of_istio(node_id: &str) -> Option<&str> {
    let mut parts = node_id.split('~');
    let pod = parts.nth(2)?;
    let (Some(_), None) = (parts.next(), parts.next()) else {
        return None;
    };
    pod.rsplit_once('.').map(|(_, namespace)| namespace)
}

impl Mesh {
    /// `Err`: what is wrong with `identities`.
    pub fn new(trust_bundle: String, identities: String) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_segment = |segment: &str| !segment.is_empty() && segment.bytes().all(fits);
        let id = identities.strip_prefix(SPIFFE).unwrap_or_default();
        let Some((trust_domain, path)) = id.split_once('/') else {
            // A whole mesh would be too much: whoever joins is given the provider keys.
            return Err(
                "names the Envoys' part of a trust domain, as in `spiffe://cluster.local/ns/reeve-gateway`"
                    .to_owned(),
            );
        };
        if !is_segment(trust_domain) || !path.split('/').all(is_segment) {
            return Err(
                "has letters, digits, `-`, `.` and `_` between its slashes, and none at its end"
                    .to_owned(),
            );
        }
        if trust_domain == TRUST_DOMAIN {
            return Err(format!("`{TRUST_DOMAIN}` is that of our own certificates"));
        }
        Ok(Self {
            trust_bundle,
            identities,
        })
    }
}
