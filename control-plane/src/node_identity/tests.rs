//! Who gets in at the gRPC port, over real TLS, and as whom.

use reeve_proto::v1::grpc::policy_sync_client::PolicySyncClient;
use reeve_proto::v1::{FilterMessage, Hello, LeaseAsk, LeaseRequest, RenewRequest, filter_message};
use reeve_xds::discovery::DiscoveryRequest;
use reeve_xds::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use reeve_xds::{Node, ResourceType};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server};
use tonic::{Code, Status};

use super::*;
use crate::ads;
use crate::clock::Clock;
use crate::db::Db;
use crate::db::testing::on_every_database;
use crate::ledger;
use crate::policy_sync;
use crate::secrets::SealingKey;
use crate::testing::{Api, START_MS};
use crate::usage::Boot;

/// A control plane that wants certificates.
struct Plane {
    api: Api,
    authority: Authority,
    address: String,
}

impl Plane {
    async fn start(db: &Db) -> Self {
        let api = Api::new(db.clone()).await;
        let authority = authority(&api).await;
        let mut tx = db.begin_read().await.unwrap();
        api.app
            .ads
            .publish(ads::load::input(&mut tx, &api.app).await.unwrap());
        drop(tx);
        let callers = Callers::Certified(None);
        let tls = callers.tls(&authority.of_server(now()).unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let routes = policy_sync::grpc::routes(api.app.clone(), callers.clone());
        let server = Server::builder()
            .tls_config(tls)
            .unwrap()
            .add_routes(routes.add_service(ads::grpc::service(api.app.clone(), callers)))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(async move { server.await.unwrap() });
        Self {
            api,
            authority,
            address,
        }
    }

    async fn connect(
        &self,
        credentials: Option<&Credentials>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new()
            .domain_name(SERVER_NAME)
            .ca_certificate(Certificate::from_pem(self.authority.certificate()));
        if let Some(credentials) = credentials {
            tls = tls.identity(Identity::from_pem(
                &credentials.certificate,
                credentials.key.expose(),
            ));
        }
        let endpoint = Endpoint::new(format!("https://{}", self.address)).unwrap();
        endpoint.tls_config(tls)?.connect().await
    }

    async fn node(&self, node_id: &str) -> Channel {
        let credentials = self.authority.of_node(node_id, 1, now()).unwrap();
        self.connect(Some(&credentials)).await.unwrap()
    }
}

async fn authority(api: &Api) -> Authority {
    let app = &api.app;
    Authority::load_or_create(&app.db, &app.sealing_key, &app.random, START_MS)
        .await
        .unwrap()
}

/// TLS looks at the real clock.
fn now() -> i64 {
    Clock::System.now_ms()
}

/// What an Envoy that says it is `node_id` gets to hear first.
async fn configured(channel: Channel, node_id: &str) -> Result<(), Status> {
    let request = DiscoveryRequest {
        type_url: ResourceType::Clusters.type_url(),
        node: Some(Node {
            id: node_id.into(),
            ..Node::default()
        }),
        ..DiscoveryRequest::default()
    };
    let requests =
        tokio_stream::StreamExt::chain(tokio_stream::once(request), tokio_stream::pending());
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let stream = client.stream_aggregated_resources(requests).await?;
    let first = stream.into_inner().message().await?;
    assert!(first.is_some());
    Ok(())
}

/// What a filter that says it is `node_id` gets to hear first.
async fn welcomed(channel: Channel, node_id: &str) -> Result<(), Status> {
    let hello = FilterMessage {
        kind: Some(filter_message::Kind::Hello(Hello {
            node_id: node_id.into(),
            boot_id: "b1".into(),
            ..Hello::default()
        })),
    };
    let messages =
        tokio_stream::StreamExt::chain(tokio_stream::once(hello), tokio_stream::pending());
    let stream = PolicySyncClient::new(channel).sync(messages).await?;
    let first = stream.into_inner().message().await?;
    assert!(first.is_some());
    Ok(())
}

fn code(result: Result<(), Status>) -> Option<Code> {
    result.err().map(|status| status.code())
}

on_every_database! {
    async fn a_node_is_served_as_itself_and_as_nobody_else(db: Db) {
        let plane = Plane::start(&db).await;
        let channel = plane.node("envoy-1").await;
        assert_eq!(code(configured(channel.clone(), "envoy-1").await), None);
        assert_eq!(code(welcomed(channel.clone(), "envoy-1").await), None);
        for other in ["envoy-2", "envoy-1/x", "envoy-11", "envoy-", "node/envoy-1"] {
            let refused = Some(Code::PermissionDenied);
            assert_eq!(code(configured(channel.clone(), other).await), refused, "{other}");
            assert_eq!(code(welcomed(channel.clone(), other).await), refused, "{other}");
        }
    }

    async fn a_node_cannot_speak_in_anothers_session(db: Db) {
        let plane = Plane::start(&db).await;
        assert_eq!(code(welcomed(plane.node("envoy-1").await, "envoy-1").await), None);
        let boot = Boot { node_id: "envoy-1".into(), boot_id: "b1".into() };
        let session = ledger::testing::session(&db, &boot).await;
        let ask = |session| LeaseAsk { limit_id: "l1".into(), session, ..LeaseAsk::default() };
        let asking = |sessions: &[i64]| LeaseRequest {
            asks: sessions.iter().map(|session| ask(*session)).collect(),
            ..LeaseRequest::default()
        };
        let mut own = PolicySyncClient::new(plane.node("envoy-1").await);
        let renewed = own.renew(RenewRequest { session }).await.unwrap();
        let slots = renewed.into_inner().slot_session;
        assert_ne!(slots, session);
        own.lease(asking(&[session, slots])).await.unwrap();

        let another = plane.node("envoy-2").await;
        assert_eq!(code(welcomed(another.clone(), "envoy-2").await), None);
        let boot = Boot { node_id: "envoy-2".into(), boot_id: "b1".into() };
        let its_own = ledger::testing::session(&db, &boot).await;
        let mut other = PolicySyncClient::new(another);
        other.lease(asking(&[its_own])).await.unwrap();
        // Neither the process's session, nor that of its slots, nor one that there is not.
        for foreign in [session, slots, 1_000] {
            let refused = other.lease(asking(&[its_own, foreign])).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{foreign}");
            let refused = other.renew(RenewRequest { session: foreign }).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied, "{foreign}");
        }
    }

    async fn without_a_certificate_of_ours_nobody_gets_in(db: Db) {
        let plane = Plane::start(&db).await;
        let strange = foreign_credentials("envoy-1");
        for credentials in [None, Some(&strange)] {
            let refused = match plane.connect(credentials).await {
                // TLS 1.3 tells a client only when it reads.
                Ok(channel) => configured(channel, "envoy-1").await.is_err(),
                Err(_) => true,
            };
            assert!(refused);
        }
        // In the clear neither.
        let plain = Endpoint::new(format!("http://{}", plane.address)).unwrap();
        if let Ok(channel) = plain.connect().await {
            assert!(configured(channel, "envoy-1").await.is_err());
        }
        assert_eq!(plane.api.app.ads.connected(), []);
    }

    async fn the_control_planes_own_certificate_is_no_nodes(db: Db) {
        let plane = Plane::start(&db).await;
        let server = plane.authority.of_server(now()).unwrap();
        let refused = match plane.connect(Some(&server)).await {
            Ok(channel) => configured(channel, SERVER_NAME).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }

    async fn the_authority_is_made_once_and_its_key_stored_encrypted(db: Db) {
        let api = Api::new(db).await;
        let first = authority(&api).await;
        let second = authority(&api).await;
        assert_eq!(first.certificate(), second.certificate());
        let mut tx = api.app.db.begin_read().await.unwrap();
        let (certificate, sealed) = store::get(&mut tx).await.unwrap().unwrap();
        assert!(certificate.starts_with("-----BEGIN CERTIFICATE"));
        assert!(!sealed.contains("PRIVATE"));
        drop(tx);
        let other = SealingKey::new(&[8; 32]).unwrap();
        let random = &api.app.random;
        let refused = Authority::load_or_create(&api.app.db, &other, random, START_MS).await;
        assert!(matches!(refused, Err(IdentityError::Seal(_))));
    }
}

/// Of an authority that has nothing to do with ours, with everything else the same.
fn foreign_credentials(node_id: &str) -> Credentials {
    Authority::for_tests(now())
        .of_node(node_id, 1, now())
        .unwrap()
}

fn certified(id: &str) -> Caller {
    Caller::Certified {
        id: id.into(),
        mesh: Some("spiffe://cluster.local/ns/reeve".into()),
    }
}

#[test]
fn a_pod_of_a_mesh_speaks_for_its_service_account_and_names_below_it() {
    let caller = certified("spiffe://cluster.local/ns/reeve/sa/envoy");
    for (node_id, may) in [
        ("ns/reeve/sa/envoy", true),
        ("ns/reeve/sa/envoy/pod-1", true),
        ("ns/reeve/sa/envoy2", false),
        ("ns/reeve/sa", false),
        (
            "router~10.0.0.7~envoy-7f.reeve~reeve.svc.cluster.local",
            true,
        ),
        (
            "router~10.0.0.7~envoy-7f.other~reeve.svc.cluster.local",
            false,
        ),
        ("router~10.0.0.7~reeve~reeve.svc.cluster.local", false),
        ("router~10.0.0.7~envoy-7f.reeve", false),
        ("router~10.0.0.7~envoy-7f.reeve~x~y", false),
        ("envoy", false),
        ("", false),
    ] {
        assert_eq!(caller.check(node_id).is_ok(), may, "{node_id}");
    }
    for id in [
        "spiffe://cluster.local.evil/ns/reeve/sa/envoy",
        "spiffe://other/ns/reeve/sa/envoy",
        "spiffe://cluster.local/ns/reeve-too/sa/envoy",
        "spiffe://cluster.local/ns/other/sa/envoy",
        "https://cluster.local/ns/reeve/sa/envoy",
        "spiffe://cluster.local/",
        "spiffe://reeve.internal/node/ns/reeve/sa/envoy2",
    ] {
        assert!(certified(id).check("ns/reeve/sa/envoy").is_err(), "{id}");
    }
}

#[test]
fn a_meshs_identities_are_a_part_of_a_trust_domain_that_is_not_ours() {
    for (identities, fits) in [
        ("spiffe://cluster.local/ns/reeve-gateway", true),
        ("spiffe://cluster.local/ns/reeve-gateway/sa/envoy", true),
        ("spiffe://cluster.local", false),
        ("spiffe://cluster.local/", false),
        ("spiffe://cluster.local/ns/", false),
        ("spiffe:///ns", false),
        ("cluster.local/ns/reeve-gateway", false),
        ("", false),
        ("spiffe://a b/ns", false),
        ("spiffe://reeve.internal/node", false),
    ] {
        assert_eq!(
            Mesh::new(String::new(), identities.into()).is_ok(),
            fits,
            "{identities}"
        );
    }
}

#[test]
fn a_node_id_that_would_not_stand_in_a_certificate_is_refused() {
    for (node_id, fits) in [
        ("envoy-8080", true),
        ("a.b_c-D9", true),
        ("", false),
        ("a/b", false),
        ("a b", false),
        ("ü", false),
        (&"a".repeat(129), false),
    ] {
        assert_eq!(check_node_id(node_id).is_ok(), fits, "{node_id}");
    }
}
