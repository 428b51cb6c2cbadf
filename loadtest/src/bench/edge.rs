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
mod restarts;
mod rounds;
mod sheet;
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
use sheet::Sheet;
use stage::Stage;

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Section {
    /// Memory per flow
    Memory,
    /// Packets per CPU-second, latency and loss at steady loads
    Loads,
    /// Proven players beside a flood of bogus tokens
    Flood,
    /// A game beside a bulk TCP flow
    Bulk,
    /// The next edge takes over
    Upgrade,
    /// `kill -9` of the edge
    Kill,
    /// Loss and delay before the agent
    BadPath,
}

impl Section {
    /// All of them, in the order in which they are measured: memory first, since what a proxy holds afterwards is not
    /// given back, and the bad path last, for which the agent's end is started anew.
    pub const ALL: [Self; 7] =
        [Self::Memory, Self::Loads, Self::Flood, Self::Bulk, Self::Upgrade, Self::Kill, Self::BadPath];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Loads => "loads",
            Self::Flood => "flood",
            Self::Bulk => "bulk flow",
            Self::Upgrade => "upgrade",
            Self::Kill => "kill -9",
            Self::BadPath => "bad path",
        }
    }

    async fn measure(self, stage: &mut Stage, load: EdgeLoad, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
        match self {
            Self::Memory => volume::memory(stage, load, sheet).await,
            Self::Loads => volume::throughput(stage, load, sheet).await,
            Self::Flood => trials::flood(stage, load, sheet).await,
            Self::Bulk => trials::bulk(stage, load, sheet).await,
            Self::Upgrade => restarts::upgrade(stage, load, sheet).await,
            Self::Kill => restarts::kill(stage, load, sheet).await,
            Self::BadPath => trials::impaired(stage, load, sheet).await,
        }
    }
}

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

/// Runs `sections` of the benchmark. One that fails is named in what comes back, and the others go on.
///
/// # Errors
/// Nothing could be measured: the lab or Muster in it does not stand.
pub async fn run(
    options: &BenchOptions,
    sections: &[Section],
    load: EdgeLoad,
    steps: &mut Steps,
) -> anyhow::Result<Figures> {
    ensure!(load.rounds > 0 && load.seconds > 0.0, "a benchmark of no rounds measures nothing");
    let mut stage = Stage::set_up(options, steps).await?;
    let mut sheet = Sheet::new(steps);
    let ready = stage.add_yardsticks();
    let ready = sheet.steps.run("yardsticks", "start what it is compared with", ready).await;
    sheet.close("yardsticks", ready);
    for section in Section::ALL.into_iter().filter(|section| sections.contains(section)) {
        let done = section.measure(&mut stage, load, &mut sheet).await;
        sheet.close(section.name(), done);
    }
    sheet.close("processes", stage.check_alive());
    let shown = stage.edge_metrics().await;
    let written = shown.and_then(|shown| write_file(&options.out.join("run-edge/edge.prom"), &shown));
    sheet.close("the edge's metrics", written);
    Ok(sheet.into_figures())
}
