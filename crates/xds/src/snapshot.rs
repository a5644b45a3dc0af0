use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use envoy_types::pb::google::protobuf::Any;

use crate::message::any;
use crate::{Credential, Gateway, Input, Provider, ResourceType, cluster, plugin, route, secret};

/// Resources of a type by name.
pub(crate) type Resources = BTreeMap<String, Any>;

/// Everything that is served, at one time.
#[derive(Clone)]
pub struct Snapshot {
    version: u64,
    input: Input,
    sets: BTreeMap<ResourceType, Set>,
}

/// The resources of one type.
#[derive(Clone)]
pub(crate) struct Set {
    /// Of the snapshot since which they are as they are.
    pub(crate) version: u64,
    pub(crate) resources: Arc<Resources>,
}

impl Snapshot {
    /// The snapshot that follows; `None` when nothing would change. A type whose resources stay the
    /// same keeps its version, so nobody is told of it again.
    pub fn after(before: Option<&Self>, input: Input) -> Option<Self> {
        let version = before.map_or(0, |before| before.version).saturating_add(1);
        let mut changed = false;
        let sets = ResourceType::ALL.map(|of| {
            let kept = before
                .filter(|before| are_equal(of, &before.input, &input))
                .and_then(|before| before.sets.get(&of));
            let set = kept.cloned().unwrap_or_else(|| {
                changed = true;
                let resources = Arc::new(resources(of, &input, before));
                Set { version, resources }
            });
            (of, set)
        });
        changed.then(|| Self {
            version,
            input,
            sets: BTreeMap::from(sets),
        })
    }

    /// Counts from 1; every change is a new one.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// What it was made of.
    pub const fn input(&self) -> &Input {
        &self.input
    }

    /// Names of the resources of a type.
    pub fn names(&self, of: ResourceType) -> impl Iterator<Item = &str> {
        let resources = self.sets.get(&of).into_iter();
        resources.flat_map(|set| set.resources.keys().map(String::as_str))
    }

    pub(crate) fn set(&self, of: ResourceType) -> Option<&Set> {
        self.sets.get(&of)
    }
}

/// The resources hold provider keys.
impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Of those that stay as they are, only the bytes are copied: with thousands of keys, one of them changes.
fn clusters(input: &Input, before: Option<&Snapshot>) -> Resources {
    let Input { gateway, providers } = input;
    let before = before.filter(|before| same_for_clusters(&before.input.gateway, gateway));
    let made = before.and_then(|before| before.set(ResourceType::Clusters));
    let known = before.map_or(&[][..], |before| &before.input.providers);
    providers
        .iter()
        .map(|provider| {
            let name = provider.cluster();
            // They are sorted by cluster.
            let place = known.binary_search_by_key(&name, Provider::cluster).ok();
            let same = place
                .and_then(|place| known.get(place))
                .filter(|known| same_cluster((known, provider)));
            let kept = same.and_then(|_| made?.resources.get(&name)).cloned();
            let cluster = kept.unwrap_or_else(|| any(cluster::cluster(gateway, provider)));
            (name, cluster)
        })
        .collect()
}

/// Do two inputs make the same resources? (Their bytes cannot tell: maps are encoded in any order.)
fn are_equal(of: ResourceType, a: &Input, b: &Input) -> bool {
    let (from, to) = (&a.gateway, &b.gateway);
    match of {
        ResourceType::Clusters => {
            same_for_clusters(from, to)
                && a.providers.len() == b.providers.len()
                && a.providers.iter().zip(&b.providers).all(same_cluster)
        }
        ResourceType::Secrets => {
            let keys = |input: &Input| {
                let secrets = input.providers.iter().filter_map(secret::secret);
                secrets.collect::<Vec<_>>()
            };
            keys(a) == keys(b)
        }
        ResourceType::Routes => {
            let clusters = |input: &Input| {
                let clusters = input.providers.iter().map(Provider::cluster);
                clusters.collect::<Vec<_>>()
            };
            from.domains == to.domains
                && from.max_request_body_bytes == to.max_request_body_bytes
                && clusters(a) == clusters(b)
        }
        ResourceType::Filters => from.filter == to.filter,
    }
}

fn same_for_clusters(a: &Gateway, b: &Gateway) -> bool {
    a.filter == b.filter && a.ca_bundle == b.ca_bundle
}

fn same_cluster((a, b): (&Provider, &Provider)) -> bool {
    a.is_same_as(b)
        && a.wire_format == b.wire_format
        && a.origin == b.origin
        && a.egress == b.egress
        && a.base_path == b.base_path
        && same_filter(a.credential.as_ref(), b.credential.as_ref())
}

/// A key that travels in a header is not in a cluster; one that signs is.
fn same_filter(a: Option<&Credential>, b: Option<&Credential>) -> bool {
    let injected = |of: Option<&Credential>| match of {
        Some(Credential::Header {
            header,
            prefix,
            openai_side,
            ..
        }) => Some((*header, *prefix, *openai_side)),
        Some(Credential::Aws(_)) | None => None,
    };
    match injected(a) {
        Some(a) => Some(a) == injected(b),
        None => a == b,
    }
}

fn resources(of: ResourceType, input: &Input, before: Option<&Snapshot>) -> Resources {
    let Input { gateway, providers } = input;
    match of {
        ResourceType::Clusters => clusters(input, before),
        ResourceType::Secrets => providers
            .iter()
            .filter_map(secret::secret)
            .map(|secret| (secret.name.clone(), any(secret)))
            .collect(),
        ResourceType::Routes => {
            let routes = route::routes(gateway, providers);
            BTreeMap::from([(routes.name.clone(), any(routes))])
        }
        ResourceType::Filters => {
            let filter = plugin::governance(&gateway.filter);
            BTreeMap::from([(filter.name.clone(), any(filter))])
        }
    }
}
