//! The inbox, on real terminals of stock clients.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::ssh::{Client, Session};
use tests::terminal::Terminal;
use tests::world::{Setup, World};

const PROTECT: &str = "[[rule]]
name = \"payroll\"
targets = [\"vault\"]
fields = [\"salary\"]
action = { hold = { approvers = \"staff\" } }
";

/// Ana works there; everybody of `staff` may decide, and Carol may see payloads as well.
const ACCESS: &str =
    "permit (principal in Group::\"finance\", action == Action::\"exec\", resource);
permit (principal in Group::\"staff\", action == Action::\"approve\", resource);
permit (principal in Group::\"finance-approvers\", action == Action::\"show_payload\", resource);
";

const QUERY: &str = "echo id,salary; for i in 1 2; do echo $i,k$((4711000+i)); done; printf 'x,\\033[2J\\n'; exit 3";
const CANARY: &str = "k4711";

fn setup() -> Setup {
    Setup {
        access: ACCESS.to_owned(),
        protect: PROTECT.to_owned(),
        ..Setup::default()
    }
}

/// An inbox inside of a shell, as people have it: a terminal whose first program ends loses what
/// was printed last.
fn inbox(client: &Client<'_>, cols: u16, rows: u16) -> Result<Terminal> {
    let like = client.ssh();
    let config = client.config();
    let line = format!(
        "ssh -F {} -t bastion; echo left with $?.; exec cat",
        config.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &line]).env_clear();
    command.envs(
        like.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    Terminal::start(&command, cols, rows)
}

/// Waits for the end of an inbox, which leaves no screen of its own; with its status.
fn given_back(terminal: &mut Terminal) -> Result<String> {
    let text = terminal.shows("its end", |text| text.contains("left with "))?;
    ensure!(!terminal.is_full_screen(), "the screen was not given back");
    let status = text.split("left with ").nth(1).unwrap_or_default();
    Ok(status.split('.').next().unwrap_or_default().to_owned())
}

/// Output that is held and sealed; with its name.
fn held(client: &Client<'_>, approver: &Client<'_>) -> Result<(Session, String)> {
    let session = client.start(&[&client.on("vault"), "--", QUERY])?;
    let id = session.stderr.wait("a hold's name", |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let at = text.find("H-")?;
        Some(text.get(at..at + 8)?.to_owned())
    })?;
    while !approver
        .console("holds")?
        .ok()?
        .out()
        .contains("can decide")
    {}
    Ok((session, id))
}

#[test]
fn a_hold_is_looked_at_and_decided_while_others_see_it() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, bob, carol) = (
        world.signed_in()?,
        world.signed_in_as("bob")?,
        world.signed_in_as("carol")?,
    );
    // Bob's is open before there is anything.
    let mut bobs = inbox(&bob, 80, 24)?;
    bobs.shows("an empty list", |text| {
        text.contains("nothing waits for you")
    })?;
    ensure!(bobs.is_full_screen());
    let (session, id) = held(&ana, &bob)?;
    bobs.shows("what has come", |text| {
        text.contains(&id) && text.contains("for you (1)") && text.contains("payroll")
    })?;

    // The producer sees it, and does not decide.
    let mut anas = inbox(&ana, 100, 30)?;
    anas.shows("her own", |text| text.contains("yours (1)"))?;
    anas.send("3")?;
    anas.shows("her own", |text| {
        text.contains(&id) && text.contains("sealed")
    })?;
    anas.send("a")?;
    anas.shows("a question", |text| text.contains("reason to approve"))?;
    anas.send("mine\r")?;
    anas.shows("a question", |text| {
        text.contains(&format!("approve {id}:"))
    })?;
    anas.send("y")?;
    anas.shows("a refusal", |text| {
        text.contains("cannot decide on your own")
    })?;

    let mut carols = inbox(&carol, 80, 24)?;
    carols.shows("the list", |text| text.contains(&id))?;
    carols.send("\r")?;
    let page = carols.shows("the preview", |text| {
        text.contains("preview, held fields masked")
    })?;
    ensure!(page.contains("1,***") && page.contains("digest"), "{page}");
    carols.send("p")?;
    let page = carols.shows("the payload", |text| text.contains("k4711002"))?;
    ensure!(page.contains("\\u{1b}[2J"), "{page}");
    carols.send("a")?;
    carols.shows("a question", |text| text.contains("reason to approve"))?;
    // What comes with the answer to the one question does not answer the next.
    carols.send("seen\ry")?;
    carols.shows("a question", |text| text.contains("? y or n"))?;
    carols.send("y")?;
    carols.shows("what came of it", |text| {
        text.contains(&format!("{id} is approved"))
    })?;

    // Everybody else sees it at once.
    bobs.shows("what Carol did", |text| {
        text.contains(&format!("{id} is approved by")) && text.contains("for you (0)")
    })?;
    anas.shows("what Carol did", |text| text.contains("yours (0)"))?;
    let output = session.finish()?;
    ensure!(
        output.code() == 3 && output.out().contains("2,k4711002\n"),
        "{output:?}"
    );

    // Only who asked for the payload has seen it.
    for terminal in [&bobs, &anas] {
        ensure!(!terminal.screen.text().contains(CANARY));
    }
    let audit = fs::read_to_string(world.home.join("recordings/audit.jsonl"))?;
    let shown: Vec<_> = audit
        .lines()
        .filter(|line| line.contains("hold_shown"))
        .collect();
    ensure!(
        shown.len() == 2
            && shown.iter().any(|line| line.contains("preview"))
            && shown.iter().any(|line| line.contains("payload")),
        "{shown:?}"
    );

    // Each leaves in its own way, and gets its terminal back.
    bobs.send("q")?;
    ensure!(given_back(&mut bobs)? == "0");
    carols.send("\x03")?;
    ensure!(given_back(&mut carols)? == "0");
    anas.running.signal(Signal::KILL)?;
    anas.end()?;
    ana.console("whoami")?.ok()?;
    Ok(())
}

/// Of `finance` and `dba`, everybody may ask for the target `box`; all of `staff` decide on what others ask for.
const ASKING: &str = "@id(\"ask-box\") @approvers(\"staff\") @longest(\"2h\")
permit (principal, action == Action::\"request\", resource in Target::\"box\")
when { principal in Group::\"finance\" || principal in Group::\"dba\" };
permit (principal, action == Action::\"exec\", resource in Target::\"box\")
when { context.approved && (principal in Group::\"finance\" || principal in Group::\"dba\") };
permit (principal in Group::\"staff\", action == Action::\"approve\", resource);
";

/// Asks for access; with the name of the request.
fn asks(client: &Client<'_>, reason: &str) -> Result<String> {
    let asked = client.console(&format!("request box --reason {reason} --for 30m"))?;
    let asked = asked.ok()?.out();
    Ok(asked.split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn a_request_is_looked_at_and_decided_while_others_see_it() -> Result<()> {
    let world = World::start(&Setup {
        access: ASKING.to_owned(),
        ..Setup::default()
    })?;
    let (ana, bob, carol) = (
        world.signed_in()?,
        world.signed_in_as("bob")?,
        world.signed_in_as("carol")?,
    );
    let login = &world.sshd.login;
    let mut bobs = inbox(&bob, 80, 24)?;
    bobs.shows("an empty list", |text| {
        text.contains("nothing waits for you") && text.contains("requests (0)")
    })?;
    let mut carols = inbox(&carol, 80, 24)?;
    carols.shows("an empty list", |text| text.contains("requests (0)"))?;
    let id = asks(&ana, "the nightly job")?;
    for terminal in [&mut bobs, &mut carols] {
        terminal.shows("what has come", |text| {
            text.contains(&format!("{id} waits for you")) && text.contains("requests (1)")
        })?;
    }
    ensure!(ana.exec("box", "true", b"")?.code() == 77);

    // Whoever asked sees it, and does not decide.
    let mut anas = inbox(&ana, 100, 30)?;
    anas.send("2")?;
    anas.shows("her own", |text| {
        text.contains(&id) && text.contains("pending") && text.contains("requests (0)")
    })?;
    anas.send("a")?;
    anas.shows("a question", |text| text.contains("reason to approve"))?;
    anas.send("\r")?;
    anas.shows("a question", |text| text.contains("? y or n"))?;
    anas.send("y")?;
    anas.shows("a refusal", |text| {
        text.contains("cannot decide on your own")
    })?;

    bobs.send("2")?;
    bobs.shows("the list", |text| {
        text.contains(&id) && text.contains("the nightly job") && text.contains("30m")
    })?;
    bobs.send("\r")?;
    let page = bobs.shows("the page", |text| text.contains("policies"))?;
    for part in [
        "reason     the nightly job",
        "for        30m",
        "policies   ask-box",
        "approval   1 of the group staff",
        &format!("{login}@box"),
    ] {
        ensure!(page.contains(part), "{part}: {page}");
    }
    bobs.resize(40, 8)?;
    bobs.shows("the page", |text| text.contains(&id))?;
    bobs.send("a")?;
    bobs.shows("a question", |text| text.contains("reason to approve"))?;
    bobs.send("go on\ry")?;
    bobs.shows("a question", |text| text.contains("? y or n"))?;
    bobs.send("y")?;
    bobs.resize(80, 24)?;
    bobs.shows("what came of it", |text| {
        text.contains(&format!("{id} is approved")) && text.contains("requests (0)")
    })?;
    carols.shows("what Bob did", |text| {
        text.contains(&format!("{id} is approved by")) && text.contains("requests (0)")
    })?;
    anas.shows("what Bob did", |text| text.contains("approved"))?;
    let output = ana.exec("box", "echo in", b"")?;
    ensure!(output.code() == 0 && output.out() == "in\n", "{output:?}");
    let shown = bob.console(&format!("show {id}"))?.ok()?.out();
    ensure!(shown.contains(": go on\n"), "{shown}");

    // In lines.
    let id = asks(&bob, "the same again")?;
    let json = carol.console("inbox --json")?.ok()?;
    let json: serde_json::Value = serde_json::from_slice(&json.stdout)?;
    let waits = json.pointer("/requests").and_then(|list| {
        let mut list = list.as_array()?.iter();
        list.find(|request| request.get("id").and_then(|it| it.as_str()) == Some(id.as_str()))
    });
    ensure!(
        waits.and_then(|request| request.get("can_decide")) == Some(&true.into()),
        "{json}"
    );
    let answers = format!("show {id}\ndeny {id}\nnot now\nyes\napprove {id}\nquit\n");
    let output = carol.run(
        &["-T", "bastion", "--", "inbox", "--plain"],
        answers.as_bytes(),
    )?;
    let text = output.ok()?.out();
    for part in [
        "1 request for access waits for you:\n",
        &format!("{id}: "),
        "for 30m: the same again; until ",
        "reason     the same again\n",
        "reason to deny",
        "? yes or no: ",
        &format!("{id} is denied\n"),
        &format!("{id} cannot be decided: it is denied\n"),
    ] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    ensure!(bob.exec("box", "true", b"")?.code() == 77);
    for terminal in [&mut bobs, &mut carols, &mut anas] {
        terminal.send("q")?;
        ensure!(given_back(terminal)? == "0");
    }
    Ok(())
}

#[test]
fn it_follows_its_terminal_and_ends_with_the_sign_in() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, bob) = (world.signed_in()?, world.signed_in_as("bob")?);
    let (session, id) = held(&ana, &bob)?;
    let mut bobs = inbox(&bob, 80, 24)?;
    bobs.shows("all columns", |text| {
        text.contains("FIELDS") && text.contains(&id)
    })?;
    for (cols, rows) in [(140, 40), (40, 8), (300, 100)] {
        bobs.resize(cols, rows)?;
        bobs.shows("the list", |text| {
            let last = text.lines().nth(usize::from(rows) - 1);
            text.contains(&id) && last.is_some_and(|line| line.contains("Enter look"))
        })?;
    }
    bobs.resize(20, 4)?;
    bobs.shows("that it is too small", |text| text.contains("36x7"))?;
    bobs.resize(1, 1)?;
    bobs.resize(80, 24)?;
    bobs.shows("the list", |text| {
        text.contains(&id) && text.contains("FIELDS")
    })?;
    bob.console("sign-out")?.ok()?;
    bobs.shows("why it ends", |text| {
        text.contains("your sign-in has ended")
    })?;
    ensure!(given_back(&mut bobs)? == "77");

    // The bastion ends: the same.
    let mut anas = inbox(&ana, 80, 24)?;
    anas.shows("her own", |text| text.contains("yours (1)"))?;
    world.bastion()?.signal(Signal::TERM)?;
    anas.shows("why it ends", |text| text.contains("shutting down"))?;
    given_back(&mut anas)?;
    drop(session);
    Ok(())
}

#[test]
fn without_a_screen_there_are_lines() -> Result<()> {
    let world = World::start(&setup())?;
    let (ana, bob, carol) = (
        world.signed_in()?,
        world.signed_in_as("bob")?,
        world.signed_in_as("carol")?,
    );
    // Without a terminal there is no full screen.
    let refused = bob.console("inbox")?;
    ensure!(
        refused.code() == 2 && refused.err().contains("--plain"),
        "{refused:?}"
    );
    let json = bob.console("inbox --json")?.ok()?.out();
    ensure!(json == "{\"holds\":[],\"requests\":[]}\n", "{json}");
    ensure!(bob.run(&["bastion"], b"")?.ok()?.out().contains("Console"));

    let mut command = bob.ssh();
    command.args(["-t", "bastion", "--", "inbox", "--plain"]);
    let mut bobs = Terminal::start(&command, 80, 24)?;
    bobs.expect("nothing waits for you")?;
    bobs.expect("> ")?;
    let (session, id) = held(&ana, &bob)?;
    bobs.expect(&format!("{id} waits for you"))?;
    bobs.send(&format!("shpw\x7f\x7fow {id}\r"))?;
    bobs.expect("1,***")?;

    // A program, or a reader whose terminal shows what is typed itself.
    let answers = format!("list\nbogus\napprove {id}\nseen it\nyes\nquit\n");
    let output = carol.run(
        &["-T", "bastion", "--", "inbox", "--plain"],
        answers.as_bytes(),
    )?;
    let text = output.ok()?.out();
    for part in [
        "1 hold waits for you:",
        "no such command",
        "reason to approve",
        "? yes or no: ",
        "is approved\n",
    ] {
        ensure!(text.contains(part), "{part}: {text}");
    }
    bobs.expect(&format!("{id} is approved by"))?;
    bobs.send("quit\r")?;
    ensure!(bobs.end()?.success());
    let seen = bobs.screen.all()?;
    ensure!(!seen.contains(&0x1b), "a line has no sequences");
    ensure!(session.finish()?.code() == 3);
    Ok(())
}
