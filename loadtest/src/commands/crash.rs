//! `muster-loadtest crash`: processes killed at random under load; nothing acknowledged may be lost, nothing
//! may be there twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use muster_loadtest::crash::audit;
use muster_loadtest::crash::killer::{Kill, Killer, Victim};
use muster_loadtest::crash::ledger::{Faults, Ledger};
use muster_loadtest::crash::load::{Game, Load};
use muster_loadtest::harness::specs::{ARENA_CPU_MILLIS, arena_fleet, queue};
use muster_loadtest::harness::stack::{REGION, Stack, StackOptions};
use muster_loadtest::harness::steps::{Steps, seconds};
use muster_loadtest::report::write_file;
use muster_protocol::api::{FleetSpec, QueueSpec};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::interrupted;

/// Fleet that players are sent to.
const FLEET: &str = "arena";
/// Queue they ask in.
const QUEUE: &str = "quick";
/// Players of one match.
const MATCH_PLAYERS: u32 = 2;
/// Servers kept warm, and the most there may be.
const SERVERS: (u32, u32) = (3, 14);
/// Servers that nobody plays on any more end after this.
const IDLE_S: u32 = 15;
/// Around an agent's or an edge's absence a broken game is to be expected: a tunnel that nobody speaks on finds
/// out with its next keep-alive, up to 1.3 s later.
const AROUND: Duration = Duration::from_secs(2);

/// How to go about it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The program `muster`
    #[arg(long, value_name = "FILE")]
    muster: PathBuf,
    /// The example game server's image, in this machine's Docker
    #[arg(long, default_value = "muster-example/arena:latest")]
    image: String,
    /// Where to write the report, JSON; logs go beside it
    #[arg(long, value_name = "FILE", default_value = "target/crash/report.json")]
    report: PathBuf,
    /// The orchestrator's store, `fdb:CLUSTER_FILE`; the embedded one if not given
    #[arg(long)]
    store: Option<String>,
    /// How many orchestrators; three on a cluster and one on the embedded store if not given
    #[arg(long)]
    replicas: Option<u16>,
    /// How many kills
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Decides who is killed when; a random one if not given
    #[arg(long)]
    seed: Option<u64>,
}

/// What came of it; its JSON is what other programs read.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    seed: u64,
    replicas: u16,
    kills: BTreeMap<Victim, usize>,
    /// Longest time from a kill until the process did its work again, seconds.
    longest_absence_s: f64,
    seconds: f64,
    acknowledged: u64,
    unknown: u64,
    tickets: usize,
    assigned: usize,
    games: usize,
    /// Games that broke off while an agent or edge was away, as they must.
    games_broken_by_agent_or_edge: usize,
    /// Games that broke off though only orchestrators were away.
    games_broken_otherwise: Vec<String>,
    lost: usize,
    double: usize,
    leaked: usize,
    faults: Faults,
    /// What `muster store check` said, if it found something.
    store: Option<String>,
}

/// Runs it; fails unless nothing was lost, nothing double and nothing left over.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    ensure!((1..=10_000).contains(&options.kills), "--kills must be from 1 to 10000");
    ensure!(options.replicas.is_none_or(|count| (1..=9).contains(&count)), "--replicas must be from 1 to 9");
    let seed = options.seed.unwrap_or_else(rand::random);
    let replicas = replicas(&options);
    println!("\n  Muster under kill -9: {} kills, {replicas} orchestrators, seed {seed}\n", options.kills);
    let mut steps = Steps::shown();
    let report = tokio::select! {
        report = crash(&options, seed, &mut steps) => report?,
        // Leaving half-way drops the stack, which stops and removes what it started.
        () = interrupted() => bail!("interrupted; everything that was started is stopped"),
    };
    write_file(&options.report, &serde_json::to_string_pretty(&report)?)?;
    print(&report);
    println!("\n  Report and logs: {}\n", options.report.display());
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn replicas(options: &Options) -> u16 {
    options.replicas.unwrap_or(if options.store.is_some() { 3 } else { 1 })
}

fn specs() -> (FleetSpec, QueueSpec) {
    let mut fleet = arena_fleet(FLEET, "arena:crash", REGION, SERVERS.0, SERVERS.1);
    fleet.timeouts.idle_s = IDLE_S;
    fleet.timeouts.stop_grace_s = 1;
    // Whoever got a server is to be found there in the end, though their game is long over.
    fleet.timeouts.reconnect_s = 86_400;
    fleet.timeouts.connect_s = 0;
    (fleet, queue(QUEUE, FLEET, MATCH_PLAYERS))
}

async fn crash(options: &Options, seed: u64, steps: &mut Steps) -> anyhow::Result<Report> {
    let dir = options.report.parent().map_or_else(PathBuf::new, PathBuf::from);
    let muster = std::path::absolute(&options.muster)?;
    let cpu_millis = Some(2 * SERVERS.1 * ARENA_CPU_MILLIS);
    let replicas = replicas(options);
    let stack_options =
        StackOptions { cpu_millis, replicas, store: options.store.clone(), ..StackOptions::new(muster, dir) };
    let mut stack = Stack::start(stack_options, steps).await?;
    steps
        .run("push", "push the game server's image", stack.push_image(&options.image, "arena:crash"))
        .await?;
    let (fleet, queue) = specs();
    steps.run("fleet", "apply a fleet", stack.apply_fleet(&fleet)).await?;
    steps.run("queue", "apply a queue", stack.apply_queue(&queue)).await?;

    let load = Load {
        players: stack.at_each(&stack.player)?,
        studios: stack.at_each(&stack.studio)?,
        admins: stack.at_each(&stack.admin)?,
        queue,
        ledger: Arc::default(),
        games: Arc::default(),
        left: Arc::default(),
        stop: CancellationToken::new(),
    };
    let (ledger, games, stop) = (load.ledger.clone(), load.games.clone(), load.stop.clone());
    let began = Instant::now();
    let working = tokio::spawn(load.run());
    let mut killer = Killer::new(seed);
    let text = format!("{} kills under load", options.kills);
    steps.run("kills", &text, kill_all(&mut killer, &mut stack, options.kills)).await?;
    steps.run("roll", "a rolling restart under load", Killer::roll(&mut stack)).await?;
    stop.cancel();
    let elapsed = began.elapsed();
    steps.run("drain", "what is under way ends", async { Ok(working.await?) }).await?;
    steps.run("rest", "everything comes to rest", audit::come_to_rest(&stack, FLEET)).await?;
    let ledger = std::mem::take(&mut *ledger.lock().unwrap_or_else(PoisonError::into_inner));
    let reality =
        steps.run("audit", "hold the ledger against it", audit::look(&stack, &ledger, QUEUE, FLEET)).await?;
    let faults = ledger.compare(&reality);
    let store = steps.run("check", "check the store's records", check(&mut stack)).await?;
    steps.run("stop", "stop everything, leave no container", stack.stop(&[FLEET])).await?;
    let games = std::mem::take(&mut *games.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(report((seed, replicas), &killer, &ledger, &games, faults, store, elapsed))
}

async fn kill_all(killer: &mut Killer, stack: &mut Stack, kills: u32) -> anyhow::Result<()> {
    for _ in 0..kills {
        killer.kill_one(stack).await?;
    }
    Ok(())
}

/// Checks the store while no orchestrator has it open. What it found, if it found something.
async fn check(stack: &mut Stack) -> anyhow::Result<Option<String>> {
    for orchestrator in &mut stack.orchestrators {
        orchestrator.stop(Duration::from_secs(15)).await?;
    }
    let found = stack.check_store().await.err().map(|error| format!("{error:#}"));
    for number in 0..stack.orchestrators.len() {
        stack.orchestrators[number].restart()?;
        stack.wait_for_orchestrator(number).await?;
    }
    stack.wait_for_node().await?;
    Ok(found)
}

fn report(
    (seed, replicas): (u64, u16),
    killer: &Killer,
    ledger: &Ledger,
    games: &[Game],
    faults: Faults,
    store: Option<String>,
    elapsed: Duration,
) -> Report {
    let broken: Vec<&Game> = games.iter().filter(|game| game.broken.is_some()).collect();
    let (expected, otherwise): (Vec<&Game>, Vec<&Game>) =
        broken.into_iter().partition(|game| is_excused(game, &killer.kills));
    let longest = killer.kills.iter().map(|kill| kill.back - kill.at).max().unwrap_or_default();
    let unexplained: Vec<String> = otherwise.iter().filter_map(|game| game.broken.clone()).collect();
    Report {
        ok: faults.is_empty() && store.is_none() && unexplained.is_empty(),
        seed,
        replicas,
        kills: killer.count(),
        longest_absence_s: longest.as_secs_f64(),
        seconds: elapsed.as_secs_f64(),
        acknowledged: ledger.acknowledged(),
        unknown: ledger.unknown,
        tickets: ledger.tickets(),
        assigned: ledger.assigned(),
        games: games.len(),
        games_broken_by_agent_or_edge: expected.len(),
        games_broken_otherwise: unexplained,
        lost: faults.lost.len(),
        double: faults.double.len(),
        leaked: faults.leaked.len(),
        faults,
        store,
    }
}

/// Whether an agent or an edge was away about when a game ended.
fn is_excused(game: &Game, kills: &[Kill]) -> bool {
    kills.iter().any(|kill| {
        kill.victim != Victim::Orchestrator
            && kill.at <= game.ended + AROUND
            && kill.back + AROUND >= game.ended
    })
}

fn print(report: &Report) {
    println!(
        "\n  kills            {:?}, the longest absence {:.1} s",
        report.kills, report.longest_absence_s
    );
    println!("  under load       {}", seconds(Duration::from_secs_f64(report.seconds)));
    println!(
        "  acknowledged     {} ({} tickets, {} with a server); {} answers never came",
        report.acknowledged, report.tickets, report.assigned, report.unknown
    );
    println!(
        "  games            {}; broken by an agent's or edge's death {}, otherwise {}",
        report.games,
        report.games_broken_by_agent_or_edge,
        report.games_broken_otherwise.len()
    );
    println!("  lost {}   double {}   leaked {}", report.lost, report.double, report.leaked);
    let faults = &report.faults;
    let all =
        faults.lost.iter().chain(&faults.double).chain(&faults.leaked).chain(&report.games_broken_otherwise);
    for fault in all.take(20) {
        println!("    {fault}");
    }
    match &report.store {
        None => println!("  store            its records agree"),
        Some(found) => println!("  store            {found}"),
    }
}
