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

/// Fields that choose something at some vendor or framework: another method or path, another model,
/// whose account pays; or that belong to a signature of the caller's own.
const STEERING: [&str; 15] = [
    "cookie",
    "proxy-authorization",
    "forwarded",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "openai-organization",
    "openai-project",
    "x-goog-user-project",
    "azureml-model-deployment",
    "x-amz-security-token",
    "x-amz-date",
    "x-amz-content-sha256",
];

/// How the names of fields begin that steer a gateway.
const STEERING_PREFIXES: [&str; 4] = ["x-reeve-", "x-envoy-", "x-bf-", "x-forwarded-"];

/// Is this a field that only this hop may see? Servers behind CGI or WSGI read `x_api_key` as
/// `x-api-key`, so they are one name here.
pub fn is_private(name: &str) -> bool {
    if name.contains('_') {
        let name = name.replace('_', "-");
        return name == FORWARDED_PROTO || is_private(&name);
    }
    crate::credentials::SOURCES.contains(&name)
        || STEERING.contains(&name)
        || (name != FORWARDED_PROTO
            && STEERING_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_private_name_is_private_with_underscores_too() {
        for name in [
            "x_api_key",
            "x-bf_vk",
            "api_key",
            "x_reeve_cluster",
            "x_forwarded_proto",
            "openai_organization",
        ] {
            assert!(is_private(name), "{name}");
        }
        for name in ["x-api-keys", "x_team", "content_type", "user-agent"] {
            assert!(!is_private(name), "{name}");
        }
    }
}
