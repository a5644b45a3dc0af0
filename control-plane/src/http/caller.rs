//! Who is asking, by address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of a caller. Envoy, on this machine, writes it behind whatever the caller itself has written in
/// `x-forwarded-for`; from any other peer that header says nothing. Who is on this machine and asks without
/// Envoy can write there what it likes.
pub fn address(peer: Option<SocketAddr>, headers: &HeaderMap) -> IpAddr {
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| {
        peer.ip().to_canonical()
    });
    if peer.is_loopback() {
        last_forwarded(headers).unwrap_or(peer)
    } else {
        peer
    }
}

fn last_forwarded(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all(FORWARDED_FOR).iter().next_back()?;
    let entry = last.to_str().ok()?.rsplit(',').next()?;
    entry.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, fields: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(FORWARDED_FOR, field.parse().unwrap());
        }
        address(Some(peer.parse().unwrap()), &headers).to_string()
    }

    #[test]
    fn behind_envoy_a_caller_is_who_envoy_says() {
        for peer in ["127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
            assert_eq!(seen(peer, &["192.0.2.1"]), "192.0.2.1");
            assert_eq!(seen(peer, &["10.0.0.1, 192.0.2.1"]), "192.0.2.1");
            assert_eq!(seen(peer, &["10.0.0.1", "2001:db8::1"]), "2001:db8::1");
        }
    }

    #[test]
    fn what_is_no_address_at_the_end_leaves_the_peer() {
        for fields in [&[][..], &[""], &["192.0.2.1,"], &["192.0.2.1, unknown"]] {
            assert_eq!(seen("127.0.0.1:9", fields), "127.0.0.1", "{fields:?}");
        }
    }

    #[test]
    fn a_peer_elsewhere_cannot_say_that_it_is_another() {
        assert_eq!(seen("192.0.2.9:9", &["192.0.2.1"]), "192.0.2.9");
    }
}
