//! `muster completion`: a completion script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;

/// Which shell.
#[derive(Args)]
pub(crate) struct Options {
    /// The shell to print it for
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    clap_complete::generate(options.shell, &mut Cli::command(), "muster", &mut std::io::stdout());
    Ok(())
}
