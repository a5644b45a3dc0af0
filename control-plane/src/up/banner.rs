//! What a user reads when everything runs.

use std::fmt;
use std::net::SocketAddr;

use axum::http::{Method, StatusCode};
use serde_json::Value;

use super::probe;
use crate::config::{Config, DatabaseUrl};

/// The banner, for one running stack.
pub(super) struct Banner<'a> {
    pub(super) config: &'a Config,
    /// Whether governance is on, where that could be asked.
    pub(super) governance: Option<bool>,
    /// How long the start took.
    pub(super) seconds: f32,
}

/// Asks the control plane whether governance is on: a data directory that was used before may have
/// it on even in `--dev`. Works without a login only in `--dev`.
pub(super) async fn governance(control_plane: SocketAddr) -> Option<bool> {
    let (status, body) = probe::ask(Method::GET, control_plane, "/api/config", "")
        .await
        .ok()?;
    let config: Value = serde_json::from_slice(&body)
        .ok()
        .filter(|_| status == StatusCode::OK)?;
    config
        .pointer("/client_config/enable_governance")?
        .as_bool()
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config {
            port,
            http_port,
            envoy_admin_port,
            demo_port,
            ..
        } = self.config;
        let local = "http://localhost";
        writeln!(f, "\nReeve is up ({:.1} s).\n", self.seconds)?;
        writeln!(
            f,
            "  LLM APIs       {local}:{port}/v1 (OpenAI's paths; others: /anthropic /genai /bedrock /cohere)"
        )?;
        writeln!(f, "  Admin API      {local}:{port}/api")?;
        writeln!(
            f,
            "  Control plane  {local}:{http_port} (the admin API without Envoy)"
        )?;
        writeln!(f, "  Envoy admin    {local}:{envoy_admin_port}")?;
        writeln!(f, "  Demo provider  {local}:{demo_port}/_demo/stats")?;
        self.data(f)?;
        if self.config.dev {
            self.warning(f)?;
        }
        self.first_steps(f)?;
        writeln!(f, "Stop with Ctrl-C.\n")
    }
}

impl Banner<'_> {
    fn data(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let folder = &self.config.data_dir;
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
        write!(f, "  Data           {}", folder.display())?;
        match &self.config.database_url {
            DatabaseUrl::Sqlite(_) => writeln!(f),
            DatabaseUrl::Postgres(_) => writeln!(f, " and the database of REEVE_DATABASE_URL"),
        }
    }

    fn warning(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = "  ".to_owned() + &"!".repeat(72);
        writeln!(
            f,
            "\n{rule}\n  !! DEVELOPMENT MODE (--dev): not for production"
        )?;
        writeln!(
            f,
            "  !! The admin API needs NO LOGIN; it listens on this machine only."
        )?;
        match self.governance {
            Some(true) => {
                writeln!(f, "  !! Governance is ON, as stored in the data directory.")?;
            }
            Some(false) => {
                writeln!(
                    f,
                    "  !! Governance is OFF: requests need no key until you turn it on."
                )?;
            }
            None => writeln!(f, "  !! Governance starts OFF: requests may need no key.")?,
        }
        writeln!(f, "{rule}")
    }

    fn first_steps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key_path, admin) = (
            "/api/governance/virtual-keys",
            "Authorization: Bearer <token>",
        );
        if self.config.dev {
            writeln!(f, "\nA first request:\n")?;
            self.command(f, "POST", CHAT, None, HELLO)?;
            writeln!(f, "Turn governance on:\n")?;
            self.command(f, "PUT", "/api/config", None, GOVERN)?;
            writeln!(f, "Make a virtual key:\n")?;
            self.command(f, "POST", key_path, None, KEY)
        } else {
            writeln!(
                f,
                "\nGovernance is on. The admin token was shown at the first start; with it,"
            )?;
            writeln!(
                f,
                "add a provider (POST /api/providers) and make a virtual key:\n"
            )?;
            self.command(f, "POST", key_path, Some(admin), KEY)?;
            writeln!(f, "A first request:\n")?;
            self.command(
                f,
                "POST",
                CHAT,
                Some("x-bf-vk: <virtual key>"),
                HELLO_ALLOWED,
            )
        }
    }

    fn command(
        &self,
        f: &mut fmt::Formatter<'_>,
        method: &str,
        path: &str,
        credential: Option<&str>,
        body: &str,
    ) -> fmt::Result {
        writeln!(
            f,
            "  curl -X {method} http://localhost:{}{path} \\",
            self.config.port
        )?;
        if let Some(header) = credential {
            writeln!(f, "    -H \"{header}\" \\")?;
        }
        writeln!(
            f,
            "    -H \"Content-Type: application/json\" \\\n    -d '{body}'\n"
        )
    }
}

const CHAT: &str = "/v1/chat/completions";
const HELLO: &str = r#"{"model": "openai/gpt-4o-mini", "messages": [{"role": "user", "content": "Hello, Bifrost!"}]}"#;
/// The same with the model that the key below may use.
const HELLO_ALLOWED: &str =
    r#"{"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hello, Bifrost!"}]}"#;
const GOVERN: &str = r#"{"client_config": {"enable_governance": true}}"#;
const KEY: &str = r#"{"name": "prod-api", "provider_configs": [{"provider": "openai", "allowed_models": ["gpt-4o"]}], "budget": {"max_limit": 100.00, "reset_duration": "1M"}}"#;
