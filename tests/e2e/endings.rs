//! Whatever ends what is held, none of it has left before a decision (threats, row 40).
//!
//! Each ending is a row of a table, with the stock client, with raw packets or in a terminal. Those that need a world
//! of their own are tests of `holds`: `a_killed_bastion_keeps_what_is_sealed` and
//! `a_stop_voids_what_is_open_and_keeps_what_is_sealed` (kill, restart), `a_client_waits_no_longer_than_it_may`
//! (timeout), `more_than_may_be_held_stops_the_command`, `keys_are_renewed_while_output_is_held`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::bastion::Bastion;
use tests::peer::ask;
use tests::process::run_ok;
use tests::ssh::{Client, Session};
use tests::terminal::Terminal;
use tests::world::{Setup, World, target};

use crate::holds::{
    ACCESS, CANARY, HEADER, QUERY, approve, console, contains, decide, find, held, in_no_file, json,
};

/// The same on targets whose rules differ in their terms.
const TERMS: [(&str, &str); 3] = [
    ("vault", ""),
    ("brief", ", expires = \"2s\""),
    ("pair", ", count = 2"),
];

fn setup() -> Setup {
    let rule = |(target, terms): (&str, &str)| {
        format!(
            "[[rule]]
name = \"payroll-{target}\"
targets = [\"{target}\"]
fields = [\"salary\", \"iban\"]
action = {{ hold = {{ approvers = \"finance-approvers\"{terms} }} }}
"
        )
    };
    Setup {
        access: format!(
            "{ACCESS}permit (principal in Group::\"auditors\", action in [Action::\"end\", Action::\"lock\"], resource);\n"
        ),
        protect: TERMS.map(rule).concat(),
        holds: "per_person = 100\nspool_bytes = 2097152".to_owned(),
        targets: Box::new(|sshd, _| {
            let key = format!("key = \"{}\"", sshd.user_key.display());
            Ok(TERMS.map(|(name, _)| target(name, sshd, &key)).concat())
        }),
        limits: "[metrics]\nlisten = \"127.0.0.1:0\"".to_owned(),
        log: "debug".to_owned(),
        ..Setup::default()
    }
}

/// Prints what is held, and then does not end by itself.
const ENDLESS: &str = "echo id,email,salary; for i in 1 2; do echo $i,$i@x.example,k$((4711000+i)); done; echo e$((4712000)) >&2; exec sleep 1000";
/// What it says beside the rows: it waits with them, though no rule names it.
const BESIDE: &str = "e4712";

struct Scene<'w> {
    world: &'w World,
    ana: Client<'w>,
    carol: Client<'w>,
    dave: Client<'w>,
    /// With the pipe `go`, which a command may wait for.
    place: PathBuf,
}

/// One way in which it can end.
struct Ending {
    name: &'static str,
    target: &'static str,
    /// What the command does after the held rows; `PLACE` is [`Scene::place`].
    rest: &'static str,
    end: fn(&Scene<'_>, &mut Session, &str) -> Result<()>,
    /// The states that the hold may be in afterwards.
    states: &'static [&'static str],
}

/// Nothing is left of the session for the client.
const SLEEP: &str = "exec sleep 1000";
const SEALED: &[&str] = &["sealed"];
const VOID: &[&str] = &["void"];

const ENDINGS: [Ending; 23] = [
    Ending {
        name: "the command's own end",
        target: "vault",
        rest: "exit 3",
        end: |scene, session, id| {
            until_sealed(&scene.ana, id)?;
            session.running.signal(Signal::HUP)
        },
        states: SEALED,
    },
    Ending {
        name: "the end of input",
        target: "vault",
        rest: "cat",
        end: |scene, session, id| {
            drop(session.stdin.take());
            until_sealed(&scene.ana, id)?;
            session.running.signal(Signal::HUP)
        },
        states: SEALED,
    },
    Ending {
        name: "output closed before the end",
        target: "vault",
        rest: "exec >&- 2>&-; cat",
        end: |scene, session, id| {
            drop(session.stdin.take());
            until_sealed(&scene.ana, id)?;
            session.running.signal(Signal::HUP)
        },
        states: SEALED,
    },
    Ending {
        name: "a signal ends the command",
        target: "vault",
        rest: "kill -9 $$",
        end: |scene, session, id| {
            until_sealed(&scene.ana, id)?;
            session.running.signal(Signal::HUP)
        },
        states: SEALED,
    },
    Ending {
        name: "the target's server is killed",
        target: "vault",
        // The command's parent is the connection's process of sshd.
        rest: "cat PLACE/go; kill -9 $PPID; exec sleep 1000",
        end: |scene, _, _| Ok(fs::write(scene.place.join("go"), "go\n")?),
        states: VOID,
    },
    Ending {
        name: "interrupted client",
        target: "vault",
        rest: SLEEP,
        end: |_, session, _| session.running.signal(Signal::INT),
        states: SEALED,
    },
    Ending {
        name: "terminated client",
        target: "vault",
        rest: SLEEP,
        end: |_, session, _| session.running.signal(Signal::TERM),
        states: SEALED,
    },
    Ending {
        name: "killed client",
        target: "vault",
        rest: SLEEP,
        end: |_, session, _| session.running.signal(Signal::KILL),
        states: SEALED,
    },
    Ending {
        name: "a client that stands still, then is gone",
        target: "vault",
        rest: SLEEP,
        end: |_, session, _| {
            session.running.signal(Signal::STOP)?;
            session.running.signal(Signal::KILL)
        },
        states: SEALED,
    },
    Ending {
        name: "a client that stands still while more is held",
        target: "vault",
        rest: "cat PLACE/go; i=0; while [ $i -lt 2000 ]; do echo $i,x,k$((4711000+i)); i=$((i+1)); done; exit 3",
        end: |scene, session, id| {
            session.running.signal(Signal::STOP)?;
            fs::write(scene.place.join("go"), "go\n")?;
            until_sealed(&scene.ana, id)?;
            session.running.signal(Signal::KILL)
        },
        states: SEALED,
    },
    Ending {
        name: "cancelled",
        target: "vault",
        rest: SLEEP,
        end: |scene, session, id| {
            session.running.signal(Signal::TERM)?;
            decide(&scene.ana, &format!("cancel {id}"))
        },
        states: &["cancelled"],
    },
    Ending {
        name: "cancelled while its client waits",
        target: "vault",
        rest: "exit 3",
        end: |scene, _, id| decide(&scene.ana, &format!("cancel {id}")),
        states: &["cancelled"],
    },
    Ending {
        name: "denied",
        target: "vault",
        rest: "exit 3",
        end: |scene, _, id| decide(&scene.carol, &format!("deny {id}")),
        states: &["denied"],
    },
    Ending {
        name: "expired",
        target: "brief",
        rest: "exit 3",
        end: |_, _, _| Ok(()),
        states: &["expired"],
    },
    Ending {
        name: "decisions without the right",
        target: "vault",
        rest: "exit 3",
        end: |scene, session, id| {
            until_sealed(&scene.ana, id)?;
            for client in [&scene.ana, &scene.dave] {
                console(client, &format!("approve {id}"), 77)?;
                console(client, &format!("deny {id}"), 77)?;
            }
            session.running.signal(Signal::TERM)
        },
        states: SEALED,
    },
    Ending {
        name: "one approval of two",
        target: "pair",
        rest: "exit 3",
        end: |scene, session, id| {
            approve(&scene.carol, id)?;
            // The same person once more, with another key, is not another one.
            let again = scene.world.signed_in_as("carol")?;
            for client in [&scene.carol, &again] {
                console(client, &format!("approve {id}"), 65)?;
            }
            session.running.signal(Signal::TERM)
        },
        states: SEALED,
    },
    Ending {
        name: "two approvals, but the first approver may no more",
        target: "pair",
        rest: "exit 3",
        end: |scene, session, id| {
            let groups = |name: &str, groups: &[&str]| {
                let change = json!({ "name": name, "groups": groups });
                scene.world.provider.control("user", &change).map(drop)
            };
            approve(&scene.carol, id)?;
            groups("carol", &["staff"])?;
            groups("bob", &["finance-approvers", "staff"])?;
            scene.world.signed_in_as("carol")?;
            let bob = scene.world.signed_in_as("bob")?;
            let said = console(&bob, &format!("approve {id}"), 0)?.out();
            ensure!(said.contains("1 of 2 approvals"), "{said}");
            groups("carol", &["finance-approvers", "staff"])?;
            scene.world.signed_in_as("carol")?;
            session.running.signal(Signal::TERM)
        },
        states: SEALED,
    },
    Ending {
        name: "ended by an administrator",
        target: "vault",
        rest: SLEEP,
        end: |scene, _, _| console(&scene.dave, "end --user ana", 0).map(drop),
        states: VOID,
    },
    Ending {
        name: "the target is locked",
        target: "vault",
        rest: SLEEP,
        end: |scene, _, _| {
            console(&scene.dave, "lock --target vault --reason test", 0)?;
            console(&scene.dave, "unlock --target vault", 0).map(drop)
        },
        states: VOID,
    },
    Ending {
        name: "the spool is full",
        target: "vault",
        rest: "yes 3,x,k$((4711000)) | head -c 4000000; exec sleep 1000",
        end: |_, _, _| Ok(()),
        states: VOID,
    },
    Ending {
        name: "the user is locked",
        target: "vault",
        rest: SLEEP,
        end: |scene, _, _| {
            console(&scene.dave, "lock --user ana --reason test", 0)?;
            console(&scene.dave, "unlock --user ana", 0)?;
            scene.ana.sign_in("ana").map(drop)
        },
        states: VOID,
    },
    Ending {
        name: "signed out",
        target: "vault",
        rest: SLEEP,
        end: |scene, _, _| {
            console(&scene.ana, "sign-out --all", 0)?;
            scene.ana.sign_in("ana").map(drop)
        },
        states: VOID,
    },
    // The last: no session outlives it.
    Ending {
        name: "the recorder is killed",
        target: "vault",
        rest: SLEEP,
        end: |scene, _, _| {
            let bastion = scene.world.bastion()?;
            in_no_open_file(bastion)?;
            not_in_the_metrics(bastion)?;
            tests::bastion::kill(bastion.recorder()?)
        },
        states: &["open", "void"],
    },
];

#[test]
fn no_ending_lets_a_held_byte_out() -> Result<()> {
    let world = World::start(&setup())?;
    let scene = Scene {
        world: &world,
        ana: world.signed_in()?,
        carol: world.signed_in_as("carol")?,
        dave: world.signed_in_as("dave")?,
        place: world.place("place-")?,
    };
    run_ok("mkfifo", Command::new("mkfifo").arg(scene.place.join("go")))?;
    let mut left = BTreeMap::new();
    for ending in &ENDINGS {
        let name = ending.name;
        if name == "the recorder is killed" {
            // Nothing is asked of the bastion after it.
            settled(&scene, &left)?;
        }
        let rest = ending.rest.replace("PLACE", &scene.place.to_string_lossy());
        let command = QUERY.replace("exit 3", &rest);
        let session = scene
            .ana
            .start(&[&scene.ana.on(ending.target), "--", &command]);
        let mut session = session?;
        let id = held(&session).context(name)?;
        (ending.end)(&scene, &mut session, &id).context(name)?;
        session.end().context(name)?;
        let (out, err) = (session.stdout.all()?, session.stderr.all()?);
        ensure!(
            !contains(&out) && !contains(&err),
            "{name}: a held byte has left"
        );
        ensure!(
            out == HEADER.as_bytes(),
            "{name}: {}",
            String::from_utf8_lossy(&out)
        );
        left.insert(id, ending);
    }
    let log = world.bastion()?.log.clone();
    in_no_file(&world)?;
    ensure!(!contains(log.text().as_bytes()), "held bytes in the log");
    Ok(())
}

/// Waits until no hold is open any more; each is then in a state that its ending allows.
fn settled(scene: &Scene<'_>, left: &BTreeMap<String, &Ending>) -> Result<()> {
    loop {
        let list = json(&scene.ana, "holds --all --json")?;
        let holds = list.get("holds").and_then(Value::as_array);
        let holds = holds.context("a list")?;
        let of = |hold: &Value, key: &str| Some(hold.get(key)?.as_str()?.to_owned());
        let states: BTreeMap<_, _> = holds
            .iter()
            .filter_map(|hold| Some((of(hold, "id")?, of(hold, "state")?)))
            .collect();
        if states.values().any(|state| state == "open") {
            continue;
        }
        for (id, ending) in left {
            let state = states.get(id).with_context(|| ending.name.to_owned())?;
            ensure!(
                ending.states.contains(&state.as_str()),
                "{}: {state}",
                ending.name
            );
        }
        return Ok(());
    }
}

fn until_sealed(client: &Client<'_>, id: &str) -> Result<()> {
    loop {
        match crate::holds::state(client, id)?.as_str() {
            "open" => {}
            "sealed" => return Ok(()),
            other => bail!("{id} is {other}"),
        }
    }
}

fn not_in_the_metrics(bastion: &Bastion) -> Result<()> {
    let ports = bastion.other_ports()?;
    let port = *ports.first().context("the port of the metrics")?;
    let (status, text) = crate::service::page(port, "/metrics")?;
    ensure!(status == 200 && text.contains("bastion_"), "{text}");
    ensure!(!contains(text.as_bytes()), "held bytes in the metrics");
    Ok(())
}

fn in_no_open_file(bastion: &Bastion) -> Result<()> {
    for process in [bastion.id(), bastion.recorder()?] {
        for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
            let path = entry?.path();
            let file = fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
            ensure!(!file || !contains(&fs::read(&path)?), "{}", path.display());
        }
    }
    Ok(())
}

/// Clients that break the protocol, or use what `ssh` has no option for. Every byte of every packet is looked at.
#[test]
fn no_game_with_the_protocol_lets_a_held_byte_out() -> Result<()> {
    const GAMES: [&str; 10] = [
        "nothing",
        "eof",
        "close",
        "signal",
        "resize",
        "windows",
        "rekey",
        "rekey-often",
        "disconnect",
        "reset",
    ];
    let mut setup = setup();
    setup.holds = format!("per_person = {}", GAMES.len() + 1);
    let mut world = World::start(&setup)?;
    {
        let ana = world.signed_in()?;
        let played = play(&world, &ana, &GAMES, ENDLESS)?;
        for (game, answer) in &played {
            ensure!(
                answer.said.contains("output held as H-"),
                "{game}: {}",
                answer.said
            );
            // A client that breaks the flow control may lose its connection; the others keep it.
            let gone = ["windows", "rekey-often", "disconnect", "reset"].contains(&game.as_str());
            ensure!(answer.stood || gone, "{game}: the connection was lost");
        }
        in_a_terminal(&ana)?;
        in_no_open_file(world.bastion()?)?;
        // By now there are as many as a person may have.
        let played = play(&world, &ana, &["nothing"], QUERY)?;
        let said = &played.get("nothing").context("an answer")?.said;
        ensure!(said.contains("too much of yours is held"), "{said}");
    }
    let log = world.bastion()?.log.clone();
    world.stop()?;
    ensure!(!contains(log.text().as_bytes()), "held bytes in the log");
    in_no_file(&world)
}

/// What one game came to.
struct Played {
    said: String,
    stood: bool,
}

fn play(
    world: &World,
    client: &Client<'_>,
    games: &[&str],
    command: &str,
) -> Result<BTreeMap<String, Played>> {
    let answer = ask(
        "raw.py",
        &[&client.told(&json!({
            "user": format!("{}@vault", world.sshd.login),
            "do": "held",
            "games": games,
            "command": command,
        }))?],
    )?;
    let mut played = BTreeMap::new();
    for game in games {
        let of = |key: &str| answer.get(game)?.get(key);
        let text = |key: &str| Some(of(key)?.as_str()?.to_owned());
        let got = text("got").context("packets")?;
        // What passes is in them, so that they are all there.
        ensure!(got.contains(HEADER), "{game}: {got:?}");
        for canary in [CANARY, BESIDE] {
            ensure!(!got.contains(canary), "{game}: a held byte has left");
        }
        let stood = of("stood").and_then(Value::as_bool).context("stood")?;
        let said = text("said").context("lines")?;
        played.insert((*game).to_owned(), Played { said, stood });
    }
    Ok(played)
}

/// In a terminal the value is replaced in place; a window that changes its size all the time shows no more of it.
fn in_a_terminal(ana: &Client<'_>) -> Result<()> {
    let mut command = ana.ssh();
    command.arg("-tt").arg(ana.on("vault")).arg(
        "printf '{\"salary\":\"k%d\"}\\n' $((4711000)); while read line; do printf '{\"salary\":\"k%d\"} %s\\n' $((4711000)) $line; done",
    );
    let mut terminal = Terminal::start(&command, 100, 24)?;
    let id = terminal.screen.wait("a hold in place", find)?;
    for n in 0..20_u16 {
        terminal.resize(40 + n, 10 + n)?;
        terminal.send(&format!("line-{n}\r"))?;
        // Once as it is typed, once as it is printed.
        terminal.expect(&format!("line-{n}"))?;
        terminal.expect(&format!("line-{n}"))?;
    }
    terminal.send("\u{4}")?;
    terminal.end()?;
    let screen = terminal.screen.so_far();
    ensure!(
        !contains(&screen),
        "{id}: {}",
        String::from_utf8_lossy(&screen)
    );
    Ok(())
}
