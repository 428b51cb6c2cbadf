//! What the edge costs per packet, beside nginx's stream module.
//!
//! The same flows play with the same game server in its container at the same pace, in turn through
//! Muster (edge, encrypted tunnel, agent) and through nginx; all on loopback, one after the other.
//! Counted is the CPU time of the proxy process alone, the edge's or nginx's; packets are those sent
//! and those returned. Every figure is the median of the rounds.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_protocol::api::{AllocateRequest, Endpoint, PortProtocol, TokenMode};
use tokio::task::JoinSet;

use super::figures::{Figure, Figures};
use super::{BenchOptions, cpu, nginx};
use crate::bot::{Pace, play};
use crate::exchange::Exchange;
use crate::harness::docker::{SERVER_LABEL, containers, docker};
use crate::harness::ports;
use crate::harness::process::Process;
use crate::harness::specs::arena_fleet;
use crate::harness::stack::{REGION, Stack, StackOptions};
use crate::harness::steps::Steps;
use crate::latency::{Latencies, median};
use crate::link;
use crate::report::write_file;

const FLEET: &str = "arena";
/// The game's UDP port in its container.
const GAME_PORT: u16 = 7777;
/// CPU of the game server, in thousandths: it must not be what is measured.
const GAME_CPU_MILLIS: u32 = 1_500;
/// Length that messages are filled up with, so that packets are about 100 bytes.
const PAD: &str = "------------";

/// How hard to drive the proxies.
#[derive(Clone, Copy, Debug)]
pub struct EdgeLoad {
    /// Flows at once.
    pub flows: usize,
    /// Messages per second of each.
    pub rate: f64,
    /// Seconds of one round.
    pub seconds: u64,
    /// Rounds through each.
    pub rounds: usize,
}

impl Default for EdgeLoad {
    fn default() -> Self {
        Self { flows: 64, rate: 100.0, seconds: 8, rounds: 5 }
    }
}

/// Runs the benchmark.
pub async fn run(options: &BenchOptions, load: EdgeLoad, steps: &mut Steps) -> anyhow::Result<Figures> {
    let dir = options.out.join("run-edge");
    let stack_options =
        StackOptions { cpu_millis: Some(4_000), ..StackOptions::new(options.muster.clone(), dir.clone()) };
    let stack = Stack::start(stack_options, steps).await?;
    steps.run("push", "push the image", stack.push_image(&options.image, "arena:bench")).await?;
    let mut spec = arena_fleet(FLEET, "arena:bench", REGION, 1, 1);
    spec.limits.cpu_millis = GAME_CPU_MILLIS;
    spec.timeouts.idle_s = 0;
    steps.run("fleet", "one warm server", stack.apply_fleet(&spec)).await?;
    let request = AllocateRequest {
        regions: Vec::new(),
        // Seats of its own for each round: a seat keeps its session at the server, and its count of messages.
        players: (0..load.flows * load.rounds).map(|number| format!("flow-{number:04}")).collect(),
        data: None,
    };
    let claimed = stack.studio.allocate(FLEET, &request).await?;
    let through_muster: Vec<Endpoint> = claimed
        .seats
        .iter()
        .filter_map(|seat| seat.endpoints.iter().find(|endpoint| endpoint.protocol == PortProtocol::Udp))
        .cloned()
        .collect();
    ensure!(through_muster.len() == load.flows * load.rounds, "not every seat has a UDP endpoint");
    let game = format!("{}:{GAME_PORT}", address_of(&claimed.server_id.to_string()).await?);
    let ports = (0..load.rounds).map(|_| ports::free_udp()).collect::<anyhow::Result<Vec<_>>>()?;
    let nginx = nginx::start(&dir, &ports, &game).await?;
    let edge = stack.edge.as_ref().context("the edge runs")?;
    let agent = stack.agent.as_ref().context("the agent runs")?;

    let (mut muster, mut yardstick) = (Vec::new(), Vec::new());
    let rounds = through_muster.chunks_exact(load.flows).zip(ports);
    for (round, (seats, port)) in (1..).zip(rounds) {
        let text = |who: &str| format!("round {round} of {} through {who}", load.rounds);
        let through_nginx = vec![plain(port); load.flows];
        muster.push(steps.run("muster", &text("Muster"), measure(edge, Some(agent), seats, load)).await?);
        yardstick
            .push(steps.run("nginx", &text("nginx"), measure(&nginx, None, &through_nginx, load)).await?);
    }
    drop(nginx);
    // Where packets were dropped, if any were.
    write_file(&dir.join("edge.prom"), &stack.edge_metrics().await?)?;
    write_file(&dir.join("agent.prom"), &stack.agent_metrics().await?)?;
    stack.stop(&[FLEET]).await?;
    Ok(Figures::new(figures(&muster, &yardstick)))
}

/// One round through one proxy.
#[derive(Clone, Copy, Debug)]
struct Measured {
    packets_per_cpu_s: f64,
    /// The same, counting the agent's CPU time too where there is one.
    packets_per_path_cpu_s: f64,
    p50_us: f64,
    p99_us: f64,
    loss_pct: f64,
    round_trips_per_s: f64,
}

fn figures(muster: &[Measured], nginx: &[Measured]) -> Vec<Figure> {
    let middle = |rounds: &[Measured], of: fn(&Measured) -> f64| {
        median(&rounds.iter().map(of).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    };
    let figure = |name: &str, unit: &str, of: fn(&Measured) -> f64| {
        Figure::alone(name, middle(muster, of), unit).against("nginx stream", middle(nginx, of))
    };
    vec![
        figure("edge.packets_per_cpu_s", "packets/cpu-s", |round| round.packets_per_cpu_s),
        figure("edge.and_agent_packets_per_cpu_s", "packets/cpu-s", |round| round.packets_per_path_cpu_s),
        figure("edge.p50_us", "us", |round| round.p50_us),
        figure("edge.p99_us", "us", |round| round.p99_us),
        figure("edge.loss_pct", "%", |round| round.loss_pct),
        figure("edge.round_trips_per_s", "1/s", |round| round.round_trips_per_s),
    ]
}

/// Plays one round through `endpoints` and reads what it cost `proxy`, and `agent` behind it.
async fn measure(
    proxy: &Process,
    agent: Option<&Process>,
    endpoints: &[Endpoint],
    load: EdgeLoad,
) -> anyhow::Result<Measured> {
    let pid = proxy.pid().context("the proxy has ended")?;
    let agent_used = || agent.and_then(Process::pid).map_or(Ok(Duration::ZERO), cpu::used);
    // Connected before the clock starts: tokens are checked once per flow, not per packet.
    let mut links = Vec::new();
    for endpoint in endpoints {
        links.push(link::open(endpoint, None).await?);
    }
    let (before, agent_before) = (cpu::used(pid)?, agent_used()?);
    let pace = Pace { play: Duration::from_secs(load.seconds), rate: load.rate };
    let mut flows = JoinSet::new();
    for (number, (outgoing, incoming)) in links.into_iter().enumerate() {
        let exchange = Arc::new(Mutex::new(Exchange::new(
            &format!("flow-{number:04}"),
            None,
            rand::random(),
            PAD.into(),
        )));
        flows.spawn(async move {
            play(outgoing, incoming, &exchange, &pace, || {}).await?;
            anyhow::Ok(exchange)
        });
    }
    let (mut sent, mut returned, mut latencies) = (0, 0, Latencies::default());
    while let Some(flow) = flows.join_next().await {
        let exchange = flow??;
        let exchange = exchange.lock().expect("no holder of the lock panics");
        ensure!(exchange.mixed() == 0, "an answer was not the flow's own: {:?}", exchange.last_mix());
        sent += exchange.sent();
        returned += exchange.returned();
        latencies.merge(exchange.latencies());
    }
    let used = cpu::used(pid)?.saturating_sub(before);
    let path_used = used + agent_used()?.saturating_sub(agent_before);
    ensure!(returned > 0 && !used.is_zero(), "nothing came back, or the proxy used no CPU time at all");
    Ok(Measured {
        packets_per_cpu_s: (sent + returned) as f64 / used.as_secs_f64(),
        packets_per_path_cpu_s: (sent + returned) as f64 / path_used.as_secs_f64(),
        p50_us: latencies.percentile(50.0) as f64,
        p99_us: latencies.percentile(99.0) as f64,
        loss_pct: 100.0 * (sent - returned) as f64 / sent as f64,
        round_trips_per_s: returned as f64 / load.seconds as f64,
    })
}

fn plain(port: u16) -> Endpoint {
    Endpoint {
        port_name: "game-udp".to_owned(),
        protocol: PortProtocol::Udp,
        host: "127.0.0.1".to_owned(),
        port,
        url: None,
        tls: false,
        token_mode: TokenMode::Open,
        token: None,
        token_expires_at_ms: None,
    }
}

/// Bridge address of a server's container.
async fn address_of(server: &str) -> anyhow::Result<String> {
    let ids = containers(SERVER_LABEL, server).await?;
    let id = ids.first().with_context(|| format!("server {server} has no container"))?;
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let addresses = docker(&["inspect", "--format", format, id]).await?;
    let address = addresses.split_whitespace().next();
    address.map(str::to_owned).with_context(|| format!("container {id} has no bridge address"))
}
