//! `POST /v2/rerank`, and `POST /v1/rerank` in the form that other vendors took over.
//!
//! The order depends on query and documents alone, and on nothing that they mean. Cohere bills by
//! search units: calls of the second version count no tokens. Others report the tokens of the query
//! and the documents beside, and these count.

use serde_json::{Value, json};

use super::meta;
use crate::demo_provider::call::Call;
use crate::demo_provider::fields::{Fields, invalid};
use crate::demo_provider::objects::merged;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::reply::{Content, Reply};
use crate::demo_provider::text;

/// Documents that one search unit is enough for, as at the vendor.
const DOCUMENTS_PER_UNIT: usize = 100;
/// Most documents of one request, as at the vendor.
const MOST_DOCUMENTS: usize = 10_000;

/// Answers a call of the first version.
pub(in crate::demo_provider) fn answer_v1(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let ranking = Ranking::read(fields)?;
    let usage = json!({"total_tokens": ranking.tokens, "prompt_tokens": ranking.tokens});
    let more = json!({"object": "list", "model": ranking.model, "usage": call.usage(usage)});
    let body = merged(ranking.body(call, "1"), more);
    let content = Content::json(body, 0);
    Ok(Reply::new(ranking.model, ranking.tokens, content))
}

/// Answers a call of the second version.
pub(in crate::demo_provider) fn answer_v2(call: &Call<'_>) -> Result<Reply, Refusal> {
    let fields = &call.fields()?;
    let ranking = Ranking::read(fields)?;
    let content = Content::json(ranking.body(call, "2"), 0);
    Ok(Reply::new(ranking.model, 0, content))
}

struct Ranking<'a> {
    model: &'a str,
    /// Of the query and the documents.
    tokens: u64,
    search_units: usize,
    /// The best first.
    results: Vec<Value>,
}

impl<'a> Ranking<'a> {
    fn read(fields: &'a Fields) -> Result<Self, Refusal> {
        let model = fields.model()?;
        let query = fields.text("query")?;
        let documents = read_documents(fields)?;
        let most = fields.number("top_n", u32::MAX)?.unwrap_or(u32::MAX);
        let quote = fields.flag("return_documents")?;

        let mut ranked: Vec<(f64, usize, &str)> = documents
            .iter()
            .enumerate()
            .map(|(index, document)| (relevance(query, document), index, *document))
            .collect();
        ranked.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
        let results = ranked.into_iter().take(most as usize);
        let results = results.map(|(relevance, index, document)| {
            let mut result = json!({"index": index, "relevance_score": relevance});
            if quote {
                result = merged(result, json!({"document": {"text": document}}));
            }
            result
        });
        let texts = documents.iter().map(|document| text::count(document));
        Ok(Self {
            model,
            tokens: text::count(query).saturating_add(texts.sum()),
            search_units: documents.len().div_ceil(DOCUMENTS_PER_UNIT),
            results: results.collect(),
        })
    }

    fn body(&self, call: &Call<'_>, version: &str) -> Value {
        let billed_units = json!({"search_units": self.search_units});
        json!({
            "id": call.id("rerank"), "results": self.results,
            "meta": meta(call, version, billed_units),
        })
    }
}

fn read_documents(fields: &Fields) -> Result<Vec<&str>, Refusal> {
    fields
        .required("documents")?
        .as_array()
        .filter(|list| (1..=MOST_DOCUMENTS).contains(&list.len()))
        .and_then(|list| list.iter().map(document).collect())
        .ok_or_else(|| {
            let problem = "must be a list of 1 to 10000 texts, or of objects with a `text`";
            invalid("documents", problem)
        })
}

/// A text, or an object that holds one.
fn document(value: &Value) -> Option<&str> {
    match value {
        Value::Object(fields) => fields.get("text")?.as_str(),
        value => value.as_str(),
    }
}

/// A number from 0 to 1.
fn relevance(query: &str, document: &str) -> f64 {
    let number = text::numbers(text::hash(&[query, document])).next();
    let top = u32::try_from(number.unwrap_or_default() >> 32).unwrap_or_default();
    f64::from(top) / f64::from(u32::MAX)
}
