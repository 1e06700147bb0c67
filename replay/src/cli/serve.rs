//! `replay serve`: recordings in the browser on this machine.

use std::io::Write;
use std::path::PathBuf;

use super::{Failure, Out, zone};
use crate::files;
use crate::web::serve::Server;

/// Browse, search and play recordings in a browser on this machine, until Ctrl-C
///
/// Only this machine can reach it (127.0.0.1), and only with the address that is printed: it
/// has a secret in it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files and folders (with all below them)
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// The port; any free one without it
    #[arg(long, default_value_t = 0)]
    port: u16,
}

pub(super) fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    // Recordings may come later, folders have to be there.
    let (_, errors) = files::find(&args.paths);
    if !errors.is_empty() {
        out.find(&args.paths);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = match Server::bind(args.paths, zone(), args.port).await {
            Ok(server) => server,
            Err(error) => {
                out.problem(&format!(
                    "cannot listen on 127.0.0.1:{}: {error}",
                    args.port
                ));
                return Ok(());
            }
        };
        out.line(&server.url)?;
        out.stdout.flush()?;
        let stop = async {
            // Where signals can't be awaited, the first one ends the process by itself.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        server.run(stop).await?;
        Ok(())
    })
}
