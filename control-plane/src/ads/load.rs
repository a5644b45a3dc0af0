//! What Envoy's configuration is made of: read from the database, the keys opened.

use std::collections::HashMap;
use std::path::PathBuf;

use reeve_policy::view::WireFormat;
use reeve_xds::{Credential, Gateway, Input, Key};

use crate::app::App;
use crate::bootstrap;
use crate::config::Config;
use crate::db::Tx;
use crate::error::Error;
use crate::providers::key_config::{KeyConfig, Unreadable};
use crate::providers::store::ActiveKey;
use crate::providers::{self, Provider};
use crate::secrets::SealError;
use crate::settings::{self, Settings};

/// Envoy lets the filter hold back this much of a request body at least, bytes. The filter keeps to
/// the settings themselves, and answers in the caller's dialect.
const MIN_BODY_BUFFER_BYTES: u32 = 32 << 20;

/// Why it cannot be made.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("the key of provider `{provider}` cannot be opened: {source}")]
    Key { provider: String, source: SealError },
    #[error("the key of provider `{provider}` cannot be used: {source}")]
    Parts {
        provider: String,
        source: Unreadable,
    },
    #[error("the path of the filter module cannot be made absolute: {0}")]
    Filter(std::io::Error),
}

/// Everything there is.
pub async fn input(tx: &mut Tx, app: &App) -> Result<Input, Error> {
    let settings = settings::store::get(tx).await?;
    Ok(Input {
        gateway: gateway(&app.config, &settings).map_err(Error::internal)?,
        providers: ready_providers(tx, app).await?,
    })
}

/// The providers that requests can be sent to: those with a key, and those that ask for none. Each active
/// key besides makes one of its own, for virtual keys that are bound to it or will be.
async fn ready_providers(tx: &mut Tx, app: &App) -> Result<Vec<reeve_xds::Provider>, Error> {
    let mut active: HashMap<String, Vec<ActiveKey>> = HashMap::new();
    for key in providers::store::active_keys(tx).await? {
        active.entry(key.provider.clone()).or_default().push(key);
    }
    let mut ready = Vec::new();
    for provider in providers::store::all(tx).await? {
        if provider.is_key_less {
            ready.push(served(app, &provider, None, None));
        }
        let keys = active.remove(&provider.name).unwrap_or_default();
        let mut has_key = provider.is_key_less;
        for key in keys {
            let credential = credential(app, &provider, &key).map_err(Error::internal)?;
            // Without a token it is as if it was not active.
            let Some(credential) = credential else {
                continue;
            };
            if !std::mem::replace(&mut has_key, true) {
                ready.push(served(app, &provider, Some(credential.clone()), None));
            }
            ready.push(served(app, &provider, Some(credential), Some(key.id)));
        }
    }
    ready.sort_by_cached_key(reeve_xds::Provider::cluster);
    Ok(ready)
}

/// How requests of a provider authenticate with one of its keys; `None`: by a token that is not there.
fn credential(
    app: &App,
    provider: &Provider,
    key: &ActiveKey,
) -> Result<Option<Credential>, LoadError> {
    if key.config.as_ref().is_some_and(KeyConfig::needs_token) {
        let token = app.tokens.current(&key.id, app.clock.now_ms());
        return Ok(token.map(|token| Credential::Header {
            header: "authorization",
            prefix: "Bearer ",
            openai_side: None,
            key: Key::new(token.expose()),
        }));
    }

    let opened = app
        .sealing_key
        .open(providers::key::place(&key.id), &key.sealed)
        .map_err(|source| LoadError::Key {
            provider: provider.name.clone(),
            source,
        })?;
    let Some(KeyConfig::Bedrock(account)) = &key.config else {
        let kind = provider.base_provider_type;
        let (header, prefix) = kind.credential_header();
        return Ok(Some(Credential::Header {
            header,
            prefix,
            openai_side: kind.openai_side(),
            key: Key::new(opened.expose()),
        }));
    };
    let credential = account.credential(&opened);
    credential.map(Some).map_err(|source| LoadError::Parts {
        provider: provider.name.clone(),
        source,
    })
}

fn served(
    app: &App,
    provider: &Provider,
    credential: Option<Credential>,
    key_id: Option<String>,
) -> reeve_xds::Provider {
    let Config {
        dev,
        private_networks,
        ..
    } = &app.config;
    let private = providers::private(*dev, provider.allow_private_network, private_networks);
    reeve_xds::Provider {
        name: provider.name.clone(),
        key_id,
        wire_format: wire_format_name(provider.base_provider_type.wire_format()),
        origin: provider.base_url.origin().clone(),
        egress: private.egress(&provider.base_url),
        base_path: provider.base_url.path().to_owned(),
        credential,
    }
}

/// The word for a wire format in Envoy's metadata.
const fn wire_format_name(wire_format: WireFormat) -> &'static str {
    match wire_format {
        WireFormat::OpenAi => "openai",
        WireFormat::Anthropic => "anthropic",
        WireFormat::Gemini => "gemini",
        WireFormat::Bedrock => "bedrock",
        WireFormat::Cohere => "cohere",
    }
}

fn gateway(config: &Config, settings: &Settings) -> Result<Gateway, LoadError> {
    let domains: &[&str] = if config.dev {
        &["localhost", "127.0.0.1", "[::1]"]
    } else {
        &["*"]
    };
    Ok(Gateway {
        domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
        max_request_body_bytes: u32::try_from(settings.max_request_body_bytes)
            .unwrap_or(u32::MAX)
            .max(MIN_BODY_BUFFER_BYTES),
        filter: bootstrap::filter(config.filter_wasm.as_deref()).map_err(LoadError::Filter)?,
        ca_bundle: ca_bundle(),
    })
}

/// Where the operating system keeps its certificate authorities.
pub fn ca_bundle() -> PathBuf {
    const DEBIAN: &str = "/etc/ssl/certs/ca-certificates.crt";
    const OTHERS: &[&str] = &[
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    // Where none is found Envoy names the missing file, and refuses the clusters that need it.
    [DEBIAN]
        .iter()
        .chain(OTHERS)
        .map(PathBuf::from)
        .find(|path| path.exists())
        .unwrap_or(DEBIAN.into())
}
