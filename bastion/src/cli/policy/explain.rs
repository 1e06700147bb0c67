//! `bastion policy explain`: why something is allowed, and why bytes are masked.

use std::io::{BufRead, Read as _, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use scanner::Stream;
use serde::Serialize;

use super::asked::{Asked, Expect, Scene};
use super::who::{SOURCE, Who};
use super::{Paint, shown};
use crate::access::{Access, Action, Draft, Review, RuleState, Standing, trial};
use crate::cli::Failure;
use crate::config::line_column;
use crate::config::section::parse_duration;
use crate::target::{Inventory, Sketch};

/// Arguments of `policy explain`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion policy explain policies --target orders-db --login postgres --group staff --action shell
  bastion policy explain policies --target pay-1 --login app --group staff --action exec --command 'pg_dump pay' --at 2027-01-15T23:00:00Z
  bastion policy explain policies --target pay-1 --login app --group leads --user anton --action approve --rule payroll --owner olga
  psql -c 'table customers' | bastion policy explain policies --target orders-db --login postgres --group staff
  bastion policy explain policies --target orders-db --login postgres --text < customers.json | less

With --action it is a question of access: which policies decide, and which would but for their
conditions. Without, standard input is read as output of that account: which bytes are found by
which rule, why, which stricter rule won, and whom an exemption lets see them. Both are in colour on
a terminal, and one JSON document otherwise.

Targets are those of --targets, or of the targets.toml in the folder or beside it; a target that is
not among them is made up with the given --label.

Exit status: 0 when there is an answer, whatever it is, 1 when the policies are wrong.")]
pub(super) struct Explain {
    /// The folder of the policies
    dir: PathBuf,
    /// The target
    #[arg(long)]
    target: String,
    /// The account there
    #[arg(long)]
    login: String,
    /// What somebody wants to do there
    #[arg(long, value_parser = action)]
    action: Option<Action>,
    /// The command of an exec
    #[arg(long, requires = "action")]
    command: Option<String>,
    /// Where a forwarding leads: HOST:PORT, or the path of a socket
    #[arg(
        long,
        requires = "action",
        conflicts_with = "command",
        value_name = "PLACE"
    )]
    to: Option<String>,
    /// Whose session, hold or request it is, by subject; of lock, who is locked
    #[arg(long, requires = "action", value_name = "SUBJECT")]
    owner: Option<String>,
    /// A group of that person, who has to be able to ask for what is approved
    #[arg(long = "owner-group", requires = "owner", value_name = "GROUP")]
    owner_groups: Vec<String>,
    /// The rule of the hold that is approved or shown; without it, approve is about a request
    #[arg(long, requires = "action", value_name = "RULE")]
    rule: Option<String>,
    /// A group of the person
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The subject of the person
    #[arg(long, value_name = "SUBJECT", default_value = "somebody")]
    user: String,
    /// The address of the person
    #[arg(long)]
    email: Option<String>,
    /// The person is a service user
    #[arg(long)]
    service: bool,
    /// When; now unless given
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The address of the client
    #[arg(long, value_name = "ADDRESS", default_value_t = SOURCE)]
    from: IpAddr,
    /// How long ago the person signed in
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    sign_in_age: std::time::Duration,
    /// The fingerprint of the client's key
    #[arg(long)]
    key: Option<String>,
    /// A request for this access has been approved
    #[arg(long)]
    approved: bool,
    /// A label of the target, where it is in no inventory
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// The inventory
    #[arg(long, value_name = "FILE")]
    targets: Option<PathBuf>,
    /// The input is what a terminal showed
    #[arg(long, conflicts_with = "action")]
    pty: bool,
    /// Print one JSON document, as is done anyway where the answer goes into a pipe or a file
    #[arg(long)]
    json: bool,
    /// Print text, also into a pipe or a file
    #[arg(long, conflicts_with = "json")]
    text: bool,
}

impl Explain {
    fn is_for_programs(&self, paint: Paint) -> bool {
        self.json || (paint == Paint::Piped && !self.text)
    }
}

fn action(name: &str) -> Result<Action, String> {
    let named = Action::ALL.into_iter().find(|action| action.name() == name);
    named.ok_or_else(|| format!("there are {}", Action::ALL.map(Action::name).join(", ")))
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    parse_duration(text).ok_or_else(|| "write a number and a unit: 30s, 5m, 8h".to_owned())
}

pub(super) fn run(
    args: &Explain,
    paint: Paint,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let named = super::inventory(&args.dir, args.targets.as_ref()).map_err(Failure::problems)?;
    let known = named.filter(|known| known.target(&args.target).is_some());
    let inventory = known.unwrap_or_else(|| {
        Inventory::sketch([Sketch {
            name: args.target.clone(),
            labels: args.labels.clone(),
            logins: vec![args.login.clone()],
        }])
    });
    let access = Draft::load(&args.dir)
        .map_err(Failure::problems)?
        .over(Arc::new(inventory));
    let who = Who {
        name: args.user.clone(),
        subject: args.user.clone(),
        email: args.email.clone(),
        groups: args.groups.iter().cloned().collect(),
        service: args.service.then_some(None),
        sign_in_age: args.sign_in_age,
        key: args.key.clone(),
        ..Who::default()
    };
    match args.action {
        Some(action) => explain_access(args, &access, who, action, paint, out),
        None => {
            let mut text = Vec::new();
            input
                .take(INPUT_MAX)
                .read_to_end(&mut text)
                .map_err(|error| Failure::new(format!("cannot read: {error}")))?;
            explain_output(args, &access, &who, &text, paint, out)
        }
    }
}

/// An answer to a question of access.
#[derive(Serialize)]
struct AccessAnswer {
    decision: &'static str,
    reason: String,
    policies: Vec<String>,
    /// The rule that holds the command before it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
    break_glass: bool,
    notify: Vec<String>,
    considered: Vec<Review>,
    rules: Vec<RuleState>,
}

fn explain_access(
    args: &Explain,
    access: &Access,
    who: Who,
    action: Action,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let rules = access.rule_states(&args.target, &args.login, &who.groups);
    let asked = Asked {
        scene: Scene {
            user: who,
            target: args.target.clone(),
            login: args.login.clone(),
            action,
            at: args.at.unwrap_or_else(Timestamp::now),
            from: args.from,
        },
        command: args.command.clone().or_else(|| args.to.clone()),
        approved: args.approved,
        owner: args.owner.as_ref().map(|subject| Who {
            name: subject.clone(),
            subject: subject.clone(),
            groups: args.owner_groups.iter().cloned().collect(),
            ..Who::default()
        }),
        rule: args.rule.clone(),
    };
    let (decided, considered) = asked.decide(access).map_err(Failure::new)?;
    let held_by = (decided.what == Expect::Hold).then(|| decided.by.join(", "));
    let answer = AccessAnswer {
        decision: decided.what.name(),
        reason: match decided.what {
            Expect::Hold => "permitted".to_owned(),
            Expect::Allow | Expect::Deny => decided.reason,
        },
        policies: decided.policies,
        held_by,
        break_glass: decided.break_glass,
        notify: decided.notify,
        considered,
        rules,
    };
    if args.is_for_programs(paint) {
        return json(&answer, out);
    }
    let verdict = match answer.decision {
        "deny" => paint.bad("denied"),
        "hold" => paint.found("allowed, once the command is approved"),
        _ => paint.good("allowed"),
    };
    writeln!(
        out,
        "{} on {}@{}: {verdict}, {}",
        action,
        shown(&args.login),
        shown(&args.target),
        shown(&answer.reason)
    )?;
    if let Some(rule) = &answer.held_by {
        writeln!(out, "  held by the rule {}", shown(rule))?;
    }
    if answer.break_glass {
        writeln!(out, "  marked as break-glass")?;
    }
    for review in &answer.considered {
        let place = paint.faint(&format!("({})", shown(&review.place)));
        writeln!(
            out,
            "  {} {} {place}: {}",
            review.effect,
            shown(&review.policy),
            review.outcome.text()
        )?;
        for line in review.condition.iter().flat_map(|text| text.lines()) {
            writeln!(out, "      {}", paint.faint(&shown(line)))?;
        }
    }
    if answer.considered.is_empty() {
        writeln!(
            out,
            "  no policy lets members of {} do this on this account",
            if args.groups.is_empty() {
                "no group".to_owned()
            } else {
                shown(&args.groups.join(", "))
            }
        )?;
    }
    print_rules(&answer.rules, paint, out)
}

fn print_rules(rules: &[RuleState], paint: Paint, out: &mut dyn Write) -> Result<(), Failure> {
    for rule in rules {
        let text = match &rule.standing {
            Standing::InForce => format!("in force: {}", shown(&rule.action)),
            Standing::Exempt { group } => format!(
                "lifted: the group {} is exempt ({})",
                shown(group),
                shown(&rule.action)
            ),
            Standing::Elsewhere => continue,
        };
        writeln!(out, "  rule {} {text}", paint.found(&shown(&rule.name)))?;
    }
    Ok(())
}

/// An answer to a question about an output.
#[derive(Serialize)]
struct OutputAnswer {
    outcome: &'static str,
    /// The rule that holds or refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    rules: Vec<RuleState>,
    values: Vec<Value>,
    coverage: Account,
}

#[derive(Serialize)]
struct Account {
    passed: u64,
    masked: u64,
    held: u64,
    unreadable: u64,
}

/// One value that was found.
#[derive(Serialize)]
struct Value {
    rule: String,
    action: String,
    field: String,
    /// How it was recognised.
    format: &'static str,
    line: usize,
    column: usize,
    offset: u64,
    length: u64,
    why: String,
    /// Less strict rules that found the same.
    also: Vec<String>,
    /// Rules that would have found the same, but for an exemption.
    lifted: Vec<String>,
    /// Whether it leaves as it is: only a lifted rule found it.
    clear: bool,
}

fn explain_output(
    args: &Explain,
    access: &Access,
    who: &Who,
    text: &[u8],
    paint: Paint,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let action = if args.pty {
        Action::Shell
    } else {
        Action::Exec
    };
    let groups = &who.groups;
    let failed = |error: scanner::RuleError| Failure::new(error);
    let rules = access
        .protection_of(&args.target, &args.login, groups, action, None)
        .map_err(failed)?
        .rules;
    let input = Bytes::copy_from_slice(text);
    let run = |rules: &Arc<scanner::Rules>| {
        trial::run(rules, args.pty, [(Stream::Stdout, input.clone())])
    };
    let trial = run(&rules);
    let states = access.rule_states(&args.target, &args.login, groups);
    let mut alone = Vec::new();
    for state in &states {
        if state.standing != Standing::Elsewhere
            && let Some(rules) = access.rule_alone(&state.name, action).map_err(failed)?
        {
            alone.push((state, run(&rules).found));
        }
    }
    let lossy = String::from_utf8_lossy(text);
    let values = values(&trial.found, &alone, access, &lossy);
    let answer = OutputAnswer {
        outcome: trial.outcome.name(),
        by: trial.outcome.rule().map(str::to_owned),
        rules: states,
        values,
        coverage: Account {
            passed: trial.coverage.passed,
            masked: trial.coverage.masked,
            held: trial.coverage.held,
            unreadable: trial.coverage.unreadable,
        },
    };
    if args.is_for_programs(paint) {
        return json(&answer, out);
    }
    print_output(&answer, &lossy, paint, out)
}

/// What rules alone find in the input, beside what they find together.
type Alone<'a> = [(&'a RuleState, Vec<trial::Found>)];

fn values(found: &[trial::Found], alone: &Alone<'_>, access: &Access, text: &str) -> Vec<Value> {
    let of = |one: &trial::Found, winner: Option<&str>| {
        let others = |lifted: bool| -> Vec<String> {
            alone
                .iter()
                .filter(|(state, found)| {
                    lifted == matches!(state.standing, Standing::Exempt { .. })
                        && Some(state.name.as_str()) != winner
                        && found.iter().any(|other| other.overlaps(one))
                })
                .map(|(state, _)| format!("{} ({})", state.name, state.action))
                .collect()
        };
        let state = alone.iter().find(|(state, _)| state.name == one.rule);
        let at = usize::try_from(one.bytes.start).unwrap_or(usize::MAX);
        let (line, column) = line_column(text, at);
        Value {
            rule: one.rule.clone(),
            action: state
                .map(|(state, _)| state.action.clone())
                .unwrap_or_default(),
            field: one.field.clone(),
            format: one.format,
            line,
            column,
            offset: one.bytes.start,
            length: one.bytes.end - one.bytes.start,
            why: access.why(&one.rule, &one.field, one.format),
            also: others(false),
            lifted: others(true),
            clear: winner.is_none(),
        }
    };
    let mut values: Vec<Value> = found.iter().map(|one| of(one, Some(&one.rule))).collect();
    for (state, theirs) in alone {
        if !matches!(state.standing, Standing::Exempt { .. }) {
            continue;
        }
        for one in theirs {
            let known = |value: &Value| value.offset == one.bytes.start;
            if !values.iter().any(known) && !found.iter().any(|other| other.overlaps(one)) {
                values.push(of(one, None));
            }
        }
    }
    values.sort_by_key(|value| value.offset);
    values
}

fn print_output(
    answer: &OutputAnswer,
    text: &str,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    write_marked(answer, text, paint, out)?;
    let by = answer
        .by
        .as_deref()
        .map_or_else(String::new, |rule| format!(" by {}", shown(rule)));
    let outcome = match answer.outcome {
        "passed" => paint.good("passed"),
        other => paint.bad(other),
    };
    let account = &answer.coverage;
    writeln!(
        out,
        "output {outcome}{by}; {} bytes passed, {} masked, {} held, {} unreadable",
        account.passed, account.masked, account.held, account.unreadable
    )?;
    for value in &answer.values {
        let what = if value.clear {
            paint.good("in the clear")
        } else {
            format!(
                "{} by {}",
                shown(&value.action),
                paint.found(&shown(&value.rule))
            )
        };
        writeln!(
            out,
            "  {}:{} ({} bytes at {}) {}: {what}",
            value.line,
            value.column,
            value.length,
            value.offset,
            shown(&value.field)
        )?;
        writeln!(out, "      {}", shown(&value.why))?;
        if !value.also.is_empty() {
            writeln!(
                out,
                "      also found by {}: of several rules the stricter wins, then the earlier",
                shown(&value.also.join(", "))
            )?;
        }
        if !value.lifted.is_empty() {
            writeln!(
                out,
                "      lifted by an exemption: {}",
                shown(&value.lifted.join(", "))
            )?;
        }
    }
    if answer.values.is_empty() {
        writeln!(out, "  no rule found anything")?;
    }
    print_rules(&answer.rules, paint, out)
}

/// The input with what was found in colours; only on a terminal, where it says something.
fn write_marked(
    answer: &OutputAnswer,
    text: &str,
    paint: Paint,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if paint != Paint::Colours {
        return Ok(());
    }
    let place = |offset: u64| {
        let mut at = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let mut from = 0;
    for value in &answer.values {
        let (start, end) = (
            place(value.offset).max(from),
            place(value.offset + value.length),
        );
        write!(out, "{}", shown(text.get(from..start).unwrap_or_default()))?;
        let marked = shown(text.get(start..end.max(start)).unwrap_or_default());
        write!(
            out,
            "{}",
            if value.clear {
                paint.good(&marked)
            } else {
                paint.with("7", &marked)
            }
        )?;
        from = end.max(start);
    }
    writeln!(out, "{}", shown(text.get(from..).unwrap_or_default()))?;
    Ok(())
}

fn json(answer: &impl Serialize, out: &mut dyn Write) -> Result<(), Failure> {
    serde_json::to_writer(&mut *out, answer).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// No more of an input is explained, in bytes.
const INPUT_MAX: u64 = 16 * 1024 * 1024;
