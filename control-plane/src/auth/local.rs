//! With `--dev` there is no login, and the one who must be kept out is a web page in the
//! developer's own browser. It can reach loopback in two ways, and both are closed here:
//!
//! * DNS rebinding: its own host name is pointed at 127.0.0.1. So `host` must name this machine.
//! * A cross-site request that needs no preflight. So `origin` must be local, and a body must be
//!   declared JSON, which a browser does not send to a stranger without asking first.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};

use crate::error::Error;
use crate::http::json;

/// Whether a request without a login may be served.
pub fn check(parts: &Parts) -> Result<(), Error> {
    let host = single(&parts.headers, header::HOST.as_str()).or_else(|| {
        parts
            .uri
            .authority()
            .map(axum::http::uri::Authority::as_str)
    });
    if !host.is_some_and(is_loopback) {
        return Err(Error::Forbidden(
            "in --dev mode the host must be localhost, 127.0.0.1 or [::1]; start without --dev \
             to be reached by another name"
                .into(),
        ));
    }
    if parts.headers.contains_key(header::ORIGIN) {
        let origin = single(&parts.headers, header::ORIGIN.as_str());
        if !origin
            .and_then(|origin| origin.split_once("://"))
            .is_some_and(|(_, h)| is_loopback(h))
        {
            return Err(Error::Forbidden(
                "in --dev mode web pages of other origins may not use the admin API".into(),
            ));
        }
    }
    let has_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    if has_body && !json::is_json(&parts.headers) {
        return Err(Error::UnsupportedMediaType(
            "send JSON with `content-type: application/json`",
        ));
    }
    Ok(())
}

/// The value of a header that is given exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Whether `host[:port]` is a name of this machine that no DNS server decides about.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("127.0.0.1:8081", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("localhost.evil.example", false),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("localhost:80@evil.example", false),
            ("[::2]:8080", false),
            ("", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }

    fn verdict(method: &str, headers: &[(&str, &str)]) -> Result<(), Error> {
        let mut request = Request::builder().method(method).uri("/api/config");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_rebound_host_name_is_refused() {
        assert!(verdict("GET", &[("host", "localhost:8080")]).is_ok());
        assert!(matches!(
            verdict("GET", &[("host", "evil.example")]),
            Err(Error::Forbidden(_))
        ));
        assert!(matches!(verdict("GET", &[]), Err(Error::Forbidden(_))));
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert!(matches!(verdict("GET", &twice), Err(Error::Forbidden(_))));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let origin = |origin| verdict("DELETE", &[("host", "localhost"), ("origin", origin)]);
        assert!(origin("http://localhost:8080").is_ok());
        for other in [
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
        ] {
            assert!(matches!(origin(other), Err(Error::Forbidden(_))), "{other}");
        }
    }

    #[test]
    fn a_form_cannot_post() {
        let form = [("host", "localhost"), ("content-type", "text/plain")];
        assert!(matches!(
            verdict("POST", &form),
            Err(Error::UnsupportedMediaType(_))
        ));
        let json = [
            ("host", "localhost"),
            ("content-type", "application/json; charset=utf-8"),
        ];
        assert!(verdict("POST", &json).is_ok());
    }
}
