//! What is accepted has one meaning: names are unique, values stand apart in the body, the laxest
//! reader there is finds the same parts, and another value in the place of one changes nothing else.
//! A request that is read from such a form is forwarded with another model and nothing else changed.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use reeve_llm::multipart::{Part, boundary, parts, splice};
use reeve_llm::{Body, Endpoint, Request, is_model_name};

const ANOTHER: &str = "another-model";

fn values<'a>(parts: &[Part<'a>], body: &'a [u8]) -> Vec<(&'a str, bool, &'a [u8])> {
    let value = |part: &Part<'a>| (part.name, part.is_file, &body[part.value.clone()]);
    parts.iter().map(value).collect()
}

/// How often the delimiter's text occurs.
fn delimiters(delimiter: &[u8], mut body: &[u8]) -> usize {
    let mut count = 0;
    while let Some(at) = body
        .windows(delimiter.len())
        .position(|text| text == delimiter)
    {
        count += 1;
        body = &body[at + delimiter.len()..];
    }
    count
}

fuzz_target!(|data: &[u8]| {
    // The first line is the content type, the rest is the body.
    let Some(end) = data.iter().position(|&byte| byte == b'\n') else {
        return;
    };
    let (content_type, body) = (&data[..end], &data[end + 1..]);
    let Ok(boundary) = boundary(content_type) else {
        return;
    };
    assert!((1..=70).contains(&boundary.len()));
    assert!(boundary.iter().all(u8::is_ascii_graphic));
    let Ok(parts) = parts(boundary, body) else {
        let refused = Request::read(Endpoint::Transcriptions, None, form(boundary, body));
        assert!(refused.is_err());
        return;
    };
    check_request(boundary, body, &parts, None);
    check_request(boundary, body, &parts, Some("whisper-1"));

    assert!((1..=256).contains(&parts.len()));
    let mut names = BTreeSet::new();
    let mut last = 0;
    for part in &parts {
        assert!((1..=128).contains(&part.name.len()));
        assert!(names.insert(part.name) || part.name.ends_with("[]"));
        if let Some(number) = &part.declared_length {
            assert!(last < number.start && number.end < part.value.start);
            assert_eq!(
                body[number.clone()],
                *part.value.len().to_string().as_bytes()
            );
        }
        assert!(last < part.value.start && part.value.start <= part.value.end);
        assert!(body[..part.value.start].ends_with(b"\r\n\r\n"));
        assert!(body[part.value.end..].starts_with(b"\r\n--"));
        last = part.value.end;
    }
    for name in &names {
        // To some readers a list, to others what the field is overwritten by.
        let is_both = name
            .strip_suffix("[]")
            .is_some_and(|stem| names.contains(stem));
        assert!(!is_both, "{name}");
    }
    let delimiter = [b"--", boundary].concat();
    assert_eq!(delimiters(&delimiter, body), parts.len() + 1);

    let before = values(&parts, body);
    for (index, part) in parts.iter().enumerate() {
        // The next part's value; and one that only ends a part where it should not.
        let next = &body[parts[(index + 1) % parts.len()].value.clone()];
        for value in [next, b"", b"\r\n--", b"\r\n\r\n"] {
            let Some(spliced) = splice(boundary, body, part, value) else {
                assert!(delimiters(&delimiter, value) > 0);
                continue;
            };
            let after = reeve_llm::multipart::parts(boundary, &spliced).expect("we spliced it");
            let mut expected = before.clone();
            expected[index].2 = value;
            assert_eq!(values(&after, &spliced), expected);
            for (before, after) in parts.iter().zip(&after) {
                assert_eq!(before.content_type, after.content_type);
            }
        }
        let smuggled = [b"\r\n", &*delimiter, b"--"].concat();
        assert_eq!(splice(boundary, body, part, &smuggled), None);
    }
});

fn form<'b>(boundary: &'b [u8], bytes: &'b [u8]) -> Body<'b> {
    Body::Form { boundary, bytes }
}

/// The form as a request, with or without a model in its path.
fn check_request(boundary: &[u8], body: &[u8], parts: &[Part<'_>], path_model: Option<&str>) {
    let Ok(request) = Request::read(Endpoint::Transcriptions, path_model, form(boundary, body))
    else {
        return;
    };
    let before = values(parts, body);
    let is_model = |(name, ..): &&(&str, bool, &[u8])| *name == "model";
    let field = |name: &str| before.iter().find(|(field, ..)| *field == name);
    assert!(is_model_name(&request.model));
    match field("model") {
        Some((_, is_file, value)) => {
            assert!(!is_file);
            assert_eq!(*value, request.model.as_bytes());
        }
        None => assert_eq!(path_model, Some(&*request.model)),
    }
    let streams = field("stream").is_some_and(|(.., value)| *value == b"true");
    assert_eq!(request.stream, streams);
    let choices = field("n").map_or("1".to_owned(), |(.., value)| {
        String::from_utf8_lossy(value)
            .trim_start_matches('0')
            .to_owned()
    });
    assert_eq!(request.choices.to_string(), choices);
    for (name, ..) in &before {
        let lower = name.to_ascii_lowercase();
        assert!(lower != "model" || *name == "model");
        assert!(!["api_key", "api_base", "base_url", "models", "provider"].contains(&&*lower));
    }

    let Ok(rewritten) = request.rewrite(ANOTHER) else {
        assert!(delimiters(&[b"--", boundary].concat(), ANOTHER.as_bytes()) > 0);
        return;
    };
    assert!(!rewritten.usage_injected);
    let forwarded = rewritten.body.as_deref().unwrap_or(body);
    let after = reeve_llm::multipart::parts(boundary, forwarded).expect("we wrote it");
    let after = values(&after, forwarded);
    let others = |values: &[(&str, bool, &[u8])]| -> Vec<(String, bool, Vec<u8>)> {
        let others = values.iter().filter(|value| !is_model(value));
        others
            .map(|&(name, is_file, value)| (name.into(), is_file, value.into()))
            .collect()
    };
    assert_eq!(others(&after), others(&before));
    let models: Vec<_> = after.iter().filter(is_model).collect();
    assert_eq!(models, [&("model", false, ANOTHER.as_bytes())]);
    let again = Request::read(Endpoint::Transcriptions, None, form(boundary, forwarded));
    let again = again
        .expect("we wrote it")
        .rewrite(ANOTHER)
        .expect("it is the same");
    assert_eq!(again.body, None);
}
