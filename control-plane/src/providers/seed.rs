use super::base_url::BaseUrl;
use super::{Key, PRESETS, Preset, Provider, envoy, store};
use crate::app::App;
use crate::error::Error;
use crate::policy_changes::{self, Kind};
use crate::secrets::Secret;
use crate::weight;

/// With `--dev` and no provider configured: makes `openai` and `anthropic`, so that the quick start
/// works. They are the demo provider, or the real one where the environment has a key for it.
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
        let (base_url, value) = origin(app, preset)?;
        let provider = Provider {
            name: preset.name.to_owned(),
            wire_format: preset.wire_format,
            base_url,
            allow_private_network: false,
            is_key_less: false,
            created_at_ms: ids.now_ms(),
            updated_at_ms: ids.now_ms(),
        };
        let key = Key {
            id: ids.make(),
            name: "key-1".to_owned(),
            last4: value.last4(),
            weight_ppm: weight::WHOLE_PPM,
            is_active: true,
            created_at_ms: ids.now_ms(),
            updated_at_ms: ids.now_ms(),
        };
        let sealed = app
            .sealing_key
            .seal(&app.random, envoy::place(&key.id), &value)
            .map_err(Error::internal)?;
        store::insert(&mut tx, &provider).await?;
        store::insert_key(&mut tx, &provider.name, &key, &sealed).await?;
        policy_changes::record(&mut tx, Kind::Provider, &provider.name).await?;
    }
    app.commit_policy(tx).await?;
    Ok(())
}

/// Where a preset's requests go, and with which key.
fn origin(app: &App, preset: &Preset) -> Result<(BaseUrl, Secret), Error> {
    let config = &app.config;
    let real = match preset.name {
        "openai" => config.openai_api_key.clone(),
        "anthropic" => config.anthropic_api_key.clone(),
        _ => None,
    };
    let (base_url, value) = match real {
        Some(value) => (preset.base_url.to_owned(), value),
        None => (
            format!("http://127.0.0.1:{}/v1", config.demo_port),
            Secret::new("demo"),
        ),
    };
    let base_url = BaseUrl::parse(&base_url, true).map_err(Error::internal)?;
    Ok((base_url, value))
}
