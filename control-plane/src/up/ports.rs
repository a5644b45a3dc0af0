//! Looks for taken ports before anything is started, because "address in use" in the middle of
//! three processes' logs helps nobody.

use std::net::{SocketAddr, TcpListener};

use super::{UpError, loopback};
use crate::config::Config;

/// One thing that will listen.
struct Wanted {
    address: SocketAddr,
    purpose: &'static str,
    variable: &'static str,
}

/// Checks that every port is free and that no two are the same.
pub(super) fn check(config: &Config) -> Result<(), UpError> {
    let wanted = wanted(config);
    for (index, one) in wanted.iter().enumerate() {
        let port = one.address.port();
        // Port 0 means "any": two of those are never the same.
        let other = wanted.iter().skip(index.saturating_add(1));
        if let Some(other) = other
            .into_iter()
            .find(|other| port != 0 && other.address.port() == port)
        {
            return Err(UpError::SamePort {
                port,
                variable: one.variable,
                other: other.variable,
            });
        }
    }
    for Wanted {
        address,
        purpose,
        variable,
    } in wanted
    {
        // The listener is closed again at once; what it tells is only that nobody else has one.
        if let Err(cause) = TcpListener::bind(address) {
            return Err(UpError::PortTaken {
                port: address.port(),
                purpose,
                variable,
                cause,
            });
        }
    }
    Ok(())
}

fn wanted(config: &Config) -> [Wanted; 5] {
    let on = |address, purpose, variable| Wanted {
        address,
        purpose,
        variable,
    };
    [
        on(loopback(config.port), "Envoy", "REEVE_PORT"),
        on(
            config.http_address(),
            "control plane, HTTP",
            "REEVE_HTTP_PORT",
        ),
        on(
            config.grpc_address(),
            "control plane, gRPC",
            "REEVE_GRPC_PORT",
        ),
        on(
            loopback(config.envoy_admin_port),
            "Envoy admin",
            "REEVE_ENVOY_ADMIN_PORT",
        ),
        on(
            loopback(config.demo_port),
            "demo provider",
            "REEVE_DEMO_PORT",
        ),
    ]
}
