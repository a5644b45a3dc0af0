//! What is served promises what the files of `envoy/README.md` say. Each assertion is a field that
//! security or availability rests on.

mod clusters;
mod credentials;
mod routes;
mod snapshots;
mod subscribers;

use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use super::*;

fn gateway() -> Gateway {
    Gateway {
        domains: vec!["localhost".to_owned()],
        max_request_body_bytes: 32 << 20,
        filter: "/usr/lib/reeve/reeve_filter.wasm".into(),
        ca_bundle: "/etc/ssl/certs/ca-certificates.crt".into(),
    }
}

fn host(name: &str) -> Host {
    Host::Name(name.to_owned())
}

fn openai() -> Provider {
    Provider {
        name: "openai".to_owned(),
        key_id: None,
        wire_format: "openai",
        origin: Origin {
            tls: true,
            host: host("api.openai.com"),
            port: 443,
        },
        egress: Egress {
            forbidden: vec![(IpAddr::from([169, 254, 0, 0]), 16)],
            private: vec![(IpAddr::from([10, 0, 0, 0]), 8)],
            exempt: vec![(IpAddr::from([10, 20, 0, 0]), 16)],
        },
        base_path: "/v1".to_owned(),
        credential: Some(Credential::Header {
            header: "authorization",
            prefix: "Bearer ",
            openai_side: None,
            key: Key::new("sk-planted-secret"),
        }),
    }
}

/// Another one at the same place.
fn named(name: &str) -> Provider {
    Provider {
        name: name.to_owned(),
        ..openai()
    }
}

/// For one of its keys.
fn bound(key_id: &str) -> Provider {
    Provider {
        key_id: Some(key_id.to_owned()),
        ..openai()
    }
}

fn with_key(mut provider: Provider, key: &str) -> Provider {
    match provider.credential.as_mut().unwrap() {
        Credential::Header { key: of_it, .. } => *of_it = Key::new(key),
        Credential::Aws(of_it) => of_it.secret_key = Key::new(key),
    }
    provider
}

/// One that signs.
fn bedrock() -> Provider {
    Provider {
        credential: Some(Credential::Aws(AwsKey {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: Key::new("planted-secret-key"),
            session_token: Some(Key::new("planted-session-token")),
            region: "eu-central-1".to_owned(),
        })),
        ..named("bedrock")
    }
}

fn input(providers: &[Provider]) -> Input {
    Input {
        gateway: gateway(),
        providers: providers.to_vec(),
    }
}

fn first(providers: &[Provider]) -> Snapshot {
    Snapshot::after(None, input(providers)).unwrap()
}

fn names(snapshot: &Snapshot, of: ResourceType) -> Vec<&str> {
    snapshot.names(of).collect()
}

fn decoded<T: Message + Name + Default>(packed: &Any) -> T {
    assert_eq!(packed.type_url, T::type_url());
    T::decode(packed.value.as_slice()).unwrap()
}
