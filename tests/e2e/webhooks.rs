//! Who has to know is told: real messages over HTTP, checked as a receiver checks them.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::files::here;
use tests::peer::python;
use tests::process::run;
use tests::receiver::{Answer, Posted, Receiver};
use tests::ssh::Client;
use tests::world::{Setup, World};

use crate::holds::{CANARY, QUERY, approve, console, decide, find};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn setup(receiver: &Receiver) -> Setup {
    Setup {
        secrets: vec![("keys/hook", SECRET.to_owned())],
        sections: format!(
            "[notify]\nretry = \"20ms\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n{}",
            hook(
                receiver,
                "events = [\"hold.sealed\", \"hold.approved\", \"hold.denied\"]\n"
            )
        ),
        ..crate::holds::setup()
    }
}

fn hook(receiver: &Receiver, lines: &str) -> String {
    format!(
        "[[webhook]]\nname = \"all\"\nurl = \"{}\"\nsecret_file = \"keys/hook\"\n{lines}",
        receiver.url()
    )
}

/// Runs the receiver of docs/webhooks.md on a message; says whether it believes it.
fn believed(posted: &Posted, secret: &str) -> Result<bool> {
    let document = std::fs::read_to_string(here("../docs/webhooks.md"))?;
    let (_, rest) = document.split_once("```python\n").context("an example")?;
    let (example, _) = rest.split_once("```").context("its end")?;
    let program = format!(
        "{example}\nimport json, sys\nm = json.load(sys.stdin)\n\
         assert verify(m['secret'], m['headers'], m['body'].encode()) == m['headers']['webhook-id']\n"
    );
    let message = json!({ "secret": secret, "headers": posted.headers, "body": posted.body });
    let mut command = python()?;
    command.args(["-c", &program]).stderr(Stdio::piped());
    let output = run("the example", &mut command, message.to_string().as_bytes())?;
    ensure!(
        output.code() == 0 || output.err().contains("not signed with our secret"),
        "{output:?}"
    );
    Ok(output.code() == 0)
}

/// The next message, which has to be of this kind, and what it says.
fn told(receiver: &Receiver, kind: &str) -> Result<(Posted, Value)> {
    let posted = receiver.next()?;
    let message = posted.json()?;
    ensure!(
        message.get("type") == Some(&kind.into()),
        "not {kind}: {message}"
    );
    let data = message.get("data").context("data")?.clone();
    Ok((posted, data))
}

fn detached(client: &Client<'_>) -> Result<String> {
    let on = client.on("vault");
    let output = client.run(&["-o", "SetEnv=BASTION_HOLD=detach", &on, "--", QUERY], b"")?;
    find(&output.stderr).context("a hold")
}

/// Nothing of what is held, of the command, or of a reason is in any message.
fn tells_nothing(posted: &[Posted]) -> Result<()> {
    for message in posted {
        for word in [CANARY, "echo id", "x.example", "wherefore"] {
            ensure!(!message.body.contains(word), "{word}: {}", message.body);
        }
    }
    Ok(())
}

#[test]
fn approvers_are_told_what_waits_and_producers_what_was_decided() -> Result<()> {
    let receiver = Receiver::start([Answer::Status(500)])?;
    let world = World::start(&setup(&receiver))?;
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    let hold = detached(&ana)?;
    let (first, data) = told(&receiver, "hold.sealed")?;
    let said = |key: &str| data.get(key).cloned().unwrap_or_default();
    ensure!(said("hold") == hold.as_str() && said("target") == "vault");
    ensure!(said("approvers") == json!(["finance-approvers"]) && said("needed") == 1);
    ensure!(said("fields") == json!(["salary"]) && said("rule") == "payroll");
    ensure!(said("next") == format!("ssh bastion show {hold}").as_str());
    ensure!(
        data.pointer("/producer/subject")
            .is_some_and(Value::is_string)
    );
    ensure!(believed(&first, SECRET)?);
    ensure!(!believed(&first, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")?);
    let mut changed = first.clone();
    changed.body = changed.body.replace("vault", "vaulx");
    ensure!(!believed(&changed, SECRET)?);
    // It had been answered with 500.
    let (again, _) = told(&receiver, "hold.sealed")?;
    ensure!(again.header("webhook-id") == first.header("webhook-id") && again.body == first.body);
    decide(&carol, &format!("approve {hold} --reason wherefore"))?;
    let (approved, data) = told(&receiver, "hold.approved")?;
    ensure!(
        data.pointer("/by/name").is_some_and(Value::is_string),
        "{data}"
    );
    ensure!(
        console(&ana, &format!("fetch {hold}"), 0)?
            .out()
            .contains(CANARY)
    );
    let other = detached(&ana)?;
    let (sealed, _) = told(&receiver, "hold.sealed")?;
    decide(&carol, &format!("deny {other} --reason wherefore"))?;
    let (denied, _) = told(&receiver, "hold.denied")?;
    tells_nothing(&[first, again, approved, sealed, denied])?;
    // What the bastion counts is when the answer has come, which is after the message.
    let port = *world.bastion()?.other_ports()?.first().context("a port")?;
    let counts = [
        "bastion_notices_total{result=\"delivered\"} 4\n",
        "bastion_notices_total{result=\"retried\"} 1\n",
        "bastion_notices_total{result=\"given_up\"} 0\n",
        "bastion_notices_pending 0\n",
    ];
    let until = Instant::now() + tests::DEADLINE;
    loop {
        let (_, page) = crate::service::page(port, "/metrics")?;
        if counts.iter().all(|line| page.contains(line)) {
            break;
        }
        ensure!(Instant::now() < until, "{page}");
        std::thread::yield_now();
    }
    // Nothing waits any more: what comes next is new.
    let last = detached(&ana)?;
    let (_, data) = told(&receiver, "hold.sealed")?;
    ensure!(data.get("hold") == Some(&last.as_str().into()), "told once");
    Ok(())
}

/// The receiver has the message and has not answered when the bastion is killed.
#[test]
fn a_kill_between_seal_and_delivery_loses_no_message() -> Result<()> {
    let receiver = Receiver::start([Answer::Never])?;
    let mut world = World::start(&setup(&receiver))?;
    let (hold, first, recorder) = {
        let ana = world.signed_in()?;
        let hold = detached(&ana)?;
        let (first, _) = told(&receiver, "hold.sealed")?;
        let recorder = world.bastion()?.recorder()?;
        world.bastion()?.signal(Signal::KILL)?;
        (hold, first, recorder)
    };
    world.reap()?;
    tests::bastion::ended(recorder)?;
    world.start_again()?;
    let (again, data) = told(&receiver, "hold.sealed")?;
    ensure!(again.header("webhook-id") == first.header("webhook-id"));
    ensure!(data.get("hold") == Some(&hold.as_str().into()) && believed(&again, SECRET)?);
    // A receiver that answers nothing holds nobody up.
    receiver.answer([Answer::Never; 8]);
    let (ana, carol) = (world.signed_in()?, world.signed_in_as("carol")?);
    approve(&carol, &hold)?;
    ensure!(
        console(&ana, &format!("fetch {hold}"), 0)?
            .out()
            .contains(CANARY)
    );
    told(&receiver, "hold.approved")?;
    world.stop()
}

/// Emergency access is told of at once, and shows; the webhook comes by a reload, and so goes.
#[test]
fn who_breaks_the_glass_is_told_of_and_shows() -> Result<()> {
    let receiver = Receiver::start([])?;
    let world = World::start(&Setup {
        secrets: vec![("keys/hook", SECRET.to_owned())],
        access: "@id(\"glass\") @break_glass @notify(\"security\")
permit (principal in Group::\"staff\", action == Action::\"exec\", resource in Target::\"box\");
@id(\"usual\")
permit (principal in Group::\"staff\", action == Action::\"exec\", resource in Target::\"vault\");
"
        .to_owned(),
        ..Setup::default()
    })?;
    let ana = world.signed_in()?;
    let on = |target: &str| -> Result<()> {
        let output = ana.exec(target, "true", b"")?;
        ensure!(output.code() == 0, "{output:?}");
        Ok(())
    };
    on("box")?;
    let file = world.home.join("bastion.toml");
    let before = std::fs::read_to_string(&file)?;
    let events = "events = [\"session.marked\", \"key.new\"]\nchannels = [\"security\"]\n";
    std::fs::write(&file, format!("{before}\n{}", hook(&receiver, events)))?;
    let output = world.command(&["reload"])?;
    ensure!(output.code() == 0, "{output:?}");
    on("vault")?;
    on("box")?;
    let (posted, data) = told(&receiver, "session.marked")?;
    ensure!(believed(&posted, SECRET)? && !posted.body.contains("true\\\""));
    ensure!(
        data.get("break_glass") == Some(&true.into()) && data.get("target") == Some(&"box".into())
    );
    ensure!(data.get("channels") == Some(&json!(["security"])), "{data}");
    let second = world.signed_in()?;
    let (_, data) = told(&receiver, "key.new")?;
    ensure!(
        data.get("key")
            .and_then(Value::as_str)
            .is_some_and(|key| key.starts_with("SHA256:")),
        "{data}"
    );
    let listed = crate::holds::json(&second, "sessions --json")?;
    let listed = listed
        .get("sessions")
        .and_then(Value::as_array)
        .context("a list")?;
    let marks: Vec<_> = listed
        .iter()
        .map(|session| {
            (
                session.get("target"),
                session.get("break_glass"),
                session.get("notified"),
            )
        })
        .collect();
    let (yes, no) = (json!(true), json!(false));
    let (told_of, nobody) = (json!(["security"]), json!([]));
    let expected = [
        ("box", &yes, &told_of),
        ("vault", &no, &nobody),
        ("box", &yes, &told_of),
    ];
    ensure!(marks.len() == expected.len(), "{marks:?}");
    for (found, (target, glass, notified)) in marks.iter().zip(expected) {
        ensure!(
            *found == (Some(&Value::from(target)), Some(glass), Some(notified)),
            "{marks:?}"
        );
    }
    let table = console(&second, "sessions", 0)?.out();
    ensure!(table.matches("exec, break-glass").count() == 2, "{table}");
    std::fs::write(&file, &before)?;
    ensure!(world.command(&["reload"])?.code() == 0);
    on("box")?;
    // Nobody is told of that one: what comes next is the next, which no `@notify` marks.
    let glass = "@id(\"glass\") @break_glass
permit (principal in Group::\"staff\", action == Action::\"exec\", resource in Target::\"vault\");
";
    std::fs::write(world.home.join("policies/access.cedar"), glass)?;
    std::fs::write(&file, format!("{before}\n{}", hook(&receiver, events)))?;
    ensure!(world.command(&["reload"])?.code() == 0);
    on("vault")?;
    let (_, data) = told(&receiver, "session.marked")?;
    ensure!(data.get("target") == Some(&"vault".into()), "{data}");
    ensure!(data.get("channels") == Some(&json!([])), "{data}");
    let reloads = crate::reload::audited(&world, "policies_reloaded", 3)?;
    let named: Vec<_> = reloads
        .iter()
        .map(|line| line.contains("\"webhooks\":[\"all\"]"))
        .collect();
    ensure!(named == [true, false, true], "{reloads:?}");
    Ok(())
}
