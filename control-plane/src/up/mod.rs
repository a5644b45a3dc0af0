//! `reeve up`: the control plane, Envoy and the demo provider, supervised in the foreground.
//!
//! Start: control plane and demo provider together; Envoy once the control plane is ready and has
//! rendered Envoy's bootstrap; the banner once Envoy answers with policy in force. Stop: one Ctrl-C
//! or SIGTERM ends all of them, Envoy first, so that nothing new comes in while its last usage
//! still finds the control plane. If one process dies, the rest is stopped and the error says which
//! one it was.
//!
//! Every process runs under `reeve guard` (see `guard.rs`) in a process group of its own: the
//! terminal's Ctrl-C reaches this supervisor alone, and a supervisor that is killed takes its
//! processes with it.

mod banner;
mod child;
mod envoy;
mod guard;
mod ports;
mod printer;
mod probe;
mod signals;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use self::banner::Banner;
use self::child::{Children, Environment, Launch};
use self::printer::Printer;
use crate::config::Config;

pub use self::guard::guard;
pub use self::signals::StopSignals;

/// How long a process may take until it is ready: generous, for a busy machine that compiles the
/// filter and migrates a database.
const START_TIMEOUT: Duration = Duration::from_mins(2);

/// Why the stack does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// A port that is needed is in use.
    #[error("port {port} ({purpose}) is not free: {cause}; set {variable} to another port")]
    PortTaken {
        /// The port.
        port: u16,
        /// What it is for.
        purpose: &'static str,
        /// The environment variable that changes it.
        variable: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// Two things are to listen on one port.
    #[error("{variable} and {other} are both {port}; give each its own port")]
    SamePort {
        /// The port.
        port: u16,
        /// The environment variable of the one.
        variable: &'static str,
        /// The environment variable of the other.
        other: &'static str,
    },
    /// No Envoy to run.
    #[error("{0}; install Envoy 1.40 or set REEVE_ENVOY to its path (`make up` does both)")]
    NoEnvoy(String),
    /// No filter for Envoy to load.
    #[error("{0}; set REEVE_FILTER_WASM to the path of reeve_filter.wasm (`make up` builds it)")]
    NoFilter(String),
    /// A process could not be started.
    #[error("could not start {name}: {cause}")]
    Start {
        /// The process.
        name: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// A process ended by itself.
    #[error("{name} died ({how}); its last lines are above")]
    Died {
        /// The process.
        name: &'static str,
        /// Its exit status or the signal.
        how: String,
    },
    /// A process runs but does not become useful.
    #[error("{name} was not ready after {} s: {problem}", START_TIMEOUT.as_secs())]
    NotReady {
        /// The process.
        name: &'static str,
        /// What the last look at it showed.
        problem: String,
    },
    /// The supervisor itself cannot work.
    #[error("{what}: {cause}")]
    System {
        /// What it tried.
        what: &'static str,
        /// What the system said.
        cause: io::Error,
    },
}

/// What `reeve up` needs to know beyond the configuration.
pub struct Plan<'a> {
    /// The configuration that the control plane will read, too.
    pub config: &'a Config,
    /// The `reeve` binary, to run its other commands.
    pub reeve: PathBuf,
    /// A variable of the environment: `REEVE_ENVOY`, `PATH` and what children are handed on.
    pub environment: fn(&str) -> Option<String>,
}

/// Runs the stack until it is asked to stop.
///
/// # Errors
/// When something needed is missing, does not start or dies; everything has been stopped by then.
pub async fn run(plan: &Plan<'_>) -> Result<(), UpError> {
    let started = Instant::now();
    ports::check(plan.config)?;
    let envoy = envoy::find(plan.environment)?;
    envoy::check_filter(plan.config)?;
    let mut signals = StopSignals::listen().map_err(|cause| UpError::System {
        what: "could not listen for signals",
        cause,
    })?;
    let printer = Printer::new(io::stdout());
    let mut children = Children::new(Some(plan.reeve.clone()), printer.clone());

    let outcome = tokio::select! {
        died = session(plan, &envoy, &mut children, &printer, started) => died,
        () = signals.next() => Ok(()),
    };
    if let Err(error) = &outcome {
        printer.line("reeve", &error.to_string());
    }
    printer.line("reeve", "stopping");
    children.stop(signals.hurry()).await;
    printer.line("reeve", "stopped");
    printer.finish().await;
    outcome
}

/// Starts everything in order, then waits: it only ends with an error.
async fn session(
    plan: &Plan<'_>,
    envoy: &Path,
    children: &mut Children,
    printer: &Printer,
    started: Instant,
) -> Result<(), UpError> {
    let config = plan.config;
    printer.line("reeve", "starting the control plane and the demo provider");
    let bootstrap = envoy::bootstrap(config);
    envoy::forget(&bootstrap)?;
    children.start(demo(plan))?;
    children.start(control_plane(plan))?;
    let http = reachable(config.http_address());
    let ready = probe::until(START_TIMEOUT, async || {
        probe::expect(http, "/readyz", StatusCode::OK).await?;
        probe::expect(loopback(config.demo_port), "/_demo/stats", StatusCode::OK).await?;
        envoy::rendered(&bootstrap)
    });
    children.while_alive("the control plane", ready).await?;

    printer.line("reeve", "starting Envoy");
    children.start(envoy::launch(plan, envoy, &bootstrap))?;
    let ready = probe::until(START_TIMEOUT, async || {
        probe::expect(loopback(config.envoy_admin_port), "/ready", StatusCode::OK).await?;
        envoy::has_policy(loopback(config.port)).await
    });
    children.while_alive("Envoy", ready).await?;

    let governance = if config.dev {
        banner::governance(http).await
    } else {
        None
    };
    let seconds = started.elapsed().as_secs_f32();
    printer.block(
        &Banner {
            config,
            governance,
            seconds,
        }
        .to_string(),
    );
    Err(children.first_death().await)
}

fn control_plane(plan: &Plan<'_>) -> Launch {
    let mut arguments = vec![OsString::from("serve")];
    if plan.config.dev {
        arguments.push("--dev".into());
    }
    let program = plan.reeve.clone();
    Launch {
        name: "control-plane",
        program,
        arguments,
        environment: Environment::Inherited,
    }
}

fn demo(plan: &Plan<'_>) -> Launch {
    Launch {
        name: "demo",
        program: plan.reeve.clone(),
        arguments: vec![
            "demo-provider".into(),
            "--port".into(),
            plan.config.demo_port.to_string().into(),
        ],
        environment: Environment::minimal(plan.environment),
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Where something that listens on `address` is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        loopback(address.port())
    } else {
        address
    }
}
