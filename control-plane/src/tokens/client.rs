//! Asks a token endpoint. It is where an administrator says, so it is judged like a provider's address: what
//! its name leads to is looked at before there is a connection, and answers lead nowhere else.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use reeve_xds::{Egress, Host};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::providers::BaseUrl;
use crate::providers::key_config::Grant;
use crate::providers::reach::Network;
use crate::secrets::Secret;

/// For all of it: name, connection, answer.
const PATIENCE: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 65_536;
/// More would not fit into a request's headers.
const MAX_TOKEN: usize = 8_192;
/// Seconds; what an endpoint that does not say means, as both vendors' do.
const LIVES_S: i64 = 3_600;
const LONGEST_S: i64 = 86_400;

/// Why there is no token. It says nothing that was secret, and of the answer its `error` at most.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoToken {
    #[error("the token endpoint did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("the token endpoint's name cannot be resolved")]
    Unknown,
    #[error("the token endpoint's name leads to an address where it must not be")]
    Elsewhere,
    #[error("no connection to the token endpoint: {0}")]
    Unreachable(std::io::Error),
    #[error("the exchange with the token endpoint broke off")]
    Broken,
    #[error("the token endpoint answered {status}{error}")]
    Refused { status: u16, error: String },
    #[error("the token endpoint's answer holds no bearer token")]
    NoBearer,
    #[error("no certificate authorities in {0}")]
    NoAuthorities(String),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "secret")]
    access_token: Secret,
    #[serde(default = "bearer")]
    token_type: String,
    /// Some write it as text.
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

fn bearer() -> String {
    "Bearer".to_owned()
}

/// A token and how long it lives, milliseconds.
pub(super) async fn ask(
    grant: &Grant,
    endpoint: &BaseUrl,
    egress: &Egress,
    ca_bundle: &Path,
) -> Result<(Secret, i64), NoToken> {
    let asked = tokio::time::timeout(PATIENCE, exchange(grant, endpoint, egress, ca_bundle));
    asked.await.map_err(|_elapsed| NoToken::Silent)?
}

async fn exchange(
    grant: &Grant,
    endpoint: &BaseUrl,
    egress: &Egress,
    ca_bundle: &Path,
) -> Result<(Secret, i64), NoToken> {
    let origin = endpoint.origin();
    let addresses = match &origin.host {
        Host::Address(address) => vec![SocketAddr::new(*address, origin.port)],
        Host::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), origin.port)).await;
            found.map_err(|_error| NoToken::Unknown)?.collect()
        }
    };
    // One that is forbidden is enough: who owns the name wants something.
    if addresses.iter().any(|it| !admits(egress, it.ip())) {
        return Err(NoToken::Elsewhere);
    }
    let stream = TcpStream::connect(addresses.as_slice()).await;
    let stream = stream.map_err(NoToken::Unreachable)?;
    if !origin.tls {
        return post(grant, endpoint, stream).await;
    }
    let name = match &origin.host {
        Host::Address(address) => ServerName::from(*address),
        Host::Name(name) => {
            ServerName::try_from(name.clone()).map_err(|_invalid| NoToken::Unknown)?
        }
    };
    let connector = TlsConnector::from(Arc::new(trust(ca_bundle)?));
    let stream = connector.connect(name, stream).await;
    post(grant, endpoint, stream.map_err(NoToken::Unreachable)?).await
}

/// The authorities that Envoy trusts.
fn trust(ca_bundle: &Path) -> Result<ClientConfig, NoToken> {
    let none = || NoToken::NoAuthorities(ca_bundle.display().to_string());
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca_bundle).map_err(|_error| none())?;
    roots.add_parsable_certificates(certificates.flatten());
    if roots.is_empty() {
        return Err(none());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_error| none())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn admits(egress: &Egress, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let within = |networks: &[(IpAddr, u8)]| {
        let mut networks = networks.iter().map(|parts| Network::from_parts(*parts));
        networks.any(|network| network.contains(address))
    };
    !within(&egress.forbidden) && (!within(&egress.private) || within(&egress.exempt))
}

async fn post(
    grant: &Grant,
    endpoint: &BaseUrl,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(Secret, i64), NoToken> {
    let broken = |_error: hyper::Error| NoToken::Broken;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = Request::post(endpoint.path())
        .header(header::HOST, endpoint.origin().authority())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::<Bytes>::from(grant.form.expose().as_bytes().to_vec()))
        .map_err(|_error| NoToken::Broken)?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_error| NoToken::Broken)?.to_bytes();
        if status == 200 {
            read(&body)
        } else {
            Err(refused(status.as_u16(), &body))
        }
    };
    // The connection moves on only while it is polled.
    let (answer, _end) = tokio::join!(answer, connection);
    answer
}

fn read(body: &[u8]) -> Result<(Secret, i64), NoToken> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_secret| NoToken::NoBearer)?;
    let token = answer.access_token.expose();
    let is_good = (1..=MAX_TOKEN).contains(&token.len())
        && token.bytes().all(|b| b.is_ascii_graphic())
        && answer.token_type.eq_ignore_ascii_case("bearer");
    if !is_good {
        return Err(NoToken::NoBearer);
    }
    let lives_s = match &answer.expires_in {
        Some(serde_json::Value::Number(number)) => number.as_i64(),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let lives_s = lives_s.unwrap_or(LIVES_S).clamp(1, LONGEST_S);
    Ok((answer.access_token, lives_s.saturating_mul(1_000)))
}

/// With the error's name from the answer (RFC 6749, 5.2), if that is what it is.
fn refused(status: u16, body: &[u8]) -> NoToken {
    let is_name = |text: &String| {
        text.len() <= 64 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    let named = serde_json::from_slice(body).map(|failure: Failure| failure.error);
    let error = named.ok().filter(is_name);
    NoToken::Refused {
        status,
        error: error.map_or_else(String::new, |error| format!(": `{error}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::{Private, PrivateNetworks};

    fn grant() -> Grant {
        Grant {
            url: String::new(),
            form: Secret::new(""),
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_elsewhere_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let listed: PrivateNetworks = "localhost".parse().unwrap();
        let url = format!("http://localhost:{port}/token");
        let endpoint = BaseUrl::parse(&url, Private::Listed(&listed)).unwrap();
        // As for a public name, which may lead to nothing private.
        let public = BaseUrl::parse("https://login.example.com", Private::Refused).unwrap();
        let egress = Private::Refused.egress(&public);
        let asked = ask(&grant(), &endpoint, &egress, Path::new("/none")).await;
        assert!(matches!(asked, Err(NoToken::Elsewhere)), "{asked:?}");
        let connected = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(connected.is_err(), "somebody has connected");
    }

    #[test]
    fn what_is_no_bearer_token_is_none() {
        for (body, lives_ms) in [
            (
                r#"{"access_token": "t", "token_type": "bearer", "expires_in": 60}"#,
                60_000,
            ),
            (r#"{"access_token": "t", "expires_in": "60"}"#, 60_000),
            (r#"{"access_token": "t"}"#, 3_600_000),
            (r#"{"access_token": "t", "expires_in": -1}"#, 1_000),
        ] {
            assert_eq!(read(body.as_bytes()).unwrap().1, lives_ms, "{body}");
        }
        for body in [
            "",
            "{}",
            r#"{"access_token": ""}"#,
            r#"{"access_token": "two words"}"#,
            r#"{"access_token": "t\r\nx: y"}"#,
            r#"{"access_token": "t", "token_type": "mac"}"#,
        ] {
            let answer = read(body.as_bytes());
            assert!(
                matches!(answer, Err(NoToken::NoBearer)),
                "{body}: {answer:?}"
            );
        }
    }

    #[test]
    fn of_a_refusal_only_the_name_of_its_error_is_told() {
        let told = |body: &str| refused(400, body.as_bytes()).to_string();
        assert_eq!(
            told(r#"{"error": "invalid_grant", "error_description": "of planted"}"#),
            "the token endpoint answered 400: `invalid_grant`"
        );
        for body in [
            r#"{"error": "a planted secret"}"#,
            r#"{"error": {}}"#,
            "planted",
        ] {
            assert_eq!(told(body), "the token endpoint answered 400", "{body}");
        }
    }
}
