//! What the edge withstands: a flood of bogus tokens, its own death, a bad path to the agent.

use std::time::Duration;

use anyhow::ensure;

use super::EdgeLoad;
use super::parts::PlayersReport;
use super::play::{Load, Way};
use super::stage::{SEATS, Stage};
use super::volume::loss_pct;
use crate::bench::figures::Figure;
use crate::harness::steps::Steps;
use crate::latency::median;

/// Players beside a flood.
const BESIDE_FLOOD: Load = Load { flows: 64, rate: 10_000.0, payload: 100, seconds: 0.0 };
/// Bogus prefaces for every packet of a player.
const FLOOD_FACTOR: f64 = 5.0;
/// Players of an edge that is killed, and for how long they play.
const RESTARTED: Load = Load { flows: SEATS, rate: 10_000.0, payload: 100, seconds: 10.0 };
/// How long they have played when it is killed.
const KILLED_AFTER: Duration = Duration::from_secs(3);
/// Players over the bad path: 64 of 60 Hz each.
const IMPAIRED: Load = Load { flows: 64, rate: 3_840.0, payload: 100, seconds: 0.0 };
/// The bad path is played longer than the rest: chance averages out over many packets only.
const IMPAIRED_FACTOR: f64 = 4.0;

/// Proven players beside a flood, and without it.
pub(super) async fn flood(
    stage: &mut Stage,
    load: EdgeLoad,
    steps: &mut Steps,
) -> anyhow::Result<Vec<Figure>> {
    let players = Load { seconds: load.seconds, ..BESIDE_FLOOD };
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    for round in 1..=load.rounds {
        let text = |what: &str| format!("{what}, round {round} of {}", load.rounds);
        quiet.push(steps.run("quiet", &text("before a flood"), stage.play(Way::Muster, players, 0)).await?);
        let beside = async {
            let mut playing = stage.start_players(Way::Muster, players, 0)?;
            // It is players that are proven whom a flood must not touch.
            playing.begun().await?;
            let mut flood = stage.start_flood(FLOOD_FACTOR * players.rate, load.seconds)?;
            let report = playing.report().await;
            flood.kill9().await?;
            report
        };
        flooded.push(steps.run("flood", &text("beside a flood"), beside).await?);
    }
    let middle = |of: &[PlayersReport], what: fn(&PlayersReport) -> f64| {
        median(&of.iter().map(what).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    };
    let beside = |what: fn(&PlayersReport) -> f64| (middle(&flooded, what), middle(&quiet, what));
    let p99 = |report: &PlayersReport| report.p99_us as f64;
    let (loss, p99) = (beside(loss_pct), beside(p99));
    Ok(vec![
        Figure::alone("edge.flood_loss_pct", loss.0, "%").against("no flood", loss.1),
        Figure::alone("edge.flood_p99_us", p99.0, "us").against("no flood", p99.1),
    ])
}

/// `kill -9` of the edge under a thousand flows, whose clients do not know of it.
pub(super) async fn restart(stage: &mut Stage, steps: &mut Steps) -> anyhow::Result<Vec<Figure>> {
    let killed = async {
        let mut playing = stage.start_players(Way::Muster, RESTARTED, 0)?;
        playing.begun().await?;
        tokio::time::sleep(KILLED_AFTER).await;
        stage.kill_edge().await?;
        playing.report().await
    };
    let report = steps.run("restart", "kill -9 of the edge under a thousand flows", killed).await?;
    ensure!(report.mixed == 0, "{} packets came to another player than their own", report.mixed);
    let mut figures = vec![Figure::alone("edge.restart_flows_lost", report.lost_flows as f64, "1")];
    // Of flows that are lost there is no gap to tell.
    if report.lost_flows < SEATS as u64 {
        figures.push(Figure::alone("edge.restart_gap_ms", report.longest_gap_ms, "ms"));
    }
    Ok(figures)
}

/// The tunnel over the bad path, beside plain UDP over another like it.
pub(super) async fn impaired(
    stage: &mut Stage,
    load: EdgeLoad,
    steps: &mut Steps,
) -> anyhow::Result<Vec<Figure>> {
    steps.run("impair", "a bad path before the agent", stage.impair()).await?;
    let players = Load { seconds: IMPAIRED_FACTOR * load.seconds, ..IMPAIRED };
    let (mut tunnel, mut plain) = (Vec::new(), Vec::new());
    for round in 1..=load.rounds {
        let text = |what: &str| format!("bad path, {what}, round {round} of {}", load.rounds);
        tunnel.push(steps.run("tunnel", &text("tunnel"), stage.play(Way::Muster, players, 0)).await?);
        let direct = stage.play(Way::DirectImpaired, players, 0);
        plain.push(steps.run("plain", &text("plain UDP"), direct).await?);
    }
    steps.run("mend", "take the bad path away", stage.mend()).await?;
    // Of all rounds together: a median would throw away packets that chance needs.
    let loss = |of: &[PlayersReport]| {
        let sent: u64 = of.iter().map(|report| report.sent).sum();
        let returned: u64 = of.iter().map(|report| report.returned).sum();
        100.0 * sent.saturating_sub(returned) as f64 / sent.max(1) as f64
    };
    let p50 = |of: &[PlayersReport]| {
        median(&of.iter().map(|report| report.p50_us as f64).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    };
    Ok(vec![
        Figure::alone("tunnel.extra_loss_points", loss(&tunnel) - loss(&plain), "points"),
        Figure::alone("tunnel.loss_pct", loss(&tunnel), "%").against("plain UDP", loss(&plain)),
        Figure::alone("tunnel.p50_us", p50(&tunnel), "us").against("plain UDP", p50(&plain)),
    ])
}
