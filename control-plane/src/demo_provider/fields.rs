//! Reads the fields of a request body, with an error that names the field.

use serde_json::{Map, Value};

use super::refusal::Refusal;

/// Longest model name that is accepted, in bytes.
const LONGEST_MODEL: usize = 256;

/// A request body: one JSON object. `null` counts as absent.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses a body.
    ///
    /// # Errors
    /// A 400 when it is not one JSON object.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Refusal::invalid("the body must be a JSON object")),
            Err(error) => Err(Refusal::invalid(format!(
                "the body is not valid JSON: {error}"
            ))),
        }
    }

    /// The fields of the object `value` in the field `name`.
    ///
    /// # Errors
    /// A 400 when it is something else.
    pub(super) fn of(name: &str, value: &Value) -> Result<Self, Refusal> {
        let object = value.as_object().cloned();
        object
            .map(Self)
            .ok_or_else(|| invalid(name, "must be an object"))
    }

    /// The fields of the object in the field `name`, none when it is absent.
    ///
    /// # Errors
    /// A 400 when it is something else.
    pub(super) fn object(&self, name: &str) -> Result<Self, Refusal> {
        match self.get(name) {
            None => Ok(Self(Map::new())),
            Some(value) => Self::of(name, value),
        }
    }

    /// The same values under other names.
    pub(super) fn renamed(self, rename: fn(&str) -> String) -> Self {
        let fields = self.0.into_iter();
        fields.map(|(name, value)| (rename(&name), value)).collect()
    }

    /// The value of `name`, unless absent.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// The value of `name`, as it came, `null` when absent: for answers that echo a parameter.
    pub(super) fn echo(&self, name: &str) -> Value {
        self.0.get(name).cloned().unwrap_or(Value::Null)
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// A 400 when it is absent.
    pub(super) fn required(&self, name: &str) -> Result<&Value, Refusal> {
        self.get(name).ok_or_else(|| invalid(name, "is required"))
    }

    /// The name of the model; this server serves any.
    ///
    /// # Errors
    /// A 400 when it is absent, empty or not a string.
    pub(super) fn model(&self) -> Result<&str, Refusal> {
        checked_model(self.required("model")?.as_str().unwrap_or_default())
    }

    /// A text.
    ///
    /// # Errors
    /// A 400 when it is absent, empty or no text.
    pub(super) fn text(&self, name: &str) -> Result<&str, Refusal> {
        self.required(name)?
            .as_str()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| invalid(name, "must be a text that is not empty"))
    }

    /// What one of several words means; the first word when absent.
    ///
    /// # Errors
    /// A 400 when it is another word.
    pub(super) fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<T, Refusal> {
        let chosen = match self.get(name) {
            None => words.first(),
            Some(given) => words.iter().find(|(word, _)| given == *word),
        };
        chosen.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            invalid(name, &format!("must be one of `{}`", words.join("`, `")))
        })
    }

    /// The messages of a conversation.
    ///
    /// # Errors
    /// A 400 when there are none or one of them has no `role`.
    pub(super) fn messages(&self) -> Result<&[Value], Refusal> {
        let messages = self
            .required("messages")?
            .as_array()
            .filter(|list| !list.is_empty());
        let messages = messages
            .ok_or_else(|| invalid("messages", "must be a list with at least one entry"))?;
        match messages
            .iter()
            .position(|message| !message["role"].is_string())
        {
            None => Ok(messages),
            Some(index) => Err(invalid(
                &format!("messages[{index}].role"),
                "must be a string",
            )),
        }
    }

    /// A boolean, `false` when absent.
    ///
    /// # Errors
    /// A 400 when it is something else.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(invalid(name, "must be true or false")),
        }
    }

    /// A whole number from 1 to `most`.
    ///
    /// # Errors
    /// A 400 when it is something else.
    pub(super) fn number(&self, name: &str, most: u32) -> Result<Option<u32>, Refusal> {
        self.number_from(1, name, most)
    }

    /// A whole number from `least` to `most`.
    ///
    /// # Errors
    /// A 400 when it is something else.
    pub(super) fn number_from(
        &self,
        least: u32,
        name: &str,
        most: u32,
    ) -> Result<Option<u32>, Refusal> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (least..=most).contains(number))
            .map(Some)
            .ok_or_else(|| {
                let problem = format!("must be a whole number from {least} to {most}");
                invalid(name, &problem)
            })
    }
}

impl FromIterator<(String, Value)> for Fields {
    fn from_iter<T: IntoIterator<Item = (String, Value)>>(fields: T) -> Self {
        Self(fields.into_iter().collect())
    }
}

/// The name of a model, which may be any.
///
/// # Errors
/// A 400 when it is empty or too long.
pub(super) fn checked_model(name: &str) -> Result<&str, Refusal> {
    Some(name)
        .filter(|name| (1..=LONGEST_MODEL).contains(&name.len()))
        .ok_or_else(|| invalid("model", "must be a string of 1 to 256 bytes"))
}

/// A 400 about the field `name`.
pub(super) fn invalid(name: &str, problem: &str) -> Refusal {
    Refusal::invalid(format!("`{name}` {problem}")).with_param(name)
}
