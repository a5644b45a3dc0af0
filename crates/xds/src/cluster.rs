use std::collections::HashMap;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType,
};
use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection, UpstreamConnectionOptions,
};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use envoy_types::pb::envoy::config::core::v3::{
    Address, DataSource, Http1ProtocolOptions, Http2ProtocolOptions,
    HttpProtocolOptions as CommonOptions, KeepaliveSettings, Metadata, SocketAddress, TcpKeepalive,
    TransportSocket,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::extensions::filters::http::upstream_codec::v3::UpstreamCodec;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType as FilterConfig;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher, TlsParameters,
    UpstreamTlsContext,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Any, Struct, Value};

use crate::message::{any, number, seconds};
use crate::{ATTEMPT, Gateway, Host, Origin, Provider, credential, egress, plugin};

/// Key of a cluster's protocol options.
pub(crate) const HTTP_PROTOCOL_OPTIONS: &str =
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// LLM answers take minutes, so a provider holds many requests at once; Envoy's default of 1,024
/// would refuse them long before the provider does.
const MAX_AT_ONCE: u32 = 10_000;

/// The cluster of a provider.
pub(crate) fn cluster(gateway: &Gateway, provider: &Provider) -> Cluster {
    let name = provider.cluster();
    let origin = &provider.origin;
    let (address, discovery) = match &origin.host {
        Host::Address(address) => (
            address.to_string(),
            ClusterDiscoveryType::Type(DiscoveryType::Static.into()),
        ),
        Host::Name(host) => (host.clone(), dns()),
    };
    let options = any(protocol_options(gateway, provider));
    Cluster {
        load_assignment: Some(load_assignment(&name, address, origin.port)),
        name,
        cluster_discovery_type: Some(discovery),
        connect_timeout: seconds(5),
        per_connection_buffer_limit_bytes: number(1_048_576),
        metadata: Some(metadata(provider)),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_connections: number(MAX_AT_ONCE),
                max_pending_requests: number(MAX_AT_ONCE),
                max_requests: number(MAX_AT_ONCE),
                // Envoy's default is 3: when a provider is down, all of its requests go on to another.
                max_retries: number(MAX_AT_ONCE),
                ..Thresholds::default()
            }],
            ..CircuitBreakers::default()
        }),
        outlier_detection: Some(noticed_only()),
        upstream_connection_options: Some(UpstreamConnectionOptions {
            // A provider may think for minutes without a byte; a dead connection looks the same.
            tcp_keepalive: Some(TcpKeepalive {
                keepalive_time: number(30),
                keepalive_interval: number(10),
                keepalive_probes: number(3),
            }),
            ..UpstreamConnectionOptions::default()
        }),
        typed_extension_protocol_options: HashMap::from([(
            HTTP_PROTOCOL_OPTIONS.to_owned(),
            options,
        )]),
        transport_socket: origin.tls.then(|| tls(gateway, origin)),
        ..Cluster::default()
    }
}

/// What the attempt filter reads.
fn metadata(provider: &Provider) -> Metadata {
    let fields = [
        ("provider", provider.name.clone()),
        ("host", provider.origin.authority()),
        ("base_path", provider.base_path.clone()),
        ("wire_format", provider.wire_format.to_owned()),
    ];
    let fields = fields.map(|(name, text)| {
        let kind = Some(Kind::StringValue(text));
        (name.to_owned(), Value { kind })
    });
    let reeve = Struct {
        fields: HashMap::from(fields),
    };
    Metadata {
        filter_metadata: HashMap::from([("reeve".to_owned(), reeve)]),
        ..Metadata::default()
    }
}

fn load_assignment(cluster: &str, address: String, port: u16) -> ClusterLoadAssignment {
    let socket = SocketAddress {
        address,
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    let endpoint = Endpoint {
        address: Some(Address {
            address: Some(AddressKind::SocketAddress(socket)),
        }),
        ..Endpoint::default()
    };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: vec![LbEndpoint {
                host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
                ..LbEndpoint::default()
            }],
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    }
}

/// One logical endpoint, re-resolved; connections try both address families (RFC 8305).
fn dns() -> ClusterDiscoveryType {
    ClusterDiscoveryType::ClusterType(CustomClusterType {
        name: "envoy.cluster.dns".to_owned(),
        typed_config: Some(any(DnsCluster {
            dns_lookup_family: DnsLookupFamily::All.into(),
            respect_dns_ttl: true,
            all_addresses_in_single_endpoint: true,
            ..DnsCluster::default()
        })),
    })
}

/// A provider that fails again and again is counted (`outlier_detection.*` in Envoy's statistics). It
/// has one endpoint, and without it the cluster would refuse everything; who gets requests the
/// governance filter decides.
fn noticed_only() -> OutlierDetection {
    let never = number(0);
    OutlierDetection {
        split_external_local_origin_errors: true,
        enforcing_consecutive_5xx: never,
        enforcing_consecutive_gateway_failure: never,
        enforcing_consecutive_local_origin_failure: never,
        enforcing_success_rate: never,
        enforcing_local_origin_success_rate: never,
        ..OutlierDetection::default()
    }
}

fn protocol_options(gateway: &Gateway, provider: &Provider) -> HttpProtocolOptions {
    let attempt = any(plugin::wasm(&gateway.filter, ATTEMPT));
    let mut filters = vec![
        filter(
            "envoy.filters.http.upstream_rbac",
            any(egress::rbac(&provider.egress)),
        ),
        filter("reeve.attempt", attempt),
    ];
    let credentials = credential::filters(provider).into_iter();
    filters.extend(credentials.map(|(name, config)| filter(name, config)));
    let codec = any(UpstreamCodec {});
    filters.push(filter("envoy.filters.http.upstream_codec", codec));
    let protocol = if provider.origin.tls {
        // HTTP/2 where ALPN agrees on it.
        UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(Http2ProtocolOptions {
                connection_keepalive: Some(KeepaliveSettings {
                    interval: seconds(30),
                    timeout: seconds(10),
                    ..KeepaliveSettings::default()
                }),
                ..Http2ProtocolOptions::default()
            }),
            ..AutoHttpConfig::default()
        })
    } else {
        let http1 = ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default());
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(http1),
        })
    };
    HttpProtocolOptions {
        // Shorter than what the front ends of the big providers keep, so that a request is not
        // sent on a connection that the other side is closing.
        common_http_protocol_options: Some(CommonOptions {
            idle_timeout: seconds(60),
            ..CommonOptions::default()
        }),
        http_filters: filters,
        upstream_protocol_options: Some(protocol),
        ..HttpProtocolOptions::default()
    }
}

fn filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(FilterConfig::TypedConfig(config)),
        ..HttpFilter::default()
    }
}

/// TLS to a provider: its certificate must be valid for the very host that was configured.
fn tls(gateway: &Gateway, origin: &Origin) -> TransportSocket {
    let (sni, san_type, san) = match &origin.host {
        Host::Name(name) => (name.clone(), SanType::Dns, name.clone()),
        // SNI holds names only (RFC 6066, 3).
        Host::Address(address) => (String::new(), SanType::IpAddress, address.to_string()),
    };
    let ca_bundle = gateway.ca_bundle.to_string_lossy().into_owned();
    let validation = CertificateValidationContext {
        trusted_ca: Some(DataSource {
            specifier: Some(Specifier::Filename(ca_bundle)),
            ..DataSource::default()
        }),
        match_typed_subject_alt_names: vec![SubjectAltNameMatcher {
            san_type: san_type.into(),
            matcher: Some(StringMatcher {
                match_pattern: Some(MatchPattern::Exact(san)),
                ..StringMatcher::default()
            }),
            ..SubjectAltNameMatcher::default()
        }],
        ..CertificateValidationContext::default()
    };
    let context = UpstreamTlsContext {
        sni,
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
                ..TlsParameters::default()
            }),
            validation_context_type: Some(ValidationContextType::ValidationContext(validation)),
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(SocketConfig::TypedConfig(any(context))),
    }
}
