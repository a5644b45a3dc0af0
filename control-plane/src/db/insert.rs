//! Statements that insert many rows at once: over a network, a round trip per row would be what
//! limits the ledger.

use std::fmt::Write as _;
use std::sync::OnceLock;

/// Rows of the long statement.
const MANY: usize = 32;

/// One `INSERT`, for one row and for [`MANY`]. There are only these two texts of it, so that both
/// stay prepared.
pub struct Insert {
    before: &'static str,
    columns: usize,
    after: &'static str,
    one: OnceLock<String>,
    many: OnceLock<String>,
}

impl Insert {
    /// `before` and `after` are what surrounds the rows, which have `columns` values each.
    pub const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self {
            before,
            columns,
            after,
            one: OnceLock::new(),
            many: OnceLock::new(),
        }
    }

    /// Splits `rows` into runs, each with the statement for it.
    pub fn runs<'a, T>(
        &'static self,
        rows: &'a [T],
    ) -> impl Iterator<Item = (&'static str, &'a [T])> {
        let long = rows.chunks_exact(MANY);
        let rest = long.remainder().chunks(1);
        let many = long.map(|run| (self.many.get_or_init(|| self.text(MANY)).as_str(), run));
        many.chain(rest.map(|run| (self.one.get_or_init(|| self.text(1)).as_str(), run)))
    }

    fn text(&self, rows: usize) -> String {
        let mut text = format!("{} VALUES ", self.before);
        let mut placeholder: usize = 0;
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..self.columns {
                placeholder = placeholder.saturating_add(1);
                let comma = if column == 0 { "" } else { ", " };
                // Writing to a string cannot fail.
                let _ = write!(text, "{comma}${placeholder}");
            }
            text.push(')');
        }
        text.push(' ');
        text.push_str(self.after);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static INSERT: Insert = Insert::new("INSERT INTO t (a, b)", 2, "ON CONFLICT DO NOTHING");

    #[test]
    fn every_row_is_in_one_run_and_every_value_has_a_placeholder() {
        for count in [0, 1, 31, 32, 33, 70] {
            let rows: Vec<usize> = (0..count).collect();
            let mut seen = Vec::new();
            for (text, run) in INSERT.runs(&rows) {
                assert_eq!(text.matches('$').count(), run.len() * 2);
                assert!(text.contains(&format!("${})", run.len() * 2)));
                seen.extend_from_slice(run);
            }
            assert_eq!(seen, rows);
        }
    }

    #[test]
    fn the_statement_reads_as_written_by_hand() {
        let (text, _) = INSERT.runs(&[0]).next().unwrap();
        assert_eq!(
            text,
            "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT DO NOTHING"
        );
    }
}
