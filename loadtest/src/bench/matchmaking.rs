//! Matchmaking: its pure core, the whole of it over the embedded store, through the API, and while it is killed.
//!
//! In the first nothing is written. In the second tickets enter durably by the call that the API makes, and matches
//! are committed with seats and servers. In the third clients ask over HTTP and wait for their answer. In the last the
//! orchestrator is killed again and again meanwhile. The load comes
//! from the same machine, and takes its part of the cores.

mod core;
mod crash;
mod durable;
mod http;
mod population;
mod stage;

use super::BenchOptions;
use super::figures::Figures;
use crate::harness::steps::Steps;

/// Runs the benchmark.
pub async fn run(options: &BenchOptions, steps: &mut Steps) -> anyhow::Result<Figures> {
    let mut figures = core::run(steps).await?;
    let mut stage = stage::Stage::start(&options.out.join("run-matchmaking"), steps).await?;
    figures.extend(durable::run(&mut stage, steps).await?);
    figures.extend(http::run(&mut stage, steps).await?);
    stage.stop().await?;
    figures.extend(crash::run(options, steps).await?);
    Ok(Figures::new(figures))
}
