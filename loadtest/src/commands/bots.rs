//! `muster-loadtest bots`: players for a Muster that runs already.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_client::Client;
use muster_loadtest::bot::Way;
use muster_loadtest::bots::{Bots, BotsPlan, MAX_PLAYERS, Protocols};
use muster_loadtest::harness::steps::Steps;
use muster_loadtest::report::Report;
use muster_loadtest::summary;

/// Most messages of one bot per second.
const MAX_RATE: f64 = 1_000.0;
/// Longest game, in seconds.
const MAX_SECONDS: u64 = 86_400;

/// How many bots do what.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// URL of the orchestrator's API
    #[arg(long, env = "MUSTER_URL")]
    url: String,
    /// API token; one of role `client` is enough
    #[arg(long, env = "MUSTER_TOKEN", hide_env_values = true)]
    token: String,
    /// Namespace, game/environment; needed with an admin token
    #[arg(long, env = "MUSTER_NAMESPACE", value_name = "GAME/ENV")]
    namespace: Option<String>,
    /// Queue to ask for matches in
    #[arg(long)]
    queue: String,
    /// How many bots
    #[arg(long, default_value_t = 4)]
    players: usize,
    /// What they play over: udp, tcp, ws, or mix (in turn)
    #[arg(long, default_value = "mix")]
    protocol: Protocols,
    /// How long each plays
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Messages per second of each
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Extra bytes in every message
    #[arg(long, default_value_t = 0)]
    pad: usize,
    /// Seconds a match may take
    #[arg(long, default_value_t = 120)]
    match_deadline: u64,
    /// Where to write the report, JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// PEM file of the CA to trust for https and wss; for wss Muster's own is taken if not given
    #[arg(long, env = "MUSTER_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Runs the bots; fails if any of them did not play without loss.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    ensure!((1..=MAX_PLAYERS).contains(&options.players), "--players must be from 1 to {MAX_PLAYERS}");
    ensure!(options.rate > 0.0 && options.rate <= MAX_RATE, "--rate must be over 0 and at most {MAX_RATE}");
    ensure!((1..=MAX_SECONDS).contains(&options.seconds), "--seconds must be from 1 to {MAX_SECONDS}");
    let authority_pem = match &options.ca {
        Some(path) => {
            Some(std::fs::read(path).with_context(|| format!("cannot read the CA {}", path.display()))?)
        }
        None => None,
    };
    let client = Client::new(
        &options.url,
        Some(&options.token),
        options.namespace.as_deref(),
        authority_pem.as_deref(),
    )?;
    let plan = BotsPlan {
        client,
        way: Way::Queue(options.queue),
        players: options.players,
        protocols: options.protocol,
        play: Duration::from_secs(options.seconds),
        rate: options.rate,
        pad: "x".repeat(options.pad),
        match_deadline: Duration::from_secs(options.match_deadline),
        authority_pem,
    };
    let text = format!("{} bots play for {} s", options.players, options.seconds);
    let outcomes =
        Steps::shown().run("bots", &text, async { Bots::start(&plan).await?.finish().await }).await?;
    let report = Report::new(&outcomes, plan.protocols.list());
    print!("{}", summary::exchange(&report));
    eprint!("{}", summary::failures(&outcomes));
    if let Some(path) = &options.report {
        report.write(path)?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
