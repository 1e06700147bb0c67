//! The steps of the tour about access that is asked for.

use serde_json::Value;

use super::actor::{Actor, SignIn};
use super::held::{CAROL, console};
use super::story::{Seen, Wrong, contains, expect};

const ANA: &str = "bastion";
const PAYROLL: &str = "postgres@payroll-db@bastion";
const COMMAND: &str = "sql -At 'select count(*) from payroll'";

/// Ana's command on a target that she may not work on unless somebody has approved it.
async fn works(actor: &Actor, seen: &mut Seen, may: bool) -> Result<(), Wrong> {
    let ran = seen.keep(actor.ssh(&[PAYROLL, COMMAND], b"", SignIn::Never).await?);
    if may {
        let counted = ran.status == Some(0) && !ran.stdout.is_empty();
        return expect(counted, "a number, and exit status 0", &ran);
    }
    let refused = ran.status == Some(77) && ran.stdout.is_empty();
    expect(refused, "exit status 77 and no output", &ran)
}

/// Ana asks; with the name of her request, and without anything having opened by it.
async fn asks(actor: &Actor, seen: &mut Seen, why: &[&str]) -> Result<String, Wrong> {
    let words = ["request", "payroll-db", "--for", "30m", "--reason"];
    let ran = seen.keep(console(actor, ANA, &[&words, why].concat()).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    let text = String::from_utf8_lossy(&ran.stdout);
    let id = text.split(' ').next().unwrap_or_default().to_owned();
    expect(id.starts_with("R-"), "the name of a request", &ran)?;
    works(actor, seen, false).await?;
    Ok(id)
}

pub(super) async fn approved(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let id = asks(actor, seen, &["the", "nightly", "job", "failed"]).await?;
    let ran = seen.keep(console(actor, ANA, &["approve", &id]).await?);
    expect(
        ran.status == Some(77),
        "exit status 77 for her own approval",
        &ran,
    )?;
    let ran = seen.keep(console(actor, CAROL, &["requests"]).await?);
    expect(
        contains(&ran.stdout, &id) && contains(&ran.stdout, "can decide"),
        "the request in Carol's list",
        &ran,
    )?;
    let words = ["approve", &id, "--reason", "go", "ahead"];
    let ran = seen.keep(console(actor, CAROL, &words).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    works(actor, seen, true).await?;
    let ran = console(actor, ANA, &["targets", "--json"]).await?;
    let answer: Value = serde_json::from_slice(&ran.stdout)?;
    let targets = answer.get("targets").and_then(Value::as_array);
    let opened = targets
        .into_iter()
        .flatten()
        .find(|target| target.get("target").and_then(Value::as_str) == Some("payroll-db"));
    let until = opened.and_then(|target| target.get("until")?.as_str());
    expect(
        until.is_some(),
        "payroll-db among her targets, until then",
        &ran,
    )?;
    // She gives it back.
    let ran = seen.keep(console(actor, ANA, &["cancel", &id]).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    works(actor, seen, false).await?;
    Ok("refused, asked for, approved by Carol, worked, given back, refused".to_owned())
}

pub(super) async fn denied(actor: &Actor, seen: &mut Seen) -> Result<String, Wrong> {
    let id = asks(actor, seen, &["curious"]).await?;
    let words = ["deny", &id, "--reason", "no", "need"];
    let ran = seen.keep(console(actor, CAROL, &words).await?);
    expect(ran.status == Some(0), "exit status 0", &ran)?;
    let ran = seen.keep(console(actor, CAROL, &["approve", &id]).await?);
    expect(
        ran.status == Some(65),
        "exit status 65: it is decided",
        &ran,
    )?;
    works(actor, seen, false).await?;
    Ok("denied stays denied, and nothing opened".to_owned())
}
