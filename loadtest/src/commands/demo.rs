//! `muster-loadtest demo`: the whole line on this machine, once through, and a summary.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, ensure};
use muster_loadtest::bot::{BotOutcome, Way};
use muster_loadtest::bots::{Bots, BotsPlan, Protocols};
use muster_loadtest::harness::specs::{ARENA_CPU_MILLIS, arena_fleet, queue};
use muster_loadtest::harness::stack::{REGION, Stack, StackOptions};
use muster_loadtest::harness::steps::Steps;
use muster_loadtest::report::Report;
use muster_loadtest::summary;

use super::interrupted;

const FLEET: &str = "arena";
const QUEUE: &str = "quick";
/// Players of one match.
const MATCH_PLAYERS: u32 = 4;
/// Servers kept warm.
const WARM: u32 = 3;
/// Messages of each bot per second.
const RATE: f64 = 20.0;
/// Most players: each match is a container on this one machine.
const MAX_PLAYERS: u32 = 400;
/// How long a match may take: most wait for a container to start.
const MATCH_DEADLINE: Duration = Duration::from_mins(2);

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The program `muster`
    #[arg(long, value_name = "FILE")]
    muster: PathBuf,
    /// The example game server's image, in this machine's Docker
    #[arg(long, default_value = "muster-example/arena:latest")]
    image: String,
    /// Where to write the report, JSON; logs go beside it
    #[arg(long, value_name = "FILE", default_value = "target/demo/report.json")]
    report: PathBuf,
    /// The orchestrator's store, `fdb:CLUSTER_FILE`; the embedded one if not given
    #[arg(long)]
    store: Option<String>,
    /// How many bots play
    #[arg(long, default_value_t = 60)]
    players: u32,
    /// How long they play
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Runs the demo; fails unless every bot was matched and every message answered.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    ensure!(
        (1..=MAX_PLAYERS).contains(&options.players) && options.players.is_multiple_of(MATCH_PLAYERS),
        "--players must be a multiple of {MATCH_PLAYERS}, at most {MAX_PLAYERS}: a match takes {MATCH_PLAYERS}"
    );
    ensure!((1..=3_600).contains(&options.seconds), "--seconds must be from 1 to 3600");
    println!(
        "\n  Muster, end to end: {} players, {} s, UDP, TCP and WebSocket\n",
        options.players, options.seconds
    );
    let mut steps = Steps::shown();
    let shown = tokio::select! {
        shown = show(&options, &mut steps) => shown,
        // Leaving `show` half-way drops the stack, which stops and removes what it started.
        () = interrupted() => bail!("interrupted; everything that was started is stopped"),
    };
    let Shown { bots, nodes } = shown?;
    let mut report = Report::new(&bots, Protocols::Mix.list());
    let bot_phases = std::mem::take(&mut report.phases_ms);
    report.phases_ms = steps.phases_ms();
    report.phases_ms.extend(bot_phases);
    print!("{}", summary::phases(steps.done()));
    print!("{}", summary::exchange(&report));
    print!("{}", summary::places(&bots, &nodes));
    eprint!("{}", summary::failures(&bots));
    report.write(&options.report)?;
    if report.ok {
        println!("\n  All played, nothing lost, nothing mixed. Report: {}\n", options.report.display());
        return Ok(ExitCode::SUCCESS);
    }
    println!("\n  It did not go as it should. Report and logs: {}\n", options.report.display());
    Ok(ExitCode::FAILURE)
}

struct Shown {
    bots: Vec<BotOutcome>,
    /// By server: the name of the node it ran on.
    nodes: BTreeMap<String, String>,
}

async fn show(options: &Options, steps: &mut Steps) -> anyhow::Result<Shown> {
    let dir = options.report.parent().map_or_else(PathBuf::new, PathBuf::from);
    let matches = options.players / MATCH_PLAYERS;
    let max = matches + WARM;
    // Arenas hardly use what they reserve, so a small machine may promise more than it has.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
    let cpu_millis = Some((max * ARENA_CPU_MILLIS).max(cores * 1_000));
    let muster = std::path::absolute(&options.muster)?;
    let stack = Stack::start(
        StackOptions { cpu_millis, store: options.store.clone(), ..StackOptions::new(muster, dir) },
        steps,
    )
    .await?;
    steps.run("push", "push the game server's image", stack.push_image(&options.image, "arena:demo")).await?;
    let fleet = arena_fleet(FLEET, "arena:demo", REGION, WARM, max);
    let text = format!("apply a fleet and wait for {WARM} warm servers");
    steps.run("fleet", &text, stack.apply_fleet(&fleet)).await?;
    let spec = queue(QUEUE, FLEET, MATCH_PLAYERS);
    steps
        .run("queue", &format!("apply a queue for matches of {MATCH_PLAYERS}"), stack.apply_queue(&spec))
        .await?;

    let plan = BotsPlan {
        client: stack.player.clone(),
        way: Way::Queue(QUEUE.to_owned()),
        players: options.players as usize,
        protocols: Protocols::Mix,
        play: Duration::from_secs(options.seconds),
        rate: RATE,
        pad: String::new(),
        match_deadline: MATCH_DEADLINE,
        authority_pem: None,
    };
    let text = format!("{} bots ask, connect and play for {} s", options.players, options.seconds);
    let bots = steps.run("bots", &text, async { Bots::start(&plan).await?.finish().await }).await?;
    let nodes = nodes_of(&stack).await?;
    steps.run("stop", "stop servers and processes, leave no container", stack.stop(&[FLEET])).await?;
    Ok(Shown { bots, nodes })
}

async fn nodes_of(stack: &Stack) -> anyhow::Result<BTreeMap<String, String>> {
    let names: BTreeMap<_, _> =
        stack.admin.nodes(None).await?.items.into_iter().map(|node| (node.id, node.name)).collect();
    let servers = stack.servers(FLEET).await?;
    let named = servers.into_iter().filter_map(|server| {
        let name = server.node.and_then(|node| names.get(&node).cloned())?;
        Some((server.id.to_string(), name))
    });
    Ok(named.collect())
}
