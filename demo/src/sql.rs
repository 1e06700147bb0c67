//! The `sql` command of the demo's targets: a small `psql` over a SQLite file.
//!
//! It exists so that a target prints tables, CSV and JSON that look like a real database's. It owns
//! nothing but its command line; the looks are in [`print`], the sample data in [`data`].

pub mod data;
pub mod print;

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use rusqlite::fallible_iterator::FallibleIterator;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, OpenFlags, Statement};

use print::{Cell, Format, Rows};

/// Talks SQL to the demo's database.
#[derive(Debug, Parser)]
#[command(name = "sql", version, after_help = EXAMPLES)]
struct Options {
    /// Statements to run; without any they are read from stdin
    query: Option<String>,
    /// Statements to run, and then the next ones
    #[arg(short, long = "command", value_name = "QUERY")]
    command: Vec<String>,
    /// A file with statements
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The database [default: $SQL_DATABASE, or shop.db in the home]
    #[arg(short, long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Rows without padding, values separated by -F
    #[arg(short = 'A', long)]
    no_align: bool,
    /// Rows only: no header, no count
    #[arg(short, long)]
    tuples_only: bool,
    /// The separator of -A
    #[arg(short = 'F', long, default_value = "|", value_name = "TEXT")]
    field_separator: String,
    /// A line for each column
    #[arg(short = 'x', long)]
    expanded: bool,
    /// Comma separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// An array of JSON objects
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  sql 'select id, name, city from customers limit 5'
  sql --csv 'select * from orders' > orders.csv
  sql --json 'select * from payroll'
  echo 'select count(*) from orders' | sql -At

In a terminal: \\dt lists the tables, \\d TABLE its columns, \\q ends.
Exit status: 0, 1 when a statement failed, 2 for a wrong command line.";

/// Runs the command.
///
/// Exit status 0, 1 when a statement failed or the file can't be opened, 2 for a wrong command line.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has enough: as any filter, without a word.
        Err(SqlError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Why a run of `sql` ended early.
#[derive(Debug, thiserror::Error)]
enum SqlError {
    #[error("cannot open {path}: {source}", path = path.display())]
    Open {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("cannot read {path}: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("no database: name one with -d FILE or set HOME")]
    NoDatabase,
    #[error("{}", message(.0))]
    Statement(#[from] rusqlite::Error),
    #[error("unknown command {0:?}; try \\dt, \\d TABLE or \\q")]
    Unknown(String),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// What SQLite says, without the statement, which the person has just typed.
fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

fn run(options: &Options) -> Result<(), SqlError> {
    let path = database(options)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(&path, flags)
        .map_err(|source| SqlError::Open { path, source })?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    let shell = Shell {
        db,
        format: format(options),
        tuples_only: options.tuples_only,
    };
    let mut given = false;
    for query in options.query.iter().chain(&options.command) {
        given = true;
        shell.run(query)?;
    }
    if let Some(path) = &options.file {
        given = true;
        let text = fs::read_to_string(path).map_err(|source| SqlError::Read {
            path: path.clone(),
            source,
        })?;
        shell.run(&text)?;
    }
    if given { Ok(()) } else { shell.talk() }
}

fn database(options: &Options) -> Result<PathBuf, SqlError> {
    if let Some(path) = &options.database {
        return Ok(path.clone());
    }
    if let Some(path) = std::env::var_os("SQL_DATABASE") {
        return Ok(path.into());
    }
    let home = std::env::var_os("HOME").ok_or(SqlError::NoDatabase)?;
    Ok(Path::new(&home).join("shop.db"))
}

fn format(options: &Options) -> Format {
    if options.json {
        Format::Json
    } else if options.csv {
        Format::Csv
    } else if options.no_align {
        Format::Unaligned(options.field_separator.clone())
    } else if options.expanded {
        Format::Expanded
    } else {
        Format::Aligned
    }
}

struct Shell {
    db: Connection,
    format: Format,
    tuples_only: bool,
}

impl Shell {
    /// Statements from stdin. In a terminal a failed one does not end the talk; in a script it does.
    fn talk(&self) -> Result<(), SqlError> {
        let stdin = io::stdin();
        let terminal = stdin.is_terminal() && io::stdout().is_terminal();
        let mut waiting = String::new();
        prompt(terminal, &waiting)?;
        for line in stdin.lock().lines() {
            let line = line?;
            let word = line.trim();
            if waiting.is_empty() && word.starts_with('\\') {
                if word == "\\q" {
                    return Ok(());
                }
                forgive(self.meta(word), terminal)?;
            } else {
                waiting.push_str(&line);
                waiting.push('\n');
                if word.ends_with(';') {
                    forgive(self.run(&std::mem::take(&mut waiting)), terminal)?;
                } else if waiting.trim().is_empty() {
                    waiting.clear();
                }
            }
            prompt(terminal, &waiting)?;
        }
        if terminal {
            writeln!(io::stdout())?;
        }
        self.run(&waiting)
    }

    fn meta(&self, command: &str) -> Result<(), SqlError> {
        match command.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["\\dt"] => self
                .run("select name as \"table\" from sqlite_schema where type = 'table' order by 1"),
            ["\\d", table] => {
                let quoted = table.replace('\'', "''");
                self.run(&format!("select name as \"column\", lower(type) as type from pragma_table_info('{quoted}')"))
            }
            _ => Err(SqlError::Unknown(command.to_owned())),
        }
    }

    fn run(&self, text: &str) -> Result<(), SqlError> {
        let mut batch = Batch::new(&self.db, text);
        while let Some(mut statement) = batch.next()? {
            let mut out = io::stdout().lock();
            if statement.column_count() > 0 {
                rows(&mut statement)?.print(&self.format, self.tuples_only, &mut out)?;
            } else {
                let tag = tag(&statement);
                let changed = statement.execute([])?;
                writeln!(out, "{}", tag.replace("{n}", &changed.to_string()))?;
            }
            out.flush()?;
        }
        Ok(())
    }
}

fn rows(statement: &mut Statement<'_>) -> Result<Rows, rusqlite::Error> {
    let names: Vec<String> = statement
        .column_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let mut found = Vec::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let cells = (0..names.len()).map(|index| Ok(cell(row.get_ref(index)?)));
        found.push(cells.collect::<Result<Vec<Cell>, rusqlite::Error>>()?);
    }
    Ok(Rows { names, rows: found })
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        // PostgreSQL's look of bytes.
        ValueRef::Blob(bytes) => {
            Cell::Text(format!("\\x{}", data_encoding::HEXLOWER.encode(bytes)))
        }
    }
}

/// What `psql` says after a statement without rows, with `{n}` for the number of rows.
fn tag(statement: &Statement<'_>) -> String {
    let text = statement.expanded_sql().unwrap_or_default().to_uppercase();
    let mut words = text.split_whitespace();
    match (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    ) {
        ("INSERT", _) => "INSERT 0 {n}".to_owned(),
        (verb @ ("UPDATE" | "DELETE"), _) => format!("{verb} {{n}}"),
        (verb @ ("CREATE" | "DROP" | "ALTER"), what) => format!("{verb} {what}"),
        (verb, _) => verb.trim_end_matches(';').to_owned(),
    }
}

fn prompt(terminal: bool, waiting: &str) -> io::Result<()> {
    if !terminal {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    write!(
        out,
        "{}",
        if waiting.is_empty() {
            "shop=> "
        } else {
            "shop-> "
        }
    )?;
    out.flush()
}

fn forgive(result: Result<(), SqlError>, terminal: bool) -> Result<(), SqlError> {
    match result {
        Err(error @ (SqlError::Statement(_) | SqlError::Unknown(_))) if terminal => {
            complain(&error);
            Ok(())
        }
        other => other,
    }
}

fn complain(error: &SqlError) {
    // Nobody is left to tell when stderr is closed too.
    drop(writeln!(io::stderr(), "ERROR:  {error}"));
}
