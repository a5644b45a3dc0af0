//! What the rendered files promise. Each assertion is a field that security rests on; the reasons
//! are in `envoy/README.md`.

mod bootstrap;
mod clusters;
mod routes;

use serde_json::Value;

use super::*;

fn gateway() -> Gateway {
    Gateway {
        node_id: "envoy-1".to_owned(),
        node_cluster: "reeve".to_owned(),
        port: 8080,
        admin_port: 9901,
        http_port: 8081,
        grpc_port: 8082,
        domains: ["localhost", "127.0.0.1", "[::1]"]
            .map(str::to_owned)
            .to_vec(),
        max_request_body_bytes: 32 << 20,
        dir: "/var/lib/reeve/envoy".into(),
        filter: "/usr/lib/reeve/reeve_filter.wasm".into(),
        ca_bundle: "/etc/ssl/certs/ca-certificates.crt".into(),
    }
}

fn name(name: &str) -> Host {
    Host::Name(name.to_owned())
}

fn openai() -> Provider {
    Provider {
        name: "openai".to_owned(),
        key_id: None,
        wire_format: "openai",
        origin: Origin {
            tls: true,
            host: name("api.openai.com"),
            port: 443,
        },
        egress: Egress {
            forbidden: vec![(IpAddr::from([169, 254, 0, 0]), 16)],
            private: vec![(IpAddr::from([10, 0, 0, 0]), 8)],
            exempt: vec![(IpAddr::from([10, 20, 0, 0]), 16)],
        },
        base_path: "/v1".to_owned(),
        credential: Some(Credential {
            header: "authorization",
            prefix: "Bearer ",
            key: Secret::new("sk-planted-secret"),
        }),
    }
}

fn cluster(provider: Provider) -> Value {
    let files = render(&Input {
        gateway: gateway(),
        providers: vec![provider],
    });
    let clusters: Value = serde_json::from_str(&files.clusters).unwrap();
    clusters["resources"][0].clone()
}

/// Fails with the name of every field that is not as it must be. `what` is what has the fields.
fn assert_fields(what: &str, object: &Value, expected: &[(&str, Value)]) {
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(pointer, value)| object.pointer(pointer) != Some(value))
        .map(|(pointer, value)| format!("{pointer} is not {value}: {:?}", object.pointer(pointer)))
        .collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
}
