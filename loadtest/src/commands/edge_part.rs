//! `muster-loadtest edge-part`: what stands around the proxies in the edge's benchmark. Not for people.

use std::process::ExitCode;

use muster_loadtest::bench::edge::Part;

/// Which part to be.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    part: Part,
}

/// Is that part.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    options.part.run().await?;
    Ok(ExitCode::SUCCESS)
}
