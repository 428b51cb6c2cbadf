//! `muster-loadtest sdk-driver`: the Rust client behind the conformance protocol, on stdin and stdout.

use std::process::ExitCode;

use muster_loadtest::conformance::rust_driver::serve;

/// It is told everything on stdin.
#[derive(clap::Args)]
pub(crate) struct Options {}

/// Serves until stdin ends.
pub(crate) async fn run(_options: Options) -> anyhow::Result<ExitCode> {
    serve().await?;
    // Reads of stdin that are under way cannot be given up; what is left is nobody's.
    std::process::exit(0)
}
