//! Comma-separated values (RFC 4180) that a spreadsheet takes for what they are: text stays text.

/// A table as it is written.
#[derive(Debug, Default)]
pub(super) struct Csv(String);

impl Csv {
    /// Writes a row.
    pub(super) fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) {
        for (index, cell) in cells.into_iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            self.cell(cell);
        }
        self.0.push_str("\r\n");
    }

    /// The table.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn cell(&mut self, text: &str) {
        // A spreadsheet runs what begins like this as a formula. The apostrophe makes it text.
        let runs = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
        let quoted = runs || text.contains(['"', ',', '\r', '\n', ';', '\t']);
        if !quoted {
            self.0.push_str(text);
            return;
        }
        self.0.push('"');
        if runs {
            self.0.push('\'');
        }
        self.0.push_str(&text.replace('"', "\"\""));
        self.0.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        let mut csv = Csv::default();
        csv.row([
            "=HYPERLINK(\"http://x\")",
            "@a",
            "+1",
            "-1",
            "a=b",
            "gpt-4o",
            "",
        ]);
        csv.row(["two\r\nlines", "a,b", "\tx", "0.1"]);
        assert_eq!(
            csv.finish(),
            "\"'=HYPERLINK(\"\"http://x\"\")\",\"'@a\",\"'+1\",\"'-1\",a=b,gpt-4o,\r\n\
             \"two\r\nlines\",\"a,b\",\"'\tx\",0.1\r\n"
        );
    }
}
