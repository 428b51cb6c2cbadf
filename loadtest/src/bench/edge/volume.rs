//! Packets per CPU-second, latency, loss and memory at steady loads.

use std::collections::BTreeMap;

use super::EdgeLoad;
use super::parts::{PLAYERS, PlayersReport};
use super::play::{Load, Way};
use super::rounds::{Rounds, p50, p99};
use super::sheet::Sheet;
use super::stage::{AGENT_NAME, GAME_NAME, PROXY_NAME, SEATS, Stage};
use crate::bench::figures::Figure;

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
pub(super) async fn memory(stage: &mut Stage, load: EdgeLoad, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    let (mut proxies, mut agent) = (BTreeMap::new(), 0.0);
    for way in stage.proxies() {
        let text = format!("memory of {MEMORY_FLOWS} flows through {}", way.name());
        match sheet.steps.run("memory", &text, per_flow(stage, way, load.seconds)).await {
            Ok((proxy, of_agent)) => {
                proxies.insert(way, proxy);
                agent += of_agent;
            }
            Err(error) => sheet.close(&text, Err(error)),
        }
    }
    // What was dropped so far belongs to no round.
    sheet.look(stage).await;
    let restarted = stage.restart_quilkin().await;
    sheet.close("quilkin", restarted);
    let Some(ours) = proxies.remove(&Way::Muster) else { return Ok(()) };
    sheet.add([Figure::alone("agent.bytes_per_flow", agent, "B")]);
    sheet.add(proxies.into_iter().map(|(way, theirs)| {
        let name = format!("edge.bytes_per_flow{}", suffix(way));
        Figure::alone(&name, ours, "B").against(way.name(), theirs)
    }));
    Ok(())
}

/// Bytes that a flow more takes of the proxy, and of the agent behind it.
async fn per_flow(stage: &mut Stage, way: Way, seconds: f64) -> anyhow::Result<(f64, f64)> {
    let warm = Load { flows: 64, rate: MEMORY_RATE, payload: 100, seconds };
    let many = Load { flows: MEMORY_FLOWS, ..warm };
    // Buffers come with the first packets, and are not the flows'.
    stage.play(way, warm, 0).await?;
    let before = stage.memory(way)?;
    stage.play(way, many, SEATS).await?;
    let after = stage.memory(way)?;
    let per_flow = |name: &str| {
        let of = |memory: &BTreeMap<String, u64>| memory.get(name).copied().unwrap_or(0);
        of(&after).saturating_sub(of(&before)) as f64 / MEMORY_FLOWS as f64
    };
    Ok((per_flow(PROXY_NAME), per_flow(AGENT_NAME)))
}

/// What a figure beside that proxy is called behind its name: nginx is the yardstick that is not named.
fn suffix(way: Way) -> &'static str {
    if way == Way::Quilkin { "_vs_quilkin" } else { "" }
}

/// The loads, each over every way in turn.
pub(super) async fn throughput(
    stage: &mut Stage,
    load: EdgeLoad,
    sheet: &mut Sheet<'_>,
) -> anyhow::Result<()> {
    let mut worst: BTreeMap<Way, f64> = BTreeMap::new();
    let ways: Vec<_> = [Way::Direct].into_iter().chain(stage.proxies()).collect();
    for (payload_name, payload) in PAYLOADS {
        for (name, flows, rate) in LOADS {
            let name = format!("edge.{name}_{payload_name}");
            let load_now = Load { flows, rate, payload, seconds: load.seconds };
            let of = rounds(stage, &ways, load_now, load.rounds, &name, sheet).await;
            // What failed is named already.
            let (Some(direct), Some(ours)) = (of.get(&Way::Direct), of.get(&Way::Muster)) else { continue };
            let peers: Vec<_> = of.iter().filter(|(way, _)| **way > Way::Muster).collect();
            sheet.add(of_load(&name, load_now, direct, ours, &peers));
            for (way, peer) in peers {
                let ratio = ours.packets_per_cpu_s(&[PROXY_NAME]) / peer.packets_per_cpu_s(&[PROXY_NAME]);
                worst.entry(*way).and_modify(|worst| *worst = worst.min(ratio)).or_insert(ratio);
            }
            if (flows, payload) == (LOADS[0].1, PAYLOADS[0].1) {
                let added = ours.middle(p50) - direct.middle(p50);
                sheet.add([Figure::alone("edge.added_p50_us", added, "us")]);
            }
        }
    }
    sheet.add(worst.into_iter().filter(|(_, ratio)| ratio.is_finite()).map(|(way, ratio)| {
        let name = if way == Way::Quilkin { "edge.cpu_vs_quilkin" } else { "edge.cpu_vs_nginx" };
        Figure::alone(name, ratio, "x")
    }));
    too_much(stage, load, sheet).await;
    Ok(())
}

/// The load that is more than a core carries.
async fn too_much(stage: &mut Stage, load: EdgeLoad, sheet: &mut Sheet<'_>) {
    let (name, flows, rate) = TOO_MUCH;
    let load_now = Load { flows, rate, payload: PAYLOADS[0].1, seconds: load.seconds };
    let ways = stage.proxies();
    let of = rounds(stage, &ways, load_now, load.rounds, name, sheet).await;
    let Some(ours) = of.get(&Way::Muster) else { return };
    let lost = Figure::alone("edge.loss_pct_80k", ours.loss_pct(), "%");
    let beside = |way: Way| of.get(&way).map(|theirs| (way, theirs));
    sheet.add([match beside(Way::Nginx) {
        Some((way, theirs)) => lost.against(way.name(), theirs.loss_pct()),
        None => lost,
    }]);
    sheet.add(beside(Way::Quilkin).map(|(way, theirs)| {
        let lost = Figure::alone("edge.loss_pct_80k_vs_quilkin", ours.loss_pct(), "%");
        lost.against(way.name(), theirs.loss_pct())
    }));
    let sent = ours.middle(|report| report.sent as f64 / load.seconds);
    sheet.add([Figure::alone("edge.offered_80k_per_s", sent, "1/s")]);
}

/// Plays `count` rounds over each of `ways` in turn. A way that fails is named, and left out of the rounds that follow.
async fn rounds(
    stage: &mut Stage,
    ways: &[Way],
    load: Load,
    count: usize,
    name: &str,
    sheet: &mut Sheet<'_>,
) -> BTreeMap<Way, Rounds> {
    let mut of: BTreeMap<Way, Rounds> = ways.iter().map(|way| (*way, Rounds::default())).collect();
    let mut playing = ways.to_vec();
    for round in 1..=count {
        for way in std::mem::take(&mut playing) {
            let text = format!("{name}, round {round} of {count}, {}", way.name());
            match sheet.play(stage, &text, (way, load)).await {
                Ok(report) => {
                    of.entry(way).or_default().push(report);
                    playing.push(way);
                }
                Err(error) => sheet.close(&text, Err(error)),
            }
        }
    }
    of.retain(|_, rounds| !rounds.is_empty());
    of
}

fn of_load(name: &str, load: Load, direct: &Rounds, ours: &Rounds, peers: &[(&Way, &Rounds)]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let (proxy, agent) = ([PROXY_NAME], [AGENT_NAME]);
    let added = |of: &Rounds, at: fn(&PlayersReport) -> f64| of.middle(at) - direct.middle(at);
    for (way, theirs) in peers {
        let mut figure = |what: &str, unit: &str, ours: f64, theirs: f64| {
            let name = format!("{name}.{what}{}", suffix(**way));
            figures.push(Figure::alone(&name, ours, unit).against(way.name(), theirs));
        };
        let per_cpu_s = theirs.packets_per_cpu_s(&proxy);
        figure("packets_per_cpu_s", "packets/cpu-s", ours.packets_per_cpu_s(&proxy), per_cpu_s);
        figure("added_p50_us", "us", added(ours, p50), added(theirs, p50));
        figure("added_p99_us", "us", added(ours, p99), added(theirs, p99));
        figure("loss_pct", "%", ours.loss_pct(), theirs.loss_pct());
        if **way == Way::Nginx {
            let both = ours.packets_per_cpu_s(&[PROXY_NAME, AGENT_NAME]);
            figure("sum_packets_per_cpu_s", "packets/cpu-s", both, per_cpu_s);
        }
    }
    let figure = |what: &str, value: f64, unit: &str| Figure::alone(&format!("{name}.{what}"), value, unit);
    figures.push(figure("agent_packets_per_cpu_s", ours.packets_per_cpu_s(&agent), "packets/cpu-s"));
    figures.push(figure("direct_p50_us", direct.middle(p50), "us"));
    figures.push(figure("direct_loss_pct", direct.loss_pct(), "%"));
    // Under 100 the players were kept from sending, and the load was not the one named.
    let due = load.rate * load.seconds;
    figures.push(figure("offered_pct", ours.middle(|report| 100.0 * report.sent as f64 / due), "%"));
    // What waits for a core that is full is not the proxy's doing.
    let ([first, others], [first_direct, others_direct]) = (ours.cores_busy_pct(), direct.cores_busy_pct());
    let beside = Way::Direct.name();
    figures.push(figure("proxy_core_busy_pct", first, "%").against(beside, first_direct));
    figures.push(figure("busiest_other_core_pct", others, "%").against(beside, others_direct));
    for program in [PLAYERS, GAME_NAME] {
        let what = format!("{program}_us_per_packet");
        let (ours, without) = (ours.us_per_packet(program), direct.us_per_packet(program));
        figures.push(figure(&what, ours, "us").against(beside, without));
    }
    figures
}
