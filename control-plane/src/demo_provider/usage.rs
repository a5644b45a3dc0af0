//! What `x-demo-usage` makes of the usage that an answer would report.
//!
//! A vendor's module puts its usage where the format wants it and knows nothing of the steering:
//! what it puts there is the usage itself, or a text that stands for it until the answer is written.

use serde_json::Value;

/// Stands for the usage in an answer that has not been written yet. No escaping changes it.
const PLACEHOLDER: &str = "the-usage-of-the-demo-provider-stands-here";

/// What an answer reports as its usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Reported {
    /// The truth.
    #[default]
    Truth,
    /// Nothing: the field is not there.
    Absent,
    /// This text, whatever it is.
    Verbatim(String),
}

impl Reported {
    /// Whether nothing is reported.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// What to put where the format has `truth`: a usage object, or one number of it.
    pub(super) fn place(&self, truth: Value) -> Value {
        match self {
            Self::Truth => truth,
            Self::Absent | Self::Verbatim(_) => PLACEHOLDER.into(),
        }
    }

    /// What to put where the format has a usage that is not known yet.
    pub(super) fn pending(&self) -> Value {
        if self.is_absent() {
            PLACEHOLDER.into()
        } else {
            Value::Null
        }
    }

    /// What to put into a header that carries `truth`, if the header is to be there.
    pub(super) fn header(&self, truth: u64) -> Option<String> {
        match self {
            Self::Truth => Some(truth.to_string()),
            Self::Absent => None,
            Self::Verbatim(text) => Some(text.clone()),
        }
    }

    /// The JSON of a part of the answer.
    pub(super) fn write(&self, mut json: Value) -> String {
        match self {
            Self::Truth => json.to_string(),
            Self::Absent => {
                remove_placeholders(&mut json);
                json.to_string()
            }
            Self::Verbatim(text) => json
                .to_string()
                .replace(&format!("\"{PLACEHOLDER}\""), text),
        }
    }
}

fn remove_placeholders(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            fields.retain(|_, value| value != PLACEHOLDER);
            fields.values_mut().for_each(remove_placeholders);
        }
        Value::Array(list) => list.iter_mut().for_each(remove_placeholders),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(reported: &Reported) -> String {
        let usage = reported.place(json!({"tokens": 3}));
        reported.write(json!({"a": [{"usage": usage, "b": 1}]}))
    }

    #[test]
    fn the_truth_stands_where_it_was_put() {
        let text = r#"{"a":[{"b":1,"usage":{"tokens":3}}]}"#;
        assert_eq!(written(&Reported::Truth), text);
    }

    #[test]
    fn absent_usage_leaves_no_field_behind() {
        assert_eq!(written(&Reported::Absent), r#"{"a":[{"b":1}]}"#);
    }

    #[test]
    fn a_text_stands_verbatim_even_when_it_is_no_json() {
        let reported = Reported::Verbatim(r#"{"tokens":-1,"tokens":"#.to_owned());
        let text = r#"{"a":[{"b":1,"usage":{"tokens":-1,"tokens":}]}"#;
        assert_eq!(written(&reported), text);
    }
}
