//! The answer to "which models are there?", in each dialect.
//!
//! Only what the dialects require and Reeve knows is told: there is no date on which a model was
//! made, so where one is required it is the beginning of time.

use crate::WireFormat;
use crate::json::{ObjectWriter, Scalar};

/// A model that the caller may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedModel<'a> {
    /// What the caller has to write to get it.
    pub id: &'a str,
    /// Whose it is.
    pub provider: &'a str,
}

/// Writes a list of models; the content type is `application/json`.
pub fn render_models(dialect: WireFormat, models: &[ListedModel<'_>]) -> Vec<u8> {
    let entries = models.iter().map(|model| entry(dialect, model));
    let list = match dialect {
        WireFormat::OpenAi => ObjectWriter::new()
            .member("object", Scalar::Text("list"))
            .objects("data", entries),
        WireFormat::Anthropic => ObjectWriter::new()
            .objects("data", entries)
            .member("has_more", Scalar::Boolean(false))
            .member("first_id", id_or_null(models.first()))
            .member("last_id", id_or_null(models.last())),
        WireFormat::Gemini | WireFormat::Bedrock | WireFormat::Cohere => {
            ObjectWriter::new().objects("models", entries)
        }
    };
    list.finish().into_bytes()
}

/// Writes one model; the content type is `application/json`.
pub fn render_model(dialect: WireFormat, model: &ListedModel<'_>) -> Vec<u8> {
    entry(dialect, model).finish().into_bytes()
}

fn id_or_null<'a>(model: Option<&ListedModel<'a>>) -> Scalar<'a> {
    model.map_or(Scalar::Null, |model| Scalar::Text(model.id))
}

fn entry(dialect: WireFormat, model: &ListedModel<'_>) -> ObjectWriter {
    let entry = ObjectWriter::new();
    match dialect {
        WireFormat::OpenAi => entry
            .member("id", Scalar::Text(model.id))
            .member("object", Scalar::Text("model"))
            .member("created", Scalar::Integer(0))
            .member("owned_by", Scalar::Text(model.provider)),
        WireFormat::Anthropic => entry
            .member("type", Scalar::Text("model"))
            .member("id", Scalar::Text(model.id))
            .member("display_name", Scalar::Text(model.id))
            .member("created_at", Scalar::Text("1970-01-01T00:00:00Z")),
        WireFormat::Gemini => entry
            .member("name", Scalar::Text(&format!("models/{}", model.id)))
            .member("displayName", Scalar::Text(model.id)),
        WireFormat::Bedrock | WireFormat::Cohere => entry.member("name", Scalar::Text(model.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const MODELS: [ListedModel<'static>; 2] = [
        ListedModel {
            id: "openai/gpt-4o",
            provider: "openai",
        },
        ListedModel {
            id: "o3",
            provider: "azure",
        },
    ];

    fn listed(dialect: WireFormat) -> Value {
        serde_json::from_slice(&render_models(dialect, &MODELS)).unwrap()
    }

    #[test]
    fn each_dialect_finds_the_models_where_it_looks() {
        let openai = listed(WireFormat::OpenAi);
        assert_eq!(openai["object"], "list");
        assert_eq!(
            openai["data"][0],
            json!({"id": "openai/gpt-4o", "object": "model", "created": 0, "owned_by": "openai"})
        );
        let anthropic = listed(WireFormat::Anthropic);
        assert_eq!(anthropic["data"][1]["id"], "o3");
        assert_eq!(anthropic["first_id"], "openai/gpt-4o");
        assert_eq!(anthropic["last_id"], "o3");
        assert_eq!(anthropic["has_more"], false);
        assert_eq!(listed(WireFormat::Gemini)["models"][1]["name"], "models/o3");
        assert_eq!(listed(WireFormat::Cohere)["models"][1]["name"], "o3");
    }

    #[test]
    fn a_list_may_be_empty() {
        let empty: Value =
            serde_json::from_slice(&render_models(WireFormat::Anthropic, &[])).unwrap();
        assert_eq!(
            empty,
            json!({"data": [], "has_more": false, "first_id": null, "last_id": null})
        );
    }
}
