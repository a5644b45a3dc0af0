use std::net::IpAddr;

use serde_json::{Value, json};

use super::Egress;

/// Turns a request away when its provider is at an address where it must not be, or its name has been resolved
/// to one, before a connection is made. Who owns a name owns its addresses, and can change them after the
/// control plane has looked (DNS rebinding); so this looks each time, at what Envoy is about to connect to.
///
/// It sees the first of a name's addresses. Should that not answer, Envoy tries the others, unseen; then it
/// is TLS that holds: the certificate must be for the provider's name.
pub(super) fn filter(egress: &Egress) -> Value {
    let any_of = |networks: &[(IpAddr, u8)]| {
        let rules: Vec<Value> = networks.iter().map(is_within).collect();
        json!({"or_rules": {"rules": rules}})
    };
    let mut policies = vec![("forbidden", any_of(&egress.forbidden))];
    if !egress.private.is_empty() {
        let private = any_of(&egress.private);
        let rule = if egress.exempt.is_empty() {
            private
        } else {
            let beside = json!({"not_rule": any_of(&egress.exempt)});
            json!({"and_rules": {"rules": [private, beside]}})
        };
        policies.push(("private", rule));
    }
    let policies: serde_json::Map<String, Value> = policies
        .into_iter()
        .map(|(name, rule)| {
            let policy = json!({"permissions": [rule], "principals": [{"any": true}]});
            (name.to_owned(), policy)
        })
        .collect();
    json!({
        "name": "envoy.filters.http.upstream_rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {"action": "DENY", "policies": policies},
        },
    })
}

fn is_within((address, prefix): &(IpAddr, u8)) -> Value {
    json!({"matcher": {
        "name": "envoy.rbac.matchers.upstream_ip_port",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher",
            "upstream_ip": {"address_prefix": address.to_string(), "prefix_len": prefix},
        },
    }})
}
