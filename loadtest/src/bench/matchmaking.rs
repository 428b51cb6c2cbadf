//! Matchmaking: its pure core, the whole of it through the API, while it is killed, and below the API.
//!
//! In the first nothing is written. In the second clients ask over HTTP and wait for their answer, in the third the
//! orchestrator is killed again and again meanwhile. In the last tickets enter durably by the call that the API makes,
//! and matches are committed with seats and servers. The load comes from the same machine, and takes its part of the
//! cores.

mod core;
mod crash;
mod durable;
mod http;
mod population;
mod quality;
mod stage;

use super::BenchOptions;
use super::figures::{Figure, Figures};
use crate::harness::steps::Steps;

/// What of it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// The pure core
    Core,
    /// Through the public API
    Http,
    /// While the orchestrator is killed
    Crash,
    /// The whole below HTTP
    Durable,
}

impl Part {
    /// All, in the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::Core, Self::Http, Self::Crash, Self::Durable];
}

/// Runs the benchmark, of it the `parts` asked for.
///
/// # Errors
/// The first part's that fails; what was measured before it is printed.
pub async fn run(options: &BenchOptions, parts: &[Part], steps: &mut Steps) -> anyhow::Result<Figures> {
    let mut figures = Vec::new();
    match measure(options, parts, &mut figures, steps).await {
        Ok(()) => Ok(Figures::new(figures)),
        Err(error) => {
            println!("{}", Figures::new(figures).table());
            Err(error)
        }
    }
}

async fn measure(
    options: &BenchOptions,
    parts: &[Part],
    figures: &mut Vec<Figure>,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let asked = |part| parts.contains(&part);
    if asked(Part::Core) {
        figures.extend(core::run(steps).await?);
        figures.extend(quality::run(steps).await?);
    }
    // Each on an orchestrator of its own, and last the one that leaves the disk the most to do.
    if asked(Part::Http) {
        let mut stage = stage::Stage::start(&options.out.join("run-matchmaking-http"), steps).await?;
        figures.extend(http::run(&mut stage, steps).await?);
        stage.stop().await?;
    }
    if asked(Part::Crash) {
        figures.extend(crash::run(options, steps).await?);
    }
    if asked(Part::Durable) {
        let mut stage = stage::Stage::start(&options.out.join("run-matchmaking-durable"), steps).await?;
        figures.extend(durable::run(&mut stage, steps).await?);
        stage.stop().await?;
    }
    Ok(())
}
