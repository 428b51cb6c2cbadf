//! `muster-loadtest engine-at-rest`: the process that the engine's benchmark watches. Not for people.

use std::path::PathBuf;
use std::process::ExitCode;

/// Which store to hold.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// File of the embedded store
    store: PathBuf,
}

/// Holds it.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    muster_loadtest::bench::engine::rest(options.store).await?;
    Ok(ExitCode::SUCCESS)
}
