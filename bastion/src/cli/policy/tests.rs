#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where its preparation fails"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use recording::event::{Header, Stream};
use recording::write::{Ending, Newlines, Presses, Settings, Writer};
use serde_json::Value;

use crate::cli::tests::{bastion_with_input, outcome};

const CEDAR: &str = r#"@id("staff-work")
permit (principal in Group::"staff", action in [Action::"shell", Action::"exec"], resource)
when { context.sign_in_age <= duration("1h") };
@id("no-root")
forbid (principal, action, resource) when { resource is Account && resource.login == "root" };
@id("glass") @break_glass @notify("security")
permit (principal in Group::"on-call", action == Action::"shell", resource);
"#;

const PROTECT: &str = r#"[[rule]]
name    = "identity"
targets = ["orders-*"]
fields  = [{ name = "ssn", aliases = ["tax_id"] }]
detect  = ["us-ssn"]
action  = { mask = "last4" }
exempt  = ["privacy"]

[[rule]]
name    = "numbers"
targets = ["*"]
fields  = ["ssn", "phone"]
action  = { mask = "redact" }

[[rule]]
name    = "pay"
targets = ["pay"]
fields  = ["salary"]
action  = { hold = { approvers = "leads", count = 2 } }

[[rule]]
name     = "dumps"
targets  = ["orders-*"]
commands = ["*pg_dump*"]
action   = { hold = { approvers = "leads" } }

[[rule]]
name    = "keys"
targets = ["*"]
detect  = ["private-key"]
action  = "refuse"
"#;

const TARGETS: &str = r#"[[target]]
name = "orders-db"
labels = ["prod"]
logins = ["postgres", "root"]
[[target]]
name = "pay"
logins = ["app"]
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(cases: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("access.cedar", CEDAR),
            ("protect.toml", PROTECT),
            ("cases.test.toml", &format!("{TARGETS}{cases}")),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self) -> &str {
        self.path().to_str().unwrap()
    }
}

/// The status of `policy test`, and what it prints without the time and the folder.
fn test(folder: &Folder) -> (bool, String) {
    let (status, printed) = outcome(&["policy", "test", folder.text()]);
    let printed = printed.replace(folder.text(), "DIR");
    let (lines, summary) = printed.rsplit_once("\n\n").unwrap_or(("", &printed));
    let summary = summary.split(" in ").next().unwrap_or_default();
    (status.is_ok(), format!("{lines}\n\n{summary}\n"))
}

/// Everything that ships is tested with what ships.
#[test]
fn the_shipped_policies_pass_their_cases() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut folders: Vec<PathBuf> = fs::read_dir(shipped)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() >= 5, "{folders:?}");
    for folder in folders {
        let (status, printed) = outcome(&["policy", "test", folder.to_str().unwrap()]);
        assert!(status.is_ok(), "{printed}\n{status:?}");
        assert!(
            printed.lines().filter(|line| line.contains(" ok ")).count() >= 5,
            "{printed}"
        );
    }
}

#[test]
fn cases_pass_and_fail_with_their_reasons() {
    let folder = Folder::with(
        r#"
[[access]]
name = "staff work"
user = { groups = ["staff"] }
target = "orders-db"
login = "postgres"
action = "shell"
expect = "allow"
by = ["staff-work"]
[[access]]
name = "wrong: staff do not work"
user = { groups = ["staff"] }
target = "orders-db"
login = "postgres"
action = "shell"
expect = "deny"
[[access]]
name = "wrong: by another policy"
user = { groups = ["staff"] }
target = "orders-db"
login = "root"
action = "shell"
expect = "deny"
by = ["staff-work"]
[[access]]
name = "a dump waits"
user = { groups = ["staff"] }
target = "orders-db"
login = "postgres"
action = "exec"
command = "pg_dump orders"
expect = "hold"
by = ["dumps"]
[[access]]
name = "an emergency is marked"
user = { groups = ["on-call"] }
target = "orders-db"
login = "postgres"
action = "shell"
expect = "allow"
break_glass = true
[[access]]
name = "nobody decides on their own"
user = { name = "ana", groups = ["leads"] }
owner = { name = "ana" }
target = "pay"
login = "app"
action = "approve"
rule = "pay"
expect = "deny"
[[content]]
name = "masked"
target = "orders-db"
login = "postgres"
input = "{\"tax_id\": \"078-05-1120\", \"phone\": \"12\"}\n"
output = "{\"tax_id\": \"***-**-1120\", \"phone\": \"***\"}\n"
verdicts = ["identity:tax_id", "numbers:phone"]
[[content]]
name = "wrong: the output"
target = "orders-db"
login = "postgres"
input = "a\nssn: 078-05-1120\nb\n"
output = "a\nssn: 078-05-1120\nb\n"
[[content]]
name = "held before the record"
target = "pay"
login = "app"
input = "{\"name\": \"Ann\"}\n{\"salary\": 777000}\n"
output = "{\"name\": \"Ann\"}\n"
held = "{\"salary\": 777000}\n"
outcome = "held"
by = "pay"
[[content]]
name = "wrong: refused, not passed"
target = "pay"
login = "app"
input = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n-----END PRIVATE KEY-----\n"
output = ""
"#,
    );
    let (fine, printed) = test(&folder);
    assert!(!fine);
    insta::assert_snapshot!(printed);
}

/// A misspelled target would be refused, and `expect = "deny"` would be right by accident.
#[test]
fn cases_are_about_accounts_that_exist() {
    let folder = Folder::with(
        r#"
[[access]]
name = "wrong: the target"
target = "oders-db"
login = "postgres"
action = "exec"
expect = "deny"
[[access]]
name = "wrong: the login"
target = "orders-db"
login = "postgers"
action = "exec"
expect = "deny"
[[content]]
name = "wrong: the target of an output"
target = "pya"
login = "app"
input = "1"
output = "1"
"#,
    );
    let (fine, printed) = test(&folder);
    assert!(!fine);
    for reason in [
        "there is no target \"oders-db\"",
        "the target \"orders-db\" has no login \"postgers\"",
        "there is no target \"pya\"",
        "0 passed, 3 failed",
    ] {
        assert!(printed.contains(reason), "{reason} is not in\n{printed}");
    }
}

/// Each action goes by its own door: a lock is no reading of the audit log.
#[test]
fn cases_ask_for_every_action() {
    let folder = Folder::with("");
    fs::write(
        folder.path().join("access.cedar"),
        r#"@id("lock-users") permit (principal in Group::"security", action == Action::"lock", resource) when { resource is User };
@id("lock-prod") permit (principal in Group::"ops", action == Action::"lock", resource in Label::"prod");
@id("audit") permit (principal in Group::"auditors", action == Action::"audit", resource);
@id("play") permit (principal in Group::"auditors", action == Action::"play", resource);
@id("decide") permit (principal in Group::"leads", action in [Action::"approve", Action::"show_payload"], resource);
@id("ask") @approvers("leads") permit (principal in Group::"staff", action == Action::"request", resource);
"#,
    )
    .unwrap();
    let case = |group: &str, target: &str, action: &str, more: &str, expect: &str, by: &str| {
        let login = if target == "pay" { "app" } else { "postgres" };
        let by = if by.is_empty() {
            String::new()
        } else {
            format!("by = [\"{by}\"]\n")
        };
        format!(
            "[[access]]\nname = \"{group} {action} {target} {more}\"\nuser = {{ name = \"ana\", groups = [\"{group}\"] }}\ntarget = \"{target}\"\nlogin = \"{login}\"\naction = \"{action}\"\nexpect = \"{expect}\"\n{by}{more}\n"
        )
        .replacen(&format!(" {more}\"\nuser"), "\"\nuser", 1)
    };
    let bob = "owner = { name = \"bob\", groups = [\"staff\"] }";
    let held = &format!("{bob}\nrule = \"pay\"");
    let cases = [
        case("ops", "orders-db", "lock", "", "allow", "lock-prod"),
        case("ops", "pay", "lock", "", "deny", ""),
        case("ops", "orders-db", "lock", bob, "deny", ""),
        case("security", "pay", "lock", bob, "allow", "lock-users"),
        case("auditors", "pay", "lock", "", "deny", ""),
        case("auditors", "pay", "audit", "", "allow", "audit"),
        case("auditors", "pay", "play", bob, "allow", "play"),
        case("auditors", "pay", "watch", bob, "deny", ""),
        case("leads", "pay", "approve", held, "allow", "decide"),
        case("leads", "pay", "show_payload", held, "allow", "decide"),
        case("leads", "pay", "approve", bob, "allow", "decide"),
        case("staff", "pay", "request", "", "allow", "ask"),
        case("staff", "pay", "approve", held, "deny", ""),
    ];
    let count = cases.len();
    fs::write(
        folder.path().join("cases.test.toml"),
        format!("{TARGETS}{}", cases.concat()),
    )
    .unwrap();
    let (fine, printed) = test(&folder);
    assert!(fine, "{printed}");
    assert!(
        printed.contains(&format!("{count} passed, 0 failed")),
        "{printed}"
    );

    // The same is explained.
    let on = ["--target", "pay", "--login", "app", "--user", "ana"];
    let ask = |more: &[&str]| explain(&folder, &[&on, more].concat(), "");
    let approve = ["--action", "approve", "--rule", "pay", "--group", "leads"];
    let explained = ask(&[&approve[..], &["--owner", "bob"]].concat());
    assert!(
        explained.starts_with("approve on app@pay: allowed, permitted\n  permit decide "),
        "{explained}"
    );
    let explained = ask(&[&approve[..], &["--owner", "ana"]].concat());
    assert!(
        explained.starts_with("approve on app@pay: denied, it is the producer's own\n"),
        "{explained}"
    );
    let request = ["--action", "approve", "--group", "leads", "--owner", "bob"];
    let explained = ask(&[&request[..], &["--owner-group", "staff"]].concat());
    assert!(
        explained.starts_with("approve on app@pay: allowed, permitted\n"),
        "{explained}"
    );
    let explained = ask(&["--action", "lock", "--group", "ops"]);
    assert!(
        explained.contains("denied, no policy permits it"),
        "{explained}"
    );
    let all = ["policy", "explain", folder.text(), "--text"];
    let wrong = [&all[..], &on, &["--action", "show_payload"]].concat();
    let (status, _) = outcome(&wrong);
    assert!(
        status
            .unwrap_err()
            .contains("a payload is a hold's: name its rule")
    );
}

#[test]
fn results_are_read_by_programs() {
    let folder = Folder::with(
        "[[access]]\nname = \"<wrong>\"\ntarget = \"pay\"\nlogin = \"app\"\naction = \"exec\"\nexpect = \"allow\"\n\
         [[access]]\nname = \"right\"\ntarget = \"pay\"\nlogin = \"app\"\naction = \"exec\"\nexpect = \"deny\"\n",
    );
    let junit = folder.path().join("report.xml");
    let (status, printed) = outcome(&[
        "policy",
        "test",
        folder.text(),
        "--json",
        "--junit",
        junit.to_str().unwrap(),
    ]);
    assert!(status.is_err());
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&1.into(), &1.into())
    );
    let case = &report["cases"][0];
    assert_eq!(
        (&case["ok"], &case["line"], &case["kind"]),
        (&false.into(), &8.into(), &"access".into())
    );
    assert_eq!(
        case["failure"],
        "expected allow, but it is deny: no policy permits it"
    );
    let xml = fs::read_to_string(junit).unwrap();
    assert!(
        xml.contains("failures=\"1\"") && xml.contains("name=\"&lt;wrong&gt;\""),
        "{xml}"
    );
}

#[test]
fn files_of_cases_are_read_strictly() {
    for (cases, wanted) in [
        (
            "",
            "cases.test.toml:1:1: there is no [[access]] and no [[content]] in it",
        ),
        (
            "[[access]]\nname = \"x\"\n",
            "the key `access[0].target` is missing",
        ),
        (
            "[[access]]\nname = \"x\"\ntarget = \"pay\"\nlogin = \"app\"\naction = \"fly\"\nexpect = \"allow\"\n",
            "`access[0].action` is \"fly\"",
        ),
        (
            "[[content]]\nname = \"x\"\ntarget = \"pay\"\nlogin = \"app\"\ninput = \"\"\n",
            "says nothing about the output",
        ),
        (
            "[[content]]\nname = \"x\"\ntarget = \"pay\"\nlogin = \"app\"\ninput_file = \"none\"\noutput = \"\"\n",
            "cannot read",
        ),
        (
            "[[content]]\nname = \"x\"\ntarget = \"pay\"\nlogin = \"app\"\ninput = \"\"\noutput = \"\"\nouput = \"\"\n",
            "unknown key `content[0].ouput` (did you mean `content[0].output`?)",
        ),
    ] {
        let folder = Folder::with(cases);
        let (status, _) = outcome(&["policy", "test", folder.text()]);
        let found = status.unwrap_err();
        assert!(found.contains(wanted), "{cases}\ngave\n{found}");
    }
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("access.cedar"), CEDAR).unwrap();
    fs::write(empty.path().join("protect.toml"), PROTECT).unwrap();
    let (status, _) = outcome(&["policy", "test", empty.path().to_str().unwrap()]);
    assert!(status.unwrap_err().contains("there is no *.test.toml"));
}

fn explain(folder: &Folder, arguments: &[&str], input: &str) -> String {
    let mut all = vec!["policy", "explain", folder.text(), "--text"];
    all.extend(arguments);
    let (status, printed) = bastion_with_input(&all, input.as_bytes());
    assert_eq!(status, None, "{arguments:?}");
    printed
}

#[test]
fn a_decision_is_explained() {
    let folder = Folder::with("");
    let ask = |login, more: &[&str]| {
        let mut arguments = vec!["--target", "orders-db", "--login", login, "--label", "prod"];
        arguments.extend(more);
        explain(&folder, &arguments, "")
    };
    insta::assert_snapshot!(
        [
            ask("postgres", &["--action", "shell", "--group", "staff"]),
            ask(
                "postgres",
                &[
                    "--action",
                    "shell",
                    "--group",
                    "staff",
                    "--sign-in-age",
                    "2h"
                ]
            ),
            ask(
                "root",
                &["--action", "exec", "--group", "staff", "--group", "privacy"]
            ),
            ask(
                "postgres",
                &[
                    "--action",
                    "exec",
                    "--group",
                    "staff",
                    "--command",
                    "pg_dump x"
                ]
            ),
            ask("postgres", &["--action", "shell", "--group", "on-call"]),
            ask("postgres", &["--action", "forward"]),
        ]
        .join("\n")
    );
}

#[test]
fn bytes_are_explained() {
    let folder = Folder::with("");
    let input = "{\"tax_id\": \"078-05-1120\", \"ssn\": \"219-09-9999\", \"city\": \"Rome\"}\nsaid 078-05-1120\n";
    let on = ["--target", "orders-db", "--login", "postgres"];
    let mut lifted = on.to_vec();
    lifted.extend(["--group", "privacy"]);
    insta::assert_snapshot!(
        [
            explain(&folder, &on, input),
            explain(&folder, &lifted, input),
            explain(
                &folder,
                &["--target", "pay", "--login", "app"],
                "{\"salary\": 777000}\n"
            ),
            explain(&folder, &on, "nothing here\n"),
        ]
        .join("\n")
    );
}

#[test]
fn explanations_are_json_for_programs() {
    let folder = Folder::with("");
    let mut arguments = vec!["policy", "explain", folder.text(), "--json"];
    arguments.extend(["--target", "orders-db", "--login", "postgres"]);
    let (_, printed) = bastion_with_input(&arguments, b"x\nssn: 078-05-1120\n");
    let answer: Value = serde_json::from_str(&printed).unwrap();
    let value = &answer["values"][0];
    assert_eq!(
        (
            &value["rule"],
            &value["line"],
            &value["column"],
            &value["offset"],
            &value["length"]
        ),
        (
            &"identity".into(),
            &2.into(),
            &6.into(),
            &7.into(),
            &11.into()
        )
    );
    assert_eq!(value["also"][0], "numbers (mask redact)");
    arguments.extend(["--action", "shell", "--group", "staff"]);
    let (_, printed) = bastion_with_input(&arguments, b"");
    let answer: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&answer["decision"], &answer["policies"][0]),
        (&"allow".into(), &"staff-work".into())
    );
}

/// A recording as the recorder writes it.
fn recording(folder: &Path, name: &str, target: &str, command: &str, output: &str) -> PathBuf {
    let path = folder.join(name);
    let ours =
        serde_json::json!({"user": "ana", "target": target, "login": "postgres", "kind": "exec"});
    let header = Header {
        version: 3,
        cols: 80,
        rows: 24,
        command: Some(command.to_owned()),
        extra: [("bastion".to_owned(), ours)].into(),
        ..Header::default()
    };
    let coverage = serde_json::json!({"passed": 40, "masked": 11, "held": 0, "unreadable": 0});
    let ending = Ending {
        account: [("coverage".to_owned(), coverage)].into_iter().collect(),
        ..Ending::default()
    };
    let file = fs::File::create(&path).unwrap();
    let (settings, presses) = (Settings::default(), Presses::new(1));
    let mut writer = Writer::new(file, &header, Newlines::Crlf, settings, presses).unwrap();
    let at = Duration::from_millis(100);
    writer
        .output(at, Stream::Stdout, output.as_bytes())
        .unwrap();
    writer.end(at, &ending).unwrap();
    path
}

#[test]
fn a_dry_run_says_what_would_have_been() {
    let folder = Folder::with("");
    let past = tempfile::tempdir().unwrap();
    let of = |name, target, command, output| recording(past.path(), name, target, command, output);
    of(
        "a.cast",
        "orders-db",
        "psql",
        "{\"ssn\": \"***\", \"phone\": \"5550100\"}\n{\"ssn\": \"219-09-9999\", \"phone\": \"5550101\"}\n",
    );
    of(
        "b.cast",
        "pay",
        "report",
        "{\"name\": \"Ann\"}\n{\"salary\": 777000}\n",
    );
    of("c.cast", "orders-db", "pg_dump orders", "-- dump\n");
    let arguments = [
        "policy",
        "dry-run",
        folder.text(),
        past.path().to_str().unwrap(),
    ];
    let (status, printed) = outcome(&arguments);
    assert_eq!(status, Ok(()));
    // Nothing that it found is shown.
    for secret in ["5550100", "219-09-9999", "777000"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    insta::assert_snapshot!(printed.replace(past.path().to_str().unwrap(), "PAST"));
    let mut json = arguments.to_vec();
    json.push("--json");
    let (_, printed) = outcome(&json);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["sessions"][0]["then"]["masked"], 11);
    assert_eq!(report["rules"]["pay"]["held"], 1);

    fs::write(past.path().join("d.cast"), "no recording").unwrap();
    let (status, _) = outcome(&arguments);
    assert!(status.unwrap_err().contains("d.cast"));
}

/// Sessions are asked about as they were: with the groups, the sign-in, the address and the time of
/// then.
#[test]
fn a_dry_run_asks_who_could_have_begun() {
    let folder = Folder::with("");
    let targets = "[[target]]\nname = \"orders-db\"\n[[target.login]]\nname = \"postgres\"\n[[target.login]]\nname = \"root\"\n";
    fs::write(folder.path().join("targets.toml"), targets).unwrap();
    let past = tempfile::tempdir().unwrap();
    let session = |name: &str, kind: &str, login: &str, command: Option<&str>, signed_in: Value| {
        let mut ours = serde_json::json!({
            "user": "ana", "issuer": "https://id.example.com", "subject": "1", "target": "orders-db",
            "login": login, "kind": kind, "source": "10.1.2.3", "started": "2027-01-13T10:00:00Z",
            "crlf": true,
        });
        if !signed_in.is_null() {
            ours["signed_in"] = signed_in;
        }
        let header = serde_json::json!({
            "version": 3, "term": {"cols": 80, "rows": 24}, "command": command, "bastion": ours,
        });
        fs::write(past.path().join(name), format!("{header}\n")).unwrap();
    };
    let signed_in = |at: &str, groups: &[&str]| serde_json::json!({"at": at, "groups": groups});
    let fresh = "2027-01-13T09:30:00Z";
    session(
        "a.cast",
        "exec",
        "postgres",
        Some("uptime"),
        signed_in(fresh, &["staff"]),
    );
    // An hour and a half after the sign-in.
    let old = signed_in("2027-01-13T08:30:00Z", &["staff"]);
    session(
        "b.cast",
        "exec",
        "postgres",
        Some("find --ssn 078-05-1120"),
        old,
    );
    session(
        "c.cast",
        "shell",
        "root",
        None,
        signed_in(fresh, &["on-call"]),
    );
    session(
        "d.cast",
        "sftp",
        "postgres",
        None,
        signed_in(fresh, &["staff"]),
    );
    // Nobody knows in which groups.
    session("e.cast", "exec", "postgres", Some("uptime"), Value::Null);
    // What commands may run is the rules'.
    session(
        "f.cast",
        "exec",
        "postgres",
        Some("pg_dump x"),
        signed_in(fresh, &["staff"]),
    );
    let arguments = [
        "policy",
        "dry-run",
        folder.text(),
        past.path().to_str().unwrap(),
    ];
    let (status, printed) = outcome(&arguments);
    assert_eq!(status, Ok(()));
    assert!(!printed.contains("078-05-1120"), "{printed}");
    insta::assert_snapshot!(printed.replace(past.path().to_str().unwrap(), "PAST"));

    // Whoever knows the groups says so.
    let mut given = arguments.to_vec();
    given.extend(["--group", "staff", "--json"]);
    let (_, printed) = outcome(&given);
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&report["access"]["asked"], &report["access"]["not_asked"]),
        (&6.into(), &0.into())
    );
    assert_eq!(report["sessions"][2]["now"]["by"], "no-root");
}
