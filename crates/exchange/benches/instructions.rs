//! What the filter does for each request, to be counted in instructions: `scripts/instructions.sh`
//! runs one of these so many times and twice as many times, and takes the difference.
//!
//!     instructions                    their names, and the bytes that each works on
//!     instructions NAME REPETITIONS
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot be made must say so"
)]

use std::hint::black_box;
use std::rc::Rc;

use reeve_exchange::Denial;
use reeve_exchange::chain::Chain;
use reeve_exchange::credentials::presented;
use reeve_exchange::head::{Admission, Admitted, judge_headers};
use reeve_exchange::headers::Headers;
use reeve_exchange::reply::render;
use reeve_exchange::request::judge_body;
use reeve_exchange::response::{Metering, Outcome};
use reeve_llm::{
    Body, Endpoint, Request, ResponseHead, ResponseMeter, WireFormat, find, judge_query, multipart,
    read_usage,
};
use reeve_policy::access::ModelList;
use reeve_policy::calendar::Alignment;
use reeve_policy::expression::{Comparison, Condition, Text, TextTest, Variable};
use reeve_policy::limit::{Limit, Metric};
use reeve_policy::model_limits::ModelLimitsTable;
use reeve_policy::period::Period;
use reeve_policy::price::Price;
use reeve_policy::required_headers::RequiredHeader;
use reeve_policy::retry::RetryOn;
use reeve_policy::routing_rules::Rule;
use reeve_policy::shares::Shares;
use reeve_policy::view::{self, Model, PolicyView, Provider, Settings};
use reeve_policy::virtual_key::{KeyDigest, Owner, ProviderConfig, VirtualKey};

const KEY: &str = "sk-bf-bench";
const CHAT: &[u8] = b"/v1/chat/completions";
const GEMINI: &[u8] = b"/v1beta/models/gemini-2.5-flash:streamGenerateContent";

/// Something to count: its name, and how it is made ready.
struct Case {
    name: &'static str,
    prepare: Box<dyn Fn() -> Work>,
}

/// How many bytes it works on, and what it does.
struct Work {
    bytes: usize,
    once: Box<dyn Fn()>,
}

fn case(name: &'static str, prepare: impl Fn() -> Work + 'static) -> Case {
    let prepare = Box::new(prepare);
    Case { name, prepare }
}

fn work<R>(bytes: usize, once: impl Fn() -> R + 'static) -> Work {
    let once = Box::new(move || {
        black_box(once());
    });
    Work { bytes, once }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let cases = cases();
    if let [name, repetitions] = arguments.as_slice() {
        let found = cases.iter().find(|case| case.name == name);
        let case = found.unwrap_or_else(|| panic!("there is no `{name}`"));
        let work = (case.prepare)();
        for _ in 0..repetitions.parse::<u32>().expect("a number of repetitions") {
            (work.once)();
        }
    } else {
        for case in cases {
            println!("{} {}", case.name, (case.prepare)().bytes);
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = heads();
    cases.extend(bodies());
    cases.extend(responses());
    cases.extend(whole());
    cases
}

fn heads() -> Vec<Case> {
    let finding = |name, path: &'static [u8]| {
        case(name, move || {
            work(path.len(), move || find(b"POST", black_box(path)))
        })
    };
    vec![
        finding("find, the first path", CHAT),
        finding("find, a model in the path", GEMINI),
        finding("find, no such path", b"/v1/chat/completion/"),
        case("judge_query", || {
            let query = b"alt=sse&key=AIza";
            work(query.len(), || {
                let (endpoint, dialect) = (Endpoint::StreamGenerateContent, WireFormat::Gemini);
                judge_query(endpoint, dialect, black_box(query))
            })
        }),
        case("presented, among 14 fields", || {
            let fields = fields();
            work(0, move || {
                presented(Headers::new(black_box(&fields))).map(|key| key.map(<[u8]>::len))
            })
        }),
        case("a required header with a pattern", || {
            let required = RequiredHeader::parse("x-tenant: [a-z0-9-]+").expect("it is one");
            let fields = fields();
            work(0, move || {
                required.judge(Headers::new(black_box(&fields)).all("x-tenant"))
            })
        }),
        case("KeyDigest::of", || {
            work(KEY.len(), || KeyDigest::of(black_box(KEY.as_bytes())))
        }),
    ]
}

fn bodies() -> Vec<Case> {
    let reading = |name, size| {
        case(name, move || {
            let body = chat_body(size);
            work(body.len(), move || read(&body).input_bytes)
        })
    };
    let rewriting = |name, size| {
        case(name, move || {
            let body = chat_body(size);
            work(body.len(), move || {
                read_and_rewrite(&body).map(|body| body.len())
            })
        })
    };
    vec![
        reading("Request::read, chat, 1 kB", 1 << 10),
        reading("Request::read, chat, 10 kB", 10 << 10),
        reading("Request::read, chat, 1 MB", 1 << 20),
        rewriting("the same and rewrite, 1 kB", 1 << 10),
        rewriting("the same and rewrite, 10 kB", 10 << 10),
        rewriting("the same and rewrite, 1 MB", 1 << 20),
        case("Request::read, form, 1 MB", || {
            let form = form_body(1 << 20);
            work(form.len(), move || {
                let boundary = multipart::boundary(b"multipart/form-data; boundary=XbX");
                let boundary = boundary.expect("it is one");
                let bytes = black_box(form.as_slice());
                let body = Body::Form { boundary, bytes };
                let request = Request::read(Endpoint::Transcriptions, None, body);
                request.expect("it is a good form").input_bytes
            })
        }),
    ]
}

fn responses() -> Vec<Case> {
    let metering = |name, drop_usage| {
        case(name, move || {
            let stream = stream();
            work(stream.len(), move || {
                let mut meter = ResponseMeter::new(Endpoint::ChatCompletions, drop_usage, EVENTS);
                let chunks = stream.chunks(1 << 10);
                let changed: usize = chunks
                    .filter_map(|chunk| meter.on_chunk(black_box(chunk), false))
                    .map(|changed| changed.len())
                    .sum();
                (changed, meter.finish())
            })
        })
    };
    vec![
        case("read_usage, 1 kB", || {
            let answer = answer(1 << 10);
            work(answer.len(), move || {
                read_usage(Endpoint::ChatCompletions, black_box(&answer))
            })
        }),
        metering("ResponseMeter, 200 events", false),
        metering("ResponseMeter, 200 events, chunk taken out", true),
    ]
}

fn whole() -> Vec<Case> {
    vec![
        case("judge_headers", || {
            let (policy, fields) = (Policy::new(), fields());
            work(0, move || admit(&policy, &fields))
        }),
        case("judge_body, 1 kB", || {
            let (policy, body) = (Policy::new(), chat_body(1 << 10));
            let admission = admit(&policy, &fields());
            work(body.len(), move || plan(&policy, &admission, &body))
        }),
        case("judge_body, 1 kB, ten rules by header", || {
            let (policy, body) = (Policy::with_rules(of_header), chat_body(1 << 10));
            let admission = admit(&policy, &fields()).with_fields(fields());
            work(body.len(), move || plan(&policy, &admission, &body))
        }),
        case("judge_headers and judge_body, 1 kB", || {
            let (policy, fields, body) = (Policy::new(), fields(), chat_body(1 << 10));
            work(body.len(), move || {
                plan(&policy, &admit(&policy, &fields), &body)
            })
        }),
        case("settle a stream of 200 events", || {
            let (policy, stream) = (Policy::new(), stream());
            let plan = plan(&policy, &admit(&policy, &fields()), &chat_body(1 << 10));
            work(stream.len(), move || {
                let mut metering = Metering::new(plan.clone());
                metering.on_response_headers(200, EVENTS);
                for chunk in stream.chunks(1 << 10) {
                    black_box(metering.on_response_body(black_box(chunk), false));
                }
                metering.settle(Outcome::Complete).1.cost
            })
        }),
        case("render a refusal", || {
            let denial = Denial::ModelBlocked {
                model: "gpt-4o".into(),
            };
            work(0, move || {
                render(black_box(&denial), WireFormat::OpenAi, b"req-1", 0)
            })
        }),
    ]
}

const EVENTS: ResponseHead<'static> = ResponseHead {
    content_type: Some(b"text/event-stream"),
    content_encoding: None,
    counts: [None; 4],
};

fn read(body: &[u8]) -> Request<'_> {
    let request = Request::read(Endpoint::ChatCompletions, None, Body::Json(black_box(body)));
    request.expect("it is a good body")
}

fn read_and_rewrite(body: &[u8]) -> Option<Vec<u8>> {
    let rewritten = read(body).rewrite(black_box("gpt-4o-2024-08-06"));
    rewritten.expect("it is no form").body
}

fn admit(policy: &Policy, fields: &[(String, Vec<u8>)]) -> Admission {
    let headers = Headers::new(black_box(fields));
    match judge_headers(policy, 0, b"POST", CHAT, headers).verdict {
        Ok(Admitted::AwaitsBody(admission)) => admission,
        other => panic!("{other:?}"),
    }
}

fn plan(policy: &Policy, admission: &Admission, body: &[u8]) -> Chain {
    judge_body(policy, 0, admission, black_box(body), 7).expect("it is admitted")
}

/// A request's fields as Envoy hands them over.
fn fields() -> Vec<(String, Vec<u8>)> {
    [
        (":authority", "gateway.example"),
        (":path", "/v1/chat/completions"),
        (":method", "POST"),
        (":scheme", "https"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("authorization", "Bearer sk-bf-bench"),
        ("content-length", "1024"),
        ("content-type", "application/json"),
        ("user-agent", "OpenAI/Python 3.54.0"),
        ("x-stainless-lang", "python"),
        ("x-stainless-retry-count", "0"),
        ("x-tenant", "acme-1"),
        ("x-request-id", "7f1c9d50-0e0a-4a52-9d1f-000000000001"),
    ]
    .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
    .into()
}

/// A stream of chat with this much text, in lines as people write them.
fn chat_body(size: usize) -> Vec<u8> {
    let line = "The quick brown fox \\\"jumps\\\" over the lazy dog, again and again and again.\\n";
    let text = line.repeat(size.div_ceil(line.len()));
    format!(
        "{{\"model\":\"openai/gpt-4o\",\"stream\":true,\"temperature\":0.7,\"max_tokens\":500,\
         \"messages\":[{{\"role\":\"system\",\"content\":\"Be brief.\"}},\
         {{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
    )
    .into_bytes()
}

fn form_body(size: usize) -> Vec<u8> {
    let audio: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
    [
        &b"--XbX\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--XbX\r\n\
           Content-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\
           Content-Type: audio/mpeg\r\n\r\n"[..],
        &audio,
        b"\r\n--XbX--\r\n",
    ]
    .concat()
}

fn answer(size: usize) -> Vec<u8> {
    let text = "word ".repeat(size / 5);
    format!(
        "{{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"model\":\"gpt-4o\",\"choices\":\
         [{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}},\
         \"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":250,\"completion_tokens\":200,\
         \"total_tokens\":450,\"prompt_tokens_details\":{{\"cached_tokens\":128}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":0}}}}}}"
    )
    .into_bytes()
}

/// Two hundred chunks of chat as OpenAI sends them, and the one with the usage.
fn stream() -> Vec<u8> {
    let event = |choices: &str, usage: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-9\",\"object\":\"chat.completion.chunk\",\"created\":\
             1694268190,\"model\":\"gpt-4o\",\"system_fingerprint\":\"fp_44709d6fcb\",\
             \"choices\":{choices},\"usage\":{usage}}}\n\n"
        )
    };
    let choices = "[{\"index\":0,\"delta\":{\"content\":\" word\"},\"logprobs\":null,\
                   \"finish_reason\":null}]";
    let mut stream = event(choices, "null").repeat(200);
    stream.push_str(&event(
        "[]",
        "{\"prompt_tokens\":250,\"completion_tokens\":200,\"total_tokens\":450}",
    ));
    stream.push_str("data: [DONE]\n\n");
    stream.into_bytes()
}

/// Everything on: a required header, two providers, limits at four levels.
struct Policy {
    settings: Rc<Settings>,
    key: Rc<VirtualKey>,
    team: Rc<Owner>,
    customer: Rc<Owner>,
    model: Rc<Model>,
}

impl Policy {
    fn new() -> Self {
        let provider = |name: &str| Provider {
            name: name.into(),
            wire_format: view::WireFormat::OpenAi,
            cluster: format!("provider_{name}"),
            key_ids: Vec::new(),
            retry_on: RetryOn::ALL,
            per_try_timeout_ms: None,
            aliases: std::collections::BTreeMap::new(),
        };
        let limits = |of: &str| {
            let limit = |metric| Limit {
                id: format!("{of}-{metric:?}"),
                metric,
                max: 1_000_000_000_000,
                period: Period::parse("1M").expect("it is a month"),
                anchor_ms: 0,
                alignment: Alignment::utc(),
                open: None,
                raised_by: None,
            };
            vec![limit(Metric::Cost), limit(Metric::Requests)]
        };
        let config = |provider: &str| ProviderConfig {
            id: format!("config-{provider}"),
            provider: provider.into(),
            weight_ppm: Some(500_000),
            allowed_models: ModelList::compile(&["gpt-4o".into()], provider).expect("a name"),
            blacklisted_models: ModelList::default(),
            key_ids: None,
            limits: limits(provider),
        };
        let owner = |id: &str, customer_id: Option<&str>| {
            Rc::new(Owner {
                id: id.into(),
                name: id.into(),
                customer_id: customer_id.map(Into::into),
                limits: limits(id),
                routing_rules: Vec::new(),
            })
        };
        Self {
            settings: Rc::new(Settings {
                enable_governance: true,
                providers: vec![provider("openai"), provider("azure")],
                required_headers: vec![
                    RequiredHeader::parse("x-tenant: [a-z0-9-]+").expect("it is one"),
                ],
                max_request_body_bytes: 32 << 20,
                adaptive_routing: true,
                ..Settings::default()
            }),
            key: Rc::new(VirtualKey {
                model_limits: ModelLimitsTable::default(),
                routing_rules: Vec::new(),
                id: "key-1".into(),
                name: "bench".into(),
                is_active: true,
                expires_at_ms: None,
                allow_all_providers: false,
                provider_configs: vec![config("openai"), config("azure")],
                team_id: Some("team-1".into()),
                customer_id: None,
                limits: limits("key-1"),
            }),
            team: owner("team-1", Some("customer-1")),
            customer: owner("customer-1", None),
            model: Rc::new(Model {
                price: Some(Rc::new(
                    Price::uniform(2_500_000_000, 10_000_000_000).into(),
                )),
                max_input_tokens: Some(128_000),
                max_output_tokens: Some(16_384),
            }),
        }
    }
}

impl Policy {
    /// Ten rules of everyone, none of which matches.
    fn with_rules(condition: impl Fn(usize) -> Condition) -> Self {
        let mut policy = Self::new();
        let rule = |number: usize| Rule {
            id: format!("rule-{number}"),
            name: String::new(),
            condition: condition(number),
            targets: Vec::new(),
            fallbacks: Vec::new(),
            chains: false,
        };
        let mut settings = Settings::clone(&policy.settings);
        settings.routing_rules = (0..10).map(rule).collect();
        policy.settings = Rc::new(settings);
        policy
    }
}

/// `headers['x-tenant'] == 'tier-1' && model.startsWith('gpt-')`
fn of_header(number: usize) -> Condition {
    let tenant = Condition::Texts(
        Text::Header("x-tenant".into()),
        TextTest::Compare(Comparison::Equal),
        Text::Literal(format!("tier-{number}")),
    );
    let model = Condition::Texts(
        Text::Variable(Variable::Model),
        TextTest::StartsWith,
        Text::Literal("gpt-".into()),
    );
    Condition::And(Box::new(tenant), Box::new(model))
}

impl PolicyView for Policy {
    fn settings(&self) -> Option<Rc<Settings>> {
        Some(Rc::clone(&self.settings))
    }

    fn virtual_key(&self, _: &KeyDigest) -> Option<Rc<VirtualKey>> {
        Some(Rc::clone(&self.key))
    }

    fn team(&self, _: &str) -> Option<Rc<Owner>> {
        Some(Rc::clone(&self.team))
    }

    fn customer(&self, _: &str) -> Option<Rc<Owner>> {
        Some(Rc::clone(&self.customer))
    }

    fn model(&self, _: &str, _: &str) -> Option<Rc<Model>> {
        Some(Rc::clone(&self.model))
    }

    fn models(&self, _: &str) -> Option<Rc<Vec<String>>> {
        None
    }

    fn used(&self, _: &Limit, _: i64) -> i64 {
        0
    }

    fn shares(&self, _: i64) -> Option<Rc<Shares>> {
        None
    }
}
