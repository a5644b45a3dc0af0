//! Every URL of the demo provider.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::refusal::{Dialect, Refusal};
use super::serving::{Answer, call, receive, require_credential};
use super::{Demo, anthropic, bedrock, cohere, gemini, openai};

/// What a vendor's module lists as its models at a time.
type Models = fn(i64) -> Value;

/// See [`super::router`].
pub(super) fn router(demo: Demo) -> Router {
    let on = |dialect, answer: Answer| {
        post(move |state, path, request| call(state, dialect, answer, path, request))
    };
    let openai = |answer| on(Dialect::OpenAi, answer);
    let anthropic = |answer| on(Dialect::Anthropic, answer);
    let gemini = |answer| on(Dialect::Gemini, answer);
    let bedrock = |answer| on(Dialect::Bedrock, answer);
    let cohere = |answer| on(Dialect::Cohere, answer);
    let models =
        |dialect, list: Models| get(move |state, request| models(state, dialect, list, request));
    let (chat, embeddings, images) = (
        || openai(openai::chat::answer),
        || openai(openai::embeddings::answer),
        || openai(openai::images::generation),
    );
    let transcriptions = openai(openai::transcriptions::transcription);
    let translations = openai(openai::transcriptions::translation);
    Router::new()
        .route("/v1/chat/completions", chat())
        .route("/v1/completions", openai(openai::completions::answer))
        .route("/v1/responses", openai(openai::responses::answer))
        .route("/v1/embeddings", embeddings())
        .route("/v1/images/generations", images())
        .route("/v1/images/edits", openai(openai::images::edit))
        .route("/v1/images/variations", openai(openai::images::variation))
        .route("/v1/audio/speech", openai(openai::speech::answer))
        .route("/v1/audio/transcriptions", transcriptions)
        .route("/v1/audio/translations", translations)
        .route("/v1/moderations", openai(openai::moderations::answer))
        .route("/v1/rerank", openai(cohere::rerank::answer_v1))
        .route("/v1/models", models(Dialect::OpenAi, openai::models))
        // Anthropic, which serves OpenAI's chat completions at OpenAI's own path
        .route("/v1/messages", anthropic(anthropic::answer))
        .route(
            "/v1/messages/count_tokens",
            anthropic(anthropic::count_tokens),
        )
        // Gemini, and what it serves in OpenAI's format
        .route("/v1beta/models/{call}", gemini(gemini::answer))
        .route(
            "/v1beta/models",
            models(Dialect::Gemini, |_| gemini::models()),
        )
        .route("/v1beta/openai/chat/completions", chat())
        .route("/v1beta/openai/embeddings", embeddings())
        .route("/v1beta/openai/images/generations", images())
        .route(
            "/v1beta/openai/models",
            models(Dialect::OpenAi, openai::models),
        )
        // Bedrock
        .route("/model/{model}/converse", bedrock(bedrock::converse::whole))
        .route(
            "/model/{model}/converse-stream",
            bedrock(bedrock::converse::stream),
        )
        .route("/model/{model}/invoke", bedrock(bedrock::invoke::whole))
        .route(
            "/model/{model}/invoke-with-response-stream",
            bedrock(bedrock::invoke::stream),
        )
        // Cohere, and what it serves in OpenAI's format
        .route("/v2/chat", cohere(cohere::chat::answer))
        .route("/v1/embed", cohere(cohere::embed::answer_v1))
        .route("/v2/embed", cohere(cohere::embed::answer_v2))
        .route("/v2/rerank", cohere(cohere::rerank::answer_v2))
        .route("/compatibility/v1/chat/completions", chat())
        // What was served
        .route("/_demo/stats", get(stats))
        .route("/_demo/last", get(last))
        .route("/_demo/reset", post(reset))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(Arc::new(demo))
}

async fn models(
    State(demo): State<Arc<Demo>>,
    dialect: Dialect,
    list: Models,
    request: Request,
) -> Response {
    let listed = async {
        let (parts, _) = receive(&demo, request).await?;
        require_credential(&parts.headers, dialect)?;
        Ok(Json(list(demo.now())).into_response())
    };
    listed
        .await
        .unwrap_or_else(|refusal: Refusal| refusal.into_response(dialect, &demo.request_id(), None))
}

async fn unknown(State(demo): State<Arc<Demo>>, request: Request) -> Response {
    let refusal = match receive(&demo, request).await {
        Ok((parts, _)) => {
            let (method, path) = (parts.method, parts.uri.path().to_owned());
            let message = format!("the demo provider does not serve {method} {path}");
            Refusal::new(StatusCode::NOT_FOUND, message)
        }
        Err(refusal) => refusal,
    };
    refusal.into_response(Dialect::OpenAi, &demo.request_id(), None)
}

async fn stats(State(demo): State<Arc<Demo>>) -> Response {
    Json(demo.stats.read()).into_response()
}

async fn last(State(demo): State<Arc<Demo>>) -> Response {
    match demo.last.read() {
        Some(received) => Json(received).into_response(),
        None => {
            let body = json!({"error": {"message": "no request has arrived yet"}});
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
    }
}

async fn reset(State(demo): State<Arc<Demo>>) -> StatusCode {
    demo.stats.reset();
    demo.last.reset();
    StatusCode::NO_CONTENT
}
