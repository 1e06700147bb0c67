//! `bastion policy test`: the cases beside the policies.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use scanner::Stream;
use serde::Serialize;

use super::cases::{AccessCase, Ask, ContentCase, Suite};
use super::{Paint, junit};
use crate::access::{Access, Action, Draft, trial};
use crate::cli::Failure;
use crate::config::{Problem, Problems};
use crate::target::Inventory;

/// Arguments of `policy test`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion policy test /etc/bastion/policies
  bastion policy test policies --junit report.xml
  bastion policy test policies --json | jq '.cases[] | select(.ok | not)'

Cases stand in *.test.toml beside access.cedar and protect.toml; docs/policies.md says how they are
written. Targets are those of the file of cases; where it names none, those of --targets, or of the
targets.toml in the folder or beside it.

Exit status: 0 when every case came out as it says, 1 otherwise.")]
pub(super) struct Test {
    /// The folder of the policies
    dir: PathBuf,
    /// The inventory that cases without targets of their own are about
    #[arg(long, value_name = "FILE")]
    targets: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Write the result as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// How one case came out.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    pub(super) file: PathBuf,
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) kind: &'static str,
    #[serde(rename = "ms", serialize_with = "as_millis")]
    pub(super) took: Duration,
    /// What was wrong; the first line says it in short.
    pub(super) failure: Option<String>,
}

pub(super) fn run(args: &Test, paint: Paint, out: &mut dyn Write) -> Result<(), Failure> {
    let done = run_all(args).map_err(Failure::problems)?;
    if let Some(path) = &args.junit {
        let mut file = Vec::new();
        junit::write(&done, &mut file)?;
        fs::write(path, file)
            .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))?;
    }
    let failed = done.iter().filter(|done| done.failure.is_some()).count();
    if args.json {
        let report = Report {
            passed: done.len() - failed,
            failed,
            cases: done
                .iter()
                .map(|done| CaseReport {
                    ok: done.failure.is_none(),
                    done,
                })
                .collect(),
        };
        serde_json::to_writer(&mut *out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        print(&done, failed, paint, out)?;
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(Failure::silent())
    }
}

#[derive(Serialize)]
struct Report<'a> {
    passed: usize,
    failed: usize,
    cases: Vec<CaseReport<'a>>,
}

#[derive(Serialize)]
struct CaseReport<'a> {
    ok: bool,
    #[serde(flatten)]
    done: &'a Done,
}

fn as_millis<S: serde::Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(took.as_secs_f64() * 1000.0)
}

fn print(done: &[Done], failed: usize, paint: Paint, out: &mut dyn Write) -> std::io::Result<()> {
    let mut file: Option<&Path> = None;
    for case in done {
        if file != Some(&case.file) {
            writeln!(out, "{}", super::shown(&case.file.display().to_string()))?;
            file = Some(&case.file);
        }
        let name = super::shown(&case.name);
        match &case.failure {
            None => writeln!(out, "  {} {name}", paint.good("ok  "))?,
            Some(failure) => {
                writeln!(
                    out,
                    "  {} {name} {}",
                    paint.bad("FAIL"),
                    paint.faint(&format!("(line {})", case.line))
                )?;
                for line in super::shown(failure).lines() {
                    writeln!(out, "       {line}")?;
                }
            }
        }
    }
    let total: Duration = done.iter().map(|case| case.took).sum();
    let summary = format!(
        "{} passed, {failed} failed in {:.0} ms",
        done.len() - failed,
        total.as_secs_f64() * 1000.0
    );
    let summary = if failed == 0 {
        paint.good(&summary)
    } else {
        paint.bad(&summary)
    };
    writeln!(out, "\n{summary}")
}

fn run_all(args: &Test) -> Result<Vec<Done>, Problems> {
    let usual = super::inventory(&args.dir, args.targets.as_ref())?.map(Arc::new);
    let draft = Draft::load(&args.dir)?;
    let mut done = Vec::new();
    for file in files(&args.dir)? {
        let suite = Suite::read(&file)?;
        let inventory = if suite.targets.is_empty() {
            usual.clone().ok_or_else(|| {
                Problem::of_file(&file, "the cases name targets, and nobody says which there are")
                    .hint("describe them with [[target]] in the file, or name an inventory with --targets")
            })?
        } else {
            Arc::new(Inventory::sketch(suite.targets))
        };
        let access = draft.over(inventory);
        for case in suite.cases {
            let started = Instant::now();
            let (kind, result) = match &case.ask {
                Ask::Access(ask) => ("access", access_case(&access, ask)),
                Ask::Content(ask) => ("content", content_case(&access, ask)),
            };
            done.push(Done {
                file: suite.file.clone(),
                line: case.line,
                name: case.name,
                kind,
                took: started.elapsed(),
                failure: result.err(),
            });
        }
    }
    Ok(done)
}

/// The files of cases, sorted; that there is none is a mistake, since it would look like success.
fn files(dir: &Path) -> Result<Vec<PathBuf>, Problems> {
    let failed =
        |error: std::io::Error| Problem::of_file(dir, format!("cannot read the folder: {error}"));
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".test.toml") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Problem::of_file(dir, "there is no *.test.toml")
            .hint("write one, as in the starter.test.toml that `bastion init` writes")
            .into());
    }
    Ok(files)
}

fn access_case(access: &Access, case: &AccessCase) -> Result<(), String> {
    case.asked.exists(access)?;
    let decided = case.asked.decide(access)?.0;
    let by = if decided.by.is_empty() {
        String::new()
    } else {
        format!(" by {}", decided.by.join(", "))
    };
    if decided.what != case.expect {
        return Err(format!(
            "expected {}, but it is {}{by}: {}",
            case.expect.name(),
            decided.what.name(),
            decided.reason
        ));
    }
    if let Some(wanted) = &case.by {
        let mut wanted = wanted.clone();
        wanted.sort();
        if wanted != decided.by {
            return Err(format!(
                "expected {} by {}, but it is{}",
                case.expect.name(),
                wanted.join(", "),
                if by.is_empty() { " by no policy" } else { &by }
            ));
        }
    }
    match case.break_glass {
        Some(true) if !decided.break_glass => {
            Err("expected a break-glass mark, and there is none".to_owned())
        }
        Some(false) if decided.break_glass => Err("it is marked as break-glass".to_owned()),
        _ => Ok(()),
    }
}

fn content_case(access: &Access, case: &ContentCase) -> Result<(), String> {
    let scene = &case.scene;
    scene.exists(access)?;
    let protection = access
        .protection_of(
            &scene.target,
            &scene.login,
            &scene.user.groups,
            scene.action,
            None,
        )
        .map_err(|error| error.to_string())?;
    let input = Bytes::copy_from_slice(&case.input);
    let pty = scene.action == Action::Shell;
    let trial = trial::run(&protection.rules, pty, [(Stream::Stdout, input)]);
    if trial.outcome.name() != case.outcome {
        let by = trial
            .outcome
            .rule()
            .map_or_else(String::new, |rule| format!(" by {rule}"));
        return Err(format!(
            "expected the output to be {}, but it is {}{by}",
            case.outcome,
            trial.outcome.name()
        ));
    }
    if let Some(wanted) = &case.by
        && trial.outcome.rule() != Some(wanted)
    {
        return Err(format!(
            "expected {} by {wanted}, but it is by {}",
            case.outcome,
            trial.outcome.rule().unwrap_or("no rule")
        ));
    }
    for (what, wanted, got) in [
        ("the output", &case.output, &trial.passed),
        ("what is held", &case.held, &trial.held),
    ] {
        if let Some(wanted) = wanted
            && wanted != got
        {
            return Err(format!("{what} differs\n{}", difference(wanted, got)));
        }
    }
    let verdicts: Vec<String> = trial
        .found
        .iter()
        .map(|found| format!("{}:{}", found.rule, found.field))
        .collect();
    match &case.verdicts {
        Some(wanted) if *wanted != verdicts => Err(format!(
            "the verdicts differ\n- {}\n+ {}",
            wanted.join(" "),
            verdicts.join(" ")
        )),
        _ => Ok(()),
    }
}

/// The lines that differ: `-` what was expected, `+` what came.
fn difference(wanted: &[u8], got: &[u8]) -> String {
    let (wanted, got) = (
        String::from_utf8_lossy(wanted),
        String::from_utf8_lossy(got),
    );
    let lines = |text: &str| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
    let (wanted, got) = (lines(&wanted), lines(&got));
    let same =
        |a: &mut dyn Iterator<Item = (&String, &String)>| a.take_while(|(a, b)| a == b).count();
    let before = same(&mut wanted.iter().zip(&got));
    let room = wanted.len().min(got.len()) - before;
    let after = same(&mut wanted.iter().rev().zip(got.iter().rev())).min(room);
    let middle = |lines: &[String], sign: &str| {
        let differing = lines.get(before..lines.len() - after).unwrap_or_default();
        let mut text: String = differing
            .iter()
            .take(LINES_MAX)
            .map(|line| format!("{sign} {line}\n"))
            .collect();
        if differing.len() > LINES_MAX {
            text.push_str(&format!(
                "{sign} ... {} lines more\n",
                differing.len() - LINES_MAX
            ));
        }
        text
    };
    format!(
        "from line {}\n{}{}",
        before + 1,
        middle(&wanted, "-"),
        middle(&got, "+")
    )
}

/// Of a difference, so many lines are shown.
const LINES_MAX: usize = 20;
