use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic::{Request, Status};
use webpki::EndEntityCert;

use super::{Credentials, TRUST_DOMAIN, own_id};

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
    /// Its SPIFFE trust domain.
    pub trust_domain: String,
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
        /// The trust domain of a mesh, if it is one of its certificates that are taken.
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
            mesh: mesh.as_ref().map(|mesh| mesh.trust_domain.clone()),
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
        let of_mesh = mesh.as_ref().and_then(|trust_domain| {
            let path = id
                .strip_prefix("spiffe://")?
                .strip_prefix(trust_domain.as_str())?;
            path.strip_prefix('/')
        });
        // Pods of one service account share its identity: they add their own names.
        of_mesh.is_some_and(|path| {
            !path.is_empty()
                && node_id
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl Mesh {
    /// `Err`: what is wrong with the trust domain.
    pub fn new(trust_bundle: String, trust_domain: String) -> Result<Self, String> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        if trust_domain.is_empty() || !trust_domain.bytes().all(fits) {
            return Err(
                "has lower-case letters, digits, `-`, `.` and `_`, as in `cluster.local`"
                    .to_owned(),
            );
        }
        if trust_domain == TRUST_DOMAIN {
            return Err(format!("`{TRUST_DOMAIN}` is that of our own certificates"));
        }
        Ok(Self {
            trust_bundle,
            trust_domain,
        })
    }
}
