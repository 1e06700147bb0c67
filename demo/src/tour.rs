//! The whole story, played with the stock `ssh` client, and the invitation to play it oneself.
//!
//! Owns the story and what counts as right. How a command is run and a sign-in is confirmed is
//! [`actor`]'s; what is printed where is [`script`]'s.

pub mod actor;
mod asked;
mod held;
mod script;
mod story;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use crate::stage::Stage;

use actor::Actor;
use script::Script;

/// The stock client is missing.
#[derive(Debug, thiserror::Error)]
#[error("the demo needs the stock SSH client: apt install openssh-client")]
pub struct NoSsh;

/// Where the stock client is.
///
/// # Errors
/// When there is no `ssh` in `PATH`.
pub fn find_ssh() -> Result<PathBuf, NoSsh> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("ssh"))
        .find(|file| file.is_file())
        .ok_or(NoSsh)
}

/// Plays every step and prints it; `true` when each one came out right.
///
/// # Errors
/// When nothing can be printed.
pub async fn play(stage: &Stage) -> io::Result<bool> {
    let actor = Actor::new(stage).map_err(io::Error::other)?;
    let mut script = Script::new(io::stdout());
    script.say(&format!(
        "A provider, three targets and the bastion run in {}.\nEverything below is the stock ssh client.\n",
        stage.folder().display()
    ))?;
    story::play(&actor, &mut script).await?;
    let right = script.end()?;
    if !right {
        script.say(&format!("The end of the bastion's log:\n{}", stage.log()))?;
    }
    Ok(right)
}

/// What to type, for a person.
#[must_use]
pub fn invitation(stage: &Stage) -> String {
    let mut text = String::new();
    let folder = stage.folder().display();
    let page = stage.page();
    // Writing to a String cannot fail.
    write!(
        text,
        "
The bastion is ready. In another terminal:

  cd {folder}

  ssh -F ssh_config postgres@orders-db@bastion          a shell; the first time it shows a code
  ssh -F ssh_config postgres@orders-db@bastion \"sql 'select * from customers limit 3'\"
  ssh -F ssh_config bastion help                        the bastion's own commands
  bin/replay list bastion/recordings                    what was recorded

The code goes into {page}, where you are, without a password,
  ana    engineer: orders-db (postgres, analyst), build-1 (builder); payroll-db once she has
         asked for it and carol has approved:
         ssh -F ssh_config bastion request payroll-db --reason WHY
  bela   analyst: payroll-db too; what people earn is held until carol lets it go:
         ssh -F ssh_config postgres@payroll-db@bastion-bela \"sql 'select * from payroll limit 3'\"
  carol  payroll approver: what waits for her is in ssh -t -F ssh_config bastion-carol
  dave   auditor: plays everybody's sessions
  eve    in no group: nothing
A key is one person's: use @bastion-bela, @bastion-carol, @bastion-dave or @bastion-eve
for the others.

Ctrl-C ends everything and removes the folder.
"
    )
    .unwrap_or_default();
    text
}
