//! Statements with a list of rows, `VALUES (…), (…)`: many are inserted, or looked for, at once. A statement
//! for each row, and over a network a round trip for each, would be what limits the ledger.

use std::sync::OnceLock;

/// Rows of each statement, the longest first. There are only these texts of each list, so that all stay
/// prepared.
const SIZES: [usize; 3] = [64, 8, 1];

/// One statement in several sizes.
pub struct Values {
    before: &'static str,
    columns: usize,
    after: &'static str,
    statements: [OnceLock<Statement>; SIZES.len()],
}

/// One text for each driver. `SQLite` looks a numbered placeholder up among all of them, which takes
/// longer the more there are, and the values come in order anyway.
pub struct Statement {
    pub(super) numbered: String,
    pub(super) unnumbered: String,
}

impl Values {
    /// `before` and `after` are what surrounds the rows, which have `columns` values each.
    pub const fn new(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self {
            before,
            columns,
            after,
            statements: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    /// Splits `rows` into runs, each with the statement for it.
    pub fn runs<'a, T>(
        &'static self,
        mut rows: &'a [T],
    ) -> impl Iterator<Item = (&'static Statement, &'a [T])> {
        let sizes = SIZES.iter().zip(&self.statements);
        sizes.flat_map(move |(size, statement)| {
            let runs = rows.chunks_exact(*size);
            rows = runs.remainder();
            runs.map(move |run| (statement.get_or_init(|| self.statement(*size)), run))
        })
    }

    fn statement(&self, rows: usize) -> Statement {
        Statement {
            numbered: self.text(rows, |number| format!("${number}")),
            unnumbered: self.text(rows, |_| "?".to_owned()),
        }
    }

    fn text(&self, rows: usize, placeholder: impl Fn(usize) -> String) -> String {
        let mut text = format!("{} VALUES ", self.before);
        let mut number: usize = 0;
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..self.columns {
                number = number.saturating_add(1);
                text.push_str(if column == 0 { "" } else { ", " });
                text.push_str(&placeholder(number));
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

    static INSERT: Values = Values::new("INSERT INTO t (a, b)", 2, "ON CONFLICT DO NOTHING");

    #[test]
    fn every_row_is_in_one_run_and_every_value_has_a_placeholder() {
        for count in [0, 1, 7, 8, 9, 63, 64, 65, 200] {
            let rows: Vec<usize> = (0..count).collect();
            let mut seen = Vec::new();
            for (
                Statement {
                    numbered,
                    unnumbered,
                },
                run,
            ) in INSERT.runs(&rows)
            {
                assert_eq!(numbered.matches('$').count(), run.len() * 2);
                assert!(numbered.contains(&format!("${})", run.len() * 2)));
                assert_eq!(unnumbered.matches('?').count(), run.len() * 2);
                seen.extend_from_slice(run);
            }
            assert_eq!(seen, rows);
        }
    }

    #[test]
    fn the_statement_reads_as_written_by_hand() {
        let (statement, _) = INSERT.runs(&[0]).next().unwrap();
        assert_eq!(
            (statement.numbered.as_str(), statement.unnumbered.as_str()),
            (
                "INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                "INSERT INTO t (a, b) VALUES (?, ?) ON CONFLICT DO NOTHING"
            )
        );
    }
}
