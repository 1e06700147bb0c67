//! The program `demo`: picks its role, and for the demo itself sets the stage and waits.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use demo::stage::Stage;
use demo::{Role, role, tour};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Starts a bastion and all that it needs, on loopback
///
/// An OpenID provider without passwords, three SSH targets with sample data, and the bastion, in a
/// temporary folder that goes away at the end. Prints what to type, and runs until Ctrl-C.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
struct Options {
    /// Play the whole story with the stock ssh client, and end; status 0 when every step was right
    #[arg(long)]
    tour: bool,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    match Role::of(&name, arguments.next().as_deref()) {
        Role::Sql => demo::sql::main(),
        Role::Terminal => role::terminal(),
        Role::Replay => replay::cli::main(),
        Role::Bastion => {
            role::follow_parent();
            bastion::cli::main()
        }
        Role::Demo => match run(&Options::parse()) {
            Ok(status) => status,
            Err(error) => {
                writeln!(io::stderr(), "demo: {error:#}").unwrap_or_default();
                ExitCode::FAILURE
            }
        },
    }
}

/// Ctrl-C in a tour: as a shell tells it.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut asked = Asked::listen().context("cannot listen for signals")?;
    let program = std::env::current_exe().context("cannot find this program's file")?;
    tour::find_ssh()?;
    role::adopt_orphans();
    let mut stage = tokio::select! {
        stage = Stage::start(&program) => stage?,
        () = asked.end() => return Ok(ExitCode::from(INTERRUPTED)),
    };
    let played = if options.tour {
        tokio::select! {
            right = tour::play(&stage) => right.map(|right| if right { 0 } else { 1 }),
            () = asked.end() => Ok(INTERRUPTED),
        }
    } else {
        wait(&mut stage, &mut asked).await.map(|()| 0)
    };
    let folder = stage.stop().await.context("cannot end everything")?;
    role::end_orphans();
    folder
        .close()
        .context("cannot remove the temporary folder")?;
    Ok(ExitCode::from(played?))
}

/// Shows what to type, and waits for the end.
async fn wait(stage: &mut Stage, asked: &mut Asked) -> io::Result<()> {
    io::stdout()
        .lock()
        .write_all(tour::invitation(stage).as_bytes())?;
    tokio::select! {
        ended = stage.bastion_ended() => {
            let log = stage.log();
            Err(io::Error::other(format!("the bastion ended ({}); its last words:\n{log}", ended?)))
        }
        () = asked.end() => Ok(()),
    }
}

/// The signals that ask the demo to end.
struct Asked([Signal; 3]);

impl Asked {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    /// Waits for one of them. Cancel-safe.
    async fn end(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
