//! Header fields as Envoy hands them over: names in lower case, values as bytes.

/// The header fields of a request, in order, repeated ones included.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a>(&'a [(String, Vec<u8>)]);

impl<'a> Headers<'a> {
    /// Names must be lower case, as HTTP/2 and Envoy have them.
    pub const fn new(fields: &'a [(String, Vec<u8>)]) -> Self {
        Self(fields)
    }

    /// Every value of a field.
    pub fn all(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0
            .iter()
            .filter(move |(field, _)| field == name)
            .map(|(_, value)| value.as_slice())
    }

    /// The value of a field that has at most one; the first, if there are several.
    pub fn first(self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Names of fields that must not reach a provider, whatever else happens: every credential, and
    /// whatever steers a gateway.
    pub fn private_names(self) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| is_private(name))
    }
}

/// Envoy chooses no route without it, so it must live until the request has one; `attempt` removes it.
pub const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// Is this a field that only this hop may see?
pub fn is_private(name: &str) -> bool {
    let steers = ["x-reeve-", "x-envoy-", "x-bf-", "x-forwarded-"];
    crate::credentials::SOURCES.contains(&name)
        || matches!(
            name,
            "cookie" | "proxy-authorization" | "x-http-method-override" | "forwarded"
        )
        || name != FORWARDED_PROTO && steers.iter().any(|prefix| name.starts_with(prefix))
}
