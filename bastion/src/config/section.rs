//! A strict reader of TOML: every key is asked for by name, with its type and range.
//!
//! Owns the collection of mistakes: reading goes on after one, so that all are reported at once,
//! each with its place. Knows no particular file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems, nearest};

/// A file's text and the mistakes found in it so far.
pub(crate) struct Source<'t> {
    file: &'t Path,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Source<'t> {
    pub(crate) fn new(file: &'t Path, text: &'t str) -> Self {
        Self {
            file,
            text,
            problems: RefCell::default(),
        }
    }

    /// The outermost table. What is not TOML is a mistake, and the rest is still read.
    pub(crate) fn root(&self) -> Section<'_, 't> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().trim().replace('\n', ", ");
            self.problem_with_hint(
                offset,
                format!("not valid TOML: {message}"),
                "a line is KEY = VALUE, with text in quotes and each key once",
            );
        }
        Section::new(self, String::new(), 0, table.into_inner())
    }

    /// Notes a mistake at byte `offset`.
    pub(crate) fn problem(&self, offset: usize, message: impl Into<String>) {
        self.push(Problem::at(self.file, self.text, offset, message));
    }

    /// Notes a mistake at byte `offset`, and what to do about it.
    pub(crate) fn problem_with_hint(
        &self,
        offset: usize,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Problem::at(self.file, self.text, offset, message).hint(hint));
    }

    fn push(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push(problem);
        }
    }

    /// The mistakes found.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    /// `value`, where there was no mistake.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        let file = self.file;
        match (Problems::new(self.into_problems()), value) {
            (Some(problems), _) => Err(problems),
            (None, Some(value)) => Ok(value),
            (None, None) => Err(Problem::of_file(file, "incomplete").into()),
        }
    }
}

/// A table whose keys are taken one by one; what is left over at `finish` is unknown.
pub(crate) struct Section<'s, 't> {
    source: &'s Source<'t>,
    /// The dotted name, empty for the outermost.
    path: String,
    start: usize,
    entries: BTreeMap<String, (usize, Range<usize>, DeValue<'s>)>,
    known: Vec<&'static str>,
}

impl<'s, 't> Section<'s, 't> {
    fn new(source: &'s Source<'t>, path: String, start: usize, table: DeTable<'s>) -> Self {
        let entries = table
            .into_iter()
            .map(|(key, value)| {
                let (at, span) = (key.span().start, value.span());
                (
                    key.into_inner().into_owned(),
                    (at, span, value.into_inner()),
                )
            })
            .collect();
        Self {
            source,
            path,
            start,
            entries,
            known: Vec::new(),
        }
    }

    /// Where the table begins, for mistakes about the whole of it.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn source(&self) -> &'s Source<'t> {
        self.source
    }

    /// The byte at which `key` stands; where it is not given, where the table begins.
    pub(crate) fn place_of(&self, key: &str) -> usize {
        self.entries.get(key).map_or(self.start, |(at, _, _)| *at)
    }

    /// The value of `key`, where it is given.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Field<'s, 't>> {
        self.known.push(key);
        let (at, span, value) = self.entries.remove(key)?;
        Some(Field {
            source: self.source,
            path: self.path_of(key),
            at,
            span,
            value,
        })
    }

    /// The value of `key`; that it is missing is a mistake.
    pub(crate) fn required(&mut self, key: &'static str) -> Option<Field<'s, 't>> {
        let field = self.take(key);
        if field.is_none() {
            let path = self.path_of(key);
            self.source.problem_with_hint(
                self.start,
                format!("the key `{path}` is missing"),
                format!("add {key} = ..."),
            );
        }
        field
    }

    /// The table `key`, empty where it is not given.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'s, 't> {
        let (path, start) = (self.path_of(key), self.start);
        let empty = || Section::new(self.source, path, start, DeTable::new());
        match self.take(key).map(Field::section) {
            Some(Some(section)) => section,
            Some(None) | None => empty(),
        }
    }

    /// The keys that nobody asked for by name, taken as they come.
    pub(crate) fn rest(&mut self) -> Vec<(String, Field<'s, 't>)> {
        std::mem::take(&mut self.entries)
            .into_iter()
            .map(|(key, (at, span, value))| {
                let path = self.path_of(&key);
                (
                    key,
                    Field {
                        source: self.source,
                        path,
                        at,
                        span,
                        value,
                    },
                )
            })
            .collect()
    }

    /// Every key that is left is unknown, which is a mistake.
    pub(crate) fn finish(self) {
        for (key, (at, _, _)) in &self.entries {
            let message = format!("unknown key `{}`", self.path_of(key));
            match nearest(key, self.known.iter().copied()) {
                Some(meant) => {
                    self.source.problem_with_hint(
                        *at,
                        message,
                        format!("did you mean `{}`?", self.path_of(meant)),
                    );
                }
                None => self.source.problem_with_hint(
                    *at,
                    message,
                    format!("known here: {}", self.known.join(", ")),
                ),
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// One value and its place.
pub(crate) struct Field<'s, 't> {
    source: &'s Source<'t>,
    path: String,
    at: usize,
    span: Range<usize>,
    value: DeValue<'s>,
}

/// A value that was read, and the byte at which it stands.
pub(crate) struct Placed<T> {
    pub(crate) at: usize,
    pub(crate) value: T,
}

impl<'s, 't> Field<'s, 't> {
    /// The byte at which the value stands.
    pub(crate) fn at(&self) -> usize {
        self.span.start
    }

    pub(crate) fn source(&self) -> &'s Source<'t> {
        self.source
    }

    /// Whether the value is a string.
    pub(crate) fn is_string(&self) -> bool {
        matches!(self.value, DeValue::String(_))
    }

    /// Notes a mistake about this value.
    pub(crate) fn problem(&self, message: impl AsRef<str>) {
        self.source.problem(
            self.span.start,
            format!("`{}` {}", self.path, message.as_ref()),
        );
    }

    /// Notes a mistake about this value, and what to do about it.
    pub(crate) fn problem_with_hint(&self, message: impl AsRef<str>, hint: impl Into<String>) {
        self.source.problem_with_hint(
            self.span.start,
            format!("`{}` {}", self.path, message.as_ref()),
            hint,
        );
    }

    pub(crate) fn string(self) -> Option<String> {
        self.placed_string().map(|placed| placed.value)
    }

    pub(crate) fn placed_string(self) -> Option<Placed<String>> {
        let at = self.span.start;
        match self.value {
            DeValue::String(text) => Some(Placed {
                at,
                value: text.into_owned(),
            }),
            _ => self.wrong("a string"),
        }
    }

    /// A string that says something.
    pub(crate) fn text(self) -> Option<String> {
        match &self.value {
            DeValue::String(text) if text.trim().is_empty() => {
                self.problem_with_hint("is empty", "write what it is to say, or leave it out");
                None
            }
            _ => self.string(),
        }
    }

    pub(crate) fn bool(self) -> Option<bool> {
        match self.value {
            DeValue::Boolean(value) => Some(value),
            _ => self.wrong("true or false"),
        }
    }

    pub(crate) fn integer(self, range: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(number) = &self.value else {
            return self.wrong("a whole number");
        };
        match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if range.contains(&value) => Some(value),
            _ => {
                let (low, high) = (range.start(), range.end());
                self.problem_with_hint(
                    format!("is {number}, which is not in {low} to {high}"),
                    "write a number of that range",
                );
                None
            }
        }
    }

    pub(crate) fn count(self, range: RangeInclusive<u64>) -> Option<usize> {
        self.integer(range)
            .and_then(|value| usize::try_from(value).ok())
    }

    /// A time such as `"500ms"`, `"30s"`, `"5m"`, `"1h30m"` or `"7d"`.
    pub(crate) fn duration(self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let DeValue::String(text) = &self.value else {
            return self.wrong("a duration such as \"30s\", \"5m\" or \"8h\"");
        };
        match parse_duration(text) {
            Some(value) if range.contains(&value) => Some(value),
            Some(_) => {
                let (low, high) = (show_duration(*range.start()), show_duration(*range.end()));
                self.problem_with_hint(
                    format!("is \"{text}\", which is not in {low} to {high}"),
                    "write a time of that range",
                );
                None
            }
            None => {
                self.problem_with_hint(
                    format!("is \"{text}\", which is not a duration"),
                    "write a number and a unit: 500ms, 30s, 5m, 8h, 7d",
                );
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(self, words: &[(&str, T)]) -> Option<T> {
        let known = || {
            words
                .iter()
                .map(|(word, _)| format!("\"{word}\""))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let DeValue::String(text) = &self.value else {
            return self.wrong(&format!("one of {}", known()));
        };
        let found = words
            .iter()
            .find(|(word, _)| word == text)
            .map(|(_, value)| *value);
        if found.is_none() {
            self.problem_with_hint(format!("is \"{text}\""), format!("it may be {}", known()));
        }
        found
    }

    /// Something that knows how it is written.
    pub(crate) fn parsed<T: FromStr>(self, what: &str) -> Option<T> {
        let DeValue::String(text) = &self.value else {
            return self.wrong(what);
        };
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.problem_with_hint(
                format!("is \"{text}\", which is not {what}"),
                "correct it, or leave it out",
            );
        }
        parsed
    }

    /// A path, absolute or relative to `base`; `credential:NAME` is a credential of the service
    /// manager (systemd.exec(5), `LoadCredential=`).
    pub(crate) fn path(self, base: &Path) -> Option<PathBuf> {
        let DeValue::String(text) = &self.value else {
            return self.wrong("a path");
        };
        if text.is_empty() || text.contains('\0') {
            self.problem_with_hint("is not a path", "write the path of a file");
            return None;
        }
        let Some(name) = text.strip_prefix("credential:") else {
            return Some(base.join(text.as_ref()));
        };
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            self.problem_with_hint(
                "is not the name of a credential",
                "write the name that stands in LoadCredential=",
            );
            return None;
        }
        match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(folder) => Some(Path::new(&folder).join(name)),
            None => {
                self.problem_with_hint(
                    "names a credential, and there are none: CREDENTIALS_DIRECTORY is not set",
                    "run as a systemd service with LoadCredential=, or name a file",
                );
                None
            }
        }
    }

    /// The values of a list; that it is none is a mistake.
    pub(crate) fn list(self) -> Option<Vec<Field<'s, 't>>> {
        match self.value {
            DeValue::Array(array) => Some(
                array
                    .into_iter()
                    .enumerate()
                    .map(|(index, value)| {
                        let span = value.span();
                        let path = format!("{}[{index}]", self.path);
                        Field {
                            source: self.source,
                            path,
                            at: span.start,
                            span,
                            value: value.into_inner(),
                        }
                    })
                    .collect(),
            ),
            _ => self.wrong("a list"),
        }
    }

    /// Whether it is a list with nothing in it.
    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(&self.value, DeValue::Array(array) if array.is_empty())
    }

    /// A list of strings that say something, each once.
    pub(crate) fn strings(self) -> Option<Vec<String>> {
        Some(
            self.placed_strings()?
                .into_iter()
                .map(|placed| placed.value)
                .collect(),
        )
    }

    /// The same with the places.
    pub(crate) fn placed_strings(self) -> Option<Vec<Placed<String>>> {
        let mut strings: Vec<Placed<String>> = Vec::new();
        for field in self.list()? {
            let at = field.at();
            let (source, path) = (field.source, field.path.clone());
            let Some(value) = field.text() else { continue };
            if strings.iter().any(|placed| placed.value == value) {
                source.problem_with_hint(
                    at,
                    format!("`{path}` names \"{value}\" a second time"),
                    "take one of them away",
                );
            } else {
                strings.push(Placed { at, value });
            }
        }
        Some(strings)
    }

    pub(crate) fn section(self) -> Option<Section<'s, 't>> {
        match self.value {
            DeValue::Table(table) => Some(Section::new(self.source, self.path, self.at, table)),
            _ => self.wrong("a table"),
        }
    }

    /// A list of tables, `[[key]]`.
    pub(crate) fn sections(self) -> Option<Vec<Section<'s, 't>>> {
        Some(
            self.list()?
                .into_iter()
                .filter_map(Field::section)
                .collect(),
        )
    }

    fn wrong<T>(self, wanted: &str) -> Option<T> {
        let is = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let hint = match (&self.value, wanted) {
            (DeValue::Table(_), "a list") => "begin it with [[NAME]], once for each",
            (_, "a string") => "write it in quotes",
            (_, "a list") => "write it in brackets, also where it is only one",
            _ => "correct it, or leave it out",
        };
        self.source.problem_with_hint(
            self.span.start,
            format!("`{}` is {is}, but must be {wanted}", self.path),
            hint,
        );
        None
    }
}

/// `"1h30m"` and the like: whole numbers with a unit each, the larger units first.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters)?;
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
        if *unit >= last_unit {
            return None;
        }
        last_unit = *unit;
        let millis = number.parse::<u64>().ok()?.checked_mul(*unit)?;
        total = total.checked_add(Duration::from_millis(millis))?;
        rest = after;
    }
    (last_unit != u64::MAX).then_some(total)
}

/// A duration as it would be written.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let unit = UNITS
        .iter()
        .find(|(_, unit)| millis > 0 && millis.is_multiple_of(u128::from(*unit)));
    match unit {
        Some((name, unit)) => format!("{}{name}", millis / u128::from(*unit)),
        None => "0s".to_owned(),
    }
}

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A file that is wrong from end to end is reported up to here.
const PROBLEMS_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [
            ("0s", Some(0)),
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("1h30m", Some(5_400_000)),
            ("7d", Some(604_800_000)),
            ("", None),
            ("30", None),
            ("s", None),
            ("-1s", None),
            ("1.5h", None),
            ("1 h", None),
            ("1m1h", None),
            ("1s1s", None),
            ("1y", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
            ("１s", None),
        ] {
            assert_eq!(
                parse_duration(text),
                millis.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for text in ["0s", "1ms", "1500ms", "30s", "5m", "90m", "8h", "1d"] {
            assert_eq!(
                parse_duration(text).map(show_duration).as_deref(),
                Some(text)
            );
        }
    }

    #[test]
    fn all_mistakes_are_found_at_their_places() {
        let text = "a = 1\nb = [\"x\", 2, \"x\"]\nlisen = 3\n[t]\nd = \"5x\"\n";
        let source = Source::new(Path::new("f"), text);
        let mut root = source.root();
        assert_eq!(root.take("a").and_then(Field::string), None);
        root.take("b").and_then(Field::strings);
        assert!(root.take("listen").is_none());
        root.required("needed");
        let mut table = root.section("t");
        table
            .take("d")
            .map(|field| field.duration(Duration::ZERO..=Duration::MAX));
        table.finish();
        root.finish();
        let problems = Problems::new(source.into_problems()).map(|problems| problems.to_string());
        assert_eq!(
            problems.as_deref(),
            Some(
                "f:1:1: the key `needed` is missing (add needed = ...)\n\
                 f:1:5: `a` is a whole number, but must be a string (write it in quotes)\n\
                 f:2:11: `b[1]` is a whole number, but must be a string (write it in quotes)\n\
                 f:2:14: `b[2]` names \"x\" a second time (take one of them away)\n\
                 f:3:1: unknown key `lisen` (did you mean `listen`?)\n\
                 f:5:5: `t.d` is \"5x\", which is not a duration (write a number and a unit: 500ms, 30s, 5m, 8h, 7d)"
            )
        );
    }

    #[test]
    fn reading_goes_on_after_what_is_not_toml() {
        let source = Source::new(Path::new("f"), "a = \nb = \nc = 1\n");
        let mut root = source.root();
        assert_eq!(
            root.take("c").and_then(|field| field.integer(0..=9)),
            Some(1)
        );
        assert!(source.into_problems().len() >= 2);
    }

    proptest::proptest! {
        /// Whatever stands in a file, reading it ends and says something or nothing.
        #[test]
        fn no_text_is_a_panic(text in "[a-c=\\[\\]{}\"'\\\\ \n0-9.#:-]{0,60}|\\PC{0,40}") {
            let source = Source::new(Path::new("f"), &text);
            let mut root = source.root();
            root.take("a").and_then(Field::strings);
            root.section("b").finish();
            root.finish();
            drop(source.into_problems());
        }
    }
}
