//! `*.test.toml`: cases of access and of content beside the policies.
//!
//! Owns the file's form. Runs nothing.

use std::path::{Path, PathBuf};

use super::asked::{Asked, Expect, Scene};
use super::who::{SOURCE, Who};
use crate::access::Action;
use crate::config::section::{Field, Section, Source};
use crate::config::{Problem, Problems, line_column, read_text};
use crate::target::Sketch;

/// The cases of one file.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) file: PathBuf,
    /// The targets that the cases are about; none where the inventory's are.
    pub(super) targets: Vec<Sketch>,
    pub(super) cases: Vec<Case>,
}

/// One case and its line.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) ask: Ask,
}

/// What a case is about.
#[derive(Debug)]
pub(super) enum Ask {
    Access(Box<AccessCase>),
    Content(Box<ContentCase>),
}

/// `[[access]]`.
#[derive(Debug)]
pub(super) struct AccessCase {
    pub(super) asked: Asked,
    pub(super) expect: Expect,
    /// The policies that decide, or the rule that holds or refuses.
    pub(super) by: Option<Vec<String>>,
    pub(super) break_glass: Option<bool>,
}

/// `[[content]]`.
#[derive(Debug)]
pub(super) struct ContentCase {
    pub(super) scene: Scene,
    pub(super) input: Vec<u8>,
    pub(super) output: Option<Vec<u8>>,
    pub(super) held: Option<Vec<u8>>,
    /// `passed`, `held` or `refused`.
    pub(super) outcome: &'static str,
    pub(super) by: Option<String>,
    /// `RULE:FIELD` for each value, in order.
    pub(super) verdicts: Option<Vec<String>>,
}

impl Suite {
    /// Reads the file; inputs that it names are relative to its folder.
    ///
    /// # Errors
    ///
    /// Every mistake in it, with its place.
    pub(super) fn read(file: &Path) -> Result<Self, Problems> {
        let text =
            read_text(file, FILE_MAX).map_err(|error| Problem::of_file(file, error.to_string()))?;
        let base = file.parent().unwrap_or(Path::new("."));
        let source = Source::new(file, &text);
        let mut root = source.root();
        let targets = sections(&mut root, "target")
            .into_iter()
            .filter_map(Sketch::read)
            .collect();
        let mut cases = Vec::new();
        for section in sections(&mut root, "access") {
            cases.extend(read_case(section, &text, |section| {
                AccessCase::read(section).map(|case| Ask::Access(Box::new(case)))
            }));
        }
        for section in sections(&mut root, "content") {
            cases.extend(read_case(section, &text, |section| {
                ContentCase::read(section, base).map(|case| Ask::Content(Box::new(case)))
            }));
        }
        root.finish();
        cases.sort_by_key(|case| case.line);
        if cases.is_empty() {
            source.problem_with_hint(
                0,
                "there is no [[access]] and no [[content]] in it",
                "write one, as in docs/policies.md",
            );
        }
        source.finish(Some(Self {
            file: file.to_path_buf(),
            targets,
            cases,
        }))
    }
}

fn sections<'s, 't>(root: &mut Section<'s, 't>, key: &'static str) -> Vec<Section<'s, 't>> {
    root.take(key).and_then(Field::sections).unwrap_or_default()
}

fn read_case<'s, 't>(
    mut section: Section<'s, 't>,
    text: &str,
    read: impl FnOnce(Section<'s, 't>) -> Option<Ask>,
) -> Option<Case> {
    let (line, _) = line_column(text, section.start());
    let name = section.required("name").and_then(Field::text);
    let ask = read(section);
    Some(Case {
        name: name?,
        line,
        ask: ask?,
    })
}

impl Scene {
    fn read(section: &mut Section<'_, '_>, action: Option<Action>) -> Option<Self> {
        let user = match section.take("user") {
            Some(field) => field.section().and_then(Who::read),
            None => Some(Who::default()),
        };
        let target = section.required("target").and_then(Field::text);
        let login = section.required("login").and_then(Field::text);
        let action = match (section.take("action"), action) {
            (Some(field), _) => {
                let words = Action::ALL.map(|action| (action.name(), action));
                field.word(&words)
            }
            (None, Some(action)) => Some(action),
            (None, None) => section.required("action").and(None),
        };
        let at = match section.take("at") {
            Some(field) => field.parsed("a time such as \"2027-01-15T09:30:00Z\""),
            None => AT.parse().ok(),
        };
        let from = match section.take("from") {
            Some(field) => field.parsed("an address such as \"10.1.2.3\""),
            None => Some(SOURCE),
        };
        Some(Self {
            user: user?,
            target: target?,
            login: login?,
            action: action?,
            at: at?,
            from: from?,
        })
    }
}

impl AccessCase {
    fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let scene = Scene::read(&mut section, None);
        let command = section.take("command").map(Field::string);
        let to = section.take("to").map(Field::string);
        let approved = section.take("approved").map_or(Some(false), Field::bool);
        let owner = section
            .take("owner")
            .map(|field| field.section().and_then(Who::read));
        let rule = section.take("rule").map(Field::text);
        let expect = section.required("expect").and_then(|field| {
            let words = [Expect::Allow, Expect::Hold, Expect::Deny];
            field.word(&words.map(|expect| (expect.name(), expect)))
        });
        let by = section.take("by").map(Field::strings);
        let break_glass = section.take("break_glass").map(Field::bool);
        section.finish();
        Some(Self {
            asked: Asked {
                scene: scene?,
                command: given(command)?.or(given(to)?),
                approved: approved?,
                owner: given(owner)?,
                rule: given(rule)?,
            },
            expect: expect?,
            by: given(by)?,
            break_glass: given(break_glass)?,
        })
    }
}

impl ContentCase {
    fn read(mut section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let at = section.start();
        let source = section.source();
        let scene = Scene::read(&mut section, Some(Action::Exec));
        let input = bytes(&mut section, base, "input", "input_file");
        let output = bytes(&mut section, base, "output", "output_file");
        let held = bytes(&mut section, base, "held", "held_file");
        let outcome = section.take("outcome").map_or(Some("passed"), |field| {
            field.word(&["passed", "held", "refused"].map(|word| (word, word)))
        });
        let by = section.take("by").map(Field::text);
        let verdicts = section.take("verdicts").map(Field::list);
        let verdicts = verdicts.map(|list| {
            list?
                .into_iter()
                .map(Field::string)
                .collect::<Option<Vec<String>>>()
        });
        section.finish();
        let (input, output) = (input?, output?);
        if scene
            .as_ref()
            .is_some_and(|scene| !matches!(scene.action, Action::Shell | Action::Exec))
        {
            source.problem_with_hint(
                at,
                "rules look at the output of shells and commands only",
                "action = \"exec\", or \"shell\"",
            );
        }
        if input.is_none() {
            source.problem_with_hint(at, "the case has no input", "give it input or input_file");
        }
        if output.is_none() && outcome == Some("passed") {
            source.problem_with_hint(
                at,
                "the case says nothing about the output",
                "give it output or output_file",
            );
        }
        Some(Self {
            scene: scene?,
            input: input?,
            output,
            held: held?,
            outcome: outcome?,
            by: given(by)?,
            verdicts: given(verdicts)?,
        })
    }
}

/// A value that may be left out, but not be wrong.
fn given<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        Some(value) => value.map(Some),
        None => Some(None),
    }
}

/// The text at `key`, or the content of the file at `file_key`.
fn bytes(
    section: &mut Section<'_, '_>,
    base: &Path,
    key: &'static str,
    file_key: &'static str,
) -> Option<Option<Vec<u8>>> {
    let text = section.take(key);
    let named = section.take(file_key);
    match (text, named) {
        (None, None) => Some(None),
        (Some(field), None) => field.string().map(|text| Some(text.into_bytes())),
        (None, Some(field)) => {
            let (at, source) = (field.at(), field.source());
            let path = field.path(base)?;
            match std::fs::read(&path) {
                Ok(bytes) => Some(Some(bytes)),
                Err(error) => {
                    source.problem_with_hint(
                        at,
                        format!("cannot read {}: {error}", path.display()),
                        "names of files are relative to the folder of the case",
                    );
                    None
                }
            }
        }
        (Some(field), Some(_)) => {
            field.problem_with_hint(
                format!("and `{file_key}` say the same"),
                "leave one of them out",
            );
            None
        }
    }
}

/// The time of a case that names none: a Wednesday, ten in the morning.
pub(super) const AT: &str = "2027-01-13T10:00:00Z";
/// No file of cases is larger.
const FILE_MAX: u64 = 4 * 1024 * 1024;
