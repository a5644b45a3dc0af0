//! Judges bodies for the tests that put other parsers beside ours (`tests/parsers`): what would be
//! read from each, and what would be forwarded.
//!
//! Standard input is a sequence of requests, each a head and a body, each of those behind its length
//! in four bytes, big-endian. A head is the API's name, a space, and the model that the path names
//! or, for a form, the content type; nothing behind the space is none. A line of JSON is written for
//! each.

use std::io::{self, Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reeve_llm::{Body, BodyKind, Endpoint, Request, RequestError, multipart};
use serde_json::{Value, json};

/// The model that is asked of the provider.
const UPSTREAM_MODEL: &str = "upstream-model";

fn main() -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let mut rest = input.as_slice();
    let mut output = io::BufWriter::new(io::stdout().lock());
    while !rest.is_empty() {
        let (Some(head), Some(body)) = (take(&mut rest), take(&mut rest)) else {
            return Err(io::Error::other("the input breaks off in a request"));
        };
        let head = str::from_utf8(head).map_err(io::Error::other)?;
        let (name, behind) = head.split_once(' ').unwrap_or((head, ""));
        let endpoint = Endpoint::ALL.into_iter().find(|known| known.name() == name);
        let endpoint = endpoint.ok_or_else(|| io::Error::other(format!("no API `{name}`")))?;
        writeln!(output, "{}", judge(endpoint, behind, body))?;
    }
    output.flush()
}

/// Takes a piece and the four bytes before it.
fn take<'i>(rest: &mut &'i [u8]) -> Option<&'i [u8]> {
    let (length, after) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (piece, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(piece)
}

fn judge(endpoint: Endpoint, behind: &str, bytes: &[u8]) -> Value {
    let read = if endpoint.body() == BodyKind::Multipart {
        judge_form(endpoint, behind, bytes)
    } else {
        judge_json(endpoint, behind, bytes)
    };
    match read {
        Ok(answer) => answer,
        Err(error) => json!({"accepted": false, "error": error.to_string()}),
    }
}

fn judge_json(endpoint: Endpoint, path_model: &str, bytes: &[u8]) -> Result<Value, RequestError> {
    let path_model = (!path_model.is_empty()).then_some(path_model);
    let request = Request::read(endpoint, path_model, Body::Json(bytes))?;
    let theirs: Value = serde_json::from_slice(bytes).unwrap_or_default();
    answer(&request, bytes, ("serde_json", theirs))
}

fn judge_form(endpoint: Endpoint, content_type: &str, bytes: &[u8]) -> Result<Value, RequestError> {
    let boundary = multipart::boundary(content_type.as_bytes())?;
    let request = Request::read(endpoint, None, Body::Form { boundary, bytes })?;
    let parts = multipart::parts(boundary, bytes)?;
    let part = |part: &multipart::Part<'_>| {
        let value = bytes.get(part.value.clone()).unwrap_or_default();
        json!([part.name, part.is_file, STANDARD.encode(value)])
    };
    answer(&request, bytes, ("parts", parts.iter().map(part).collect()))
}

fn answer(
    request: &Request<'_>,
    bytes: &[u8],
    (name, value): (&str, Value),
) -> Result<Value, RequestError> {
    let forwarded = request.rewrite(UPSTREAM_MODEL)?;
    let forwarded = forwarded.body.as_deref().unwrap_or(bytes);
    Ok(json!({
        "accepted": true,
        "model": request.model,
        "stream": request.stream,
        "include_usage": request.include_usage,
        "max_output_tokens": request.max_output_tokens,
        "choices": request.choices,
        "forwarded": STANDARD.encode(forwarded),
        name: value,
    }))
}
