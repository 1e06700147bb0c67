//! What the documents show is what the program takes: every configuration is read, every command line
//! parsed, every message in them found in the program.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its preparation fails"
)]

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::Cli;
use crate::config::Config;

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

#[test]
fn every_command_of_ours_in_the_documents_is_one() {
    let mut seen = 0;
    for name in DOCUMENTS {
        let document = text(name);
        let in_blocks = ["sh", "console", ""].map(|language| blocks(&document, language));
        let lines = in_blocks.iter().flatten().flat_map(|block| block.lines());
        let quoted = document.split('`').skip(1).step_by(2);
        for line in lines.chain(quoted) {
            let line = line.split(" #").next().unwrap().trim();
            let words: Vec<&str> = line.split_whitespace().collect();
            // Shortened ones, and those that only name the program, say nothing to check.
            if words.first() != Some(&"bastion") || words.len() < 2 || line.contains('…') {
                continue;
            }
            let subcommand = words.get(1).unwrap();
            if words.len() == 2 && !subcommand.starts_with('-') {
                let named = Cli::try_parse_from(["bastion", subcommand, "--help"]);
                let kind = named.unwrap_err().kind();
                assert_eq!(kind, clap::error::ErrorKind::DisplayHelp, "{name}: {line}");
            } else if let Err(error) = Cli::try_parse_from(&words) {
                panic!("{name}: {line}\n{error}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 15, "{seen}");
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
