//! What the documents show is what the program takes: every configuration is read, every command line
//! parsed, every message in them found in the program.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its preparation fails"
)]

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;

use super::Cli;
use crate::config::Config;

/// Those whose configurations are the bastion's own; policies are walked elsewhere (`cli::policy`).
const DOCUMENTS: [&str; 9] = [
    "README.md",
    "docs/audit.md",
    "docs/quickstart.md",
    "docs/operating.md",
    "docs/upgrade.md",
    "docs/troubleshooting.md",
    "docs/security.md",
    "docs/limits.md",
    "docs/webhooks.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The blocks of a language in a document, each with the line after its fence.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    document
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_configuration_in_the_documents_is_one() {
    let mut seen = 0;
    for name in DOCUMENTS {
        for block in blocks(&text(name), "toml") {
            // An example of a provider is the section alone, or more.
            if let Err(problems) = Config::parse(Path::new(name), &block) {
                panic!("{problems}\n{block}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 7, "{seen}");
}

/// The rules and policies of the pages that are about them; `docs/policies.md` is walked elsewhere.
#[test]
fn every_rule_and_policy_in_the_documents_is_one() {
    let folder = super::tests::Folder::init();
    let (mut targets, target) = (String::new(), |name: &str| {
        format!(
            "[[target]]\nname = \"{name}\"\naddress = \"127.0.0.1:22\"\nlabels = [\"production\"]\nhost_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti\"]\n[[target.login]]\nname = \"app\"\ncertificate = true\n"
        )
    });
    for name in ["payroll-1", "hr-1", "orders-1"] {
        targets.push_str(&target(name));
    }
    fs::write(folder.path("targets.toml"), targets).unwrap();
    let check = |file: &str, text: &str| {
        fs::write(folder.path(&format!("policies/{file}")), text).unwrap();
        let checked = super::tests::bastion(&["check", "--config", &folder.path("bastion.toml")]);
        if let Err(found) = checked {
            panic!("{found}\n{text}");
        }
    };
    let permit = |who: &str, action: &str| {
        format!("permit (principal in Group::\"{who}\", {action}, resource);\n")
    };
    let decide = "action == Action::\"approve\"";
    let access = [
        permit("staff", "action"),
        permit("payroll-approvers", decide),
        permit("orders-leads", decide),
    ];
    let mut seen = 0;
    check("access.cedar", &access.concat());
    for block in blocks(&text("docs/holds.md"), "toml") {
        check("protect.toml", &block);
        seen += 1;
    }
    fs::write(folder.path("policies/protect.toml"), "").unwrap();
    for block in blocks(&text("docs/requests.md"), "cedar") {
        check("access.cedar", &block);
        seen += 1;
    }
    assert!(seen >= 4, "{seen}");
}

/// Every page, with its name.
fn pages() -> Vec<(String, String)> {
    let mut pages = vec![("README.md".to_owned(), text("README.md"))];
    for folder in ["docs", "docs/policies"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                let path = format!("{folder}/{name}");
                pages.push((path.clone(), text(&path)));
            }
        }
    }
    pages.sort();
    pages
}

/// The lines of commands of `program` on a page, as words: those of blocks, and those in the text.
fn commands(page: &str, program: &str) -> Vec<Vec<String>> {
    let in_blocks = ["sh", "console", "commands", ""].map(|language| blocks(page, language));
    let lines = in_blocks.iter().flatten().flat_map(|block| block.lines());
    // Of what stands in the text, nothing is longer than its line.
    let quoted = page.split('`').skip(1).step_by(2);
    let quoted = quoted.filter(|quoted| !quoted.contains('\n'));
    let mut commands = Vec::new();
    for line in lines.chain(quoted) {
        let mut line = line.trim().trim_start_matches("$ ");
        // What the shell does with it, and what is said about it.
        for end in [" #", " | ", " > ", " >> ", " < ", " && ", "   "] {
            line = line.split(end).next().unwrap().trim();
        }
        // Shortened ones, and those that only name the program, say nothing to check.
        let mut words = line.split_whitespace();
        if words.next() == Some(program) && words.next().is_some() && !line.contains(['…', '|']) {
            commands.push(words_of(line));
        }
    }
    commands
}

/// The words of a line, in which some stand in quotes.
fn words_of(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == ' ' => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A command line that is taken, or the name of a command alone.
fn check(name: &str, words: &[String], command: &clap::Command) {
    let error = match command.clone().try_get_matches_from(words) {
        Err(error) if error.use_stderr() => error,
        _ => return,
    };
    let is_name = words
        .iter()
        .all(|word| !word.starts_with('-') && word == &word.to_lowercase());
    let help = words.iter().map(String::as_str).chain(["--help"]);
    let asked = command.clone().try_get_matches_from(help);
    let named = asked.is_err_and(|error| error.kind() == clap::error::ErrorKind::DisplayHelp);
    assert!(is_name && named, "{name}: {words:?}\n{error}");
}

#[test]
fn every_command_of_ours_in_the_documents_is_one() {
    let mut seen = 0;
    for (name, page) in pages() {
        for words in commands(&page, "bastion") {
            check(&name, &words, &Cli::command());
            seen += 1;
        }
    }
    assert!(seen >= 60, "{seen}");
}

#[test]
fn every_command_of_the_player_in_the_documents_is_one() {
    let mut seen = 0;
    for (name, page) in pages() {
        for words in commands(&page, "replay") {
            // What may be left out stands in brackets.
            let words: Vec<String> = words
                .iter()
                .map(|word| word.trim_matches(['[', ']']).replace("FORMAT", "svg"))
                .collect();
            check(&name, &words, &replay::cli::command());
            seen += 1;
        }
    }
    assert!(seen >= 25, "{seen}");
}

/// Whoever looks for a message finds the one that the program says.
#[test]
fn every_message_in_troubleshooting_is_said_somewhere() {
    let mut program = String::new();
    let mut folders = vec![root().join("bastion/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                program.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut seen = 0;
    for row in text("docs/troubleshooting.md").lines() {
        let Some(message) = row
            .strip_prefix("| `")
            .and_then(|row| row.split('`').next())
        else {
            continue;
        };
        // Placeholders stand where the program puts something in.
        for part in message
            .split(['…', 'N', 'M'])
            .flat_map(|part| part.split(", this"))
        {
            let part = part.trim_matches([' ', ',', ':']);
            if part.len() > 8 && message != part {
                let start = part.split(';').next().unwrap();
                assert!(program.contains(start.trim()), "nobody says: {part}");
            } else if message == part {
                assert!(program.contains(part), "nobody says: {part}");
            }
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

/// The page of the audit log has each event with its members, as the program writes them.
#[test]
fn every_event_is_in_the_page_with_its_members() {
    let source = include_str!("../audit.rs");
    let (_, body) = source.split_once("pub enum Event {\n").unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let mut events: Vec<(String, Vec<String>)> = Vec::new();
    for line in body.lines() {
        let indented = line.len() - line.trim_start().len();
        let line = line.trim();
        if line.starts_with(['/', '#', '}']) {
            continue;
        }
        match indented {
            4 => {
                let mut name = String::new();
                for char in line.chars().take_while(char::is_ascii_alphanumeric) {
                    if char.is_ascii_uppercase() && !name.is_empty() {
                        name.push('_');
                    }
                    name.push(char.to_ascii_lowercase());
                }
                events.push((name, Vec::new()));
            }
            8 => {
                let (member, kind) = line.split_once(": ").unwrap();
                let may_lack = if kind.starts_with("Option") { " ?" } else { "" };
                let (_, members) = events.last_mut().unwrap();
                members.push(format!("`{member}`{may_lack}"));
            }
            _ => panic!("{line} is understood by nobody"),
        }
    }
    assert!(!body.contains("rename"), "a name is not what it seems");
    assert!(events.len() > 30, "{}", events.len());
    let page = text("docs/audit.md");
    for (name, members) in &events {
        let members = match members.is_empty() {
            true => "–".to_owned(),
            false => members.join(", "),
        };
        let start = format!("| `{name}` | ");
        let row = page.lines().find(|row| row.starts_with(&start));
        let wanted = format!("{start}WHEN | {members} |");
        let row = row.unwrap_or_else(|| {
            panic!("a new event needs its row in the table of docs/audit.md: {wanted}")
        });
        assert!(
            row.ends_with(&format!(" | {members} |")),
            "the row of docs/audit.md has to be {wanted}, and is\n{row}"
        );
    }
    let own = include_str!("../recorder/audit.rs");
    let own = own.split_once("const OWN_EVENTS: ").map(|(_, rest)| rest);
    let (list, _) = own.unwrap().split_once("];").unwrap();
    for name in list.split('"').skip(1).step_by(2) {
        assert!(
            page.contains(&format!("| `{name}` | ")),
            "an event of the recorder's own needs its row in the second table of docs/audit.md: {name}"
        );
    }
}

/// A test that a document names as a proof exists.
#[test]
fn every_test_that_security_names_exists() {
    let document = text("docs/security.md");
    let rows = document.lines().filter(|line| line.starts_with("| "));
    let mut seen = 0;
    for row in rows {
        let Some(cell) = row.trim_end_matches(" |").rsplit('|').next() else {
            continue;
        };
        for name in cell.split('`').skip(1).step_by(2) {
            let parts: Vec<&str> = name.split("::").collect();
            let file = match *parts.as_slice() {
                ["login_idp", file, _] => format!("bastion/tests/login_idp/{file}.rs"),
                ["store", "tests", ..] => "bastion/src/store/tests.rs".to_owned(),
                ["store", "seal", "tests"] => "bastion/src/store/seal.rs".to_owned(),
                ["recorder", "link", "tests", ..] => "bastion/src/recorder/link.rs".to_owned(),
                ["bastion", "forward", _] => "bastion/tests/forward.rs".to_owned(),
                ["login", "token", "tests"] => "bastion/src/login/token/tests.rs".to_owned(),
                [file, ..] => format!("tests/e2e/{file}.rs"),
                [] => continue,
            };
            let source = text(&file);
            let last = parts.last().unwrap();
            if *last != "tests" && parts.len() > 1 {
                assert!(source.contains(&format!("fn {last}(")), "no test {name}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// A package whose list names what is not there is not built, and what the list forgets is missed later.
#[test]
fn the_package_has_every_policy_and_document() {
    let manifest: toml::Table = toml::from_str(&text("bastion/Cargo.toml")).unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].clone();
    let assets: Vec<Vec<String>> = assets.try_into().unwrap();
    let packed: Vec<PathBuf> = assets
        .iter()
        .map(|asset| Path::new(env!("CARGO_MANIFEST_DIR")).join(&asset[0]))
        .filter(|path| !path.starts_with(root().join("target-package")))
        .collect();
    for path in &packed {
        let is_there = match path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .strip_prefix('*')
        {
            Some(end) => fs::read_dir(path.parent().unwrap())
                .is_ok_and(|mut all| all.any(|entry| named(&entry.unwrap(), end))),
            None => path.exists(),
        };
        assert!(is_there, "{} is not there", path.display());
    }
    for folder in ["policies", "docs"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let found = packed.iter().any(|asset| match path.is_dir() {
                true => asset.parent().unwrap() == path,
                false => asset == &path || asset.parent() == path.parent(),
            });
            assert!(found, "{} is not in the package", path.display());
        }
    }
}

fn named(entry: &fs::DirEntry, end: &str) -> bool {
    entry.file_name().to_str().unwrap().ends_with(end)
}
