//! The steps of the tour about output that waits for another person.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tokio::time;

use super::actor::{Actor, Ran, SignIn};
use super::story::{Seen, Wrong, contains, expect};

const PAYROLL: &str = "postgres@payroll-db@bastion-bela";
const BELA: &str = "bastion-bela";
pub(super) const CAROL: &str = "bastion-carol";
const QUERY: &str = "sql --csv 'select id, employee, salary from payroll limit 3'";
/// What the first of the staff earns.
const SALARY: &str = "61300";

/// Somebody's console command.
pub(super) async fn console(actor: &Actor, host: &str, words: &[&str]) -> Result<Ran, Wrong> {
    let words = [&[host], words].concat();
    Ok(actor.ssh(&words, b"", SignIn::Never).await?)
}

/// The hold that waits for Carol, as soon as it can be decided.
async fn waiting(actor: &Actor) -> Result<String, Wrong> {
    for _ in 0..150 {
        let ran = console(actor, CAROL, &["holds", "--json"]).await?;
        let answer: Value = serde_json::from_slice(&ran.stdout)?;
        let holds = answer.get("holds").and_then(Value::as_array);
        let decidable = holds
            .into_iter()
            .flatten()
            .find(|hold| hold.get("can_decide").and_then(Value::as_bool) == Some(true));
        if let Some(id) = decidable.and_then(|hold| hold.get("id")?.as_str()) {
            return Ok(id.to_owned());
        }
        time::sleep(Duration::from_millis(50)).await;
    }
    Err(Wrong::Because(
        "expected a hold that Carol can decide".to_owned(),
    ))
}

pub(super) async fn approved(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    for (host, person) in [(BELA, "bela"), (CAROL, "carol")] {
        let ran = actor
            .ssh(&[host, "whoami"], b"", SignIn::As(person))
            .await?;
        expect(ran.status == Some(0), "a sign-in", &ran)?;
    }
    let decide = async {
        let id = waiting(actor).await?;
        let own = console(actor, BELA, &["approve", &id]).await?;
        let list = console(actor, CAROL, &["holds"]).await?;
        let show = console(actor, CAROL, &["show", &id]).await?;
        let words = ["approve", &id, "--reason", "monthly", "report"];
        let approve = console(actor, CAROL, &words).await?;
        Ok::<_, Wrong>((own, list, show, approve))
    };
    let query = actor.ssh(&[PAYROLL, QUERY], b"", SignIn::Never);
    let (query, decided) = tokio::join!(query, decide);
    let (own, list, show, approve) = decided?;
    let own = seen.keep(own);
    expect(
        own.status == Some(77),
        "exit status 77 for her own approval",
        &own,
    )?;
    let list = seen.keep(list);
    expect(
        contains(&list.stdout, "can decide"),
        "a hold in Carol's list",
        &list,
    )?;
    let show = seen.keep(show);
    expect(
        contains(&show.stdout, "preview") && !contains(&show.stdout, SALARY),
        "a preview without a salary",
        &show,
    )?;
    let approve = seen.keep(approve);
    expect(approve.status == Some(0), "exit status 0", &approve)?;
    let query = seen.keep(query?);
    expect(
        query.err().contains("output held as H-"),
        "a line that says so",
        &query,
    )?;
    expect(
        query.status == Some(0) && contains(&query.stdout, SALARY),
        "the salaries, and exit status 0",
        &query,
    )?;
    Ok("held; her own approval refused; Carol's let the bytes through".to_owned())
}

pub(super) async fn fetched(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let words = ["-o", "SetEnv=BASTION_HOLD=detach", PAYROLL, QUERY];
    let ran = seen.keep(actor.ssh(&words, b"", SignIn::Never).await?);
    expect(
        ran.status == Some(75) && !contains(&ran.stdout, SALARY),
        "exit status 75 and no salary",
        &ran,
    )?;
    let id = waiting(actor).await?;
    let ran = seen.keep(console(actor, BELA, &["fetch", &id]).await?);
    expect(
        ran.status == Some(75),
        "exit status 75: not decided yet",
        &ran,
    )?;
    let ran = seen.keep(console(actor, CAROL, &["approve", &id]).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    let ran = seen.keep(console(actor, BELA, &["fetch", &id]).await?);
    expect(
        ran.status == Some(0) && contains(&ran.stdout, SALARY),
        "the salaries",
        &ran,
    )?;
    let ran = seen.keep(console(actor, BELA, &["fetch", &id]).await?);
    expect(
        ran.status == Some(65) && ran.stdout.is_empty(),
        "no second time",
        &ran,
    )?;
    Ok("75 at once; fetched after the approval, and only once".to_owned())
}

pub(super) async fn denied(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let decide = async {
        let id = waiting(actor).await?;
        console(
            actor,
            CAROL,
            &["deny", &id, "--reason", "not", "for", "this"],
        )
        .await
    };
    let query = actor.ssh(&[PAYROLL, QUERY], b"", SignIn::Never);
    let (query, deny) = tokio::join!(query, decide);
    let deny = seen.keep(deny?);
    expect(deny.status == Some(0), "exit status 0", &deny)?;
    let query = seen.keep(query?);
    expect(
        query.status == Some(76) && !contains(&query.stdout, SALARY),
        "exit status 76 and no salary",
        &query,
    )?;
    Ok("exit status 76, and nothing of it is kept".to_owned())
}

pub(super) async fn shell(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let script =
        "stty -echo\nsql 'select employee, salary from payroll limit 2'\necho alive\nexit 0\n";
    let ran = actor.ssh(&["-tt", PAYROLL], script.as_bytes(), SignIn::Never);
    let ran = seen.keep(ran.await?);
    expect(
        contains(&ran.stdout, "held H-") && !contains(&ran.stdout, SALARY),
        "the salaries held in their places",
        &ran,
    )?;
    expect(contains(&ran.stdout, "alive"), "a shell that goes on", &ran)?;
    let id = waiting(actor).await?;
    let approve = seen.keep(console(actor, CAROL, &["approve", &id]).await?);
    expect(approve.status == Some(0), "exit status 0", &approve)?;
    let ran = seen.keep(console(actor, BELA, &["fetch", &id]).await?);
    expect(contains(&ran.stdout, SALARY), "the salaries", &ran)?;
    Ok("held in place; the rows were approved and fetched".to_owned())
}

pub(super) async fn recorded(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let host = "bastion-dave";
    let ran = console(actor, host, &["sessions", "--json"]).await?;
    let answer: Value = serde_json::from_slice(&ran.stdout)?;
    let sessions = answer.get("sessions").and_then(Value::as_array);
    // The first of the held queries, which is the last of the list.
    let session = sessions
        .into_iter()
        .flatten()
        .rfind(|session| session.get("target").and_then(Value::as_str) == Some("payroll-db"))
        .and_then(|session| session.get("id")?.as_str())
        .ok_or_else(|| Wrong::Because(format!("expected a held session among {answer}")))?;
    let mut ran = console(actor, host, &["recording", session]).await?;
    let file = std::mem::take(&mut ran.stdout);
    fs::write(actor.folder().join("held.cast.zst"), &file)?;
    ran.typed.push_str(" > held.cast.zst");
    seen.keep(ran);
    let info = actor.run("bin/replay", &["info", "held.cast.zst"], b"", SignIn::Never);
    let info = seen.keep(info.await?);
    for word in ["held as H-", "sealed", "approved by carol"] {
        expect(contains(&info.stdout, word), word, &info)?;
    }
    let text = actor.run("bin/replay", &["text", "held.cast.zst"], b"", SignIn::Never);
    let text = seen.keep(text.await?);
    expect(
        contains(&text.stdout, "Amira") && !contains(&text.stdout, SALARY),
        "the rows, without a salary",
        &text,
    )?;
    Ok("held, sealed, approved by whom: all in it, and no salary".to_owned())
}
