//! Where on the gateway's own networks providers may be: the list of whoever runs the control plane.
//!
//! Who may configure providers decides where Envoy connects to. That must not be a way into networks
//! that only the gateway sees, so private addresses take two yeses: this list, from the environment, and
//! `allow_private_network` of the provider.

use std::str::FromStr;

use reeve_xds::{Egress, Host};

use super::base_url::{BaseUrl, BaseUrlError};
use super::reach::{self, FORBIDDEN, Network, PRIVATE, Reach};

/// `REEVE_PRIVATE_NETWORKS`: networks and host names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrivateNetworks {
    networks: Vec<Network>,
    /// Exact names, and domains with everything under them.
    hosts: Vec<Named>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Host(String),
    Under(String),
}

impl Named {
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Host(host) => host == name,
            Self::Under(domain) => reach::is_under(name, domain) && name != domain,
        }
    }
}

/// Which private addresses a provider may have.
#[derive(Debug, Clone, Copy)]
pub enum Private<'a> {
    /// None.
    Refused,
    /// Those that are listed.
    Listed(&'a PrivateNetworks),
    /// All that look private (`--dev`). What looks public may lead to those that are listed.
    Any(&'a PrivateNetworks),
}

impl PrivateNetworks {
    fn lists(&self, host: &Host) -> bool {
        match host {
            Host::Address(address) => self.networks.iter().any(|it| it.contains(*address)),
            Host::Name(name) => self.hosts.iter().any(|host| host.is(name)),
        }
    }
}

/// Entries with commas between them: `10.20.0.0/16`, `192.168.1.7`, `vllm`, `*.llm.internal`.
impl FromStr for PrivateNetworks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut list = Self::default();
        for entry in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
            if let Ok(network) = entry.parse::<Network>() {
                if !PRIVATE.iter().any(|private| private.covers(network)) {
                    return Err(format!(
                        "`{entry}` is not within a private network: what is public needs no entry, and \
                         link-local, metadata and reserved addresses cannot be allowed"
                    ));
                }
                list.networks.push(network);
                continue;
            }
            let name = entry.to_ascii_lowercase();
            let (name, named): (&str, fn(String) -> Named) = match name.strip_prefix("*.") {
                Some(domain) => (domain, Named::Under),
                None => (&name, Named::Host),
            };
            // What ends in a number is an address that nobody can read twice in the same way.
            let ends_in_number = name
                .rsplit('.')
                .next()
                .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
            if ends_in_number || !reach::is_host_name(name) {
                return Err(format!(
                    "`{entry}` is no entry: write `10.20.0.0/16`, `192.168.1.7`, `vllm` or \
                     `*.llm.internal`"
                ));
            }
            list.hosts.push(named(name.to_owned()));
        }
        Ok(list)
    }
}

impl Private<'_> {
    /// May a provider be at this host, which is private by its looks?
    pub(super) fn admits(self, host: &Host) -> Result<(), BaseUrlError> {
        match self {
            Self::Refused => Err(BaseUrlError::Private),
            Self::Listed(list) if !list.lists(host) => Err(BaseUrlError::NotListed),
            Self::Listed(_) | Self::Any(_) => Ok(()),
        }
    }

    /// Where Envoy must not connect to for this provider, whatever its name resolves to. An address is looked at
    /// like one that a name leads to: the list may have been shortened since it was written.
    pub(crate) fn egress(self, base_url: &BaseUrl) -> Egress {
        let host = &base_url.origin().host;
        let is_private = match host {
            Host::Address(address) => reach::of(*address) == Reach::Private,
            Host::Name(name) => reach::of_name(name) == Some(Reach::Private),
        };
        let (private, exempt): (&[Network], &[Network]) = match self {
            Self::Any(_) if is_private => (&[], &[]),
            Self::Any(list) | Self::Listed(list) if list.lists(host) => (&[], &[]),
            Self::Any(list) | Self::Listed(list) => (PRIVATE, &list.networks),
            Self::Refused => (PRIVATE, &[]),
        };
        let parts = |networks: &[Network]| networks.iter().map(|it| it.parts()).collect();
        Egress {
            forbidden: parts(FORBIDDEN),
            private: parts(private),
            exempt: parts(exempt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: PrivateNetworks = PrivateNetworks {
        networks: Vec::new(),
        hosts: Vec::new(),
    };

    fn list(text: &str) -> PrivateNetworks {
        text.parse().expect(text)
    }

    fn parse(url: &str, list: &PrivateNetworks) -> Result<(), BaseUrlError> {
        BaseUrl::parse(url, Private::Listed(list)).map(drop)
    }

    #[test]
    fn what_is_listed_is_admitted_and_nothing_beside_it() {
        let list = list("10.20.0.0/16, 192.168.1.7,::1, VLLM, *.llm.internal");
        for url in [
            "http://10.20.255.1",
            "http://[::ffff:10.20.0.1]",
            "https://192.168.1.7:8443/v1",
            "http://[::1]:11434",
            "http://vllm:8000/v1",
            "http://a.b.llm.internal",
        ] {
            assert_eq!(parse(url, &list), Ok(()), "{url}");
        }
        for url in [
            "http://10.21.0.1",
            "http://127.0.0.1",
            "http://0xa150001",
            "http://192.168.1.8",
            "http://vllm2",
            "http://llm.internal",
            "http://notllm.internal",
            "http://vllm.evil.internal",
        ] {
            assert_eq!(parse(url, &list), Err(BaseUrlError::NotListed), "{url}");
        }
        assert_eq!(
            parse("http://169.254.169.254", &list),
            Err(BaseUrlError::Forbidden)
        );
        assert_eq!(parse("https://api.example.com", &list), Ok(()));
    }

    #[test]
    fn an_entry_that_allows_more_than_private_networks_is_refused() {
        for (text, remedy) in [
            ("0.0.0.0/0", "not within a private network"),
            ("169.254.0.0/16", "metadata"),
            ("8.8.8.8", "not within a private network"),
            ("10.0.0.0/7", "not within a private network"),
            ("::/0", "not within a private network"),
            ("10.0.0.1/8", "no entry"),
            ("10.1", "no entry"),
            ("*", "no entry"),
            ("http://vllm", "no entry"),
            ("vllm:8000", "no entry"),
            ("*.*.internal", "no entry"),
        ] {
            let error = text.parse::<PrivateNetworks>().unwrap_err();
            assert!(error.contains(remedy), "{text}: {error}");
        }
        assert_eq!(list(" , "), PrivateNetworks::default());
    }

    #[test]
    fn a_name_may_lead_to_no_more_than_the_provider_may_be_at() {
        let list = list("10.20.0.0/16,vllm");
        let egress = |url: &str, private: Private<'_>| {
            let parsed = BaseUrl::parse(url, Private::Any(&NONE)).unwrap();
            private.egress(&parsed)
        };
        let public = "https://api.example.com";
        for private in [
            Private::Refused,
            Private::Listed(&NONE),
            Private::Any(&NONE),
        ] {
            let egress = egress(public, private);
            assert_eq!(egress.private.len(), PRIVATE.len());
            assert!(egress.exempt.is_empty());
        }
        // A public name that leads to one's own network: by the list, in `--dev` too.
        for private in [Private::Listed(&list), Private::Any(&list)] {
            let egress = egress(public, private);
            assert_eq!(egress.private.len(), PRIVATE.len());
            assert_eq!(egress.exempt, [("10.20.0.0".parse().unwrap(), 16)]);
        }
        // Listed by name: anywhere private, and still nowhere that is forbidden.
        let by_name: PrivateNetworks = "llm.example.com".parse().unwrap();
        for (url, private) in [
            ("http://vllm", Private::Listed(&list)),
            ("https://llm.example.com", Private::Listed(&by_name)),
            ("https://llm.example.com", Private::Any(&by_name)),
            ("http://localhost", Private::Any(&NONE)),
        ] {
            let egress = egress(url, private);
            assert!(egress.private.is_empty(), "{url}");
            assert_eq!(egress.forbidden.len(), FORBIDDEN.len());
        }
    }

    #[test]
    fn an_address_that_is_not_listed_any_more_is_denied() {
        let list = list("10.20.0.0/16");
        let is_denied = |url: &str, private: Private<'_>| {
            let parsed = BaseUrl::parse(url, Private::Any(&NONE)).unwrap();
            let egress = private.egress(&parsed);
            assert_eq!(egress.forbidden.len(), FORBIDDEN.len());
            !egress.private.is_empty()
        };
        for url in ["http://10.20.0.1", "http://[::ffff:10.20.0.1]"] {
            assert!(!is_denied(url, Private::Listed(&list)), "{url}");
            assert!(!is_denied(url, Private::Any(&NONE)), "{url}");
            for private in [Private::Listed(&NONE), Private::Refused] {
                assert!(is_denied(url, private), "{url}");
            }
        }
        assert!(is_denied("http://10.21.0.1", Private::Listed(&list)));
    }
}
