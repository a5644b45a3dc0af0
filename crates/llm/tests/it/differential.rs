//! Another parser as the witness: whatever we accept, serde_json accepts and reads the same way;
//! and what we forward is, to it, the same document but for the members that we set.

use proptest::prelude::*;
use reeve_llm::json::{Token, Tokens, members};
use reeve_llm::{Body, Endpoint, Request, ResponseMeter, find, sanitise};
use serde_json::Value;

use crate::golden::JSON;

/// JSON-like text: pieces that are often, but not always, in a sensible order.
fn json_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just(" ".to_owned()),
        Just("\"model\"".to_owned()),
        Just("\"\\u006dodel\"".to_owned()),
        Just("\"\\ud83d\\ude00\"".to_owned()),
        Just("\"\\ud83d\"".to_owned()),
        "-?[0-9.eE+-]{0,4}",
        "\"[a-z\\\\u0-9\"/\u{7f}é]{0,6}\"",
        Just("true".to_owned()),
        Just("null".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A request with some of the governed members, in any order, among others.
fn request_body() -> impl Strategy<Value = String> {
    let model = prop_oneof![
        Just(r#""model":"gpt-4o""#.to_owned()),
        Just(r#""mod\u0065l":"gpt\u002d4o""#.to_owned()),
        // The path has it.
        Just(r#""x_model":"x""#.to_owned()),
    ];
    let options = prop_oneof![
        Just(r#""stream_options":null"#.to_owned()),
        Just(r#""stream_options":{}"#.to_owned()),
        Just(r#""stream_options": { "x" : [ {} ] }"#.to_owned()),
        Just(r#""stream_options":{"include_usage":false,"x":1}"#.to_owned()),
        Just(r#""stream_options":{"include_usage":true}"#.to_owned()),
    ];
    let stream = any::<bool>().prop_map(|on| format!("\"stream\": {on}"));
    let others = prop::collection::btree_map("o_[a-z]{1,6}", json_value(), 0..4).prop_map(|map| {
        map.into_iter()
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect::<Vec<_>>()
    });
    (
        model,
        prop::option::of(options),
        prop::option::of(stream),
        others,
    )
        .prop_map(|(model, options, stream, mut members)| {
            members.push(model);
            members.extend(options);
            members.extend(stream);
            members
        })
        .prop_shuffle()
        .prop_map(|members| format!(" {{ {} }} ", members.join(" , ")))
}

/// The model of the path.
const IN_PATH: &str = "gpt-4o";

fn read(body: &str) -> Request<'_> {
    let body = Body::Json(body.as_bytes());
    Request::read(Endpoint::ChatCompletions, Some(IN_PATH), body).unwrap()
}

fn is_document(text: &str) -> bool {
    let mut tokens = Tokens::new(text);
    loop {
        match tokens.read() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_we_accept_serde_json_accepts(text in json_like()) {
        if is_document(&text) {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn what_serde_json_writes_we_accept_and_read_alike(value in json_value()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            prop_assert!(is_document(&text), "{text}");
            let Value::Object(object) = &value else { continue };
            let ours: Vec<_> = members(&text).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(ours.len(), object.len());
            for member in ours {
                let theirs = object.get(&*member.key);
                let raw: Value = serde_json::from_str(member.value.raw).unwrap();
                // As text, since their reading of a float may differ in its last bit.
                prop_assert_eq!(theirs.map(Value::is_object), Some(raw.is_object()));
                if !text.contains(['.', 'e']) {
                    prop_assert_eq!(theirs, Some(&raw));
                }
            }
        }
    }

    #[test]
    fn strings_are_decoded_as_serde_json_decodes_them(text in any::<String>()) {
        let json = Value::from(text.clone()).to_string();
        let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        let escaped = units.collect::<Vec<_>>().concat();
        for json in [json, format!("\"{escaped}\"")] {
            match Tokens::new(&json).read() {
                Ok(Some(Token::String(ours))) => prop_assert_eq!(ours.decode(), text.as_str()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn governed_values_are_read_as_serde_json_reads_them(body in request_body()) {
        let request = read(&body);
        let theirs: Value = serde_json::from_str(&body).unwrap();
        let model = theirs.get("model").and_then(Value::as_str);
        prop_assert_eq!(model.unwrap_or(IN_PATH), &*request.model);
        prop_assert_eq!(theirs["stream"].as_bool().unwrap_or(false), request.stream);
        let include_usage = theirs["stream_options"]["include_usage"].as_bool();
        prop_assert_eq!(include_usage, request.include_usage);
    }

    #[test]
    fn only_the_members_we_set_differ_in_what_is_forwarded(body in request_body()) {
        let request = read(&body);
        let rewritten = request.rewrite("other").unwrap();
        let mut expected: Value = serde_json::from_str(&body).unwrap();
        expected["model"] = "other".into();
        if rewritten.usage_injected {
            if !expected["stream_options"].is_object() {
                expected["stream_options"] = serde_json::json!({});
            }
            expected["stream_options"]["include_usage"] = true.into();
        }
        let forwarded = rewritten.body.unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&forwarded).unwrap(), expected);
        // And we read our own work as we mean it.
        let again = Request::read(Endpoint::ChatCompletions, None, Body::Json(&forwarded)).unwrap();
        prop_assert_eq!(&*again.model, "other");
        prop_assert!(!again.stream || again.include_usage == Some(true));
        prop_assert_eq!(again.rewrite("other").unwrap().body, None);
    }

    #[test]
    fn no_bytes_at_all_stop_us(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::read(Endpoint::Messages, None, Body::Json(&bytes));
        let _ = find(b"POST", &bytes);
        let clean = sanitise(&bytes);
        prop_assert!(clean.len() <= 256 && clean.bytes().all(|byte| (0x20..0x7F).contains(&byte)));
        let mut meter = ResponseMeter::new(Endpoint::Responses, false, JSON);
        meter.on_chunk(&bytes, true);
        meter.finish();
    }
}
