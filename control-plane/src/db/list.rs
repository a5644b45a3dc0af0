//! Lists of text in one column, as JSON.

use super::Error;

/// The stored form of a list.
pub fn list_text(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

/// Reads [`list_text`]; `what` names the column.
pub fn list(what: &'static str, text: &str) -> Result<Vec<String>, Error> {
    serde_json::from_str(text).map_err(|error| Error::corrupt(what, error))
}
