//! `muster-loadtest sdk-conformance`: holds an SDK, by its driver, against recorded answers and a whole Muster.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use muster_loadtest::conformance::cases::{Case, Tally, is_wanted, run as run_case};
use muster_loadtest::conformance::driver::Driver;
use muster_loadtest::conformance::{live, recorded};

use super::interrupted;

/// What to check.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Command line of the SDK's driver, as a shell takes it
    #[arg(long, value_name = "COMMAND", required_unless_present = "list")]
    driver: Option<String>,
    /// The program `muster`; the one beside this program if not given
    #[arg(long, value_name = "FILE")]
    muster: Option<PathBuf>,
    /// Image of the example's server, in this machine's Docker
    #[arg(long, default_value = "muster-example/arena:latest")]
    image: String,
    /// Directory for state and logs
    #[arg(long, value_name = "DIR", default_value = "target/sdk-conformance")]
    out: PathBuf,
    /// Only the cases whose names begin so; may be given several times
    #[arg(long = "case", value_name = "NAME")]
    wanted: Vec<String>,
    /// Only what needs neither Docker nor Muster
    #[arg(long)]
    recorded_only: bool,
    /// List the cases, and what each checks
    #[arg(long)]
    list: bool,
}

/// Fails unless every case passes or is skipped for a feature that the SDK does not claim.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    if options.list {
        list(&recorded::all());
        list(&live::all());
        return Ok(ExitCode::SUCCESS);
    }
    let tally = tokio::select! {
        tally = check(&options) => tally?,
        () = interrupted() => bail!("interrupted; everything that was started is stopped"),
    };
    println!("\n  {} passed, {} skipped, {} failed", tally.passed, tally.skipped, tally.failed.len());
    if tally.failed.is_empty() && tally.passed > 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!("  failed: {}\n  one alone: --case NAME", tally.failed.join(", "));
    Ok(ExitCode::FAILURE)
}

fn list<W>(cases: &[Case<W>]) {
    for case in cases {
        println!("{:<24} {}", case.name, case.checks);
    }
}

async fn check(options: &Options) -> anyhow::Result<Tally> {
    let command = options.driver.as_deref().context("no driver is named")?;
    let mut tally = Tally::default();
    let mut driver = Driver::start(command).await?;
    println!("\n  {}, against recorded answers\n", driver.name());
    for case in recorded::all().iter().filter(|case| is_wanted(case.name, &options.wanted)) {
        let (verdict, took) = run_case(case, &driver, &driver).await;
        let is_broken = matches!(verdict, muster_loadtest::conformance::cases::Verdict::Failed(_));
        tally.add(case.name, &verdict, took);
        if is_broken {
            // Whatever state it is in is not the next case's.
            driver = Driver::start(command).await?;
        }
    }
    driver.quit().await?;
    let live: Vec<_> = live::all().into_iter().filter(|case| is_wanted(case.name, &options.wanted)).collect();
    if options.recorded_only || live.is_empty() {
        return Ok(tally);
    }
    println!("\n  On a whole Muster\n");
    let beside = || Ok::<_, std::io::Error>(std::env::current_exe()?.with_file_name("muster"));
    let muster =
        options.muster.clone().map_or_else(beside, Ok).context("cannot find this program's place")?;
    let world =
        live::World::start(command, std::path::absolute(muster)?, &options.image, options.out.clone())
            .await?;
    println!();
    for case in &live {
        let (verdict, took) = run_case(case, world.driver(), &world).await;
        tally.add(case.name, &verdict, took);
    }
    world.stop().await.with_context(|| format!("the logs are in {}", options.out.display()))?;
    Ok(tally)
}
