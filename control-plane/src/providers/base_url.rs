//! Where a provider is, and whether a gateway should send a key there.
//!
//! Envoy connects to what an admin writes here, so a base URL is judged like any address that a
//! stranger could plant: what is on the gateway's own networks needs a deliberate yes, and what no
//! provider lives at (link-local addresses with cloud metadata behind them, multicast, ...) is
//! refused outright. A public name that resolves to a private address is not noticed here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use reeve_xds::Origin;

const MAX_LEN: usize = 2_048;

/// An `http` or `https` URL without user, query or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    origin: Origin,
    /// Without trailing slash; may be empty.
    path: String,
}

/// Why a text is no base URL. Each message says what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    #[error("must be a URL such as `https://api.example.com/v1`")]
    NotAUrl,
    #[error("must have at most {MAX_LEN} characters")]
    TooLong,
    #[error("must start with `https://` or `http://`")]
    OtherScheme,
    #[error("must not hold a user name or password; put the key under `keys`")]
    Credentials,
    #[error("must end with the path: leave out `?` and `#` and what follows")]
    QueryOrFragment,
    #[error("must name a host without a dot at its end")]
    BadHost,
    #[error("must have a port from 1 to 65535")]
    BadPort,
    #[error("must have a path of letters, digits and `-._~/` only")]
    BadPath,
    #[error(
        "is an address that no provider may have (link-local, metadata, multicast or reserved)"
    )]
    Forbidden,
    #[error(
        "is on a private network; set `network_config.allow_private_network` to true if the \
         provider really is there"
    )]
    Private,
    #[error("must use `https`: plain `http` would send keys and prompts in the clear")]
    Plaintext,
}

/// Who can be at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Public,
    /// This machine or the networks around it.
    Private,
    Forbidden,
}

impl BaseUrl {
    /// Reads a base URL. `allow_private` admits private networks, and `http` on them.
    pub fn parse(text: &str, allow_private: bool) -> Result<Self, BaseUrlError> {
        if text.len() > MAX_LEN {
            return Err(BaseUrlError::TooLong);
        }
        // The parser would drop line breaks and spaces silently.
        if text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == '\\')
        {
            return Err(BaseUrlError::NotAUrl);
        }
        let url = Url::parse(text).map_err(|_malformed| BaseUrlError::NotAUrl)?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(BaseUrlError::OtherScheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BaseUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BaseUrlError::QueryOrFragment);
        }
        let (host, reach) = match url.host() {
            Some(Host::Domain(name)) => {
                let reach = reach_of_name(name).ok_or(BaseUrlError::BadHost)?;
                (reeve_xds::Host::Name(name.to_owned()), reach)
            }
            Some(Host::Ipv4(address)) => (
                reeve_xds::Host::Address(address.into()),
                reach_of_v4(address),
            ),
            Some(Host::Ipv6(address)) => (
                reeve_xds::Host::Address(address.into()),
                reach_of_v6(address),
            ),
            None => return Err(BaseUrlError::BadHost),
        };
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or(BaseUrlError::BadPort)?;
        let path = url.path().trim_end_matches('/');
        if !path
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._~/".contains(&b))
            || path.contains("//")
        {
            return Err(BaseUrlError::BadPath);
        }
        match (reach, tls) {
            (Reach::Forbidden, _) => Err(BaseUrlError::Forbidden),
            (Reach::Private, _) if !allow_private => Err(BaseUrlError::Private),
            (Reach::Public, false) => Err(BaseUrlError::Plaintext),
            _ => Ok(Self {
                origin: Origin { tls, host, port },
                path: path.to_owned(),
            }),
        }
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path in front of every request path: empty, or with a leading and no trailing slash.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// The canonical text.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.origin.authority(), self.path)
    }
}

/// By the looks of a name; `None` for one that is no host name.
fn reach_of_name(name: &str) -> Option<Reach> {
    const METADATA: &[&str] = &["metadata", "metadata.google.internal", "instance-data"];
    const LOCAL: &[&str] = &[
        "localhost",
        "local",
        "internal",
        "intranet",
        "lan",
        "home.arpa",
    ];
    let label_is_good = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if name.len() > 253 || !name.split('.').all(label_is_good) {
        return None;
    }
    if METADATA.contains(&name) {
        return Some(Reach::Forbidden);
    }
    let under = |suffix: &&str| {
        name.strip_suffix(*suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    // A name without a dot is resolved by the network's own search list.
    let private = !name.contains('.') || LOCAL.iter().any(under);
    Some(if private {
        Reach::Private
    } else {
        Reach::Public
    })
}

/// IANA's special-purpose registry for IPv4, as far as it is not global unicast.
fn reach_of_v4(address: Ipv4Addr) -> Reach {
    // The metadata service of a cloud that put it into the shared space of RFC 6598.
    const METADATA: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    const PRIVATE: &[(Ipv4Addr, u32)] = &[
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
    ];
    const FORBIDDEN: &[(Ipv4Addr, u32)] = &[
        (Ipv4Addr::UNSPECIFIED, 8),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(224, 0, 0, 0), 4),
        (Ipv4Addr::new(240, 0, 0, 0), 4),
    ];
    let within = |(network, length): &(Ipv4Addr, u32)| {
        let shift = 32_u32.saturating_sub(*length);
        address.to_bits() >> shift == network.to_bits() >> shift
    };
    if address == METADATA || FORBIDDEN.iter().any(within) {
        Reach::Forbidden
    } else if PRIVATE.iter().any(within) {
        Reach::Private
    } else {
        Reach::Public
    }
}

/// The same for IPv6. An address that carries an IPv4 address is judged by that.
fn reach_of_v6(address: Ipv6Addr) -> Reach {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const UNIQUE_LOCAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
    const FORBIDDEN: &[(Ipv6Addr, u32)] = &[
        (Ipv6Addr::UNSPECIFIED, 128),
        (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
        (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
        (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
        (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
        (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
    ];
    let within = |(network, length): &(Ipv6Addr, u32)| {
        let shift = 128_u32.saturating_sub(*length);
        address.to_bits() >> shift == network.to_bits() >> shift
    };
    if let IpAddr::V4(carried) = IpAddr::V6(address).to_canonical() {
        return reach_of_v4(carried);
    }
    if address == METADATA || FORBIDDEN.iter().any(within) {
        Reach::Forbidden
    } else if address.is_loopback() || within(&UNIQUE_LOCAL) {
        Reach::Private
    } else {
        Reach::Public
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> BaseUrlError {
        BaseUrl::parse(text, false).expect_err(text)
    }

    #[test]
    fn a_base_url_is_kept_in_its_canonical_spelling() {
        for (text, canonical) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1"),
            ("HTTPS://API.OpenAI.com:443/v1", "https://api.openai.com/v1"),
            ("https://api.example.com", "https://api.example.com"),
            (
                "https://api.example.com:8443/a/../b/",
                "https://api.example.com:8443/b",
            ),
            ("https://8.8.8.8/v1", "https://8.8.8.8/v1"),
            ("https://[2606:4700::1]:8443", "https://[2606:4700::1]:8443"),
        ] {
            assert_eq!(BaseUrl::parse(text, false).unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn what_is_no_plain_base_url_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", BaseUrlError::NotAUrl),
            ("api.openai.com/v1", BaseUrlError::NotAUrl),
            ("https://api.open ai.com", BaseUrlError::NotAUrl),
            ("https://api.openai.com/v1\n", BaseUrlError::NotAUrl),
            ("https:\\\\api.openai.com", BaseUrlError::NotAUrl),
            ("https://", BaseUrlError::NotAUrl),
            ("https://api.openai.com:99999", BaseUrlError::NotAUrl),
            ("file:///etc/passwd", BaseUrlError::OtherScheme),
            ("ftp://api.openai.com", BaseUrlError::OtherScheme),
            ("https://user@api.openai.com", BaseUrlError::Credentials),
            (
                "https://api.openai.com@evil.example",
                BaseUrlError::Credentials,
            ),
            ("https://user:key@api.openai.com", BaseUrlError::Credentials),
            (
                "https://api.openai.com/v1?key=1",
                BaseUrlError::QueryOrFragment,
            ),
            ("https://api.openai.com/v1#a", BaseUrlError::QueryOrFragment),
            ("https://api.openai.com./v1", BaseUrlError::BadHost),
            ("https://api..openai.com/v1", BaseUrlError::BadHost),
            ("https://api.openai.com:0", BaseUrlError::BadPort),
            ("https://api.openai.com/v%201", BaseUrlError::BadPath),
            ("https://api.openai.com/a//b", BaseUrlError::BadPath),
            ("https://api.openai.com/a;b", BaseUrlError::BadPath),
            ("http://api.openai.com/v1", BaseUrlError::Plaintext),
            ("http://8.8.8.8", BaseUrlError::Plaintext),
        ] {
            assert_eq!(refused(text), reason, "{text}");
        }
        assert_eq!(
            refused(&format!("https://a.example/{}", "a".repeat(2_048))),
            BaseUrlError::TooLong
        );
    }

    #[test]
    fn a_private_network_needs_a_deliberate_yes() {
        for text in [
            "http://localhost:9100/v1",
            "http://LOCALHOST",
            "http://vllm:8000/v1",
            "https://llm.internal",
            "https://llm.corp.internal",
            "https://printer.local",
            "http://127.0.0.1:9100",
            "http://127.1",
            "http://2130706433",
            "http://0x7f000001",
            "http://0177.0.0.1",
            "https://10.1.2.3",
            "https://100.64.0.1",
            "https://172.31.255.255",
            "https://192.168.1.1",
            "http://[::1]",
            "https://[fd12:3456::1]",
            "https://[::ffff:10.0.0.1]",
        ] {
            assert_eq!(refused(text), BaseUrlError::Private, "{text}");
            assert!(BaseUrl::parse(text, true).is_ok(), "{text}");
        }
    }

    #[test]
    fn metadata_services_and_reserved_addresses_are_refused_even_then() {
        for text in [
            "http://169.254.169.254/latest/meta-data",
            "http://0xa9fea9fe",
            "http://[::ffff:169.254.169.254]",
            "http://metadata.google.internal",
            "http://100.100.100.200",
            "http://[fd00:ec2::254]",
            "http://[fe80::1]",
            "http://0.0.0.0",
            "http://[::]",
            "http://224.0.0.1",
            "http://255.255.255.255",
            "http://[64:ff9b::a9fe:a9fe]",
            "http://[2002:a9fe:a9fe::1]",
            "http://198.18.0.1",
        ] {
            assert_eq!(
                BaseUrl::parse(text, true),
                Err(BaseUrlError::Forbidden),
                "{text}"
            );
        }
    }

    #[test]
    fn names_that_only_resemble_local_ones_are_public() {
        for text in [
            "https://notlocalhost.example",
            "https://internal.example.com",
            "https://mylan.de",
        ] {
            assert!(BaseUrl::parse(text, false).is_ok(), "{text}");
        }
    }
}
