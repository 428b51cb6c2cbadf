//! `muster completion`: a completion script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::output;

/// Which shell.
#[derive(Args)]
pub(crate) struct Options {
    /// The shell to print it for
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    // Through memory: written straight to a pipe that closes early, it would panic.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "muster", &mut script);
    output::line(String::from_utf8(script)?.trim_end())
}
