use std::collections::HashMap;
use std::net::IpAddr;

use envoy_types::pb::envoy::config::core::v3::{CidrRange, TypedExtensionConfig};
use envoy_types::pb::envoy::config::rbac::v3::permission::{Rule, Set};
use envoy_types::pb::envoy::config::rbac::v3::principal::Identifier;
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action;
use envoy_types::pb::envoy::config::rbac::v3::{Permission, Policy, Principal, Rbac as Rules};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::rbac::matchers::upstream_ip_port::v3::UpstreamIpPortMatcher;

use crate::Egress;
use crate::message::{extension, number};

/// Turns a request away when its provider is at an address where it must not be, or its name has been resolved
/// to one, before a connection is made. Who owns a name owns its addresses, and can change them after the
/// control plane has looked (DNS rebinding); so this looks each time, at what Envoy is about to connect to.
///
/// It sees the first of a name's addresses. Should that not answer, Envoy tries the others, unseen; then it
/// is TLS that holds: the certificate must be for the provider's name.
pub(crate) fn rbac(egress: &Egress) -> Rbac {
    let mut rules = vec![any_of(&egress.forbidden)];
    if !egress.private.is_empty() {
        let private = any_of(&egress.private);
        rules.push(if egress.exempt.is_empty() {
            private
        } else {
            let beside = Rule::NotRule(Box::new(any_of(&egress.exempt)));
            all_of(vec![private, permission(beside)])
        });
    }
    // One entry: the order of a map's entries on the wire is chance.
    let policy = Policy {
        permissions: rules,
        principals: vec![Principal {
            identifier: Some(Identifier::Any(true)),
        }],
        ..Policy::default()
    };
    Rbac {
        rules: Some(Rules {
            action: Action::Deny.into(),
            policies: HashMap::from([("address".to_owned(), policy)]),
            ..Rules::default()
        }),
        ..Rbac::default()
    }
}

fn permission(rule: Rule) -> Permission {
    Permission { rule: Some(rule) }
}

fn all_of(rules: Vec<Permission>) -> Permission {
    permission(Rule::AndRules(Set { rules }))
}

fn any_of(networks: &[(IpAddr, u8)]) -> Permission {
    let rules = networks.iter().map(is_within).collect();
    permission(Rule::OrRules(Set { rules }))
}

fn is_within((address, prefix): &(IpAddr, u8)) -> Permission {
    let matcher = UpstreamIpPortMatcher {
        upstream_ip: Some(CidrRange {
            address_prefix: address.to_string(),
            prefix_len: number((*prefix).into()),
        }),
        ..UpstreamIpPortMatcher::default()
    };
    let matcher: TypedExtensionConfig = extension("envoy.rbac.matchers.upstream_ip_port", matcher);
    permission(Rule::Matcher(matcher))
}
