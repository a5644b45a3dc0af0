//! Envoy, as `reeve up` runs it.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::http::{Method, StatusCode};

use super::child::{Environment, Launch};
use super::{Plan, UpError, probe};
use crate::bootstrap;
use crate::config::Config;

/// Where the Envoy binary is: `REEVE_ENVOY`, or the first `envoy` on `PATH`.
pub(super) fn find(environment: fn(&str) -> Option<String>) -> Result<PathBuf, UpError> {
    if let Some(path) = environment("REEVE_ENVOY").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(path);
        }
        return Err(UpError::NoEnvoy(format!(
            "REEVE_ENVOY: there is no file `{}`",
            path.display()
        )));
    }
    std::env::split_paths(&environment("PATH").unwrap_or_default())
        .map(|folder| folder.join("envoy"))
        .find(|path| path.is_file())
        .ok_or_else(|| UpError::NoEnvoy("there is no `envoy` on PATH".to_owned()))
}

/// Envoy would start without the filter's file and then refuse every request: say so before.
pub(super) fn check_filter(config: &Config) -> Result<(), UpError> {
    match &config.filter_wasm {
        None => Err(UpError::NoFilter("REEVE_FILTER_WASM is not set".to_owned())),
        Some(path) if path.is_file() => Ok(()),
        Some(path) => Err(UpError::NoFilter(format!(
            "there is no file `{}`",
            path.display()
        ))),
    }
}

/// Where the control plane renders Envoy's bootstrap.
pub(super) fn bootstrap(config: &Config) -> PathBuf {
    config
        .data_dir
        .join(bootstrap::DIRECTORY)
        .join(bootstrap::FILE)
}

/// Removes the bootstrap of an earlier run, which may name other ports: so the file, once there, is
/// this run's.
pub(super) fn forget(bootstrap: &Path) -> Result<(), UpError> {
    match std::fs::remove_file(bootstrap) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(UpError::System {
            what: "could not remove the bootstrap of the last run",
            cause,
        }),
        _ => Ok(()),
    }
}

/// Whether the control plane has rendered it.
pub(super) fn rendered(bootstrap: &Path) -> Result<(), String> {
    if bootstrap.is_file() {
        return Ok(());
    }
    Err(format!("`{}` has not been written", bootstrap.display()))
}

/// The command. The node's id comes from the bootstrap.
pub(super) fn launch(plan: &Plan<'_>, envoy: &Path, bootstrap: &Path) -> Launch {
    let mut arguments: Vec<OsString> = vec![
        "-c".into(),
        bootstrap.into(),
        "--log-level".into(),
        "warning".into(),
        // No hot restart: its shared memory has one name for each base id, so two stacks on one
        // machine would be in each other's way.
        "--disable-hot-restart".into(),
    ];
    if let Some(workers) = plan.config.envoy_concurrency {
        arguments.extend(["--concurrency".into(), workers.to_string().into()]);
    }
    Launch {
        name: "envoy",
        program: envoy.to_owned(),
        arguments,
        environment: Environment::minimal(plan.environment),
    }
}

/// Whether the governance filter decides. Without policy it answers 503; with policy this request,
/// which has neither model nor key, is the caller's fault and reaches no provider.
pub(super) async fn has_policy(listener: SocketAddr) -> Result<(), String> {
    let path = "/v1/chat/completions";
    let (status, _) = probe::ask(Method::POST, listener, path, "{}").await?;
    if status.is_client_error() && status != StatusCode::NOT_FOUND {
        return Ok(());
    }
    Err(format!(
        "Envoy answers {status}: the policy has not arrived in the filter"
    ))
}
