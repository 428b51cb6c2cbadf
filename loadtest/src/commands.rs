//! The commands, one file each.

mod bots;
mod demo;

use std::process::ExitCode;

/// What to do.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Send bots through a running Muster: match, connect, play, check every answer
    Bots(bots::Options),
    /// Run a whole Muster on this machine, play on it, and stop it again
    Demo(demo::Options),
}

impl Command {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Bots(options) => bots::run(options).await,
            Self::Demo(options) => demo::run(options).await,
        }
    }
}
