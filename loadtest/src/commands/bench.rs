//! `muster-loadtest bench`: figures, each with its yardstick where there is one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
#[cfg(target_os = "linux")]
use muster_loadtest::bench::edge::{self, EdgeLoad, Section};
use muster_loadtest::bench::figures::Figures;
use muster_loadtest::bench::{BenchOptions, alloc, engine, matchmaking, start, store};
use muster_loadtest::harness::docker::require_image;
use muster_loadtest::harness::steps::Steps;

use super::{beside, interrupted};

/// What to measure, and with what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// Directory for results (one JSON file per benchmark) and logs
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// The program `muster`; the one beside this program if not given
    #[arg(long, value_name = "FILE")]
    muster: Option<PathBuf>,
    /// The example game server's image, in this machine's Docker
    #[arg(long, default_value = "muster-example/arena:latest")]
    image: String,
    /// edge: seconds of one round
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// edge: rounds through each proxy
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// edge: a part to measure; may be given more than once; all if not given
    #[cfg(target_os = "linux")]
    #[arg(long, value_enum, value_name = "PART")]
    edge_only: Vec<Section>,
    /// matchmaking: a part to measure; may be given more than once; all if not given
    #[arg(long, value_enum)]
    part: Vec<matchmaking::Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Allocations per second
    Alloc,
    /// Server start by phase, beside `docker run`
    Start,
    /// The edge: packets per CPU-second, latency, floods, restarts, beside nginx and quilkin
    Edge,
    /// The embedded store, beside bare redb
    Store,
    /// The durable engine on the embedded store
    Engine,
    /// Matchmaking: its core, over the store, through the API, and while it is killed
    Matchmaking,
    /// All of them, one after the other
    All,
}

/// Runs the benchmarks asked for.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    ensure!(options.seconds > 0.0 && options.rounds > 0, "--seconds and --rounds must be over 0");
    tokio::select! {
        measured = measure(&options) => measured?,
        () = interrupted() => bail!("interrupted; everything that was started is stopped"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let bench = BenchOptions {
        muster: beside(options.muster.clone())?,
        image: options.image.clone(),
        out: std::path::absolute(&options.out)?,
    };
    let parts = if options.part.is_empty() { &matchmaking::Part::ALL[..] } else { &options.part };
    if matches!(options.what, What::Start | What::All) {
        require_image(&options.image).await?;
    }
    let mut failed = Vec::new();
    for what in [What::Store, What::Engine, What::Matchmaking, What::Alloc, What::Start, What::Edge] {
        if options.what != What::All && options.what != what {
            continue;
        }
        let mut steps = Steps::shown();
        let (name, figures) = match what {
            What::Store => ("store", store::run(&bench, &mut steps).await),
            What::Engine => ("engine", engine::run(&bench, &mut steps).await),
            What::Matchmaking => ("matchmaking", matchmaking::run(&bench, parts, &mut steps).await),
            What::Alloc => ("alloc", alloc::run(&bench, &mut steps).await),
            What::Start => ("start", start::run(&bench, &mut steps).await),
            What::Edge | What::All => ("edge", edge(options, &bench, &mut steps).await),
        };
        let figures = figures.with_context(|| format!("benchmark {name}"))?;
        let file = bench.out.join(format!("{name}.json"));
        figures.write(&file)?;
        println!("\n  {name}: {} at {}", figures.machine, figures.commit);
        println!("{}", figures.table());
        failed.extend(figures.failed.iter().map(|failure| format!("{name}: {failure}")));
    }
    ensure!(failed.is_empty(), "parts that failed, all others are written:\n  {}", failed.join("\n  "));
    Ok(())
}

#[cfg(target_os = "linux")]
async fn edge(options: &Options, bench: &BenchOptions, steps: &mut Steps) -> anyhow::Result<Figures> {
    let sections = if options.edge_only.is_empty() { &Section::ALL[..] } else { &options.edge_only };
    edge::run(bench, sections, EdgeLoad { seconds: options.seconds, rounds: options.rounds }, steps).await
}

#[cfg(not(target_os = "linux"))]
async fn edge(_: &Options, _: &BenchOptions, _: &mut Steps) -> anyhow::Result<Figures> {
    bail!("this benchmark needs Linux's network namespaces; run it on Linux, or the others by name")
}
