use prost::Name as _;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;

/// A kind of resource that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResourceType {
    /// CDS.
    Clusters,
    /// SDS.
    Secrets,
    /// RDS.
    Routes,
    /// ECDS.
    Filters,
}

impl ResourceType {
    /// All, in the order in which they are sent.
    pub const ALL: [Self; 4] = [Self::Clusters, Self::Secrets, Self::Routes, Self::Filters];

    /// As Envoy names it.
    pub fn type_url(self) -> String {
        match self {
            Self::Clusters => Cluster::type_url(),
            Self::Secrets => Secret::type_url(),
            Self::Routes => RouteConfiguration::type_url(),
            Self::Filters => TypedExtensionConfig::type_url(),
        }
    }

    /// What a name of Envoy's means; `None`: nothing that is served.
    pub fn parse(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.type_url() == type_url)
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Secrets => "secrets",
            Self::Routes => "routes",
            Self::Filters => "filters",
        }
    }
}
