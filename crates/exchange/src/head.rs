//! The first half of judging a request: what is known before its body.

use std::rc::Rc;

use reeve_llm::{
    BodyKind, Endpoint, PathError, QueryError, Unserved, WireFormat, is_json, judge_query,
    multipart,
};
use reeve_policy::key_format::checksum_is_plausible;
use reeve_policy::required_headers::{Fault, RequiredHeader};
use reeve_policy::view::{PolicyView, Settings};
use reeve_policy::virtual_key::{Blocked, KeyDigest, VirtualKey};

use crate::Denial;
use crate::credentials;
use crate::headers::Headers;
use crate::models;
use crate::reply::Reply;

/// Requests with the same value go to the same provider.
const SESSION: &str = "x-bf-session-id";

/// A request whose headers have passed.
#[derive(Debug, Clone)]
pub enum Admitted {
    /// Its body comes next.
    AwaitsBody(Admission),
    /// It is answered here and now.
    Answered(Reply),
}

/// A request whose headers have passed, and whose body comes next.
#[derive(Debug, Clone)]
pub struct Admission {
    /// Which API.
    pub endpoint: Endpoint,
    /// Largest body, bytes.
    pub max_body_bytes: u64,
    /// The model that the path names.
    pub(crate) path_model: Option<String>,
    /// The provider that the path names.
    pub(crate) path_provider: Option<&'static str>,
    /// What of the query goes on to the provider.
    pub(crate) query: String,
    /// What stands between the parts of a form.
    pub(crate) boundary: Vec<u8>,
    /// The session that the request belongs to, by its own account.
    pub(crate) session: Option<Vec<u8>>,
    /// The key by its digest: what it may do is asked again when the body is there.
    pub(crate) presented: Option<KeyDigest>,
    /// Its header fields, for routing rules.
    pub(crate) fields: Rc<Vec<(String, Vec<u8>)>>,
}

impl Admission {
    /// The same, with the request's header fields, which routing rules may ask for.
    #[must_use]
    pub fn with_fields(self, fields: Vec<(String, Vec<u8>)>) -> Self {
        Self {
            fields: Rc::new(fields),
            ..self
        }
    }
}

/// What a request is for, in what to answer it, and what came of that.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The caller's dialect; also of a refusal.
    pub dialect: WireFormat,
    /// The verdict.
    pub verdict: Result<Admitted, Denial>,
}

/// Judges everything that is known before the body: path, required headers, credential, query,
/// framing.
pub fn judge_headers(
    view: &dyn PolicyView,
    now_ms: i64,
    method: &[u8],
    path_and_query: &[u8],
    headers: Headers<'_>,
) -> Judged {
    let (path, query) = reeve_llm::split_query(path_and_query);
    let found = reeve_llm::find(method, path);
    let dialect = dialect(&found, headers);
    let verdict = found.api.map_err(refuse_path).and_then(|found| {
        // Where Envoy lets upgrades through: what follows is no request whose end can be waited for.
        if headers.first("upgrade").is_some() {
            return Err(Denial::Unserved(Unserved::Realtime));
        }
        let settings = view.settings().ok_or(Denial::PolicyUnavailable)?;
        require_headers(&settings.required_headers, headers)?;
        let presented = present(headers)?;
        let key = authenticate(view, &settings, now_ms, presented)?;
        if found.endpoint.body() == BodyKind::Nothing {
            let question = models::Question {
                view,
                settings: &settings,
                key: key.as_deref(),
                dialect,
                provider: found.provider,
            };
            return models::answer(question, found.model.as_deref()).map(Admitted::Answered);
        }
        let query = judge_query(found.endpoint, dialect, query.unwrap_or_default())
            .map_err(refuse_query)?;
        let boundary = check_framing(&settings, found.endpoint, headers)?;
        Ok(Admitted::AwaitsBody(Admission {
            endpoint: found.endpoint,
            max_body_bytes: settings.max_request_body_bytes,
            path_model: found.model,
            path_provider: found.provider,
            query,
            boundary,
            session: headers.first(SESSION).map(<[u8]>::to_vec),
            presented,
            fields: Rc::default(),
        }))
    });
    Judged { dialect, verdict }
}

/// The dialect of the path; where two vendors share one, the caller's SDK says whose it is.
fn dialect(found: &reeve_llm::Found, headers: Headers<'_>) -> WireFormat {
    let is_list = found
        .api
        .as_ref()
        .is_ok_and(|found| found.endpoint.body() == BodyKind::Nothing);
    let is_anthropic = headers.first("anthropic-version").is_some();
    if is_list && found.dialect == WireFormat::OpenAi && is_anthropic {
        WireFormat::Anthropic
    } else {
        found.dialect
    }
}

fn refuse_path(error: PathError) -> Denial {
    match error {
        PathError::NotFound => Denial::NotFound,
        PathError::MethodNotAllowed(allow) => Denial::MethodNotAllowed { allow },
        PathError::BadModel => Denial::InvalidRequest {
            message: "the path names no model: a name has 1 to 160 letters, digits and \
                      . _ : @ + -, encoded once at most"
                .into(),
            param: Some("model"),
        },
        PathError::Unserved(unserved) => Denial::Unserved(unserved),
    }
}

fn refuse_query(error: QueryError) -> Denial {
    match error {
        QueryError::Model => Denial::ModelConflict,
        QueryError::Unknown | QueryError::Value(_) => Denial::InvalidRequest {
            message: error.to_string(),
            param: None,
        },
    }
}

/// Every one that is missing or does not match is named at once.
fn require_headers(required: &[RequiredHeader], headers: Headers<'_>) -> Result<(), Denial> {
    let mut missing = Vec::new();
    let mut mismatched = Vec::new();
    for header in required {
        match header.judge(headers.all(header.name())) {
            Ok(()) => {}
            Err(Fault::Missing) => missing.push(header.name().to_owned()),
            Err(Fault::Mismatch) => mismatched.push(header.name().to_owned()),
        }
    }
    if missing.is_empty() && mismatched.is_empty() {
        Ok(())
    } else {
        Err(Denial::RequiredHeaders {
            missing,
            mismatched,
        })
    }
}

/// The key that the request presents. A value that cannot be one of ours is not looked up.
fn present(headers: Headers<'_>) -> Result<Option<KeyDigest>, Denial> {
    match credentials::presented(headers)? {
        Some(value) if checksum_is_plausible(value) => Ok(Some(KeyDigest::of(value))),
        Some(_) => Err(Denial::VirtualKeyNotFound),
        None => Ok(None),
    }
}

/// Who presents the key of this digest; `None`: nobody, and nobody has to.
pub(crate) fn authenticate(
    view: &dyn PolicyView,
    settings: &Settings,
    now_ms: i64,
    presented: Option<KeyDigest>,
) -> Result<Option<Rc<VirtualKey>>, Denial> {
    let Some(digest) = presented else {
        return if settings.enable_governance {
            Err(Denial::VirtualKeyRequired)
        } else {
            Ok(None)
        };
    };
    let key = view
        .virtual_key(&digest)
        .ok_or(Denial::VirtualKeyNotFound)?;
    match key.check_usable(now_ms) {
        Ok(()) => Ok(Some(key)),
        Err(Blocked::Inactive) => Err(Denial::VirtualKeyInactive),
        Err(Blocked::Expired) => Err(Denial::VirtualKeyExpired),
    }
}

/// A body of the kind that the API has, in one coding, not larger than admitted. What is judged must
/// be what the provider reads. Gives what stands between the parts of a form.
fn check_framing(
    settings: &Settings,
    endpoint: Endpoint,
    headers: Headers<'_>,
) -> Result<Vec<u8>, Denial> {
    let mut types = headers.all("content-type");
    let content_type = match (types.next(), types.next()) {
        (Some(one), None) => one,
        // Amazon's SDK does not say unless it is told to, and Bedrock takes JSON for granted.
        (None, _) if is_bedrocks_own(endpoint) => b"application/json",
        _ => &[],
    };
    let boundary = match endpoint.body() {
        BodyKind::Multipart => multipart::boundary(content_type)
            .map_err(|_not_a_form| {
                Denial::UnsupportedMediaType(
                    "send the body as `content-type: multipart/form-data; boundary=…`",
                )
            })?
            .to_vec(),
        BodyKind::Json | BodyKind::Nothing if is_json(content_type) => Vec::new(),
        BodyKind::Json | BodyKind::Nothing => {
            return Err(Denial::UnsupportedMediaType(
                "send the body as `content-type: application/json`, in UTF-8",
            ));
        }
    };
    if headers
        .all("content-encoding")
        .any(|value| !value.eq_ignore_ascii_case(b"identity"))
    {
        return Err(Denial::UnsupportedMediaType(
            "send the body without a content-encoding",
        ));
    }
    let announced = headers
        .first("content-length")
        .and_then(|value| str::from_utf8(value).ok())
        .and_then(|value| value.parse::<u64>().ok());
    if announced.is_some_and(|length| length > settings.max_request_body_bytes) {
        return Err(Denial::PayloadTooLarge {
            max_bytes: settings.max_request_body_bytes,
        });
    }
    Ok(boundary)
}

const fn is_bedrocks_own(endpoint: Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::InvokeModel | Endpoint::InvokeModelStream
    )
}
