//! Every surface is judged by the same rules, and reaches the provider as what was judged.

use reeve_llm::{ResponseHead, Unserved, WireFormat};
use reeve_policy::required_headers::RequiredHeader;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::Denial;
use crate::chain::Chain;
use crate::reply::{self, Reply};
use crate::request::{self, Plan};
use crate::response::{Metering, Outcome};
use crate::testing::{Head, KEY, Policy, config, plan};

/// A key that may use everything that the catalogue lists.
fn open() -> Policy {
    Policy::governed().with_key(|key| {
        key.provider_configs = ["openai", "azure", "anthropic", "gemini", "bedrock"]
            .map(|provider| config(provider, &[], None))
            .into();
    })
}

fn planned(path: &'static str, body: &str) -> Plan {
    plan(&open(), path, body).unwrap()
}

fn refused(path: &'static str, body: &str) -> Denial {
    plan(&open(), path, body).unwrap_err()
}

#[test]
fn the_provider_gets_the_path_of_its_api_and_no_credential_from_the_query() {
    let chat = r#"{"model":"gpt-4o","messages":[]}"#;
    for (path, body, upstream) in [
        ("/v1/chat/completions", chat, "/chat/completions"),
        (
            "/openai/chat/completions?key=sk-bf-x",
            chat,
            "/chat/completions",
        ),
        (
            "/v1/messages?beta=true",
            r#"{"model":"claude-3-5-sonnet-20241022","max_tokens":5}"#,
            "/messages?beta=true",
        ),
        (
            "/genai/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse&key=AIx",
            "{}",
            "/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ),
        (
            "/v1beta/openai/chat/completions",
            r#"{"model":"gemini-2.5-flash"}"#,
            "/openai/chat/completions",
        ),
        (
            "/bedrock/model/anthropic.claude-v2%3A1/converse",
            "{}",
            "/model/anthropic.claude-v2:1/converse",
        ),
    ] {
        assert_eq!(planned(path, body).upstream_path, upstream, "{path}");
    }
}

#[test]
fn a_deployment_of_azure_becomes_the_model_of_the_body() {
    let path = "/openai/deployments/gpt-4o/chat/completions?api-version=2025-04-01-preview";
    for (body, forwarded) in [
        (
            r#"{"messages":[]}"#,
            Some(r#"{"model":"gpt-4o","messages":[]}"#),
        ),
        ("{}", Some(r#"{"model":"gpt-4o"}"#)),
        (r#"{"model":"gpt-4o","messages":[]}"#, None),
    ] {
        let plan = planned(path, body);
        assert_eq!(
            (plan.provider.as_str(), plan.model.as_str()),
            ("azure", "gpt-4o")
        );
        assert_eq!(plan.upstream_path, "/chat/completions");
        let sent = plan.body.map(|body| String::from_utf8(body).unwrap());
        assert_eq!(sent.as_deref(), forwarded, "{body}");
    }
}

#[test]
fn two_places_that_name_different_models_are_a_conflict() {
    for (path, body) in [
        (
            "/openai/deployments/gpt-4o/chat/completions",
            r#"{"model":"gpt-4o-mini"}"#,
        ),
        (
            "/v1beta/models/gemini-2.5-flash:generateContent",
            r#"{"model":"models/gemini-2.5-pro"}"#,
        ),
        (
            "/v1beta/models/gemini-2.5-flash:countTokens",
            r#"{"generateContentRequest":{"model":"gemini-2.5-pro"}}"#,
        ),
        (
            "/v1beta/models/gemini-2.5-flash:batchEmbedContents",
            r#"{"requests":[{"model":"models/gemini-2.5-flash"},{"model":"models/other"}]}"#,
        ),
        (
            "/model/anthropic.claude-v2:1/invoke",
            r#"{"model":"claude-opus"}"#,
        ),
        (
            "/model/anthropic.claude-v2:1/converse",
            r#"{"modelId":"claude-opus"}"#,
        ),
        (
            "/v1/chat/completions?model=gpt-4o-mini",
            r#"{"model":"gpt-4o"}"#,
        ),
    ] {
        assert_eq!(refused(path, body), Denial::ModelConflict, "{path} {body}");
    }
}

#[test]
fn a_path_that_names_a_model_is_judged_by_it() {
    for path in [
        "/v1beta/models/gemini-unheard-of:generateContent",
        "/model/anthropic.claude-v9/converse",
    ] {
        assert!(
            matches!(refused(path, "{}"), Denial::ModelBlocked { .. }),
            "{path}"
        );
    }
    for path in [
        "/v1beta/models/a%2Fb:generateContent",
        "/v1beta/models/%2e%2e%2fx:generateContent",
        "/model/a%253A1/converse",
        "/model/caf%C3%A9/converse",
    ] {
        assert!(
            matches!(
                refused(path, "{}"),
                Denial::InvalidRequest {
                    param: Some("model"),
                    ..
                }
            ),
            "{path}"
        );
    }
}

#[test]
fn what_is_not_served_says_so_before_it_asks_who_is_there() {
    for (path, unserved) in [
        ("/v1/files", Unserved::Files),
        ("/v1/files/file-1/content", Unserved::Files),
        ("/v1/batches", Unserved::Batches),
        ("/v1/realtime", Unserved::Realtime),
        ("/v1/responses/resp_1", Unserved::StoredObjects),
        ("/anthropic/v1/messages/batches", Unserved::Batches),
        ("/genai/v1beta/files", Unserved::Files),
        ("/v1beta/models/m:batchGenerateContent", Unserved::Batches),
    ] {
        let head = Head::post(path).without("x-bf-vk");
        let denial = head.judge(&open()).unwrap_err();
        assert_eq!(denial, Denial::Unserved(unserved), "{path}");
        assert_eq!(
            reply::render(&denial, WireFormat::OpenAi, b"r", 0).status,
            403
        );
    }
}

#[test]
fn what_is_kept_at_the_provider_cannot_be_referred_to() {
    for (path, body, field) in [
        (
            "/v1/responses",
            r#"{"model":"gpt-4o","previous_response_id":"resp_1"}"#,
            "previous_response_id",
        ),
        (
            "/v1/responses",
            r#"{"model":"gpt-4o","conversation":"conv_1"}"#,
            "conversation",
        ),
        (
            "/v1/responses",
            r#"{"model":"gpt-4o","background":true}"#,
            "background",
        ),
        (
            "/v1beta/models/gemini-2.5-flash:generateContent",
            r#"{"cached_content":"cachedContents/1"}"#,
            "cachedContent",
        ),
    ] {
        assert!(
            matches!(refused(path, body), Denial::InvalidRequest { param, .. } if param == Some(field)),
            "{body}"
        );
    }
    let nothing = r#"{"model":"gpt-4o","previous_response_id":null,"background":false}"#;
    assert!(plan(&open(), "/v1/responses", nothing).is_ok());
}

// ---- forms

const BOUNDARY: &str = "multipart/form-data; boundary=xyz";

fn form(model: Option<&str>) -> String {
    let field = |name: &str, value: &str| {
        format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let model = model.map_or_else(String::new, |model| field("model", model));
    format!(
        "{model}--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\
         Content-Type: audio/mpeg\r\n\r\n{}\r\n--xyz--\r\n",
        "\u{1}".repeat(300)
    )
}

fn transcription(policy: &Policy, path: &'static str, form: &str) -> Result<Plan, Denial> {
    let head = Head::post(path)
        .without("content-type")
        .with("content-type", BOUNDARY.as_bytes());
    let admission = head.judge(policy)?;
    request::judge_body(policy, 0, &admission, form.as_bytes(), 0).map(Chain::into_first)
}

#[test]
fn the_model_of_a_form_is_judged_and_set() {
    let path = "/v1/audio/transcriptions";
    let plan = transcription(&open(), path, &form(Some("openai/gpt-4o"))).unwrap();
    assert_eq!(
        (plan.provider.as_str(), plan.model.as_str()),
        ("openai", "gpt-4o")
    );
    let sent = String::from_utf8(plan.body.unwrap()).unwrap();
    assert_eq!(sent, form(Some("gpt-4o")));
    let blocked = transcription(&open(), path, &form(Some("whisper-9"))).unwrap_err();
    assert!(matches!(blocked, Denial::ModelBlocked { .. }));
    let nameless = transcription(&open(), path, &form(None)).unwrap_err();
    assert!(matches!(
        nameless,
        Denial::InvalidRequest {
            param: Some("model"),
            ..
        }
    ));
    let azure = "/openai/deployments/gpt-4o/audio/transcriptions";
    let plan = transcription(&open(), azure, &form(None)).unwrap();
    let sent = String::from_utf8(plan.body.unwrap()).unwrap();
    assert!(sent.starts_with("--xyz\r\n") && sent.contains("name=\"model\"\r\n\r\ngpt-4o\r\n"));
}

#[test]
fn a_form_is_not_json_and_json_is_no_form() {
    let json = Head::post("/v1/audio/transcriptions").judge(&open());
    assert!(matches!(json.unwrap_err(), Denial::UnsupportedMediaType(_)));
    let form = Head::post("/v1/chat/completions")
        .without("content-type")
        .with("content-type", BOUNDARY.as_bytes());
    assert!(matches!(
        form.judge(&open()).unwrap_err(),
        Denial::UnsupportedMediaType(_)
    ));
}

#[test]
fn audio_is_reserved_for_no_more_than_the_model_reads() {
    let policy = Policy {
        models: open()
            .models
            .into_iter()
            .map(|(name, mut model)| {
                model.max_input_tokens = Some(100);
                (name, model)
            })
            .collect(),
        ..open()
    };
    let plan = transcription(&policy, "/v1/audio/transcriptions", &form(Some("gpt-4o"))).unwrap();
    assert_eq!(plan.input_bound, 100);
    let text = crate::testing::plan(
        &policy,
        "/v1/embeddings",
        r#"{"model":"gpt-4o","input":"x"}"#,
    );
    assert!(text.is_ok());
}

// ---- free and unbounded

#[test]
fn an_api_that_vendors_answer_for_free_needs_no_price_and_costs_nothing() {
    let policy = open().with_key(|key| {
        key.limits = vec![crate::testing::limit(
            "cost",
            reeve_policy::limit::Metric::Cost,
        )];
    });
    let plan = plan(
        &policy,
        "/v1/moderations",
        r#"{"model":"unpriced","input":"x"}"#,
    )
    .unwrap();
    assert_eq!(plan.reservations[0].amount, 0);
    let mut metering = Metering::new(plan);
    let head = ResponseHead {
        content_type: Some(b"application/json"),
        ..ResponseHead::default()
    };
    metering.on_response_headers(200, head);
    metering.on_response_body(b"{\"results\":[]}", true);
    let (_, settlement) = metering.settle(Outcome::Complete);
    assert_eq!((settlement.cost.get(), settlement.estimated), (0, false));
    assert_eq!(settlement.charges, [0]);
}

#[test]
fn every_prompt_of_a_request_for_completions_is_reserved_for() {
    let bound = |prompt: &str| {
        let body = format!(r#"{{"model":"gpt-4o","max_tokens":10,"n":2,"prompt":{prompt}}}"#);
        let length = i64::try_from(body.len()).unwrap();
        planned("/v1/completions", &body).cost_bound.get() - length * 2_500
    };
    assert_eq!(bound(r#""one""#), 2 * 10 * 10_000);
    assert_eq!(bound(r#"["one"]"#), 2 * 10 * 10_000);
    assert_eq!(bound(r#"["one","two","three"]"#), 6 * 10 * 10_000);
    assert_eq!(bound("[1,2,3]"), 2 * 10 * 10_000);
    assert_eq!(bound("[[1,2],[3]]"), 4 * 10 * 10_000);
}

#[test]
fn speech_that_reports_nothing_costs_what_was_reserved() {
    let plan = planned("/v1/audio/speech", r#"{"model":"gpt-4o","input":"hello"}"#);
    let bound = plan.cost_bound;
    let mut metering = Metering::new(plan);
    let head = ResponseHead {
        content_type: Some(b"audio/mpeg"),
        ..ResponseHead::default()
    };
    metering.on_response_headers(200, head);
    metering.on_response_body(&[0xFF; 5_000], true);
    let (_, settlement) = metering.settle(Outcome::Complete);
    assert_eq!((settlement.cost, settlement.estimated), (bound, true));
}

// ---- required headers

#[test]
fn a_required_header_must_have_a_value_that_matches() {
    let policy = open().with_settings(|settings| {
        settings.required_headers = ["x-tenant", "x-env: prod|dev"]
            .map(|text| RequiredHeader::parse(text).unwrap())
            .into();
    });
    let judged = |env: &[u8], tenant: &[u8]| {
        Head::post("/v1/messages")
            .with("x-env", env)
            .with("x-tenant", tenant)
            .judge(&policy)
            .map(|_| ())
    };
    assert_eq!(judged(b"prod", b"a"), Ok(()));
    let denial = judged(b"test", b"").unwrap_err();
    let reply = reply::render(&denial, WireFormat::OpenAi, b"r", 0);
    assert_eq!(reply.status, 400);
    let body = String::from_utf8(reply.body).unwrap();
    assert!(
        body.contains("missing required headers: x-tenant"),
        "{body}"
    );
    assert!(body.contains("not allowed: x-env"), "{body}");
}

// ---- which models are there?

fn listed(policy: &Policy, head: &Head) -> serde_json::Value {
    let Reply { status, body, .. } = head.answer(policy).unwrap();
    assert_eq!(status, 200);
    serde_json::from_slice(&body).unwrap()
}

fn ids(policy: &Policy, path: &'static str, list: &str, id: &str) -> Vec<String> {
    let answer = listed(policy, &Head::get(path));
    let models = answer[list].as_array().unwrap();
    let name = |model: &serde_json::Value| model[id].as_str().unwrap().to_owned();
    models.iter().map(name).collect()
}

#[test]
fn a_key_is_told_the_models_that_it_may_use_and_no_other() {
    let policy = Policy::governed().with_key(|key| {
        key.provider_configs = vec![
            config("openai", &["gpt-4o", "my-own"], None),
            config("anthropic", &[], None),
            config("gemini", &["regex:nothing"], None),
        ];
    });
    assert_eq!(
        ids(&policy, "/v1/models", "data", "id"),
        [
            "openai/gpt-4o",
            "openai/my-own",
            "anthropic/claude-3-5-sonnet-20241022"
        ]
    );
    assert_eq!(
        ids(&policy, "/openai/v1/models", "data", "id"),
        ["gpt-4o", "my-own"]
    );
    assert_eq!(
        ids(&policy, "/anthropic/v1/models", "data", "id"),
        ["claude-3-5-sonnet-20241022"]
    );
    assert!(ids(&policy, "/genai/v1beta/models", "models", "name").is_empty());
}

#[test]
fn a_blocked_model_is_not_told() {
    let policy = Policy::governed().with_key(|key| {
        let blocked = ["gpt-4o".to_owned()];
        let mut openai = config("openai", &["*"], None);
        openai.blacklisted_models =
            reeve_policy::access::ModelList::compile(&blocked, "openai").unwrap();
        key.provider_configs = vec![openai];
    });
    assert_eq!(
        ids(&policy, "/openai/models", "data", "id"),
        ["gpt-4o-mini", "unpriced"]
    );
}

#[test]
fn an_sdk_of_anthropic_gets_its_own_list_at_the_path_that_two_vendors_share() {
    let head = Head::get("/v1/models").with("anthropic-version", b"2023-06-01");
    let answer = listed(&open(), &head);
    assert_eq!(answer["data"][0]["type"], "model");
    assert_eq!(answer["data"][0]["id"], "claude-3-5-sonnet-20241022");
}

#[test]
fn one_model_is_told_if_the_key_may_use_it() {
    let policy = Policy::governed();
    for path in [
        "/v1/models/openai/gpt-4o",
        "/v1/models/gpt-4o",
        "/openai/models/gpt-4o",
    ] {
        assert_eq!(
            listed(&policy, &Head::get(path))["object"],
            "model",
            "{path}"
        );
    }
    for path in [
        "/v1/models/gpt-9",
        "/v1/models/azure/gpt-4o",
        "/anthropic/v1/models/x",
    ] {
        let denial = Head::get(path).answer(&policy).unwrap_err();
        assert_eq!(denial, Denial::ModelNotFound, "{path}");
    }
}

#[test]
fn nobody_without_a_key_is_told_anything() {
    let head = Head::get("/v1/models").without("x-bf-vk");
    assert_eq!(
        head.answer(&open()).unwrap_err(),
        Denial::VirtualKeyRequired
    );
    let open_to_all = open().with_settings(|settings| settings.enable_governance = false);
    assert!(head.answer(&open_to_all).is_ok());
    let wrong = head.with("x-bf-vk", format!("{KEY}-other").as_bytes());
    assert_eq!(
        wrong.answer(&open_to_all).unwrap_err(),
        Denial::VirtualKeyNotFound
    );
}
