//! Who is at an address: the public, the gateway's own surroundings, or nobody that is a provider.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Who can be at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Everybody's.
    Public,
    /// This machine or the networks around it.
    Private,
    /// No provider: link-local addresses with cloud metadata behind them, multicast, reserved.
    Forbidden,
}

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Network {
    Network {
        address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        prefix,
    }
}

const fn v6(address: Ipv6Addr, prefix: u8) -> Network {
    Network {
        address: IpAddr::V6(address),
        prefix,
    }
}

/// The gateway's own surroundings.
pub const PRIVATE: &[Network] = &[
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
    v6(Ipv6Addr::LOCALHOST, 128),
    v6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
];

/// What is not global unicast in IANA's special-purpose registries and not [`PRIVATE`], and two metadata
/// services that are in private ranges.
pub const FORBIDDEN: &[Network] = &[
    v4(100, 100, 100, 200, 32),
    v4(0, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    v6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128),
    v6(Ipv6Addr::UNSPECIFIED, 128),
    // IPv4 addresses in other clothes: mapped ones, which [`of`] judges by what they hold; compatible ones
    // (::1.0.0.0 and above), which nobody has; those of NAT64, where a network reaches IPv4 by them. On such a
    // network providers need addresses of IPv6 of their own. A prefix that a network has chosen for NAT64
    // itself (RFC 6052) cannot be told from any other address.
    v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x8000, 0), 97),
    v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x4000, 0), 98),
    v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x2000, 0), 99),
    v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x1000, 0), 100),
    v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x800, 0), 101),
    v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x400, 0), 102),
    v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x200, 0), 103),
    v6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0x100, 0), 104),
    v6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    v6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    v6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    v6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    v6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    v6(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    v6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    v6(Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16),
    v6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    v6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    v6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// Who is at this address. A mapped IPv4 address is judged by itself.
pub fn of(address: IpAddr) -> Reach {
    let address = address.to_canonical();
    let within = |network: &Network| network.contains(address);
    if FORBIDDEN.iter().any(within) {
        Reach::Forbidden
    } else if PRIVATE.iter().any(within) {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// The same by the looks of a name, in lower case; `None` for one that is no host name. Where it leads is
/// Envoy's to find out, and to refuse.
pub fn of_name(name: &str) -> Option<Reach> {
    const METADATA: &[&str] = &["metadata", "metadata.google.internal", "instance-data"];
    const LOCAL: &[&str] = &[
        "localhost",
        "local",
        "internal",
        "intranet",
        "lan",
        "home.arpa",
    ];
    if !is_host_name(name) {
        return None;
    }
    if METADATA.contains(&name) {
        return Some(Reach::Forbidden);
    }
    // A name without a dot is resolved by the network's own search list.
    let private = !name.contains('.') || LOCAL.iter().any(|suffix| is_under(name, suffix));
    Some(if private {
        Reach::Private
    } else {
        Reach::Public
    })
}

/// Labels of letters, digits, `-` and `_`.
pub(super) fn is_host_name(name: &str) -> bool {
    let label_is_good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    name.len() <= 253 && name.split('.').all(label_is_good)
}

/// Is it this domain, or under it?
pub(super) fn is_under(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

impl Network {
    /// The one that has these [`Self::parts`].
    pub const fn from_parts((address, prefix): (IpAddr, u8)) -> Self {
        Self { address, prefix }
    }

    /// Its first address, and how many bits of it count.
    pub const fn parts(self) -> (IpAddr, u8) {
        (self.address, self.prefix)
    }

    /// Is this one of its addresses?
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32_u32.saturating_sub(self.prefix.into());
                let [network, address] = [network, address]
                    .map(|address| address.to_bits().checked_shr(shift).unwrap_or(0));
                network == address
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128_u32.saturating_sub(self.prefix.into());
                let [network, address] = [network, address]
                    .map(|address| address.to_bits().checked_shr(shift).unwrap_or(0));
                network == address
            }
            _ => false,
        }
    }

    /// Are all of the other's addresses its own?
    pub fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Not `address` or `address/prefix` without bits behind the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_none| NoNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_none| NoNetwork)?,
            None => most,
        };
        let host_bits = u32::from(most).saturating_sub(u32::from(prefix));
        let is_first = match address {
            IpAddr::V4(address) => address.to_bits().trailing_zeros() >= host_bits,
            IpAddr::V6(address) => address.to_bits().trailing_zeros() >= host_bits,
        };
        if prefix > most || !is_first {
            return Err(NoNetwork);
        }
        Ok(Self { address, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().expect(text)
    }

    #[test]
    fn a_network_has_the_addresses_behind_its_prefix() {
        let ten = network("10.0.0.0/8");
        assert!(ten.contains("10.255.255.255".parse().unwrap()));
        assert!(!ten.contains("11.0.0.0".parse().unwrap()));
        assert!(!ten.contains("::ffff:10.0.0.1".parse().unwrap()));
        assert!(network("0.0.0.0/0").contains("255.1.1.1".parse().unwrap()));
        assert!(network("::/0").contains("fe80::1".parse().unwrap()));
        assert!(ten.covers(network("10.1.0.0/16")));
        assert!(ten.covers(ten));
        assert!(!network("10.1.0.0/16").covers(ten));
        assert_eq!(network("10.1.2.3").to_string(), "10.1.2.3/32");
    }

    #[test]
    fn a_network_that_means_another_than_it_says_is_refused() {
        for text in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "fd00::1/64",
            "::/129",
            "10/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "vllm",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }
}
