//! The routing rules that looked at a request, and what came of each.

use reeve_policy::expression::Fault;
use reeve_policy::routing_rules::{Looked, Scope};
use serde::Serialize;
use utoipa::ToSchema;

/// A rule that looked at a request.
#[derive(Debug)]
pub struct Seen {
    pass: u32,
    scope: Scope,
    id: String,
    name: String,
    answer: Result<bool, Fault>,
}

/// The same, as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExplainRoutingRule)]
pub(super) struct RuleView {
    id: String,
    name: String,
    /// `virtual_key`, `team`, `customer` or `global`.
    scope: &'static str,
    /// The how many-th time that rules looked at the request, from 1: after a rule that chains, they do
    /// again.
    pass: u32,
    /// `matched`; `not_matched`; `missing`: it asks for a header, a parameter or a limit that is not there,
    /// which is no match; `failed`: it cannot be evaluated, which is no match either, and is counted.
    result: &'static str,
}

impl From<Looked<'_>> for Seen {
    fn from(looked: Looked<'_>) -> Self {
        Self {
            pass: looked.pass,
            scope: looked.scope,
            id: looked.rule.id.clone(),
            name: looked.rule.name.clone(),
            answer: looked.answer,
        }
    }
}

impl From<Seen> for RuleView {
    fn from(seen: Seen) -> Self {
        Self {
            id: seen.id,
            name: seen.name,
            scope: seen.scope.as_str(),
            pass: seen.pass.saturating_add(1),
            result: match seen.answer {
                Ok(true) => "matched",
                Ok(false) => "not_matched",
                Err(Fault::Missing) => "missing",
                Err(Fault::Failed) => "failed",
            },
        }
    }
}
