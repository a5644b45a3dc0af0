//! "This input cannot be accepted": which field, and what to do about it.

use std::fmt::Display;

/// Input that breaks a rule. The text ends up in front of a person, so it says what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", .field.as_ref().map(|field| format!("`{field}`: ")).unwrap_or_default())]
pub struct Invalid {
    /// The field at fault as a path, e.g. `provider_configs[0].weight`; `None`: the whole input.
    pub field: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Invalid {
    /// A field breaks a rule.
    pub fn field(field: impl Into<String>, message: impl Display) -> Self {
        Self {
            field: Some(field.into()),
            message: message.to_string(),
        }
    }

    /// The input as a whole breaks a rule.
    pub fn whole(message: impl Display) -> Self {
        Self {
            field: None,
            message: message.to_string(),
        }
    }

    /// The same fault, seen from the object that contains the field.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field = Some(match self.field {
            Some(field) => format!("{parent}.{field}"),
            None => parent.to_owned(),
        });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_grows_from_the_inside_out() {
        let fault = Invalid::field("weight", "must not be negative").within("provider_configs[1]");
        assert_eq!(fault.field.as_deref(), Some("provider_configs[1].weight"));
        assert_eq!(
            fault.to_string(),
            "`provider_configs[1].weight`: must not be negative"
        );
    }
}
