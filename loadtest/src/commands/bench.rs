//! `muster-loadtest bench`: figures, each with its yardstick where there is one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use muster_loadtest::bench::edge::EdgeLoad;
use muster_loadtest::bench::{BenchOptions, alloc, edge, engine, matchmaking, start, store};
use muster_loadtest::harness::docker::require_image;
use muster_loadtest::harness::steps::Steps;
use muster_protocol::api::MAX_PLAYERS;

use super::interrupted;

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
    /// edge: flows at once
    #[arg(long, default_value_t = EdgeLoad::default().flows)]
    flows: usize,
    /// edge: messages per second of each flow
    #[arg(long, default_value_t = EdgeLoad::default().rate)]
    rate: f64,
    /// edge: seconds of one round
    #[arg(long, default_value_t = EdgeLoad::default().seconds)]
    seconds: u64,
    /// edge: rounds through each proxy
    #[arg(long, default_value_t = EdgeLoad::default().rounds)]
    rounds: usize,
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
    /// Edge packets per CPU-second, beside nginx
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
    ensure!(
        options.flows > 0 && options.flows * options.rounds <= MAX_PLAYERS as usize,
        "--flows times --rounds must be from 1 to {MAX_PLAYERS}: each takes a seat"
    );
    ensure!(options.rate > 0.0 && options.rate <= 1_000.0, "--rate must be over 0 and at most 1000");
    ensure!(options.seconds > 0 && options.rounds > 0, "--seconds and --rounds must be over 0");
    tokio::select! {
        measured = measure(&options) => measured?,
        () = interrupted() => bail!("interrupted; everything that was started is stopped"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(options: &Options) -> anyhow::Result<()> {
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("muster"));
    let muster =
        options.muster.clone().map_or_else(beside, Ok).context("cannot find this program's place")?;
    let bench = BenchOptions {
        muster: std::path::absolute(muster)?,
        image: options.image.clone(),
        out: std::path::absolute(&options.out)?,
    };
    let load = EdgeLoad {
        flows: options.flows,
        rate: options.rate,
        seconds: options.seconds,
        rounds: options.rounds,
    };
    let parts = if options.part.is_empty() { &matchmaking::Part::ALL[..] } else { &options.part };
    if !matches!(options.what, What::Alloc | What::Store | What::Engine | What::Matchmaking) {
        require_image(&options.image).await?;
    }
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
            What::Edge | What::All => ("edge", edge::run(&bench, load, &mut steps).await),
        };
        let figures = figures.with_context(|| format!("benchmark {name}"))?;
        let file = bench.out.join(format!("{name}.json"));
        figures.write(&file)?;
        println!("\n  {name}: {} at {}", figures.machine, figures.commit);
        println!("{}", figures.table());
    }
    Ok(())
}
