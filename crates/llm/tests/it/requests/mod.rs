//! What is read from a request, and what is refused.
//!
//! | module | what it shows |
//! |---|---|
//! | `facts` | the facts of every API's body, where the model stands, conflicts (R-22) |
//! | `fallbacks` | what the gateway alone reads, and does not pass on (R-32) |
//! | `names` | governed names in every disguise (R-25) |
//! | `forbidden` | what no caller may send (R-32) |
//! | `numbers` | bounds and numbers of answers (R-44) |
//! | `texts` | what is JSON and what is not: encodings, bombs (R-26, R-27, R-29) |
//! | `forms` | multipart bodies (R-30) |

mod facts;
mod fallbacks;
mod forbidden;
mod forms;
mod names;
mod numbers;
mod texts;

use reeve_llm::{Body, BodyKind, Endpoint, Request, RequestError, WireFormat};

/// A model of a vendor whose bodies at Bedrock hold a bound.
const MODEL: &str = "anthropic.claude-v2:1";

/// Reads a JSON body; the model is in the path where this API has it there, and nowhere else.
fn read(endpoint: Endpoint, body: &str) -> Result<Request<'_>, RequestError> {
    let path_model = endpoint.names_model_in_path().then_some(MODEL);
    Request::read(endpoint, path_model, Body::Json(body.as_bytes()))
}

fn chat(body: &str) -> Result<Request<'_>, RequestError> {
    read(Endpoint::ChatCompletions, body)
}

fn error_of(endpoint: Endpoint, body: &str) -> RequestError {
    match read(endpoint, body) {
        Ok(request) => panic!("{endpoint:?} accepted {body}: {request:?}"),
        Err(error) => error,
    }
}

/// The body of an API that is right but for these members.
fn body_with(endpoint: Endpoint, members: &str) -> String {
    let separator = if members.is_empty() { "" } else { "," };
    if endpoint.names_model_in_path() {
        format!("{{\"filler\":0{separator}{members}}}")
    } else {
        format!("{{\"model\":\"{MODEL}\"{separator}{members}}}")
    }
}

fn error_with(endpoint: Endpoint, members: &str) -> RequestError {
    error_of(endpoint, &body_with(endpoint, members))
}

/// All APIs with a body of JSON.
fn json_apis() -> impl Iterator<Item = Endpoint> {
    let all = Endpoint::ALL.into_iter();
    all.filter(|endpoint| endpoint.body() == BodyKind::Json)
}

/// Of those, the ones whose bodies have everything at the top.
fn flat_apis() -> impl Iterator<Item = Endpoint> {
    json_apis()
        .filter(|endpoint| !matches!(endpoint.home(), WireFormat::Gemini | WireFormat::Bedrock))
}
