//! The elements of one array.

use super::tokens::{Token, Tokens};
use super::{JsonError, Value};

/// Reads the elements of the array that `value` is, each as it is written. Nothing, if it is no
/// array.
pub(crate) fn elements<'a>(value: &Value<'a>) -> Elements<'a> {
    Elements {
        tokens: Tokens::new(value.raw),
        text: value.raw,
        begun: false,
    }
}

/// See [`elements`].
pub(crate) struct Elements<'a> {
    tokens: Tokens<'a>,
    text: &'a str,
    begun: bool,
}

impl<'a> Elements<'a> {
    fn read(&mut self) -> Result<Option<&'a str>, JsonError> {
        if !std::mem::replace(&mut self.begun, true)
            && self.tokens.read()? != Some(Token::ArrayStart)
        {
            return Ok(None);
        }
        match self.tokens.read()? {
            // Not in an array, or at its end.
            None | Some(Token::ArrayEnd) => Ok(None),
            Some(first) => {
                let start = self.tokens.token_start();
                self.tokens.skip_rest_of(first)?;
                Ok(Some(
                    self.text
                        .get(start..self.tokens.offset())
                        .unwrap_or_default(),
                ))
            }
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str, JsonError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::super::members;
    use super::elements;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    fn read(array: &str) -> Vec<String> {
        let text = format!("{{\"a\":{array}}}");
        let member = members(&text).next().unwrap().unwrap();
        let found = elements(&member.value).map(|element| element.unwrap().to_owned());
        found.collect()
    }

    #[test]
    fn elements_come_as_they_are_written() {
        assert_eq!(
            read(r#"[ {"a":[1,"]"]} , 2,"x" ,[ ], null]"#),
            [r#"{"a":[1,"]"]}"#, "2", r#""x""#, "[ ]", "null"]
        );
        assert!(read("[]").is_empty());
    }

    #[test]
    fn what_is_no_array_has_no_elements() {
        for value in ["{}", "{\"a\":[1]}", "1", "\"[1]\"", "null"] {
            assert!(read(value).is_empty(), "{value}");
        }
    }
}
