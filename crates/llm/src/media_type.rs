//! The content types that matter (RFC 9110 section 8.3.1).

/// Is this `application/json` in UTF-8? The charset may be absent or `utf-8`; any other parameter
/// is refused, because some server gives it a meaning.
pub fn is_json(content_type: &[u8]) -> bool {
    let mut parts = content_type
        .split(|&byte| byte == b';')
        .map(<[u8]>::trim_ascii);
    let essence = parts.next().unwrap_or_default();
    let parameter = parts.next();
    essence.eq_ignore_ascii_case(b"application/json")
        && parameter.is_none_or(|parameter| {
            parameter.eq_ignore_ascii_case(b"charset=utf-8")
                || parameter.eq_ignore_ascii_case(b"charset=\"utf-8\"")
        })
        && parts.next().is_none()
}

/// Is this `text/event-stream`, with whatever parameters?
pub fn is_event_stream(content_type: &[u8]) -> bool {
    essence_is(content_type, b"text/event-stream")
}

/// Is this `text/plain` in UTF-8, as a field of a form may call itself?
pub(crate) fn is_plain_text(content_type: &[u8]) -> bool {
    let (_, parameters) = split(content_type);
    essence_is(content_type, b"text/plain")
        && (parameters.is_empty() || parameters.eq_ignore_ascii_case(b"charset=utf-8"))
}

/// Is this the type of that name, with whatever parameters?
pub(crate) fn essence_is(content_type: &[u8], name: &[u8]) -> bool {
    split(content_type).0.eq_ignore_ascii_case(name)
}

/// The type, and its parameters.
fn split(content_type: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = content_type
        .splitn(2, |&byte| byte == b';')
        .map(<[u8]>::trim_ascii);
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    ///
    #[test]
    fn json_is_json_in_utf_8_and_nothing_else() {
        for good in [
            "application/json",
            "Application/JSON",
            " application/json ",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            assert!(is_json(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/json; charset=utf-16",
            "application/json; boundary=x",
            "application/json; charset=utf-8; charset=utf-16",
            "application/json;",
            "application/json, application/json",
            "application/json-patch+json",
            "multipart/form-data; boundary=application/json",
        ] {
            assert!(!is_json(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn an_event_stream_may_have_parameters() {
        assert!(is_event_stream(b"text/event-stream; charset=utf-8"));
        assert!(is_event_stream(b"Text/Event-Stream"));
        assert!(!is_event_stream(b"application/json; text/event-stream"));
    }
}
