//! `bastion check`: everything that `serve` would read, and every mistake in it.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::Failure;
use crate::access::{Access, Pattern, StableKey};
use crate::config::{Config, Problem, Problems, Webhook, nearest, read_text};
use crate::notify::{Hooks, Kind, Wants};
use crate::store::SealKey;
use crate::target::{HostCa, Inventory, Secret, UserCa, read_private_key};

/// Arguments of `check`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  bastion check --config /etc/bastion/bastion.toml
  bastion check --json | jq -r '.problems[] | \"\\(.file):\\(.line): \\(.message)\"'

Exit status: 0 when everything is right, 1 when something is wrong.")]
pub(super) struct Check {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    config: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Check, out: &mut dyn Write) -> Result<(), Failure> {
    let found = check(&args.config);
    if args.json {
        let problems = found
            .as_ref()
            .err()
            .map(|problems| problems.iter().collect())
            .unwrap_or_default();
        serde_json::to_writer(
            &mut *out,
            &Report {
                ok: found.is_ok(),
                problems,
                warnings: found.as_ref().map_or(&[][..], |loaded| &loaded.warnings),
            },
        )
        .map_err(std::io::Error::from)?;
        writeln!(out)?;
        return found.map(drop).map_err(|_| Failure::silent());
    }
    let loaded = found.map_err(Failure::problems)?;
    writeln!(
        out,
        "{}: ok, {} targets with {} logins",
        crate::config::printable(&args.config.display().to_string()),
        loaded.inventory.len(),
        loaded
            .inventory
            .iter()
            .map(|target| target.logins().len())
            .sum::<usize>(),
    )?;
    for warning in &loaded.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    problems: Vec<&'a Problem>,
    /// What is right and still worth a thought.
    warnings: &'a [String],
}

/// What was read.
pub(super) struct Loaded {
    pub(super) inventory: Arc<Inventory>,
    /// What is right and still worth a thought, a line each.
    pub(super) warnings: Vec<String>,
}

/// Reads everything that the configuration names; goes on after a mistake where it can.
pub(super) fn check(path: &Path) -> Result<Loaded, Problems> {
    let config = Config::load(path)?;
    let mut problems = Vec::new();
    for key in &config.host_keys {
        if let Err(error) = read_private_key(key) {
            problems.push(
                Problem::of_file(key, error.to_string())
                    .hint("make one with ssh-keygen -t ed25519 -N '' -f FILE"),
            );
        }
    }
    let user_ca = config
        .user_ca
        .as_ref()
        .and_then(|path| match UserCa::load(path) {
            Ok(user_ca) => Some(user_ca),
            Err(error) => {
                problems.push(Problem::of_file(path, error.to_string()));
                None
            }
        });
    if let Some(file) = &config.host_ca
        && let Err(error) = HostCa::load(file)
    {
        problems.push(Problem::of_file(file, error.to_string()));
    }
    if let Some(file) = &config.store_key
        && let Err(error) = SealKey::load(file)
    {
        problems.push(Problem::of_file(file, error.to_string()));
    }
    if let Some(file) = &config.oidc.client_secret_file
        && let Err(error) = Secret::read(file)
    {
        problems.push(Problem::of_file(file, error.to_string()));
    }
    if let Some(file) = &config.oidc.ca_file {
        match read_text(file, CA_MAX) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => {}
            Ok(_) => problems.push(Problem::of_file(
                file,
                "there is no certificate in PEM format in it",
            )),
            Err(error) => problems.push(Problem::of_file(file, error.to_string())),
        }
    }
    for sink in &config.forward.sinks {
        if let Err(error) = crate::forward::check(sink) {
            let message = format!("the sink {}: {error}", sink.name);
            problems.push(Problem::of_file(path, message));
        }
    }
    if let Err(found) = Hooks::open(&config.notify, &config.webhooks) {
        problems.extend(found);
    }
    for folder in [&config.state_dir, &config.recording.dir] {
        problems.extend(check_folder(folder));
    }
    // Without its CA every login by certificate would be reported, for one reason.
    let ca_is_broken = config.user_ca.is_some() && user_ca.is_none();
    let inventory = if ca_is_broken {
        None
    } else {
        load_inventory(&config, user_ca.as_ref(), &mut problems)
    };
    let mut warnings = Vec::new();
    if let Some(inventory) = &inventory {
        problems.extend(check_names(&config, inventory));
        match Access::load(
            &config.policies,
            Arc::clone(inventory),
            StableKey::File(&config.masks_key),
        ) {
            Ok(access) => {
                problems.extend(check_webhooks(path, &config.webhooks, &access));
                warnings.extend(warn_unrecorded(&access));
            }
            Err(found) => problems.extend(found),
        }
    }
    match (Problems::new(problems), inventory) {
        (None, Some(inventory)) => Ok(Loaded {
            inventory,
            warnings,
        }),
        (Some(problems), _) => Err(problems),
        (None, None) => Err(Problem::of_file(path, "cannot be loaded").into()),
    }
}

/// Where sessions go on unrecorded.
fn warn_unrecorded(access: &Access) -> Option<String> {
    let mut names: Vec<&str> = access.best_effort().collect();
    names.sort_unstable();
    let shown = names.iter().take(NAMED).copied().collect::<Vec<_>>();
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!names.is_empty()).then(|| {
        format!(
            "sessions on {}{more} go on unrecorded where the recorder fails ([recording] best_effort in protect.toml): who can stop it, or fill its disk, which a session that prints enough can, is not recorded there",
            shown.join(", ")
        )
    })
}

/// What webhooks name that is not there, and what is marked for none of them.
fn check_webhooks(path: &Path, webhooks: &[Webhook], access: &Access) -> Vec<Problem> {
    let (approvers, channels) = access.named();
    let targets: BTreeSet<String> = access
        .inventory()
        .iter()
        .map(|target| target.name().to_owned())
        .collect();
    let mut problems = Vec::new();
    for Webhook { name, wants, .. } in webhooks {
        let mut missing = |key: &str, word: &str, what: &str, known: &BTreeSet<String>| {
            let message = format!("webhook \"{name}\": `{key}` names \"{word}\", {what}");
            let hint = match nearest(word, known.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("correct it, or leave out `{key}`"),
            };
            problems.push(Problem::of_file(path, message).hint(hint));
        };
        for word in wants.approvers.difference(&approvers) {
            missing("approvers", word, "which decides on nothing", &approvers);
        }
        for word in wants.channels.difference(&channels) {
            missing("channels", word, "which no @notify has", &channels);
        }
        for word in &wants.targets {
            let pattern = Pattern::new(word);
            if !targets.iter().any(|target| pattern.matches(target)) {
                missing("targets", word, "which no target meets", &targets);
            }
        }
    }
    let hears = |wants: &Wants, channel: &String| {
        (wants.events.is_empty() || wants.events.contains(&Kind::SessionMarked))
            && (wants.channels.is_empty() || wants.channels.contains(channel))
    };
    // Who has no webhooks reads the audit log.
    let unheard = channels.iter().filter(|channel| {
        !webhooks.is_empty()
            && !webhooks
                .iter()
                .any(|webhook| hears(&webhook.wants, channel))
    });
    problems.extend(unheard.map(|channel| {
        Problem::of_file(path, format!("no webhook hears of @notify(\"{channel}\")"))
            .hint("add it to `channels` of one that is told of session.marked")
    }));
    problems
}

/// Names that the configuration's own limits keep everybody from typing.
fn check_names(config: &Config, inventory: &Inventory) -> Vec<Problem> {
    let limits = &config.limits;
    let mut problems = Vec::new();
    let mut too_long = |what: String, name: &str, key: &str, most: usize| {
        if name.len() > most {
            let message = format!("{what} has {} bytes: nobody reaches it", name.len());
            let hint = format!("`limits.{key}` is {most}; raise it, or choose a shorter name");
            problems.push(Problem::of_file(&config.targets, message).hint(hint));
        }
    };
    for target in inventory.iter() {
        let name = target.name();
        let most = limits.target_name;
        too_long(
            format!("the name of target \"{name}\""),
            name,
            "target_name",
            most,
        );
        for login in target.logins() {
            let what = format!("the name of login \"{}\" on \"{name}\"", login.name());
            too_long(what, login.name(), "login_name", limits.login_name);
        }
    }
    problems
}

fn load_inventory(
    config: &Config,
    user_ca: Option<&UserCa>,
    problems: &mut Vec<Problem>,
) -> Option<Arc<Inventory>> {
    match Inventory::load(&config.targets, user_ca) {
        Ok(inventory) => Some(Arc::new(inventory)),
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

/// A folder that others can read would give away what is in it; one that is missing is made.
fn check_folder(path: &Path) -> Option<Problem> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.metadata().ok()?;
    if !metadata.is_dir() {
        return Some(Problem::of_file(path, "is not a folder"));
    }
    let mode = metadata.mode() & 0o7777;
    (mode & 0o077 != 0).then(|| {
        Problem::of_file(
            path,
            format!("has mode {mode:04o}: others can look into it"),
        )
        .hint("run chmod 700 on it")
    })
}

/// A bundle of all public authorities has a quarter of this.
const CA_MAX: u64 = 1024 * 1024;
/// Targets that a warning names.
const NAMED: usize = 20;

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a test stops where its preparation fails"
    )]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use crate::cli::tests::{Folder, bastion};

    /// What `check` says about a folder that was right before `change`.
    fn found(change: impl FnOnce(&Folder)) -> String {
        let folder = Folder::init();
        change(&folder);
        let error = bastion(&["check", "--config", &folder.path("bastion.toml")]).unwrap_err();
        error.replace(&folder.path(""), "")
    }

    fn append(folder: &Folder, name: &str, text: &str) {
        let path = folder.path(name);
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{before}{text}")).unwrap();
    }

    #[test]
    fn each_room_reports_its_mistakes() {
        let set_mode = |folder: &Folder, name: &str, mode| {
            fs::set_permissions(folder.path(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        for (change, wanted) in [
            (
                Box::new(|folder: &Folder| append(folder, "bastion.toml", "lisen = \"1s\"\n"))
                    as Box<dyn FnOnce(&Folder)>,
                "unknown key `metrics.lisen` (did you mean `metrics.listen`?)",
            ),
            (
                Box::new(move |folder| set_mode(folder, "keys/ssh_host_ed25519_key", 0o644)),
                "ssh_host_ed25519_key has mode 0644",
            ),
            (
                Box::new(move |folder| set_mode(folder, "keys/user_ca", 0o660)),
                "user_ca has mode 0660",
            ),
            (
                Box::new(move |folder| set_mode(folder, "recordings", 0o755)),
                "recordings: has mode 0755",
            ),
            (
                Box::new(|folder| fs::remove_file(folder.path("keys/user_ca")).unwrap()),
                "cannot read",
            ),
            (
                Box::new(|folder| fs::write(folder.path("keys/user_ca"), "x").unwrap()),
                "is not a private key in OpenSSH or PEM format",
            ),
            (
                Box::new(|folder| fs::write(folder.path("keys/host_ca"), "x").unwrap()),
                "host_ca is not a private key in OpenSSH or PEM format",
            ),
            (
                Box::new(|folder| append(folder, "targets.toml", "[[target]]\n")),
                "the key `target[0].name` is missing",
            ),
            (
                Box::new(|folder| append(folder, "policies/access.cedar", "permit (")),
                "policies/access.cedar:",
            ),
            (
                Box::new(|folder| append(folder, "policies/protect.toml", "[[rule]]\n")),
                "the key `rule[0].name` is missing",
            ),
            (
                Box::new(|folder| {
                    let rule = "[[rule]]\nname = \"a\"\ntargets = [\"*\"]\nfields = [\"ssn\"]\naction = { mask = \"token\", stable = true }\n";
                    append(folder, "policies/protect.toml", rule);
                }),
                "(masks.key_file), or leave out stable",
            ),
            (
                Box::new(|folder| {
                    let hook = "[[webhook]]\nname = \"a\"\nurl = \"https://h\"\nsecret_file = \"keys/user_ca\"\n";
                    append(folder, "bastion.toml", hook);
                }),
                "keys/user_ca: holds a line that is not whsec_ and 24 to 64 bytes in base64 (echo whsec_",
            ),
            (
                Box::new(|folder| fs::remove_file(folder.path("policies/protect.toml")).unwrap()),
                "an empty file says that nothing is protected",
            ),
        ] {
            let found = found(change);
            assert!(found.contains(wanted), "{wanted} is not in\n{found}");
        }
    }

    #[test]
    fn what_webhooks_name_is_there() {
        let targets = "[[target]]\nname = \"orders-db\"\naddress = \"127.0.0.1:22\"\nlabels = [\"production\"]\nhost_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti\"]\n[[target.login]]\nname = \"postgres\"\ncertificate = true\n";
        let access = "@notify(\"security\") permit (principal in Group::\"staff\", action == Action::\"exec\", resource);\n\
            @approvers(\"leads\") permit (principal in Group::\"staff\", action == Action::\"request\", resource);\n\
            permit (principal in Group::\"leads\", action == Action::\"approve\", resource);\n";
        let of = |lines: &'static str| {
            let change = move |folder: &Folder| {
                append(folder, "targets.toml", targets);
                fs::write(folder.path("policies/access.cedar"), access).unwrap();
                let address = folder.path("keys/hook");
                fs::write(&address, "https://hooks.example.com/x\n").unwrap();
                fs::set_permissions(&address, PermissionsExt::from_mode(0o600)).unwrap();
                let hook = format!(
                    "[[webhook]]\nname = \"a\"\nformat = \"slack\"\nurl_file = \"keys/hook\"\n{lines}"
                );
                append(folder, "bastion.toml", &hook);
            };
            found(change)
        };
        for (lines, wanted) in [
            (
                "approvers = [\"laeds\"]\n",
                "\"laeds\", which decides on nothing (did you mean \"leads\"?)",
            ),
            (
                "targets = [\"oders-*\"]\n",
                "webhook \"a\": `targets` names \"oders-*\", which no target meets",
            ),
            (
                "channels = [\"secruity\"]\n",
                "which no @notify has (did you mean \"security\"?)",
            ),
            (
                "channels = [\"secruity\"]\n",
                "no webhook hears of @notify(\"security\") (add it",
            ),
            (
                "events = [\"hold.sealed\"]\n",
                "no webhook hears of @notify(\"security\")",
            ),
            ("channels = []\n", "`webhook[0].channels` is empty"),
        ] {
            let found = of(lines);
            assert!(found.contains(wanted), "{wanted} is not in\n{found}");
        }
    }

    /// What people read when something is wrong, word by word.
    #[test]
    fn messages_say_what_is_wrong_and_what_to_do() {
        let targets = "[[target]]\nname = \"orders-db\"\naddress = \"127.0.0.1:22\"\nlabels = [\"production\"]\nhost_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti\"]\n[[target.login]]\nname = \"postgres\"\ncertificate = true\n";
        let work =
            "permit (principal in Group::\"staff\", action == Action::\"exec\", resource);\n";
        let of = |cedar: &str, protect: &str| {
            found(|folder| {
                append(folder, "targets.toml", targets);
                fs::write(folder.path("policies/access.cedar"), cedar).unwrap();
                fs::write(folder.path("policies/protect.toml"), protect).unwrap();
            })
        };
        let mask = "action = { mask = \"redact\" }\n";
        let rule = |name: &str, lines: &str| format!("[[rule]]\nname = \"{name}\"\n{lines}");
        let all = "targets = [\"*\"]\n";
        let messages = [
                of(
                    "permit (principal in Group::\"staff\", action == Action::\"exce\", resource);\npermit (principal, action == Action::\"exec\", resource) when { context.command == \"x\" };\n@notfiy(\"x\") permit (principal, action, resource);\n",
                    &[
                        rule("a", &format!("targets = [\"oders-*\"]\nlogins = [\"root\"]\nfields = [\"ssn\"]\n{mask}")),
                        rule("b", &format!("{all}detect = [\"payment-crad\"]\n{mask}")),
                        rule("c", &format!("{all}feilds = [\"ssn\"]\n{mask}")),
                        rule("d", &format!("{all}fields = [\"--\"]\naction = {{ mask = \"stars\" }}\n")),
                        rule("e", &format!("{all}fields = [\"x\"]\naction = {{ hold = {{ approvers = \"\", count = 20, expires = \"soon\" }} }}\n")),
                    ]
                    .concat(),
                ),
                of("permit (principal, action, resource)", ""),
                of("forbid (principal, action, resource);", ""),
                of(
                    work,
                    &[
                        rule("first", &format!("{all}fields = [\"number\"]\n{mask}")),
                        rule("second", &format!("{all}fields = [\"card_number\"]\naction = {{ mask = \"last4\" }}\n")),
                    ]
                    .concat(),
                ),
                of(
                    "permit (principal in Group::\"staff\", action, resource in Label::\"producton\");\npermit (principal in Group::\"staff\", action == Action::\"shell\", resource == Account::\"root@orders-db\");\npermit (principal in Group::\"staff\", action == Action::\"shell\", resource in Target::\"order-db\");\n",
                    "",
                ),
                of(
                    "permit (principal in Group::\"staff\", action == Action::\"exec\", resource);\n@approvers(\"leads\") permit (principal in Group::\"staff\", action == Action::\"request\", resource);\n",
                    &format!("{}[unreadable]\nexec = \"hold\"\nhold = {{ approvers = \"leads\" }}\n", rule("a", &format!("{all}fields = [\"ssn\"]\n{mask}"))),
                ),
                of(
                    "permit (principal in Group::\"staff\", action in [Action::\"exec\", Action::\"approve\"], resource);\n",
                    &format!("{}[unreadable]\nexec = \"hold\"\nhold = {{ approvers = \"staff\" }}\n", rule("a", &format!("{all}fields = [\"ssn\"]\n{mask}"))),
                ),
                of(
                    "permit (principal in Group::\"staff\", action == Action::\"request\", resource);\n@approvers(\"staff\") permit (principal in Group::\"staff\", action == Action::\"request\", resource);\n@count(\"2\") permit (principal, action == Action::\"exec\", resource);\n",
                    "",
                ),
            ]
            .join("\n\n");
        // Each with its line, its column and what to do.
        for line in messages.lines().filter(|line| !line.is_empty()) {
            let place = line.split(": ").next().unwrap();
            assert_eq!(place.split(':').count(), 3, "{line}");
            assert!(line.contains(" (") && line.ends_with(')'), "{line}");
        }
        insta::assert_snapshot!(messages);
    }

    #[test]
    fn mistakes_of_several_files_are_reported_at_once() {
        let found = found(|folder| {
            append(folder, "targets.toml", "x = 1\n");
            fs::remove_file(folder.path("keys/ssh_host_ed25519_key")).unwrap();
        });
        assert!(
            found.contains("targets.toml:") && found.contains("ssh_host_ed25519_key"),
            "{found}"
        );
    }

    #[test]
    fn the_json_report_has_every_place() {
        let folder = Folder::init();
        append(&folder, "targets.toml", "x = 1\n");
        let lines = fs::read_to_string(folder.path("targets.toml"))
            .unwrap()
            .lines()
            .count();
        let (status, report) = crate::cli::tests::outcome(&[
            "check",
            "--json",
            "--config",
            &folder.path("bastion.toml"),
        ]);
        assert!(status.is_err());
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["ok"], false);
        assert_eq!(report["problems"][0]["line"], lines);
        assert_eq!(report["problems"][0]["column"], 1);
        assert_eq!(report["problems"][0]["message"], "unknown key `x`");
    }
}
