//! An AWS access key: Envoy signs each request with it (AWS Signature Version 4).

use std::borrow::Cow;

use reeve_xds::{AwsKey, Credential};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Parts, Unreadable, required};
use crate::http::field::Field;
use crate::invalid::Invalid;
use crate::providers::key::{check_visible, hidden};
use crate::secrets::Secret;

/// An AWS access key, as a request gives it. A change replaces all of it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct BedrockKeyConfig {
    /// Its id, such as `AKIA...`; required. It is shown by its last four characters.
    #[serde(default, deserialize_with = "hidden")]
    #[schema(value_type = String, write_only)]
    access_key: Field<Secret>,
    /// Required. It is never shown again.
    #[serde(default, deserialize_with = "hidden")]
    #[schema(value_type = String, write_only)]
    secret_key: Field<Secret>,
    /// Of temporary credentials. It is never shown again.
    #[serde(default, deserialize_with = "hidden")]
    #[schema(value_type = Option<String>, write_only)]
    session_token: Field<Secret>,
    /// Of the endpoint that `network_config.base_url` names; required.
    #[serde(default)]
    #[schema(value_type = String, example = "us-east-1")]
    region: Field<String>,
}

/// What can be shown of an access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = BedrockKey)]
pub struct BedrockAccount {
    region: String,
}

/// What is sealed of an access key.
#[derive(Serialize, Deserialize)]
struct AwsSecrets<'a> {
    #[serde(borrow)]
    access_key: Cow<'a, str>,
    #[serde(borrow)]
    secret_key: Cow<'a, str>,
    #[serde(borrow)]
    session_token: Option<Cow<'a, str>>,
}

impl BedrockKeyConfig {
    pub(super) fn check(self) -> Result<Parts<BedrockAccount>, Invalid> {
        let access_key = required("access_key", self.access_key)?;
        let id = access_key.expose();
        if !(16..=128).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            let message = "must be the id of an access key: 16 to 128 letters and digits";
            return Err(Invalid::field("access_key", message));
        }
        let secret_key = required("secret_key", self.secret_key)?;
        check_visible("secret_key", &secret_key)?;
        let session_token = self.session_token.or_keep(None);
        if let Some(token) = &session_token {
            check_visible("session_token", token)?;
        }
        let region = required("region", self.region)?;
        // It is a part of what is signed, between slashes.
        let is_good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=32).contains(&region.len()) || !region.bytes().all(is_good) {
            return Err(Invalid::field(
                "region",
                "must be a region such as `us-east-1`",
            ));
        }
        let sealed = serde_json::to_string(&AwsSecrets {
            access_key: id.into(),
            secret_key: secret_key.expose().into(),
            session_token: session_token.as_ref().map(|token| token.expose().into()),
        });
        let sealed = sealed.map_err(Invalid::whole)?;
        Ok(Parts {
            shown: BedrockAccount { region },
            secret: Secret::new(sealed),
            last4: access_key.last4(),
        })
    }
}

impl BedrockAccount {
    /// What Envoy is told, given what was sealed.
    pub fn credential(&self, sealed: &Secret) -> Result<Credential, Unreadable> {
        let secrets: AwsSecrets<'_> =
            serde_json::from_str(sealed.expose()).map_err(|_secret| Unreadable)?;
        Ok(Credential::Aws(AwsKey {
            access_key: secrets.access_key.into_owned(),
            secret_key: reeve_xds::Key::new(&secrets.secret_key),
            session_token: secrets
                .session_token
                .map(|token| reeve_xds::Key::new(&token)),
            region: self.region.clone(),
        }))
    }
}
