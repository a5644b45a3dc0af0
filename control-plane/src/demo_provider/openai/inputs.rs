//! Inputs that are texts or lists of token numbers, one or several.

use serde_json::Value;

use crate::demo_provider::fields::invalid;
use crate::demo_provider::refusal::Refusal;
use crate::demo_provider::text;

/// Most inputs of one request, as at the vendor.
const MOST_INPUTS: usize = 2048;

/// One input.
pub(super) struct Input {
    /// Itself, or its token numbers as a text.
    pub(super) text: String,
    /// Its size.
    pub(super) tokens: u64,
}

impl Input {
    /// A text, or a list of token numbers.
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) if !text.is_empty() => Some(Self {
                text: text.clone(),
                tokens: text::count(text),
            }),
            Value::Array(numbers)
                if !numbers.is_empty()
                    && numbers.iter().all(|number| number.as_u64().is_some()) =>
            {
                Some(Self {
                    text: value.to_string(),
                    tokens: numbers.len() as u64,
                })
            }
            _ => None,
        }
    }
}

/// One input, or a list of inputs. A list of numbers is one input.
pub(super) fn read_inputs(name: &str, value: &Value) -> Result<Vec<Input>, Refusal> {
    if let Some(input) = Input::read(value) {
        return Ok(vec![input]);
    }
    let several = value
        .as_array()
        .filter(|list| (1..=MOST_INPUTS).contains(&list.len()));
    several.and_then(|list| list.iter().map(Input::read).collect()).ok_or_else(|| {
        invalid(
            name,
            "must be a text, a list of token numbers, or a list of 1 to 2048 of those, none empty",
        )
    })
}
