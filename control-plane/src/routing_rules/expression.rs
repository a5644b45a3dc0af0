//! From CEL, as an administrator writes it, to a [`Condition`], as the filter evaluates it. Pure.
//!
//! The crate `cel` reads the text; then every part of it gets its type ([`typed`]). What has no place in a
//! condition is refused where it stands, with what can be written instead.

mod typed;

use cel::common::ast::{Expr, IdedExpr, SourceInfo};
use cel::parser::{ParseErrors, Parser};
use reeve_policy::expression::{Condition, DEEPEST, MOST_NODES};

use crate::invalid::Invalid;

const FIELD: &str = "cel_expression";
/// Longest expression, bytes.
const LONGEST: usize = 4096;
/// How deep the parser may go. Parentheses count.
const DEEPEST_PARSED: u16 = 64;

const TOO_LARGE: &str =
    "has too many parts, or too many within each other; use a list, or make two rules of it";

/// Reads an expression. An empty one always holds.
pub(super) fn read(expression: &str) -> Result<Condition, Invalid> {
    if expression.trim().is_empty() {
        return Ok(Condition::Constant(true));
    }
    if expression.len() > LONGEST {
        return Err(Invalid::field(
            FIELD,
            format_args!("must have at most {LONGEST} bytes; make two rules of it"),
        ));
    }
    let parser = Parser::new().max_recursion_depth(DEEPEST_PARSED);
    let (parsed, source) = parser
        .parse_with_source_info(expression)
        .map_err(|errors| unreadable(&errors))?;
    if deepest(&parsed) > usize::from(DEEPEST_PARSED) {
        return Err(Invalid::field(FIELD, TOO_LARGE));
    }
    let condition = typed::truth(&parsed).map_err(|fault| {
        let place = place(&source, fault.part);
        Invalid::field(FIELD, format_args!("{place}: {}", fault.message))
    })?;
    if condition.nodes() > MOST_NODES || condition.depth() > DEEPEST {
        return Err(Invalid::field(FIELD, TOO_LARGE));
    }
    Ok(condition)
}

/// How deep it is nested, found without going as deep: the parser bounds parentheses, not `a.b.c…`.
fn deepest(whole: &IdedExpr) -> usize {
    let mut deepest = 0;
    let mut left = vec![(whole, 1_usize)];
    while let Some((part, depth)) = left.pop() {
        deepest = deepest.max(depth);
        let parts: Vec<&IdedExpr> = match &part.expr {
            Expr::Call(call) => call
                .target
                .as_deref()
                .into_iter()
                .chain(&call.args)
                .collect(),
            Expr::Select(select) => vec![&*select.operand],
            Expr::List(list) => list.elements.iter().collect(),
            // What else there is is refused where it stands.
            _ => Vec::new(),
        };
        left.extend(parts.into_iter().map(|it| (it, depth.saturating_add(1))));
    }
    deepest
}

fn unreadable(errors: &ParseErrors) -> Invalid {
    let Some(first) = errors.errors.first() else {
        return Invalid::field(FIELD, "is no CEL expression");
    };
    let (line, column) = first.pos;
    // The parser repeats what it was given, at whatever length.
    let message: String = first.msg.chars().take(200).collect();
    Invalid::field(
        FIELD,
        format_args!(
            "line {line}, column {column}: {message}; write a CEL expression, such as `model == \"gpt-4o\"`"
        ),
    )
}

/// Where a part starts.
fn place(source: &SourceInfo, part: u64) -> String {
    let start = source.offset_for(part).map_or(0, |(start, _)| start);
    let before = source
        .source
        .chars()
        .take(usize::try_from(start).unwrap_or_default());
    let (mut line, mut column) = (1_u32, 1_u32);
    for character in before {
        if character == '\n' {
            line = line.saturating_add(1);
            column = 1;
        } else {
            column = column.saturating_add(1);
        }
    }
    format!("line {line}, column {column}")
}

#[cfg(test)]
mod tests;
