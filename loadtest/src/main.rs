//! The program `muster-loadtest`: arguments in, one command run, exit code out.

mod commands;

use std::process::ExitCode;

use clap::Parser;

/// As in `muster`, for benchmarks run parts of it in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bots, the demo, and the benchmarks of Muster.
#[derive(Parser)]
#[command(name = "muster-loadtest", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: commands::Command,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command.run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
