use reeve_policy::retry::RetryOn;

use super::base_url::BaseUrl;
use super::presets::{Address, PRESETS, Preset};
use super::private_networks::Private;
use super::{Aliases, Key, Provider, key, store};
use crate::app::App;
use crate::error::Error;
use crate::policy_changes::{self, Kind};
use crate::secrets::Secret;
use crate::weight;

/// With `--dev` and no provider configured: makes those that the demo provider can stand for, so
/// that the quick start works. They are the demo provider, or the real one where the environment
/// has a key for it.
pub async fn seed(app: &App) -> Result<(), Error> {
    if !app.config.dev {
        return Ok(());
    }
    let mut ids = app.ids()?;
    let mut tx = app.db.begin_write().await?;
    if !store::names(&mut tx).await?.is_empty() {
        return Ok(());
    }
    for preset in PRESETS {
        let Some(demo_path) = demo_path(preset) else {
            continue;
        };
        let (base_url, value) = origin(app, preset, demo_path)?;
        let provider = Provider {
            name: preset.name.to_owned(),
            base_provider_type: preset.base_provider_type,
            base_url,
            allow_private_network: false,
            is_key_less: false,
            retry_on: RetryOn::default(),
            per_try_timeout_ms: None,
            aliases: Aliases::default(),
            created_at_ms: ids.now_ms(),
            updated_at_ms: ids.now_ms(),
        };
        let key = Key {
            id: ids.make(),
            name: "key-1".to_owned(),
            last4: value.last4(),
            config: None,
            weight_ppm: weight::WHOLE_PPM,
            is_active: true,
            created_at_ms: ids.now_ms(),
            updated_at_ms: ids.now_ms(),
        };
        let sealed = app
            .sealing_key
            .seal(&app.random, key::place(&key.id), &value)
            .map_err(Error::internal)?;
        store::insert(&mut tx, &provider).await?;
        store::insert_key(&mut tx, &provider.name, &key, &sealed).await?;
        policy_changes::record(&mut tx, Kind::Provider, &provider.name).await?;
    }
    app.commit_policy(tx).await?;
    Ok(())
}

/// Under which path the demo provider speaks the API of a provider; `None`: it does not.
fn demo_path(preset: &Preset) -> Option<&'static str> {
    match preset.name {
        "openai" | "anthropic" => Some("/v1"),
        "gemini" => Some("/v1beta"),
        "bedrock" | "cohere" => Some(""),
        _ => None,
    }
}

/// Where a preset's requests go, and with which key.
fn origin(app: &App, preset: &Preset, demo_path: &str) -> Result<(BaseUrl, Secret), Error> {
    let config = &app.config;
    let real = match preset.name {
        "openai" => config.openai_api_key.clone(),
        "anthropic" => config.anthropic_api_key.clone(),
        _ => None,
    };
    let (base_url, value) = match (real, preset.address) {
        (Some(value), Address::Public(base_url)) => (base_url.to_owned(), value),
        _ => (
            format!("http://127.0.0.1:{}{demo_path}", config.demo_port),
            Secret::new("demo"),
        ),
    };
    let base_url = BaseUrl::parse(&base_url, Private::Any(&config.private_networks))
        .map_err(Error::internal)?;
    Ok((base_url, value))
}
