//! Packets per CPU-second, latency, loss and memory at steady loads.

use anyhow::{Context as _, ensure};

use super::EdgeLoad;
use super::parts::PlayersReport;
use super::play::{Load, Way};
use super::stage::{AGENT_NAME, PROXY_NAME, SEATS, Stage};
use crate::bench::figures::Figure;
use crate::harness::steps::Steps;
use crate::latency::median;

/// Loads: name, players, round trips a second of all of them.
const LOADS: [(&str, usize, f64); 3] =
    [("10k", 64, 10_000.0), ("40k", 256, 40_000.0), ("20k", 1_000, 20_000.0)];
/// Payloads: name, bytes.
const PAYLOADS: [(&str, usize); 2] = [("100b", 100), ("1000b", 1_000)];
/// The load at which only loss is looked at.
const TOO_MUCH: (&str, usize, f64) = ("80k", 256, 80_000.0);
/// Flows whose memory is measured: the seats but those that play in other measurements.
const MEMORY_FLOWS: usize = 3 * SEATS;
/// Round trips a second while memory is measured: each flow is used, and nothing queues.
const MEMORY_RATE: f64 = 3_000.0;

/// Memory per flow of each proxy, and of the agent.
pub(super) async fn memory(
    stage: &mut Stage,
    load: EdgeLoad,
    steps: &mut Steps,
) -> anyhow::Result<Vec<Figure>> {
    let warm = Load { flows: 64, rate: MEMORY_RATE, payload: 100, seconds: load.seconds };
    let many = Load { flows: MEMORY_FLOWS, ..warm };
    let (mut proxies, mut agent) = (Vec::new(), 0.0);
    for way in stage.proxies() {
        let text = format!("memory of {MEMORY_FLOWS} flows through {}", way.name());
        let grown = steps.run("memory", &text, async {
            // Buffers come with the first packets, and are not the flows'.
            stage.play(way, warm, 0).await?;
            let before = stage.memory(way)?;
            stage.play(way, many, SEATS).await?;
            let after = stage.memory(way)?;
            let per_flow = |name: &str| {
                let of = |memory: &std::collections::BTreeMap<String, u64>| memory.get(name).copied();
                let (before, after) = (of(&before).unwrap_or(0), of(&after).unwrap_or(0));
                after.saturating_sub(before) as f64 / MEMORY_FLOWS as f64
            };
            anyhow::Ok((per_flow(PROXY_NAME), per_flow(AGENT_NAME)))
        });
        let (proxy, of_agent) = grown.await?;
        proxies.push((way, proxy));
        agent += of_agent;
    }
    let (_, ours) = proxies[0];
    let mut figures = vec![Figure::alone("agent.bytes_per_flow", agent, "B")];
    for (way, theirs) in proxies.into_iter().skip(1) {
        let name = if way == Way::Nginx { "edge.bytes_per_flow" } else { "edge.bytes_per_flow_vs_quilkin" };
        figures.push(Figure::alone(name, ours, "B").against(way.name(), theirs));
    }
    Ok(figures)
}

/// What came of the rounds over one way at one load.
struct Rounds(Vec<PlayersReport>);

impl Rounds {
    fn middle(&self, of: impl Fn(&PlayersReport) -> f64) -> f64 {
        median(&self.0.iter().map(of).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    }

    /// Packets per CPU-second of the processes named.
    fn packets_per_cpu_s(&self, names: &[&str]) -> f64 {
        self.middle(|report| {
            let used: f64 = names.iter().filter_map(|name| report.cpu_s.get(*name)).sum();
            (report.sent + report.returned) as f64 / used
        })
    }

    fn loss_pct(&self) -> f64 {
        self.middle(loss_pct)
    }
}

/// Packets of a hundred that did not come back.
pub(super) fn loss_pct(report: &PlayersReport) -> f64 {
    100.0 * report.sent.saturating_sub(report.returned) as f64 / report.sent.max(1) as f64
}

/// The loads, each over every way in turn.
pub(super) async fn throughput(
    stage: &mut Stage,
    load: EdgeLoad,
    steps: &mut Steps,
) -> anyhow::Result<Vec<Figure>> {
    let (mut figures, mut worst) = (Vec::new(), [f64::INFINITY; 2]);
    for (payload_name, payload) in PAYLOADS {
        for (name, flows, rate) in LOADS {
            let name = format!("edge.{name}_{payload_name}");
            let load_now = Load { flows, rate, payload, seconds: load.seconds };
            let ways: Vec<_> = [Way::Direct].into_iter().chain(stage.proxies()).collect();
            let mut of = rounds(stage, &ways, load_now, load.rounds, &name, steps).await?.into_iter();
            let direct = of.next().context("every way was played")?;
            let ours = of.next().context("every way was played")?;
            let peers: Vec<_> = ways[2..].iter().copied().zip(of).collect();
            figures.extend(of_load(&name, load_now, &direct, &ours, &peers));
            for (worst, (_, peer)) in worst.iter_mut().zip(&peers) {
                let ratio = ours.packets_per_cpu_s(&[PROXY_NAME]) / peer.packets_per_cpu_s(&[PROXY_NAME]);
                *worst = worst.min(ratio);
            }
            if (flows, payload) == (LOADS[0].1, PAYLOADS[0].1) {
                let added = ours.middle(p50) - direct.middle(p50);
                figures.push(Figure::alone("edge.added_p50_us", added, "us"));
            }
        }
    }
    let names = ["edge.cpu_vs_nginx", "edge.cpu_vs_quilkin"];
    let measured = names.into_iter().zip(worst).filter(|(_, ratio)| ratio.is_finite());
    figures.extend(measured.map(|(name, ratio)| Figure::alone(name, ratio, "x")));
    let (name, flows, rate) = TOO_MUCH;
    let load_now = Load { flows, rate, payload: PAYLOADS[0].1, seconds: load.seconds };
    let of = rounds(stage, &[Way::Muster, Way::Nginx], load_now, load.rounds, name, steps).await?;
    let lost = |way: usize| of[way].loss_pct();
    figures.push(Figure::alone("edge.loss_pct_80k", lost(0), "%").against(Way::Nginx.name(), lost(1)));
    let sent = of[0].middle(|report| report.sent as f64 / load.seconds);
    figures.push(Figure::alone("edge.offered_80k_per_s", sent, "1/s"));
    Ok(figures)
}

async fn rounds(
    stage: &mut Stage,
    ways: &[Way],
    load: Load,
    count: usize,
    name: &str,
    steps: &mut Steps,
) -> anyhow::Result<Vec<Rounds>> {
    let mut of: Vec<_> = ways.iter().map(|_| Rounds(Vec::new())).collect();
    for round in 1..=count {
        for (way, rounds) in ways.iter().zip(&mut of) {
            let text = format!("{name}, round {round} of {count}, {}", way.name());
            let report = steps.run("round", &text, stage.play(*way, load, 0)).await?;
            ensure!(report.mixed == 0, "{} packets came to another player than their own", report.mixed);
            rounds.0.push(report);
        }
    }
    Ok(of)
}

fn p50(report: &PlayersReport) -> f64 {
    report.p50_us as f64
}

fn p99(report: &PlayersReport) -> f64 {
    report.p99_us as f64
}

fn of_load(name: &str, load: Load, direct: &Rounds, ours: &Rounds, peers: &[(Way, Rounds)]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let (proxy, agent) = ([PROXY_NAME], [AGENT_NAME]);
    let added = |of: &Rounds, at: fn(&PlayersReport) -> f64| of.middle(at) - direct.middle(at);
    for (way, theirs) in peers {
        let suffix = if *way == Way::Nginx { "" } else { "_vs_quilkin" };
        let mut figure = |what: &str, unit: &str, ours: f64, theirs: f64| {
            let name = format!("{name}.{what}{suffix}");
            figures.push(Figure::alone(&name, ours, unit).against(way.name(), theirs));
        };
        let per_cpu_s = theirs.packets_per_cpu_s(&proxy);
        figure("packets_per_cpu_s", "packets/cpu-s", ours.packets_per_cpu_s(&proxy), per_cpu_s);
        figure("added_p50_us", "us", added(ours, p50), added(theirs, p50));
        figure("added_p99_us", "us", added(ours, p99), added(theirs, p99));
        figure("loss_pct", "%", ours.loss_pct(), theirs.loss_pct());
        if *way == Way::Nginx {
            let both = ours.packets_per_cpu_s(&[PROXY_NAME, AGENT_NAME]);
            figure("sum_packets_per_cpu_s", "packets/cpu-s", both, per_cpu_s);
        }
    }
    let alone = |what: &str, value: f64, unit: &str| Figure::alone(&format!("{name}.{what}"), value, unit);
    figures.push(alone("agent_packets_per_cpu_s", ours.packets_per_cpu_s(&agent), "packets/cpu-s"));
    figures.push(alone("direct_p50_us", direct.middle(p50), "us"));
    figures.push(alone("direct_loss_pct", direct.loss_pct(), "%"));
    // Under 100 the players were kept from sending, and the load was not the one named.
    let due = load.rate * load.seconds;
    figures.push(alone("offered_pct", ours.middle(|report| 100.0 * report.sent as f64 / due), "%"));
    figures
}
