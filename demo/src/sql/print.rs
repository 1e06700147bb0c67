//! How rows are printed: aligned like `psql`, unaligned, CSV (RFC 4180), JSON.
//!
//! Owns the look only: rows come in as values, text goes out.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// SQL's null.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating point number.
    Real(f64),
    /// Text; bytes that are no UTF-8 were replaced.
    Text(String),
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Integer(number) => number.to_string(),
            Self::Real(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Integer(number) => (*number).into(),
            Self::Real(number) => (*number).into(),
            Self::Text(text) => text.clone().into(),
        }
    }
}

/// The answer to one statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The columns' names.
    pub names: Vec<String>,
    /// The rows; each as long as `names`.
    pub rows: Vec<Vec<Cell>>,
}

/// A way to print rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// `psql`'s default: a header, a rule, aligned columns, the number of rows.
    Aligned,
    /// `psql -x`: a line for each column.
    Expanded,
    /// `psql -A`: no padding, the separator between values.
    Unaligned(String),
    /// Comma separated values (RFC 4180), with a header.
    Csv,
    /// One array of objects.
    Json,
}

impl Rows {
    /// Prints the rows; `tuples_only` leaves out header and count (`psql -t`).
    ///
    /// # Errors
    /// What writing gives, among it a closed pipe.
    pub fn print(&self, format: &Format, tuples_only: bool, to: &mut impl Write) -> io::Result<()> {
        match format {
            Format::Aligned => self.aligned(tuples_only, to),
            Format::Expanded => self.expanded(tuples_only, to),
            Format::Unaligned(separator) => self.unaligned(separator, tuples_only, to),
            Format::Csv => self.csv(tuples_only, to),
            Format::Json => self.json(to),
        }
    }

    fn aligned(&self, tuples_only: bool, to: &mut impl Write) -> io::Result<()> {
        let cells: Vec<Vec<Vec<String>>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| lines(&cell.text())).collect())
            .collect();
        let columns: Vec<Column> = self
            .names
            .iter()
            .enumerate()
            .map(|(index, name)| Column::new(name, index, &self.rows, &cells))
            .collect();
        if !tuples_only {
            let header: Vec<String> = columns.iter().map(Column::header).collect();
            writeln!(to, " {} ", header.join(" | "))?;
            let rule: Vec<String> = columns
                .iter()
                .map(|column| "-".repeat(column.width + 2))
                .collect();
            writeln!(to, "{}", rule.join("+"))?;
        }
        for row in &cells {
            let height = row.iter().map(Vec::len).max().unwrap_or(1);
            for line in 0..height {
                writeln!(to, "{}", row_line(&columns, row, line))?;
            }
        }
        if !tuples_only {
            self.count(to)?;
        }
        writeln!(to)
    }

    fn expanded(&self, tuples_only: bool, to: &mut impl Write) -> io::Result<()> {
        let wide = self
            .names
            .iter()
            .map(|name| name.width())
            .max()
            .unwrap_or(0);
        for (index, row) in self.rows.iter().enumerate() {
            if tuples_only {
                if index > 0 {
                    writeln!(to)?;
                }
            } else {
                let title = format!("-[ RECORD {} ]", index + 1);
                writeln!(to, "{title:-<width$}", width = title.len().max(wide + 1))?;
            }
            for (name, cell) in self.names.iter().zip(row) {
                for (line, text) in lines(&cell.text()).iter().enumerate() {
                    let name = if line == 0 { name.as_str() } else { "" };
                    writeln!(to, "{name}{} | {text}", " ".repeat(wide - name.width()))?;
                }
            }
        }
        if self.rows.is_empty() && !tuples_only {
            self.count(to)?;
        }
        writeln!(to)
    }

    fn unaligned(&self, separator: &str, tuples_only: bool, to: &mut impl Write) -> io::Result<()> {
        if !tuples_only {
            writeln!(to, "{}", self.names.join(separator))?;
        }
        for row in &self.rows {
            let row: Vec<String> = row.iter().map(Cell::text).collect();
            writeln!(to, "{}", row.join(separator))?;
        }
        if tuples_only { Ok(()) } else { self.count(to) }
    }

    fn csv(&self, tuples_only: bool, to: &mut impl Write) -> io::Result<()> {
        let quoted = |text: &str| {
            if text.contains([',', '"', '\n', '\r']) {
                format!("\"{}\"", text.replace('"', "\"\""))
            } else {
                text.to_owned()
            }
        };
        if !tuples_only {
            let names: Vec<String> = self.names.iter().map(|name| quoted(name)).collect();
            writeln!(to, "{}", names.join(","))?;
        }
        for row in &self.rows {
            let row: Vec<String> = row.iter().map(|cell| quoted(&cell.text())).collect();
            writeln!(to, "{}", row.join(","))?;
        }
        Ok(())
    }

    /// Names in the order of the query, an object a line, as `sqlite3 -json` does it.
    fn json(&self, to: &mut impl Write) -> io::Result<()> {
        for (index, row) in self.rows.iter().enumerate() {
            write!(to, "{}", if index == 0 { "[" } else { ",\n" })?;
            write!(to, "{{")?;
            for (column, (name, cell)) in self.names.iter().zip(row).enumerate() {
                let comma = if column == 0 { "" } else { "," };
                write!(
                    to,
                    "{comma}{}:{}",
                    serde_json::Value::from(name.as_str()),
                    cell.json()
                )?;
            }
            write!(to, "}}")?;
        }
        writeln!(to, "{}", if self.rows.is_empty() { "[]" } else { "]" })
    }

    fn count(&self, to: &mut impl Write) -> io::Result<()> {
        match self.rows.len() {
            1 => writeln!(to, "(1 row)"),
            rows => writeln!(to, "({rows} rows)"),
        }
    }
}

struct Column {
    name: String,
    width: usize,
    /// Numbers stand at the right.
    right: bool,
}

impl Column {
    fn new(name: &str, index: usize, rows: &[Vec<Cell>], cells: &[Vec<Vec<String>>]) -> Self {
        let mut width = name.width();
        for line in cells.iter().filter_map(|row| row.get(index)).flatten() {
            width = width.max(line.width());
        }
        let mut numbers = 0;
        let right = rows
            .iter()
            .filter_map(|row| row.get(index))
            .all(|cell| match cell {
                Cell::Integer(_) | Cell::Real(_) => {
                    numbers += 1;
                    true
                }
                Cell::Null => true,
                Cell::Text(_) => false,
            });
        Self {
            name: name.to_owned(),
            width,
            right: right && numbers > 0,
        }
    }

    /// The name in the middle; of an odd rest the greater part stands at the right.
    fn header(&self) -> String {
        let rest = self.width - self.name.width();
        format!(
            "{}{}{}",
            " ".repeat(rest / 2),
            self.name,
            " ".repeat(rest - rest / 2)
        )
    }
}

fn row_line(columns: &[Column], row: &[Vec<String>], line: usize) -> String {
    let mut out = String::new();
    for (index, (column, cell)) in columns.iter().zip(row).enumerate() {
        let text = cell.get(line).map_or("", String::as_str);
        let more = line + 1 < cell.len();
        let last = index + 1 == columns.len();
        let padding = " ".repeat(column.width.saturating_sub(text.width()));
        out.push_str(if index == 0 { " " } else { "| " });
        match (column.right, last && !more) {
            (true, _) => out.extend([padding.as_str(), text]),
            (false, true) => out.push_str(text),
            (false, false) => out.extend([text, padding.as_str()]),
        }
        if more {
            out.push('+');
        } else if !last {
            out.push(' ');
        }
    }
    out
}

/// The lines of a value; control characters are shown, as `psql` shows them.
fn lines(text: &str) -> Vec<String> {
    text.split('\n')
        .map(|line| {
            let mut out = String::with_capacity(line.len());
            for c in line.chars() {
                match c {
                    '\t' => out.push_str("        "),
                    '\r' => out.push_str("\\r"),
                    c if c.is_control() => out.push_str(&format!("\\x{:02X}", u32::from(c))),
                    c => out.push(c),
                }
            }
            out
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed test")]
    use super::*;

    fn print(rows: &Rows, format: Format, tuples_only: bool) -> String {
        let mut out = Vec::new();
        rows.print(&format, tuples_only, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn sample() -> Rows {
        Rows {
            names: vec!["id".into(), "name".into(), "note".into()],
            rows: vec![
                vec![
                    Cell::Integer(1),
                    Cell::Text("Zoë".into()),
                    Cell::Text("a, \"b\"".into()),
                ],
                vec![
                    Cell::Integer(20),
                    Cell::Null,
                    Cell::Text("two\nlines".into()),
                ],
            ],
        }
    }

    /// The expected texts are what `psql` 17 prints for the same rows.
    #[test]
    fn looks_like_psql() {
        let cases = [
            (
                Format::Aligned,
                false,
                concat!(
                    " id | name |  note  \n",
                    "----+------+--------\n",
                    "  1 | Zoë  | a, \"b\"\n",
                    " 20 |      | two   +\n",
                    "    |      | lines\n",
                    "(2 rows)\n\n"
                ),
            ),
            (
                Format::Aligned,
                true,
                "  1 | Zoë  | a, \"b\"\n 20 |      | two   +\n    |      | lines\n\n",
            ),
            (
                Format::Unaligned("|".into()),
                true,
                "1|Zoë|a, \"b\"\n20||two\nlines\n",
            ),
            (
                Format::Unaligned("\t".into()),
                false,
                "id\tname\tnote\n1\tZoë\ta, \"b\"\n20\t\ttwo\nlines\n(2 rows)\n",
            ),
            (
                Format::Csv,
                false,
                "id,name,note\n1,Zoë,\"a, \"\"b\"\"\"\n20,,\"two\nlines\"\n",
            ),
            (
                Format::Json,
                false,
                concat!(
                    "[{\"id\":1,\"name\":\"Zoë\",\"note\":\"a, \\\"b\\\"\"},\n",
                    "{\"id\":20,\"name\":null,\"note\":\"two\\nlines\"}]\n"
                ),
            ),
        ];
        for (format, tuples_only, expected) in cases {
            assert_eq!(
                print(&sample(), format.clone(), tuples_only),
                expected,
                "{format:?}"
            );
        }
    }

    #[test]
    fn empty_and_expanded() {
        let none = Rows {
            names: vec!["id".into()],
            rows: vec![],
        };
        assert_eq!(
            print(&none, Format::Aligned, false),
            " id \n----\n(0 rows)\n\n"
        );
        assert_eq!(print(&none, Format::Json, false), "[]\n");
        assert_eq!(
            print(&sample(), Format::Expanded, false),
            concat!(
                "-[ RECORD 1 ]\nid   | 1\nname | Zoë\nnote | a, \"b\"\n",
                "-[ RECORD 2 ]\nid   | 20\nname | \nnote | two\n     | lines\n\n"
            )
        );
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let rows = Rows {
            names: vec!["x".into()],
            rows: vec![vec![Cell::Text("\u{1b}[31m\u{7}".into())]],
        };
        assert!(!print(&rows, Format::Aligned, false).contains('\u{1b}'));
    }
}
