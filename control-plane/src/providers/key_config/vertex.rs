//! A service account of Google's: its owner signs a claim with it and gets a token for that (RFC 7523).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{Grant, Holder, Parts, Unreadable, required};
use crate::http::field::Field;
use crate::invalid::Invalid;
use crate::providers::key::hidden;
use crate::secrets::Secret;

/// What the token is for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// The longest that Google admits, seconds.
const CLAIM_LIVES_S: i64 = 3_600;

/// A service account, as a request gives it. A change replaces all of it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct VertexKeyConfig {
    /// The JSON file of the service account's key, as text; required. Project and region are in
    /// `network_config.base_url`. What is secret of it is never shown again.
    #[serde(default, deserialize_with = "hidden")]
    #[schema(value_type = String, write_only)]
    auth_credentials: Field<Secret>,
}

/// What can be shown of a service account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VertexKey)]
pub struct VertexAccount {
    client_email: String,
    /// Where tokens are asked for.
    token_uri: String,
}

/// The file, as far as it is needed.
#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    private_key: Cow<'a, str>,
    #[serde(borrow)]
    private_key_id: Cow<'a, str>,
    client_email: String,
    #[serde(default = "google")]
    token_uri: String,
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

/// What is sealed of it.
#[derive(Serialize, Deserialize)]
struct Secrets<'a> {
    #[serde(borrow)]
    private_key: Cow<'a, str>,
    #[serde(borrow)]
    private_key_id: Cow<'a, str>,
}

impl VertexKeyConfig {
    pub(super) fn check(self, holder: Holder<'_>) -> Result<Parts<VertexAccount>, Invalid> {
        let fault = |message: &str| Invalid::field("auth_credentials", message);
        let given = required("auth_credentials", self.auth_credentials)?;
        // Whatever is wrong with it, the message must not quote it.
        let file: File<'_> = serde_json::from_str(given.expose()).map_err(|_secret| {
            fault("must be the JSON file of a service account's key, as one text")
        })?;
        if file.kind != "service_account" {
            return Err(fault(
                "must be of `type` `service_account`; others have no key",
            ));
        }
        key_pair(&file.private_key).ok_or_else(|| {
            fault("has no `private_key` that is RSA of 2048 to 4096 bits in PKCS #8")
        })?;
        holder
            .endpoint(&file.token_uri)
            .map_err(|error| fault(&format!("its `token_uri` {error}")))?;
        let secrets = Secrets {
            private_key: file.private_key,
            private_key_id: file.private_key_id,
        };
        let secret = serde_json::to_string(&secrets).map_err(Invalid::whole)?;
        Ok(Parts {
            last4: Secret::new(secrets.private_key_id).last4(),
            secret: Secret::new(secret),
            shown: VertexAccount {
                client_email: file.client_email,
                token_uri: file.token_uri,
            },
        })
    }
}

impl VertexAccount {
    pub(super) fn grant(&self, sealed: &Secret, now_ms: i64) -> Result<Grant, Unreadable> {
        let secrets: Secrets<'_> =
            serde_json::from_str(sealed.expose()).map_err(|_secret| Unreadable)?;
        let key = key_pair(&secrets.private_key).ok_or(Unreadable)?;
        let head = serde_json::json!({"alg": "RS256", "typ": "JWT", "kid": secrets.private_key_id});
        let now_s = now_ms.div_euclid(1_000);
        let claim = serde_json::json!({
            "iss": self.client_email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": now_s,
            "exp": now_s.saturating_add(CLAIM_LIVES_S),
        });
        let [head, claim] = [head, claim].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{head}.{claim}");
        let mut signature = vec![0; key.public().modulus_len()];
        // This signature has no chance in it; what is drawn hides the key from those who measure.
        key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )
        .map_err(|_unspecified| Unreadable)?;
        let assertion = Zeroizing::new(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)));
        Ok(Grant::new(
            self.token_uri.clone(),
            &[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", &assertion),
            ],
        ))
    }
}

/// The key in a PEM text.
fn key_pair(pem: &str) -> Option<RsaKeyPair> {
    let body = pem.trim().strip_prefix("-----BEGIN PRIVATE KEY-----")?;
    let body = body.strip_suffix("-----END PRIVATE KEY-----")?;
    let packed: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    let der = Zeroizing::new(STANDARD.decode(packed.as_bytes()).ok()?);
    RsaKeyPair::from_pkcs8(&der).ok()
}
