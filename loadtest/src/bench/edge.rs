//! What the edge costs per packet, and what it withstands, beside nginx's stream module and quilkin.
//!
//! All in a [lab](lab) of three network namespaces, each proxy on one core of its own, the same players and
//! the same game server for all of them, in turn. CPU time is read from the processes' own accounts; a packet
//! is one sent by a player, or one that came back. Every figure is the median of the rounds.

mod lab;
mod nginx;
mod parts;
mod play;
mod quilkin;
mod soak;
mod stage;
mod trials;
mod volume;

use anyhow::ensure;

pub use parts::Part;
pub use soak::{SoakLoad, soak};

use super::BenchOptions;
use super::figures::Figures;
use crate::harness::steps::Steps;
use crate::report::write_file;
use stage::Stage;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct EdgeLoad {
    /// Seconds of one round.
    pub seconds: f64,
    /// Rounds through each proxy.
    pub rounds: usize,
}

impl Default for EdgeLoad {
    fn default() -> Self {
        Self { seconds: 4.0, rounds: 5 }
    }
}

/// Runs the benchmark.
pub async fn run(options: &BenchOptions, load: EdgeLoad, steps: &mut Steps) -> anyhow::Result<Figures> {
    ensure!(load.rounds > 0 && load.seconds > 0.0, "a benchmark of no rounds measures nothing");
    let mut stage = Stage::set_up(options, steps).await?;
    steps.run("yardsticks", "start what it is compared with", stage.add_yardsticks()).await?;
    // Memory first: what a proxy holds afterwards is not given back.
    let mut figures = volume::memory(&mut stage, load, steps).await?;
    figures.extend(volume::throughput(&mut stage, load, steps).await?);
    figures.extend(trials::flood(&mut stage, load, steps).await?);
    figures.extend(trials::restart(&mut stage, steps).await?);
    figures.extend(trials::impaired(&mut stage, load, steps).await?);
    stage.check_alive()?;
    write_file(&options.out.join("run-edge/edge.prom"), &stage.edge_metrics().await?)?;
    Ok(Figures::new(figures))
}
