//! Bedrock's bodies. The model stands in the path; a body of Converse is Amazon's, a body of
//! InvokeModel is that of the model's vendor.

use super::member_name::{CONVERSE, INVOKE, INVOKE_WITH_MAX_TOKENS, Meaning};
use super::values::{Bound, bound, choices, model};
use super::{Facts, RequestError, inside, judge};
use crate::json::{self, Kind, Value};
use crate::{Endpoint, WireFormat};

pub(super) fn read<'b>(
    endpoint: Endpoint,
    path_model: &str,
    text: &'b str,
) -> Result<Facts<'b>, RequestError> {
    match endpoint {
        Endpoint::Converse | Endpoint::ConverseStream => converse(path_model, text),
        _ => invoke(path_model, text),
    }
}

fn converse<'b>(path_model: &str, text: &'b str) -> Result<Facts<'b>, RequestError> {
    let mut facts = Facts::default();
    let mut vendor_fields = false;
    let mut members = json::strict_members(text);
    while let Some(member) = inside::next(&mut members, WireFormat::Bedrock)? {
        match judge(&CONVERSE, &member.key)? {
            Meaning::Governed("model" | "modelId") => check_model(path_model, &member.value)?,
            Meaning::Governed("inferenceConfig") => {
                facts.bound_output(read_inference_config(&member.value)?);
            }
            Meaning::Governed("additionalModelRequestFields") => {
                vendor_fields = member.value.kind != Kind::Null;
            }
            _ => {}
        }
    }
    if vendor_fields {
        // They go to the model as they are, and may hold another bound under the vendor's own name.
        facts.bound_output(None);
    }
    Ok(facts)
}

fn read_inference_config(value: &Value<'_>) -> Result<Option<Bound>, RequestError> {
    match value.kind {
        Kind::Null => return Ok(None),
        Kind::Object => {}
        _ => {
            return Err(RequestError::Invalid {
                field: "inferenceConfig",
                expected: "an object or null",
            });
        }
    }
    let mut most = None;
    for member in value.members() {
        let member = member?;
        if judge(&CONVERSE, &member.key)? == Meaning::Governed("maxTokens") {
            most = bound("inferenceConfig.maxTokens", &member.value)?;
        }
    }
    Ok(most)
}

fn invoke<'b>(path_model: &str, text: &'b str) -> Result<Facts<'b>, RequestError> {
    let names = if takes_max_tokens(path_model) {
        &INVOKE_WITH_MAX_TOKENS
    } else {
        &INVOKE
    };
    let mut facts = Facts::default();
    let mut members = json::strict_members(text);
    while let Some(member) = inside::next(&mut members, WireFormat::Bedrock)? {
        match judge(names, &member.key)? {
            Meaning::Governed("model") => check_model(path_model, &member.value)?,
            Meaning::Governed("max_tokens") => {
                facts.bound_output(bound("max_tokens", &member.value)?);
            }
            // What vendors call the number of answers.
            Meaning::Governed(field @ ("n" | "num_generations" | "numResults")) => {
                let asked = choices(field, &member.value)?.map_or(1, u64::from);
                facts.choices = facts.choices.max(asked);
            }
            _ => {}
        }
    }
    Ok(facts)
}

/// The vendors whose models take `max_tokens`. For others the body holds no bound that we know.
fn takes_max_tokens(model: &str) -> bool {
    model
        .split(['.', '/'])
        .any(|part| matches!(part, "anthropic" | "mistral"))
}

fn check_model(path_model: &str, value: &Value<'_>) -> Result<(), RequestError> {
    if model(value)? == path_model {
        Ok(())
    } else {
        Err(RequestError::ModelConflict)
    }
}
