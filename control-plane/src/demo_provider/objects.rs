//! Puts JSON objects together.

use serde_json::{Value, json};

/// The fields of both objects; where both have one, that of the second.
pub(super) fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(fields), Value::Object(other)) = (one.as_object_mut(), other) {
        fields.extend(other);
    }
    one
}

/// An object with its `type`.
pub(super) fn with_type(name: &str, object: Value) -> Value {
    merged(object, json!({"type": name}))
}
