//! Where a provider is, and whether a gateway should send a key there.
//!
//! Envoy connects to what an admin writes here, so a base URL is judged like any address that a
//! stranger could plant: what is on the gateway's own networks needs a deliberate yes
//! ([`super::private_networks`]), and what no provider lives at (link-local addresses with cloud metadata
//! behind them, multicast, ...) is refused outright. What a name resolves to is judged where it is
//! resolved, by Envoy before each connection.

use std::fmt;
use std::net::IpAddr;

use reeve_xds::Origin;
use url::{Host, Url};

use super::private_networks::Private;
use super::reach::{self, Reach};

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
    #[error(
        "is on a private network that REEVE_PRIVATE_NETWORKS does not list; whoever runs the control plane \
         can add it there"
    )]
    NotListed,
    #[error("must use `https`: plain `http` would send keys and prompts in the clear")]
    Plaintext,
}

impl BaseUrl {
    /// Reads a base URL. On private networks it may be `http`.
    pub fn parse(text: &str, private: Private<'_>) -> Result<Self, BaseUrlError> {
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
                let reach = reach::of_name(name).ok_or(BaseUrlError::BadHost)?;
                (reeve_xds::Host::Name(name.to_owned()), reach)
            }
            Some(Host::Ipv4(address)) => by_address(address.into()),
            Some(Host::Ipv6(address)) => by_address(address.into()),
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
            (Reach::Forbidden, _) => return Err(BaseUrlError::Forbidden),
            (Reach::Private, _) => private.admits(&host)?,
            (Reach::Public, false) => return Err(BaseUrlError::Plaintext),
            (Reach::Public, true) => {}
        }
        Ok(Self {
            origin: Origin { tls, host, port },
            path: path.to_owned(),
        })
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

fn by_address(address: IpAddr) -> (reeve_xds::Host, Reach) {
    // A mapped IPv4 address is that one, in what Envoy is told too.
    let address = address.to_canonical();
    (reeve_xds::Host::Address(address), reach::of(address))
}

#[cfg(test)]
mod tests {
    use super::super::PrivateNetworks;
    use super::*;

    fn refused(text: &str) -> BaseUrlError {
        BaseUrl::parse(text, Private::Refused).expect_err(text)
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
            ("https://[::ffff:8.8.8.8]/v1", "https://8.8.8.8/v1"),
        ] {
            assert_eq!(
                BaseUrl::parse(text, Private::Refused).unwrap().to_string(),
                canonical
            );
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
            assert!(
                BaseUrl::parse(text, Private::Any(&PrivateNetworks::default())).is_ok(),
                "{text}"
            );
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
            "http://[::127.0.0.1]",
            "http://[::10.0.0.1]",
            "http://[::224.0.0.1]",
            "http://[3fff::1]",
            "http://[5f00::1]",
        ] {
            assert_eq!(
                BaseUrl::parse(text, Private::Any(&PrivateNetworks::default())),
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
            assert!(BaseUrl::parse(text, Private::Refused).is_ok(), "{text}");
        }
    }
}
