//! `muster-loadtest edge-soak`: the edge at a steady load for long. An hour unless told otherwise.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use muster_loadtest::bench::BenchOptions;
use muster_loadtest::bench::edge::{SoakLoad, soak};
use muster_loadtest::harness::steps::Steps;

use super::{beside, interrupted};

/// How long, how hard, and with what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Seconds
    #[arg(long, default_value_t = SoakLoad::default().seconds)]
    seconds: f64,
    /// Round trips a second of all players
    #[arg(long, default_value_t = SoakLoad::default().rate)]
    rate: f64,
    /// Directory for the result (edge-soak.json) and logs
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// The program `muster`; the one beside this program if not given
    #[arg(long, value_name = "FILE")]
    muster: Option<PathBuf>,
}

/// Soaks.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let bench = BenchOptions {
        muster: beside(options.muster)?,
        // No container runs here.
        image: String::new(),
        out: std::path::absolute(&options.out)?,
    };
    let load = SoakLoad { seconds: options.seconds, rate: options.rate };
    let mut steps = Steps::shown();
    let figures = tokio::select! {
        soaked = soak(&bench, load, &mut steps) => soaked?,
        () = interrupted() => bail!("interrupted; everything that was started is stopped"),
    };
    figures.write(&bench.out.join("edge-soak.json"))?;
    println!("{}", figures.table());
    Ok(ExitCode::SUCCESS)
}
