//! A control plane of our own, and its admin API.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::http::Connection;
use crate::random::Random;

/// Until it must be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Below those that the kernel takes for outgoing connections: it may take one of those a moment later.
const FREE_PORTS: RangeInclusive<u16> = 15_000..=31_999;

/// Where it listens.
#[derive(clap::Args)]
pub(crate) struct Ports {
    /// Of the control plane's admin API; left out: one that is free.
    #[arg(long)]
    http_port: Option<u16>,
    /// Of its gRPC; left out: one that is free.
    #[arg(long)]
    grpc_port: Option<u16>,
}

/// Killed when it is dropped.
pub(crate) struct ControlPlane {
    process: Child,
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
}

impl ControlPlane {
    /// Starts `program`; `database` as in `REEVE_DATABASE_URL`.
    pub(crate) async fn start(
        program: &Path,
        data_dir: &Path,
        database: Option<&str>,
        ports: &Ports,
    ) -> anyhow::Result<Self> {
        let (http, grpc) = ports.addresses()?;
        let mut command = Command::new(program);
        command
            .args(["serve", "--dev"])
            .env_clear()
            .env("REEVE_DATA_DIR", data_dir)
            .env("REEVE_HTTP_PORT", http.port().to_string())
            .env("REEVE_GRPC_PORT", grpc.port().to_string())
            .env("REEVE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        if let Some(database) = database {
            command.env("REEVE_DATABASE_URL", database);
        }
        let process = command
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut started = Self {
            process,
            http,
            grpc,
        };
        started.await_ready().await?;
        Ok(started)
    }

    async fn await_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                bail!("the control plane has ended: {status}");
            }
            let probe = request(Method::GET, "/readyz", None)?;
            match Connection::to(self.http).send(probe).await {
                Ok((status, _)) if status.is_success() => return Ok(()),
                _ => ensure!(Instant::now() < deadline, "the control plane is not ready"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) const fn admin(&self) -> Admin {
        Admin(Connection::to(self.http))
    }

    /// What it has computed since it started, where the system tells.
    pub(crate) fn cpu_time(&self) -> Option<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()?)).ok()?;
        // Behind the name, which may hold anything but a line break, come fields 3 and on.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let ticks = ticks()?.checked_add(ticks()?)?;
        // Linux counts hundredths of a second here on every machine that it runs on today.
        Some(Duration::from_millis(ticks.checked_mul(10)?))
    }
}

impl Ports {
    /// Nobody listens on them now.
    fn addresses(&self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        let mut random = Random::new(clock::now().as_microsecond().unsigned_abs());
        // Both are held until both are found, so they are not the same.
        let http = listener(self.http_port, &mut random)?;
        let grpc = listener(self.grpc_port, &mut random)?;
        Ok((http.local_addr()?, grpc.local_addr()?))
    }
}

fn listener(port: Option<u16>, random: &mut Random) -> anyhow::Result<TcpListener> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if let Some(port) = port {
        return bind(port).with_context(|| format!("port {port} is taken"));
    }
    let ports: Vec<u16> = FREE_PORTS.collect();
    (0..1_000)
        .find_map(|_| bind(*random.pick(&ports)?).ok())
        .context("no port is free")
}

/// A client of the admin API.
pub(crate) struct Admin(Connection);

impl Admin {
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &Value) -> anyhow::Result<Bytes> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Bytes> {
        let (status, answer) = self.0.send(request(method, path, body)?).await?;
        ensure!(
            status.is_success(),
            "{path}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(answer)
    }
}

fn request(
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = body.map(Value::to_string).unwrap_or_default();
    Ok(Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::from(body))?)
}
