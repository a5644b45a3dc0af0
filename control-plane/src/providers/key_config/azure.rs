//! An application of Microsoft Entra: it gets tokens for its secret (RFC 6749, 4.4).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Grant, Holder, Parts, required};
use crate::http::field::Field;
use crate::invalid::Invalid;
use crate::providers::key::{check_visible, hidden};
use crate::secrets::Secret;

const AUTHORITY: &str = "https://login.microsoftonline.com";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

/// An application of Microsoft Entra, as a request gives it. A change replaces all of it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub struct AzureKeyConfig {
    /// Of the application; required.
    #[serde(default)]
    #[schema(value_type = String)]
    client_id: Field<String>,
    /// Required. It is shown by its last four characters.
    #[serde(default, deserialize_with = "hidden")]
    #[schema(value_type = String, write_only)]
    client_secret: Field<Secret>,
    /// Id or domain of the directory; required.
    #[serde(default)]
    #[schema(value_type = String)]
    tenant_id: Field<String>,
    /// Where tokens are asked for; another one for a sovereign cloud. Private networks as for
    /// `network_config.base_url`. Default: `https://login.microsoftonline.com`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    authority_host: Field<String>,
    /// What the token is for. Default: `https://cognitiveservices.azure.com/.default`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    scope: Field<String>,
}

/// What can be shown of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AzureKey)]
pub struct AzureAccount {
    client_id: String,
    tenant_id: String,
    authority_host: String,
    scope: String,
}

impl AzureKeyConfig {
    pub(super) fn check(self, holder: Holder<'_>) -> Result<Parts<AzureAccount>, Invalid> {
        let client_id = word("client_id", required("client_id", self.client_id)?)?;
        let client_secret = required("client_secret", self.client_secret)?;
        check_visible("client_secret", &client_secret)?;
        let tenant_id = word("tenant_id", required("tenant_id", self.tenant_id)?)?;
        let authority = self.authority_host.or_keep(None);
        let authority = authority.unwrap_or_else(|| AUTHORITY.to_owned());
        let endpoint = holder.endpoint(&authority);
        let endpoint = endpoint.map_err(|error| Invalid::field("authority_host", error))?;
        let scope = self.scope.or_keep(None).unwrap_or_else(|| SCOPE.to_owned());
        if scope.is_empty() || scope.len() > 256 || !scope.bytes().all(|b| b.is_ascii_graphic()) {
            let message = format!("must be one such as `{SCOPE}`");
            return Err(Invalid::field("scope", message));
        }
        Ok(Parts {
            last4: client_secret.last4(),
            secret: client_secret,
            shown: AzureAccount {
                client_id,
                tenant_id,
                authority_host: endpoint.to_string(),
                scope,
            },
        })
    }
}

/// It goes into a path.
fn word(field: &'static str, text: String) -> Result<String, Invalid> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if (1..=128).contains(&text.len()) && text.bytes().all(is_good) && !text.starts_with('.') {
        return Ok(text);
    }
    let message = "must be an id of letters, digits, `-` and `.`, at most 128";
    Err(Invalid::field(field, message))
}

impl AzureAccount {
    pub(super) fn grant(&self, sealed: &Secret) -> Grant {
        Grant::new(
            format!(
                "{}/{}/oauth2/v2.0/token",
                self.authority_host, self.tenant_id
            ),
            &[
                ("grant_type", "client_credentials"),
                ("client_id", &self.client_id),
                ("client_secret", sealed.expose()),
                ("scope", &self.scope),
            ],
        )
    }
}
