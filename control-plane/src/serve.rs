//! `reeve serve`: starts everything, in order, and brings it to an end.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};

use crate::app::App;
use crate::auth::admin_token;
use crate::clock::Clock;
use crate::config::{Config, DatabaseUrl};
use crate::db::Db;
use crate::node_identity::{self, Authority, Callers, DEFAULT_DAYS, Mesh};
use crate::random::Random;
use crate::settings::{self, Settings};
use crate::{
    ads, bootstrap, ledger, logging, policy_sync, provider_shares, providers, router, secrets,
    tokens,
};

/// How long requests at hand may take to finish when the process is asked to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How often a connection of an Envoy is tried, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Runs the control plane until SIGTERM or SIGINT.
pub async fn run(config: Config) -> anyhow::Result<()> {
    config.validate()?;
    logging::start(config.log_format, &config.log_filter)
        .context("REEVE_LOG: not a log filter; write e.g. `info` or `reeve_control_plane=debug`")?;
    let app = open(config).await?;

    let http = listen(app.config.http_address(), "REEVE_HTTP_PORT").await?;
    let grpc = listen(app.config.grpc_address(), "REEVE_GRPC_PORT").await?;
    tracing::info!(address = %http.local_addr()?, "admin API listens");
    tracing::info!(address = %grpc.local_addr()?, "gRPC for Envoys listens");
    announce(&app).await?;

    let mut parts = JoinSet::new();
    parts.spawn(serve_http(Arc::clone(&app), http));
    let callers = callers(&app.config)?;
    let tls = prove(&app, &callers).await?;
    parts.spawn(serve_grpc(Arc::clone(&app), grpc, callers, tls));
    parts.spawn(keep_ledger(Arc::clone(&app)));
    parts.spawn(release_silent_sessions(Arc::clone(&app)));
    parts.spawn(follow_replicas(Arc::clone(&app)));
    parts.spawn(prune_ledger(Arc::clone(&app)));
    parts.spawn(end_silent_slots(Arc::clone(&app)));
    parts.spawn(publish(Arc::clone(&app)));
    parts.spawn(judge_providers(Arc::clone(&app)));
    parts.spawn(refresh_tokens(Arc::clone(&app)));
    finish(&app, parts).await
}

/// The application on its database, ready to serve.
async fn open(config: Config) -> anyhow::Result<Arc<App>> {
    make_private_directory(&config.data_dir).with_context(|| {
        format!(
            "REEVE_DATA_DIR: cannot make `{}`",
            config.data_dir.display()
        )
    })?;
    let db = Db::open(&config.database_url)
        .await
        .with_context(|| match &config.database_url {
            DatabaseUrl::Sqlite(path) => format!("cannot open the database `{}`", path.display()),
            DatabaseUrl::Postgres(_) => "REEVE_DATABASE_URL: cannot open the database".to_owned(),
        })?;
    let key = config.encryption_key.as_ref();
    let sealing_key = secrets::load_or_create(key, &config.data_dir, &Random::default())
        .context("no key to encrypt provider keys with")?;
    let app = App::new(config, db, Clock::System, sealing_key);

    let mut tx = app.db.begin_write().await?;
    let first = Settings::initial(!app.config.dev);
    let is_new = settings::store::initialise(&mut tx, &first).await?;
    tx.commit().await?;
    if is_new && app.config.dev {
        providers::seed(&app)
            .await
            .context("cannot set up the first providers")?;
    }
    // Envoys that are running must not lose a provider because this process has forgotten its token.
    tokens::refresher::once(&app)
        .await
        .context("cannot look which providers need tokens")?;
    let mut tx = app.db.begin_read().await?;
    let input = ads::load::input(&mut tx, &app)
        .await
        .context("cannot make Envoy's configuration")?;
    app.ads.publish(input);
    Ok(app)
}

/// Who may call the gRPC port.
fn callers(config: &Config) -> anyhow::Result<Callers> {
    if config.dev {
        return Ok(Callers::Anyone);
    }
    let (Some(bundle), Some(identities)) = (&config.node_trust_bundle, &config.node_identities)
    else {
        return Ok(Callers::Certified(None));
    };
    let bundle = std::fs::read_to_string(bundle).with_context(|| {
        format!(
            "REEVE_NODE_TRUST_BUNDLE: cannot read `{}`",
            bundle.display()
        )
    })?;
    let mesh = Mesh::new(bundle, identities.clone())
        .map_err(|problem| anyhow::anyhow!("REEVE_NODE_IDENTITIES: {problem}"))?;
    Ok(Callers::Certified(Some(mesh)))
}

/// Gives the Envoy beside this process what it starts with, and this process what it proves itself
/// with on the gRPC port.
async fn prove(app: &App, callers: &Callers) -> anyhow::Result<Option<ServerTlsConfig>> {
    let gateway = bootstrap::Gateway::beside(&app.config)?;
    let directory = app.config.data_dir.join(bootstrap::DIRECTORY);
    let mut tls = None;
    if !matches!(callers, Callers::Anyone) {
        let now_ms = app.clock.now_ms();
        let authority =
            Authority::load_or_create(&app.db, &app.sealing_key, &app.random, now_ms).await?;
        let of_node = authority.of_node(&gateway.node_id, DEFAULT_DAYS, now_ms)?;
        make_private_directory(&directory)
            .and_then(|()| node_identity::write(&directory, &of_node))
            .context("cannot write the credentials of Envoy")?;
        tls = callers.tls(&authority.of_server(now_ms)?);
    }
    bootstrap::write(&directory, &bootstrap::render(&gateway))?;
    Ok(tls)
}

/// Says what whoever starts it must know.
async fn announce(app: &App) -> anyhow::Result<()> {
    if app.config.dev {
        tracing::warn!(
            "--dev: the admin API needs no login; do not expose it, and start without --dev for \
             anything but a try-out"
        );
    }
    if let Some(token) = admin_token::ensure(app).await? {
        // Not logged: logs are kept, and the token must not be.
        println!(
            "Admin token (shown only now; keep it safe):\n\n  {}\n\n\
             Lost it? Set REEVE_ADMIN_TOKEN to one of your own and start again.\n",
            token.expose()
        );
    }
    Ok(())
}

async fn serve_http(app: Arc<App>, listener: TcpListener) -> anyhow::Result<()> {
    let router = router::router(Arc::clone(&app));
    let stopped = async move { app.stopped().await };
    axum::serve(
        listener,
        router.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(stopped)
    .into_future()
    .await
    .context("the admin API failed")
}

async fn serve_grpc(
    app: Arc<App>,
    listener: TcpListener,
    callers: Callers,
    tls: Option<ServerTlsConfig>,
) -> anyhow::Result<()> {
    let routes = policy_sync::grpc::routes(Arc::clone(&app), callers.clone());
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls)?;
    }
    server
        // An Envoy that is gone without a word: its configuration stream is silent anyhow.
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_routes(routes.add_service(ads::grpc::service(Arc::clone(&app), callers)))
        // Without it the second half of an answer about leases waits 40 ms, and a request with it.
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            app.stopped(),
        )
        .await
        .context("gRPC for Envoys failed")
}

async fn keep_ledger(app: Arc<App>) -> anyhow::Result<()> {
    ledger::run(app).await;
    Ok(())
}

async fn end_silent_slots(app: Arc<App>) -> anyhow::Result<()> {
    ledger::end_silent_slots(app).await;
    Ok(())
}

async fn release_silent_sessions(app: Arc<App>) -> anyhow::Result<()> {
    ledger::release_silent_sessions(app).await;
    Ok(())
}

async fn follow_replicas(app: Arc<App>) -> anyhow::Result<()> {
    ledger::follow_replicas(app).await;
    Ok(())
}

async fn prune_ledger(app: Arc<App>) -> anyhow::Result<()> {
    ledger::prune(app).await;
    Ok(())
}

async fn refresh_tokens(app: Arc<App>) -> anyhow::Result<()> {
    tokens::refresher::run(app).await;
    Ok(())
}

async fn publish(app: Arc<App>) -> anyhow::Result<()> {
    policy_sync::publisher::run(app).await;
    Ok(())
}

async fn judge_providers(app: Arc<App>) -> anyhow::Result<()> {
    provider_shares::run(app).await;
    Ok(())
}

/// Waits for a signal, or for a part to fail, and then for all parts to end.
async fn finish(app: &App, mut parts: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Some(ended) = parts.join_next() => ended.map_err(Into::into).and_then(|result| result),
    };
    tracing::info!("stopping");
    app.stop();
    let drained = tokio::time::timeout(GRACE, async {
        while let Some(ended) = parts.join_next().await {
            let ended = ended.map_err(Into::into).and_then(|result| result);
            if outcome.is_ok() {
                outcome = ended;
            }
        }
    });
    if drained.await.is_err() {
        tracing::warn!(
            seconds = GRACE.as_secs(),
            "some requests did not finish in time"
        );
    }
    parts.shutdown().await;
    app.db.close().await;
    outcome
}

async fn listen(address: SocketAddr, variable: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; is something else there? {variable} sets the port")
    })
}

/// Makes the directory if it is missing; only its owner can look into it.
fn make_private_directory(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(directory: &Path, dev: bool) -> Config {
        let path = directory.join("data").to_str().unwrap().to_owned();
        let mut config =
            Config::from_env(&|name| (name == "REEVE_DATA_DIR").then(|| path.clone())).unwrap();
        config.dev = dev;
        config
    }

    async fn state(app: &App) -> (bool, usize) {
        let mut tx = app.db.begin_read().await.unwrap();
        let governance = settings::store::get(&mut tx)
            .await
            .unwrap()
            .enable_governance;
        (
            governance,
            providers::store::names(&mut tx).await.unwrap().len(),
        )
    }

    #[tokio::test]
    async fn the_first_start_decides_and_later_ones_keep_it() {
        let directory = tempfile::tempdir().unwrap();
        let app = open(config(directory.path(), true)).await.unwrap();
        let first = state(&app).await;
        assert!(!first.0 && first.1 > 0, "{first:?}");
        app.db.close().await;
        let app = open(config(directory.path(), false)).await.unwrap();
        assert_eq!(state(&app).await, first);
    }

    #[tokio::test]
    async fn without_dev_governance_is_on_and_nothing_is_made_up() {
        let directory = tempfile::tempdir().unwrap();
        let app = open(config(directory.path(), false)).await.unwrap();
        assert_eq!(state(&app).await, (true, 0));
    }

    #[tokio::test]
    async fn what_is_stored_is_for_the_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let app = open(config(directory.path(), false)).await.unwrap();
        state(&app).await;
        let data = directory.path().join("data");
        for (path, mode) in [
            (data.clone(), 0o700),
            (data.join("reeve.db"), 0o600),
            (data.join("reeve.db-wal"), 0o600),
        ] {
            let permissions = std::fs::metadata(&path).unwrap().permissions();
            assert_eq!(permissions.mode() & 0o777, mode, "{}", path.display());
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_its_variable() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let error = listen(taken.local_addr().unwrap(), "REEVE_HTTP_PORT")
            .await
            .unwrap_err();
        assert!(error.to_string().contains("REEVE_HTTP_PORT"), "{error}");
    }
}
