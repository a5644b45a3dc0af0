//! Writes small objects. Everything that could end a string early is escaped here and nowhere else.

use std::fmt::Write as _;

/// A value without an inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A string.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`.
    Null,
}

/// Writes one object, member by member. Names must differ; that is for the caller to see to.
pub struct ObjectWriter {
    json: String,
}

impl ObjectWriter {
    /// An object without members.
    pub fn new() -> Self {
        Self {
            json: String::from("{"),
        }
    }

    /// Adds a member.
    #[must_use]
    pub fn member(mut self, name: &str, value: Scalar<'_>) -> Self {
        self.name(name);
        match value {
            Scalar::Text(text) => push_string(&mut self.json, text),
            Scalar::Integer(number) => {
                // Writing to a String cannot fail.
                let _ = write!(self.json, "{number}");
            }
            Scalar::Boolean(value) => self.json.push_str(if value { "true" } else { "false" }),
            Scalar::Null => self.json.push_str("null"),
        }
        self
    }

    /// Adds a member that is itself an object.
    #[must_use]
    pub fn object(mut self, name: &str, value: Self) -> Self {
        self.name(name);
        self.json.push_str(&value.finish());
        self
    }

    /// Adds a member that is an array of objects.
    #[must_use]
    pub fn objects(mut self, name: &str, values: impl IntoIterator<Item = Self>) -> Self {
        self.name(name);
        self.json.push('[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.json.push(',');
            }
            self.json.push_str(&value.finish());
        }
        self.json.push(']');
        self
    }

    /// Adds a member that is an array of strings.
    #[must_use]
    pub fn strings<'s>(mut self, name: &str, values: impl IntoIterator<Item = &'s str>) -> Self {
        self.name(name);
        self.json.push('[');
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.json.push(',');
            }
            push_string(&mut self.json, value);
        }
        self.json.push(']');
        self
    }

    /// The object's text.
    pub fn finish(mut self) -> String {
        self.json.push('}');
        self.json
    }

    fn name(&mut self, name: &str) {
        if self.json.len() > 1 {
            self.json.push(',');
        }
        push_string(&mut self.json, name);
        self.json.push(':');
    }
}

impl Default for ObjectWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if control < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            plain => json.push(plain),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn no_text_can_leave_its_string() {
        let nasty: String = (0..0x20)
            .chain([0x22, 0x5C, 0x7F, 0x2028, 0x1_F600])
            .map(|code| char::from_u32(code).unwrap())
            .collect();
        let json = ObjectWriter::new()
            .member(&nasty, Scalar::Text(&nasty))
            .finish();
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back[&nasty], serde_json::Value::String(nasty.clone()));
    }

    #[test]
    fn members_of_every_kind_are_written() {
        let json = ObjectWriter::new()
            .member("t", Scalar::Text("x"))
            .member("i", Scalar::Integer(-7))
            .object("o", ObjectWriter::default())
            .objects(
                "a",
                [
                    ObjectWriter::new(),
                    ObjectWriter::new().member("x", Scalar::Null),
                ],
            )
            .strings("s", ["p", "\"q"])
            .member("b", Scalar::Boolean(true))
            .member("f", Scalar::Boolean(false))
            .member("n", Scalar::Null)
            .finish();
        assert_eq!(
            json,
            r#"{"t":"x","i":-7,"o":{},"a":[{},{"x":null}],"s":["p","\"q"],"b":true,"f":false,"n":null}"#
        );
    }
}
