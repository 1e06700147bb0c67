//! What nobody learns by asking: which users, keys and targets there are.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::peer::ask;
use tests::world::{Setup, World};

/// Row 11 of the threats: the same answer in the same time. The kinds are asked about in turn on the same
/// connections, so that whatever else the machine does slows down all of them.
#[test]
fn what_is_known_answers_as_what_is_not() -> Result<()> {
    let world = World::start(&Setup {
        access: "permit (principal in Group::\"staff\", action, resource in Target::\"box\");\n"
            .to_owned(),
        ..Setup::default()
    })?;
    let client = world.signed_in()?;
    client.exec("box", "true", b"")?.ok()?;
    let login = &world.sshd.login;
    let what = json!({
        "do": "alike",
        "rounds": 9,
        "users": [format!("{login}@box"), "nobody@box", "nobody@nowhere"],
        "forbidden": [format!("{login}@vault"), "nobody@vault", "nobody@nowhere", "nobody@box"],
    });
    let answers = ask("raw.py", &[&client.told(&what)?])?;
    let mut typical = BTreeMap::new();
    for (question, kinds) in answers.as_object().context("questions")? {
        let mut same = None;
        let mut medians = BTreeMap::new();
        for (kind, all) in kinds.as_object().context("kinds")? {
            let mut times = Vec::new();
            for one in all.as_array().context("answers")? {
                let answer = one.get(0).context("an answer")?.clone();
                let expected = same.get_or_insert_with(|| answer.clone());
                ensure!(answer == *expected, "{kind}: {answer}, not {expected}");
                times.push(one.get(1).and_then(Value::as_f64).context("a time")?);
            }
            ensure!(times.len() >= 9, "{kind}: {} answers", times.len());
            medians.insert(kind, median(times)?);
        }
        let least = medians.values().copied().fold(f64::MAX, f64::min);
        let most = medians.values().copied().fold(0.0, f64::max);
        ensure!(most - least <= 0.05, "{question}: {medians:?}");
        typical.insert(question.as_str(), most);
    }
    // A failure takes a tenth of a second more than an offer, and that is seen: so would be a difference.
    let (offer, proof) = (typical.get("offer"), typical.get("proof"));
    let seen = offer
        .zip(proof)
        .is_some_and(|(offer, proof)| proof - offer > 0.05);
    ensure!(seen, "{typical:?}");
    Ok(())
}

fn median(mut times: Vec<f64>) -> Result<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().context("a time")
}
