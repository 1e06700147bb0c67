//! What stands in `docs/policies.md` is parsed, and its walk is walked; what the pages of the shipped
//! folders quote stands there, and what they run says what they say.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where its preparation fails"
)]

use std::fs;
use std::path::Path;

use clap::Parser;

use crate::cli::Cli;
use crate::cli::tests::{bastion_with_input, outcome};

const DOCS: &str = include_str!("../../../../docs/policies.md");

/// The blocks: what stands behind the fence, and the text.
fn blocks(page: &'static str) -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => open = Some((info, String::new())),
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    blocks
}

/// The words of a command line; only single quotes are used.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (k, piece) in line.split('\'').enumerate() {
        if k % 2 == 1 {
            words.push(piece.to_owned());
        } else {
            words.extend(piece.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn every_block_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let mut seen = 0;
    for (info, text) in blocks(DOCS) {
        seen += 1;
        match info {
            "toml" => {
                write("access.cedar", "permit (principal, action, resource);");
                write("protect.toml", &text);
                crate::access::Draft::load(folder.path()).map(drop).unwrap();
            }
            "cedar" => {
                write("access.cedar", &text);
                write("protect.toml", "");
                crate::access::Draft::load(folder.path()).map(drop).unwrap();
            }
            "toml cases.test.toml" => {
                write("cases.test.toml", &text);
                super::cases::Suite::read(&folder.path().join("cases.test.toml")).unwrap();
            }
            "commands" => {
                for line in text.lines() {
                    assert!(Cli::try_parse_from(words(line)).is_ok(), "{line}");
                }
            }
            // The walk's.
            "console" | "text customers.txt" => {}
            file if file.starts_with("toml policies/") => {}
            other => panic!("nobody looks into {other}"),
        }
    }
    assert!(seen > 10, "only {seen} blocks");
}

/// A reader who types what stands there gets what stands there.
#[test]
fn the_walk_goes_as_it_says() {
    let place = tempfile::tempdir().unwrap();
    let home = place.path().join("bastion");
    let at = |name: &str| home.join(name).to_str().unwrap().to_owned();
    outcome(&[
        "init",
        home.to_str().unwrap(),
        "--issuer",
        "https://id.example.com",
    ])
    .0
    .unwrap();
    let mut targets = fs::read_to_string(at("targets.toml")).unwrap();
    targets.push_str(
        "[[target]]\nname = \"orders-db\"\naddress = \"127.0.0.1:22\"\nhost_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti\"]\n\
         [[target.login]]\nname = \"postgres\"\ncertificate = true\n",
    );
    fs::write(at("targets.toml"), targets).unwrap();
    // The cases of `init` are tested elsewhere, and would be most of the output.
    fs::remove_file(at("policies/starter.test.toml")).unwrap();
    fs::write(
        at("recordings/a.cast"),
        "{\"version\":3,\"term\":{\"cols\":80,\"rows\":24},\"bastion\":{\"user\":\"ana\",\"issuer\":\"https://id.example.com\",\"subject\":\"1\",\"target\":\"orders-db\",\"login\":\"postgres\",\"kind\":\"exec\",\"source\":\"10.0.0.7\",\"started\":\"2027-01-13T10:00:00Z\",\"signed_in\":{\"at\":\"2027-01-13T09:00:00Z\",\"groups\":[\"bastion-users\"]},\"crlf\":true}}\n[0.1,\"o\",\"ssn: 078-05-1120\\r\\n\"]\n",
    )
    .unwrap();
    let mut ran = 0;
    for (info, text) in blocks(DOCS) {
        if let Some((_, file)) = info
            .split_once(' ')
            .filter(|(_, file)| *file != "cases.test.toml")
        {
            fs::write(at(file), &text).unwrap();
        }
        if info == "console" {
            let (command, wanted) = text.split_once('\n').unwrap();
            let shown = run(command.strip_prefix("$ ").unwrap(), &home);
            let shown = shown.replace(&format!("{}/", home.display()), "");
            assert!(
                shown.starts_with(wanted),
                "{command}\ngave\n{shown}\nnot\n{wanted}"
            );
            ran += 1;
        }
    }
    assert!(ran >= 6, "only {ran} commands");
}

/// A page for each folder that ships.
const PAGES: [(&str, &str); 5] = [
    (
        "starter",
        include_str!("../../../../docs/policies/starter.md"),
    ),
    ("pii", include_str!("../../../../docs/policies/pii.md")),
    ("pci", include_str!("../../../../docs/policies/pci.md")),
    (
        "secrets",
        include_str!("../../../../docs/policies/secrets.md"),
    ),
    (
        "payroll",
        include_str!("../../../../docs/policies/payroll.md"),
    ),
];

#[test]
fn the_pages_of_the_shipped_policies_are_right() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let folders = fs::read_dir(&shipped).unwrap().filter(|entry| {
        let entry = entry.as_ref().unwrap();
        entry.file_type().unwrap().is_dir()
    });
    assert_eq!(folders.count(), PAGES.len(), "a folder has no page");
    for (name, page) in PAGES {
        let place = tempfile::tempdir().unwrap();
        let home = place.path();
        fs::create_dir(home.join("policies")).unwrap();
        for file in fs::read_dir(shipped.join(name)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), home.join("policies").join(file.file_name())).unwrap();
        }
        let mut ran = 0;
        for (info, text) in blocks(page) {
            match info.split_once(' ') {
                Some(("text", file)) | Some(("toml", file @ "targets.toml")) => {
                    fs::write(home.join(file), &text).unwrap();
                }
                Some((_, file)) => {
                    let whole = fs::read_to_string(shipped.join(name).join(file)).unwrap();
                    assert!(whole.contains(&text), "{name}/{file} does not say\n{text}");
                }
                None => {
                    assert_eq!(info, "console", "{name}");
                    let (command, wanted) = text.split_once('\n').unwrap();
                    let shown = run(command.strip_prefix("$ ").unwrap(), home);
                    let shown = shown.replace(&format!("{}/", home.display()), "");
                    // At the end of tests is how long they took.
                    assert!(
                        shown.starts_with(wanted),
                        "{name}: {command}\ngave\n{shown}\nnot\n{wanted}"
                    );
                    ran += 1;
                }
            }
        }
        assert!(ran >= 3, "{name}: only {ran} commands");
    }
}

/// What a command prints; names of the walk's files are those under `home`.
fn run(line: &str, home: &Path) -> String {
    let (line, input) = line.split_once(" < ").unwrap_or((line, ""));
    let input = if input.is_empty() {
        Vec::new()
    } else {
        fs::read(home.join(input)).unwrap()
    };
    let mut words = words(line);
    assert_eq!(words.remove(0), "bastion");
    if words.get(1).is_some_and(|word| word == "explain") {
        // What a terminal shows.
        words.push("--text".to_owned());
    }
    for word in &mut words {
        if ["policies", "recordings", "bastion.toml"].contains(&word.as_str())
            && home.join(&word).exists()
        {
            *word = home.join(&word).to_str().unwrap().to_owned();
        }
    }
    // The word of the command itself is no folder.
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    bastion_with_input(&words, &input).1
}
