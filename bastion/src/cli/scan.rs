//! `bastion scan`: the scanner as a filter, under the rules of a policy folder.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use scanner::{Options, Raw, Rules, Scanner, Step, Stream};

use super::Failure;
use crate::access::{Action, rules_of_folder};

/// Arguments of `scan`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion scan --policy policies --target orders-db < customers.json
  psql -c 'table customers' | bastion scan --policy policies --target orders-db
  bastion scan --policy policies --target orders-db --pty < typescript
  bastion scan --policy policies --target orders-db --explain < customers.json > masked.json

Without --target every rule of the folder applies.

Exit status: 0 when everything was read, 65 when a rule refuses the output, 1 when the rules are
wrong or something cannot be read or written.")]
pub(super) struct Scan {
    /// The folder with protect.toml
    #[arg(long, value_name = "FOLDER")]
    policy: PathBuf,
    /// Apply the rules for this target
    #[arg(long)]
    target: Option<String>,
    /// Apply the rules for this account on the target
    #[arg(long, requires = "target")]
    login: Option<String>,
    /// A group of the person, which may be exempt from rules
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The input is what a terminal showed
    #[arg(long)]
    pty: bool,
    /// Say on standard error which rule covered which bytes, a line for each value
    #[arg(long)]
    explain: bool,
}

pub(super) fn run(
    args: &Scan,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let groups = args.groups.iter().cloned().collect();
    let action = if args.pty {
        Action::Shell
    } else {
        Action::Exec
    };
    let rules = rules_of_folder(
        &args.policy,
        args.target.as_deref(),
        args.login.as_deref(),
        &groups,
        action,
    )
    .map_err(Failure::problems)?;
    let mut scanner = Scanner::new(rules.clone(), Options { pty: args.pty });
    loop {
        let chunk = match input.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::new(format!("cannot read: {error}"))),
        };
        let length = chunk.len();
        if length == 0 {
            scanner.end();
            let done = perform(&mut scanner, &rules, args.pty, out);
            explain(args, &mut scanner, &rules)?;
            return done;
        }
        scanner.feed(
            Stream::Stdout,
            Raw::new(bytes::Bytes::copy_from_slice(chunk)),
        );
        input.consume(length);
        let done = perform(&mut scanner, &rules, args.pty, out);
        explain(args, &mut scanner, &rules)?;
        done?;
    }
}

/// A line for each value that a rule covered: `rule field format at OFFSET+LENGTH, line N`.
fn explain(args: &Scan, scanner: &mut Scanner, rules: &Rules) -> io::Result<()> {
    if !args.explain {
        return Ok(());
    }
    let mut errors = io::stderr().lock();
    for v in scanner.take_verdicts() {
        let rule = rules.rule_name(v.rule).unwrap_or("?");
        writeln!(
            errors,
            "{rule} {} {} at {}+{}, line {}",
            v.field,
            v.format,
            v.offset,
            v.length,
            v.row + 1
        )?;
    }
    Ok(())
}

/// Writes what may leave; ends with the status of a refusal where there is one.
fn perform(
    scanner: &mut Scanner,
    rules: &Rules,
    pty: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    while let Some(step) = scanner.next_step() {
        let (rule, field) = match step {
            Step::Pass { bytes, .. } => {
                out.write_all(bytes.as_bytes())?;
                continue;
            }
            Step::Refuse { rule, field } => (rule, field),
            // Such a value is replaced where it stands, and the terminal goes on.
            Step::Hold { field, .. } if pty && !matches!(&*field, "output" | "unreadable") => {
                continue;
            }
            Step::Hold { rule, field } => (Some(rule), field),
            // It follows the hold, at which this ended.
            Step::Held { .. } | Step::Sealed { .. } => continue,
        };
        out.flush()?;
        let rule = rule
            .and_then(|rule| rules.rule_name(rule))
            .unwrap_or("unreadable");
        return Err(Failure::refused(format!(
            "output refused by the rule {rule} ({field})"
        )));
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        reason = "a test stops where its preparation fails"
    )]

    use std::fs;

    use crate::cli::tests::bastion_with_input;

    const RULES: &str = "[[rule]]\nname = \"pii\"\ntargets = [\"orders-*\"]\nfields = [\"ssn\"]\naction = { mask = \"redact\" }\nexempt = [\"privacy\"]\n\
                         [[rule]]\nname = \"pay\"\ntargets = [\"pay\"]\nfields = [\"salary\"]\naction = \"refuse\"\n";

    fn scan(args: &[&str], input: &str) -> (Option<u8>, String) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("protect.toml"), RULES).unwrap();
        let mut all = vec!["scan", "--policy", folder.path().to_str().unwrap()];
        all.extend(args);
        bastion_with_input(&all, input.as_bytes())
    }

    #[test]
    fn values_are_masked_and_the_rest_passes() {
        let input = "{\"ssn\": \"078-05-1120\", \"city\": \"Rome\"}\n";
        for (args, masked) in [
            (&["--target", "orders-db"][..], true),
            (&[], true),
            (&["--target", "web"], false),
            (&["--target", "orders-db", "--group", "privacy"], false),
        ] {
            let (status, seen) = scan(args, input);
            assert_eq!(status, None);
            assert_eq!(seen.contains("078-05"), !masked, "{args:?} {seen}");
            assert!(seen.contains("Rome"));
        }
    }

    #[test]
    fn what_was_covered_is_explained() {
        let (status, seen) = scan(
            &["--target", "orders-db", "--explain"],
            "{\"ssn\": \"078-05-1120\"}\n",
        );
        assert_eq!((status, seen.as_str()), (None, "{\"ssn\": \"***\"}\n"));
    }

    #[test]
    fn a_refusal_ends_with_65() {
        let (status, seen) = scan(
            &["--target", "pay"],
            "{\"name\": \"Ann\"}\n{\"salary\": 777000}\n{\"x\": 1}\n",
        );
        assert_eq!(status, Some(65));
        assert!(
            !seen.contains("777000") && !seen.contains("\"x\""),
            "{seen}"
        );
    }

    #[test]
    fn a_folder_without_rules_is_named() {
        let (status, _) = bastion_with_input(&["scan", "--policy", "/nonexistent"], b"x");
        assert_eq!(status, Some(1));
    }
}
