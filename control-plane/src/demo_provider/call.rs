//! One call of a model, as a vendor's module sees it.

use axum::body::Bytes;
use axum::http::header;
use axum::http::request::Parts;
use serde_json::Value;
use url::form_urlencoded;

use super::fields::Fields;
use super::form::Form;
use super::refusal::Refusal;
use super::steering::Steering;
use super::text::{self, Answer, Subject};

/// Everything a vendor's module needs to answer one call.
pub(super) struct Call<'a> {
    /// The request without its body.
    pub(super) parts: &'a Parts,
    /// The body, whatever it is.
    pub(super) body: &'a Bytes,
    /// The variable part of the path, decoded; empty when it has none.
    pub(super) in_path: &'a str,
    /// How the answer is to be given.
    pub(super) steering: &'a Steering,
    /// Name of this instance.
    pub(super) provider: &'a str,
    /// Distinguishes answers; unique within this process.
    pub(super) number: u64,
    /// Seconds since the Unix epoch.
    pub(super) now: i64,
}

impl Call<'_> {
    /// The body, for a call that takes JSON.
    ///
    /// # Errors
    /// A 400 when it is not one JSON object.
    pub(super) fn fields(&self) -> Result<Fields, Refusal> {
        Fields::parse(self.body)
    }

    /// The body, for a call that takes a form.
    ///
    /// # Errors
    /// A 400 when it is not `multipart/form-data`.
    pub(super) fn form(&self) -> Result<Form, Refusal> {
        let content_type = self.parts.headers.get(header::CONTENT_TYPE);
        Form::parse(content_type, self.body)
    }

    /// The value of `name` in the query.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let query = self.parts.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    }

    /// An id such as `chatcmpl-demo-7`.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}-{}-{}", self.provider, self.number)
    }

    /// What `model` answers to `asked` with at most `most` tokens.
    pub(super) fn answer(&self, model: &str, asked: &str, most: Option<u32>) -> Answer {
        let subject = Subject {
            provider: self.provider,
            model,
            asked,
        };
        text::answer(&subject, self.steering.output_tokens, most)
    }

    /// The same, thoughts included, in a format that can report them.
    pub(super) fn thought_out(&self, model: &str, asked: &str, most: Option<u32>) -> Answer {
        self.answer(model, asked, most)
            .with_reasoning(self.steering.reasoning_tokens)
    }

    /// What to put where the format has this usage.
    pub(super) fn usage(&self, truth: Value) -> Value {
        self.steering.usage.place(truth)
    }

    /// In which tier to say that a request for `asked` was served; `ordinary` is the vendor's word for no
    /// tier of its own.
    pub(super) fn service_tier(&self, fields: &Fields, ordinary: &str) -> String {
        let asked = fields.get("service_tier").and_then(Value::as_str);
        let served = match asked {
            Some("flex" | "priority") => asked,
            _ => None,
        };
        let steered = self.steering.service_tier.as_deref();
        steered.or(served).unwrap_or(ordinary).to_owned()
    }
}
