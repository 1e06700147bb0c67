//! The steps of the tour: what is typed, and what must come of it.

use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{self, Instant};

use super::actor::{Actor, ActorError, Ran, SignIn};
use super::script::{Outcome, Script};
use super::{asked, held};
use crate::target;

/// Plays all steps. A step that fails does not keep the next one from being played.
pub(super) async fn play(actor: &Actor, script: &mut Script<impl Write>) -> io::Result<()> {
    let mut act = Act { actor, script };
    act.step(
        "Ana's first command: ssh shows an address and a code, she confirms in the browser",
        sign_in,
    )
    .await?;
    act.step("The next one needs no browser: her key has a lease", lease)
        .await?;
    act.step(
        "Output, errors and exit status come as from the target itself",
        apart,
    )
    .await?;
    act.step("What she sends goes to the command", upload)
        .await?;
    act.step("A shell in a terminal", shell).await?;
    act.step(
        "A login without a key of its own: the bastion mints a certificate",
        certificate,
    )
    .await?;
    act.step("Customers' data is masked on its way", masked)
        .await?;
    act.step("Which bytes a rule masks, and why", explained)
        .await?;
    act.step("Files by scp, where no rule protects the target", copy)
        .await?;
    act.step(
        "Where her groups may not go, she does not get",
        refused_target,
    )
    .await?;
    act.step("A login line that names nothing is refused", refused_line)
        .await?;
    act.step("The console tells her who she is", whoami).await?;
    act.step("The console lists her sessions", sessions).await?;
    act.step("Eve is in no group: signing in does not help her", eve)
        .await?;
    act.step("A sign-in that is denied in the browser", denied)
        .await?;
    act.step("Dave the auditor fetches Ana's recording over ssh", auditor)
        .await?;
    act.step(
        "replay lists the recordings, without the server",
        replay_list,
    )
    .await?;
    act.step("replay tells about a session", replay_info)
        .await?;
    act.step("replay prints what Ana saw in her shell", replay_text)
        .await?;
    act.step(
        "Bela the analyst asks what people earn: held until Carol approves, and not by herself",
        held::approved,
    )
    .await?;
    act.step(
        "The same without waiting: fetched once it is approved",
        held::fetched,
    )
    .await?;
    act.step("The same, denied", held::denied).await?;
    act.step("In a shell, held in place", held::shell).await?;
    act.step(
        "The recording shows the decision, and no salary",
        held::recorded,
    )
    .await?;
    act.step(
        "Ana asks for payroll-db: it opens once Carol has approved, and only for a time",
        asked::approved,
    )
    .await?;
    act.step("The same, denied", asked::denied).await?;
    act.step("Signed out: the key alone opens nothing", sign_out)
        .await
}

/// One step may take this long, its sign-in included.
const DEADLINE: Duration = Duration::from_secs(90);

struct Act<'a, W> {
    actor: &'a Actor,
    script: &'a mut Script<W>,
}

/// What a step returns: what was run, in order, and how it came out.
#[derive(Default)]
pub(super) struct Seen {
    ran: Vec<(String, Vec<u8>)>,
}

/// Why a step is not right.
pub(super) enum Wrong {
    Because(String),
    NotHere(&'static str),
}

impl From<ActorError> for Wrong {
    fn from(error: ActorError) -> Self {
        Self::Because(error.to_string())
    }
}

impl From<io::Error> for Wrong {
    fn from(error: io::Error) -> Self {
        Self::Because(error.to_string())
    }
}

impl From<serde_json::Error> for Wrong {
    fn from(error: serde_json::Error) -> Self {
        Self::Because(format!("not JSON: {error}"))
    }
}

impl<W: Write> Act<'_, W> {
    async fn step<F>(&mut self, title: &str, play: F) -> io::Result<()>
    where
        F: AsyncFnOnce(&Actor, &mut Seen) -> Result<String, Wrong>,
    {
        self.script.step(title)?;
        let mut seen = Seen::default();
        let played = time::timeout(DEADLINE, play(self.actor, &mut seen)).await;
        for (typed, output) in &seen.ran {
            self.script.show(typed, output)?;
        }
        let outcome = match played {
            Ok(Ok(text)) => Outcome::Right(text),
            Ok(Err(Wrong::Because(text))) => Outcome::Wrong(text),
            Ok(Err(Wrong::NotHere(text))) => Outcome::Skipped(text.to_owned()),
            Err(_) => Outcome::Wrong(format!("no end after {} s", DEADLINE.as_secs())),
        };
        self.script.outcome(title, outcome)
    }
}

impl Seen {
    /// Keeps what was run for the script, and gives it back for the checks.
    pub(super) fn keep(&mut self, ran: Ran) -> Ran {
        // A terminal mixes both; the code comes before the output, other words after it.
        let output = if ran.asked {
            [ran.stderr.as_slice(), &ran.stdout].concat()
        } else {
            [ran.stdout.as_slice(), &ran.stderr].concat()
        };
        self.ran.push((ran.typed.clone(), output));
        ran
    }
}

/// The step is wrong unless `right`; `what` should have been so.
pub(super) fn expect(right: bool, what: &str, ran: &Ran) -> Result<(), Wrong> {
    if right {
        return Ok(());
    }
    let status = ran
        .status
        .map_or_else(|| "a signal".to_owned(), |status| status.to_string());
    Err(Wrong::Because(format!(
        "expected {what}; exit status {status}, asked to sign in: {}",
        ran.asked
    )))
}

pub(super) fn contains(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

const ORDERS: &str = "postgres@orders-db@bastion";

async fn sign_in(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let command = "sql 'select count(*) as orders from orders'";
    let ran = seen.keep(
        actor
            .ssh(&[ORDERS, command], b"", SignIn::As("ana"))
            .await?,
    );
    expect(ran.asked, "an address and a code", &ran)?;
    expect(
        contains(&ran.stdout, "   120\n(1 row)\n"),
        "120 orders",
        &ran,
    )?;
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    Ok("she confirmed at the provider, and the command ran".to_owned())
}

async fn lease(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let started = Instant::now();
    let ran = seen.keep(
        actor
            .ssh(&[ORDERS, "sql -At 'select 6 * 7'"], b"", SignIn::Never)
            .await?,
    );
    let took = started.elapsed();
    expect(
        !ran.asked && ran.stdout == b"42\n" && ran.status == Some(0),
        "42 and no code",
        &ran,
    )?;
    Ok(format!("no code, answered in {} ms", took.as_millis()))
}

async fn apart(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let command = "echo data; echo warning >&2; exit 3";
    let ran = seen.keep(actor.ssh(&[ORDERS, command], b"", SignIn::Never).await?);
    expect(
        ran.stdout == b"data\n",
        "\"data\" alone on standard output",
        &ran,
    )?;
    expect(
        ran.err() == "warning\n",
        "\"warning\" alone on standard error",
        &ran,
    )?;
    expect(ran.status == Some(3), "exit status 3", &ran)?;
    Ok("\"data\" on standard output, \"warning\" on standard error, exit status 3".to_owned())
}

async fn upload(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    // Every byte value, and more than one window of a channel.
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let digest = data_encoding::HEXLOWER.encode(digest.as_ref());
    let ran = seen.keep(
        actor
            .ssh(&[ORDERS, "sha256sum"], &bytes, SignIn::Never)
            .await?,
    );
    expect(
        contains(&ran.stdout, &digest),
        &format!("the digest {digest}"),
        &ran,
    )?;
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    Ok("3 MB arrived whole: the target's digest is that of what was sent".to_owned())
}

/// What the shell step types, and the replay finds again.
const MARK: &str = "the-door-is-locked";

async fn shell(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let script = format!("stty -echo\ntty\necho {MARK} | tr - ' '\nexit 4\n");
    let ran = seen.keep(
        actor
            .ssh(&["-tt", ORDERS], script.as_bytes(), SignIn::Never)
            .await?,
    );
    expect(contains(&ran.stdout, "/dev/pts/"), "a terminal", &ran)?;
    expect(
        contains(&ran.stdout, &MARK.replace('-', " ")),
        "the echoed words",
        &ran,
    )?;
    expect(ran.status == Some(4), "exit status 4", &ran)?;
    Ok("a terminal of its own, and the shell's own exit status 4".to_owned())
}

async fn certificate(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let line = "analyst@orders-db@bastion";
    let ran = seen.keep(actor.ssh(&[line, "echo $USER"], b"", SignIn::Never).await?);
    expect(
        ran.stdout == b"analyst\n" && ran.status == Some(0),
        "analyst",
        &ran,
    )?;
    Ok("the target took a certificate of two minutes, for this login only".to_owned())
}

async fn masked(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let query = "select name, email, ssn, card, city from customers limit 3";
    let table = format!("sql '{query}'");
    let csv = format!("sql --csv '{query}'");
    let json = format!("sql --json '{query}'");
    for command in [&table, &csv, &json] {
        let ran = seen.keep(actor.ssh(&[ORDERS, command], b"", SignIn::Never).await?);
        expect(ran.status == Some(0), "exit status 0", &ran)?;
        expect(
            contains(&ran.stdout, "Ada Okafor"),
            "the name in the clear",
            &ran,
        )?;
        for clear in ["ada.okafor@", "4111 1111", "5555 5555", "137-23-1271"] {
            expect(
                !contains(&ran.stdout, clear),
                &format!("nothing of {clear:?}"),
                &ran,
            )?;
        }
    }
    Ok("names and cities in the clear; e-mail, social security and card numbers masked".to_owned())
}

async fn explained(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let words = [
        "policy",
        "explain",
        "bastion/policies",
        "--targets",
        "bastion/targets.toml",
        "--target",
        "orders-db",
        "--login",
        "postgres",
        "--group",
        "staff",
        "--text",
    ];
    let row = b"{\"name\": \"Ada Okafor\", \"ssn\": \"137-23-1271\", \"note\": \"paid with 4111 1111 1111 1111\"}\n";
    let ran = seen.keep(actor.run("bin/bastion", &words, row, SignIn::Never).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    for wanted in [
        "ssn: mask last4 by customer-pii",
        "its name ends like the field \"ssn\"",
        "it has the form of payment-card",
    ] {
        expect(contains(&ran.stdout, wanted), wanted, &ran)?;
    }
    Ok("rule, field and reason for each value, without touching a target".to_owned())
}

async fn copy(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    if target::sftp_server().is_none() {
        return Err(Wrong::NotHere(
            "the target has no sftp-server: apt install openssh-sftp-server",
        ));
    }
    let sent = actor.folder().join("notes.txt");
    fs::write(&sent, "from my desk\n")?;
    let words = [
        "-F",
        "ssh_config",
        "notes.txt",
        "builder+build-1@bastion:copied.txt",
    ];
    let ran = seen.keep(actor.run("scp", &words, b"", SignIn::Never).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    let arrived = fs::read(actor.folder().join("targets/build-1/copied.txt"))?;
    expect(
        arrived == b"from my desk\n",
        "the same bytes in the target's home",
        &ran,
    )?;
    let refused = "postgres+orders-db@bastion:config.yaml";
    let words = ["-F", "ssh_config", refused, "taken.yaml"];
    let ran = seen.keep(actor.run("scp", &words, b"", SignIn::Never).await?);
    let taken = actor.folder().join("taken.yaml").exists();
    expect(
        ran.status != Some(0) && !taken,
        "no file from a protected target",
        &ran,
    )?;
    Ok("copied to build-1; refused from orders-db, whose files nothing would mask".to_owned())
}

async fn refused_target(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let command = "sql 'select * from payroll'";
    let line = "postgres@payroll-db@bastion";
    let ran = seen.keep(actor.ssh(&[line, command], b"", SignIn::Never).await?);
    expect(ran.stdout.is_empty(), "no output", &ran)?;
    expect(ran.status == Some(77), "exit status 77", &ran)?;
    expect(ran.err().contains("bastion: "), "a line that says so", &ran)?;
    Ok("exit status 77, and one line on standard error".to_owned())
}

async fn refused_line(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let ran = seen.keep(
        actor
            .ssh(&["post$gres@@bastion", "id"], b"", SignIn::As("ana"))
            .await?,
    );
    expect(ran.stdout.is_empty(), "no output", &ran)?;
    expect(
        ran.status.is_some_and(|status| status != 0),
        "a status that is not 0",
        &ran,
    )?;
    expect(
        !ran.asked && ran.err().contains("bastion: "),
        "a line that says so",
        &ran,
    )?;
    let status = ran.status.unwrap_or_default();
    Ok(format!("exit status {status}, and no target was asked"))
}

async fn whoami(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let ran = seen.keep(
        actor
            .ssh(&["bastion", "whoami"], b"", SignIn::Never)
            .await?,
    );
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    for word in ["ana", "engineers"] {
        expect(contains(&ran.stdout, word), word, &ran)?;
    }
    let ran = seen.keep(
        actor
            .ssh(&["bastion", "targets"], b"", SignIn::Never)
            .await?,
    );
    expect(contains(&ran.stdout, "orders-db"), "orders-db", &ran)?;
    expect(
        !contains(&ran.stdout, "payroll-db"),
        "nothing of payroll-db",
        &ran,
    )?;
    Ok("ana of the engineers, with the targets that she may reach and no others".to_owned())
}

async fn sessions(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let ran = seen.keep(
        actor
            .ssh(&["bastion", "sessions"], b"", SignIn::Never)
            .await?,
    );
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    expect(
        contains(&ran.stdout, "sha256sum"),
        "the command sha256sum",
        &ran,
    )?;
    let found = shell_session(actor, "bastion").await?;
    Ok(format!("her shell is session {found}"))
}

/// The id of Ana's shell, which the recorder knows to be over.
async fn shell_session(actor: &Actor, host: &str) -> Result<String, Wrong> {
    let ran = actor
        .ssh(&[host, "sessions", "--json"], b"", SignIn::Never)
        .await?;
    let answer: Value = serde_json::from_slice(&ran.stdout)?;
    let sessions = answer
        .get("sessions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    sessions
        .iter()
        .find(|session| session.get("kind").and_then(Value::as_str) == Some("shell"))
        .and_then(|session| session.get("id")?.as_str())
        .map(str::to_owned)
        .ok_or_else(|| Wrong::Because(format!("expected a shell among {answer}")))
}

async fn eve(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let line = "postgres@orders-db@bastion-eve";
    let ran = seen.keep(actor.ssh(&[line, "id"], b"", SignIn::As("eve")).await?);
    expect(ran.asked, "an address and a code", &ran)?;
    expect(
        ran.stdout.is_empty() && ran.status == Some(255),
        "no connection",
        &ran,
    )?;
    expect(ran.err().contains("group"), "a line that says why", &ran)?;
    Ok("the provider knows her, the bastion lets nobody in without a group".to_owned())
}

async fn denied(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let line = "postgres@payroll-db@bastion-carol";
    let ran = seen.keep(actor.ssh(&[line, "id"], b"", SignIn::Deny).await?);
    expect(ran.asked, "an address and a code", &ran)?;
    expect(
        ran.stdout.is_empty() && ran.status == Some(255),
        "no connection",
        &ran,
    )?;
    expect(ran.err().contains("denied"), "a line that says why", &ran)?;
    Ok("no connection, and a line that says why".to_owned())
}

async fn auditor(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let host = "bastion-dave";
    let ran = seen.keep(
        actor
            .ssh(&[host, "whoami"], b"", SignIn::As("dave"))
            .await?,
    );
    expect(
        ran.asked && contains(&ran.stdout, "auditors"),
        "dave of the auditors",
        &ran,
    )?;
    let id = shell_session(actor, host).await?;
    let mut ran = actor
        .ssh(&[host, "recording", &id], b"", SignIn::Never)
        .await?;
    let file = std::mem::take(&mut ran.stdout);
    ran.typed.push_str(" > fetched.cast.zst");
    let ran = seen.keep(ran);
    // RFC 8878: the magic number of a zstd frame.
    expect(
        file.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]),
        "a zstd file",
        &ran,
    )?;
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    fs::write(actor.folder().join("fetched.cast.zst"), &file)?;
    Ok(format!("{} bytes of zstd", file.len()))
}

async fn replay_list(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let words = ["list", "bastion/recordings"];
    let ran = seen.keep(actor.run("bin/replay", &words, b"", SignIn::Never).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    for word in ["postgres@orders-db", "analyst@orders-db"] {
        expect(contains(&ran.stdout, word), word, &ran)?;
    }
    expect(
        !contains(&ran.stdout, "payroll-db"),
        "nothing of a refused session",
        &ran,
    )?;
    Ok("each session is one file".to_owned())
}

async fn replay_info(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let words = ["info", "fetched.cast.zst"];
    let ran = seen.keep(actor.run("bin/replay", &words, b"", SignIn::Never).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    expect(
        contains(&ran.stdout, "postgres@orders-db"),
        "the account",
        &ran,
    )?;
    Ok("who, where and when, out of the file alone".to_owned())
}

async fn replay_text(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let words = ["text", "fetched.cast.zst"];
    let ran = seen.keep(actor.run("bin/replay", &words, b"", SignIn::Never).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    expect(
        contains(&ran.stdout, &MARK.replace('-', " ")),
        "the words of her shell",
        &ran,
    )?;
    expect(!ran.stdout.contains(&0x1b), "no escape sequence", &ran)?;
    Ok("her screen as plain text".to_owned())
}

async fn sign_out(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let ran = seen.keep(
        actor
            .ssh(&["bastion", "sign-out"], b"", SignIn::Never)
            .await?,
    );
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    let ran = seen.keep(actor.ssh(&[ORDERS, "id"], b"", SignIn::Never).await?);
    expect(
        ran.status == Some(255) && ran.stdout.is_empty(),
        "no connection",
        &ran,
    )?;
    Ok("the next command would show a code again".to_owned())
}
