//! Configuration: one typed value, and the only file that reads the environment.
//!
//! Everything has a default that makes a single machine work; everything can be overridden, so that
//! several stacks run side by side.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::providers::PrivateNetworks;
use crate::secrets::Secret;

/// A variable that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    /// Name of the environment variable.
    pub variable: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// An embedded database in this file.
    Sqlite(PathBuf),
    /// A server; the URL holds a password.
    Postgres(Secret),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// The configuration of one control plane, and of the Envoy that `reeve up` starts beside it.
#[derive(Debug, Clone)]
pub struct Config {
    /// Set by `--dev`: loopback only, no admin login, governance off on an empty database.
    pub dev: bool,
    /// `REEVE_BIND`, default 127.0.0.1: address that the HTTP and gRPC servers listen on.
    pub bind: IpAddr,
    /// `REEVE_PORT`, default 8080: Envoy.
    pub port: u16,
    /// `REEVE_HTTP_PORT`, default 8081: the admin API.
    pub http_port: u16,
    /// `REEVE_GRPC_PORT`, default 8082: the filters' stream.
    pub grpc_port: u16,
    /// `REEVE_ENVOY_ADMIN_PORT`, default 9901.
    pub envoy_admin_port: u16,
    /// `REEVE_DEMO_PORT`, default 9100: the demo provider.
    pub demo_port: u16,
    /// `REEVE_DATA_DIR`, default `./data`.
    pub data_dir: PathBuf,
    /// `REEVE_DATABASE_URL`: `postgres://…` or `sqlite://<file>`; default the file `reeve.db` in
    /// the data directory.
    pub database_url: DatabaseUrl,
    /// `REEVE_ENVOY_CONCURRENCY`: worker threads of Envoy; default one per core.
    pub envoy_concurrency: Option<u32>,
    /// `REEVE_LOG_FORMAT`, `text` (default) or `json`.
    pub log_format: LogFormat,
    /// `REEVE_LOG`, a filter such as `info` (default) or `info,reeve_control_plane=debug`.
    pub log_filter: String,
    /// `REEVE_PRIVATE_NETWORKS`, such as `10.20.0.0/16,vllm,*.llm.internal`; default none: where on the
    /// gateway's own networks providers may be. In `--dev` they may be anywhere.
    pub private_networks: PrivateNetworks,
    /// `REEVE_FILTER_WASM`: the filter module that Envoy loads.
    pub filter_wasm: Option<PathBuf>,
    /// `REEVE_NODE_TRUST_BUNDLE`: PEM file of a mesh's certificate authorities, whose certificates
    /// Envoys may have instead of ours.
    pub node_trust_bundle: Option<PathBuf>,
    /// `REEVE_NODE_IDENTITIES`: which identities of that mesh are Envoys, one SPIFFE id or what theirs begin
    /// with, such as `spiffe://cluster.local/ns/reeve-gateway`. Whoever has one is given the provider keys.
    pub node_identities: Option<String>,
    /// `REEVE_ENCRYPTION_KEY`: encrypts provider keys at rest; default a key made at first start.
    pub encryption_key: Option<Secret>,
    /// `REEVE_ADMIN_TOKEN`: the admin token, in place of the one made at first start.
    pub admin_token: Option<Secret>,
    /// `OPENAI_API_KEY`: wires the real provider at first start in `--dev`.
    pub openai_api_key: Option<Secret>,
    /// `ANTHROPIC_API_KEY`: likewise.
    pub anthropic_api_key: Option<Secret>,
}

/// Shortest admin token that is accepted from the environment, characters.
const MIN_ADMIN_TOKEN: usize = 32;

impl Config {
    /// Reads the configuration from `env`, which answers with the value of a variable.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Env(env);
        let data_dir = PathBuf::from(
            env.text("REEVE_DATA_DIR")
                .unwrap_or_else(|| "./data".into()),
        );
        Ok(Self {
            dev: false,
            bind: env
                .parsed("REEVE_BIND", "an IP address")?
                .unwrap_or(LOCALHOST),
            port: env.port("REEVE_PORT", 8080)?,
            http_port: env.port("REEVE_HTTP_PORT", 8081)?,
            grpc_port: env.port("REEVE_GRPC_PORT", 8082)?,
            envoy_admin_port: env.port("REEVE_ENVOY_ADMIN_PORT", 9901)?,
            demo_port: env.port("REEVE_DEMO_PORT", 9100)?,
            database_url: env.database_url(&data_dir)?,
            data_dir,
            envoy_concurrency: env.concurrency()?,
            log_format: env.log_format()?,
            log_filter: env.text("REEVE_LOG").unwrap_or_else(|| "info".into()),
            private_networks: env.private_networks()?,
            filter_wasm: env.text("REEVE_FILTER_WASM").map(PathBuf::from),
            node_trust_bundle: env.text("REEVE_NODE_TRUST_BUNDLE").map(PathBuf::from),
            node_identities: env.text("REEVE_NODE_IDENTITIES"),
            encryption_key: env.secret("REEVE_ENCRYPTION_KEY"),
            admin_token: env.admin_token()?,
            openai_api_key: env.secret("OPENAI_API_KEY"),
            anthropic_api_key: env.secret("ANTHROPIC_API_KEY"),
        })
    }

    /// Where the admin API listens.
    pub fn http_address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.http_port)
    }

    /// Where the filters' stream is served.
    pub fn grpc_address(&self) -> SocketAddr {
        SocketAddr::new(self.bind, self.grpc_port)
    }

    /// Rules that hold between several settings.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.dev && !self.bind.is_loopback() {
            return Err(ConfigError {
                variable: "REEVE_BIND",
                problem: format!(
                    "`{}` is not a loopback address, and --dev needs no login; use 127.0.0.1 or \
                     start without --dev",
                    self.bind
                ),
            });
        }
        if self.node_trust_bundle.is_some() != self.node_identities.is_some() {
            return Err(ConfigError {
                variable: "REEVE_NODE_TRUST_BUNDLE",
                problem: "and REEVE_NODE_IDENTITIES belong together: set both or none".into(),
            });
        }
        Ok(())
    }
}

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A variable of the process; the argument for [`Config::from_env`] outside of tests.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn process_environment(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => None,
        // Kept, so that it is refused with the variable's name instead of being overlooked.
        Err(std::env::VarError::NotUnicode(value)) => Some(value.to_string_lossy().into_owned()),
    }
}

struct Env<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Env<'_> {
    /// A variable; one that is set to nothing counts as not set.
    fn text(&self, variable: &str) -> Option<String> {
        (self.0)(variable).filter(|value| !value.is_empty())
    }

    fn secret(&self, variable: &str) -> Option<Secret> {
        self.text(variable).map(Secret::new)
    }

    fn parsed<T: FromStr>(
        &self,
        variable: &'static str,
        expected: &str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(variable) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(ConfigError {
                variable,
                problem: format!("`{text}` is not {expected}"),
            }),
        }
    }

    fn port(&self, variable: &'static str, default: u16) -> Result<u16, ConfigError> {
        Ok(self
            .parsed(variable, "a port number (0 to 65535)")?
            .unwrap_or(default))
    }

    fn concurrency(&self) -> Result<Option<u32>, ConfigError> {
        let variable = "REEVE_ENVOY_CONCURRENCY";
        let workers = self.parsed(variable, "a number of worker threads")?;
        if workers == Some(0) {
            return Err(ConfigError {
                variable,
                problem: "must be at least 1".into(),
            });
        }
        Ok(workers)
    }

    fn private_networks(&self) -> Result<PrivateNetworks, ConfigError> {
        let variable = "REEVE_PRIVATE_NETWORKS";
        let listed = self.text(variable).unwrap_or_default();
        listed
            .parse()
            .map_err(|problem| ConfigError { variable, problem })
    }

    fn log_format(&self) -> Result<LogFormat, ConfigError> {
        let variable = "REEVE_LOG_FORMAT";
        match self.text(variable).as_deref() {
            None | Some("text") => Ok(LogFormat::Text),
            Some("json") => Ok(LogFormat::Json),
            Some(other) => Err(ConfigError {
                variable,
                problem: format!("`{other}` is not a log format; use `text` or `json`"),
            }),
        }
    }

    fn admin_token(&self) -> Result<Option<Secret>, ConfigError> {
        let variable = "REEVE_ADMIN_TOKEN";
        let token = self.secret(variable);
        match &token {
            Some(token) if token.expose().len() < MIN_ADMIN_TOKEN => Err(ConfigError {
                variable,
                problem: format!(
                    "must have at least {MIN_ADMIN_TOKEN} random characters, e.g. the output of \
                     `openssl rand -hex 32`"
                ),
            }),
            _ => Ok(token),
        }
    }

    fn database_url(&self, data_dir: &std::path::Path) -> Result<DatabaseUrl, ConfigError> {
        let variable = "REEVE_DATABASE_URL";
        let Some(url) = self.text(variable) else {
            return Ok(DatabaseUrl::Sqlite(data_dir.join("reeve.db")));
        };
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(DatabaseUrl::Postgres(Secret::new(url)));
        }
        match url.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() => Ok(DatabaseUrl::Sqlite(path.into())),
            // The URL is not repeated: it may hold a password.
            _ => Err(ConfigError {
                variable,
                problem: "must be `postgres://user:password@host/database` or `sqlite://file`"
                    .into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_env(&|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_environment_is_enough() {
        let config = config(&[]).unwrap();
        assert_eq!(config.http_address().to_string(), "127.0.0.1:8081");
        assert_eq!(config.grpc_address().to_string(), "127.0.0.1:8082");
        assert_eq!(
            config.database_url,
            DatabaseUrl::Sqlite("./data/reeve.db".into())
        );
        assert!(!config.dev);
    }

    #[test]
    fn an_error_names_the_variable_and_the_remedy() {
        for (variable, value, remedy) in [
            ("REEVE_HTTP_PORT", "99999", "a port number"),
            ("REEVE_BIND", "localhost", "an IP address"),
            ("REEVE_LOG_FORMAT", "xml", "use `text` or `json`"),
            (
                "REEVE_DATABASE_URL",
                "mysql://root:hunter2@db/x",
                "postgres://",
            ),
            ("REEVE_DATABASE_URL", "sqlite://", "sqlite://file"),
            ("REEVE_ENVOY_CONCURRENCY", "0", "at least 1"),
            ("REEVE_ADMIN_TOKEN", "secret", "at least 32"),
            (
                "REEVE_PRIVATE_NETWORKS",
                "10.0.0.0/8,169.254.0.0/16",
                "metadata",
            ),
        ] {
            let error = config(&[(variable, value)]).unwrap_err();
            assert_eq!(error.variable, variable);
            assert!(error.problem.contains(remedy), "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn no_secret_is_in_the_debug_output() {
        let secret = "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t";
        let url = format!("postgres://reeve:{secret}@db/reeve");
        let config = config(&[
            ("REEVE_DATABASE_URL", &url),
            ("REEVE_ENCRYPTION_KEY", secret),
            ("REEVE_ADMIN_TOKEN", secret),
            ("OPENAI_API_KEY", secret),
            ("ANTHROPIC_API_KEY", secret),
        ])
        .unwrap();
        assert!(!format!("{config:?}").contains("s3cr3t"));
    }

    #[test]
    fn dev_mode_is_for_loopback_only() {
        let mut config = config(&[("REEVE_BIND", "0.0.0.0")]).unwrap();
        assert_eq!(config.validate(), Ok(()));
        config.dev = true;
        assert_eq!(config.validate().unwrap_err().variable, "REEVE_BIND");
    }
}
