//! What players notice of others: a flood of bogus tokens, a bulk flow beside them, a bad path to the agent.

use anyhow::Context as _;

use super::EdgeLoad;
use super::play::{Load, Way};
use super::rounds::{Rounds, p50, p99};
use super::sheet::Sheet;
use super::stage::Stage;
use crate::bench::figures::Figure;
use crate::latency::median;

/// Players beside a flood.
const BESIDE_FLOOD: Load = Load { flows: 64, rate: 10_000.0, payload: 100, seconds: 0.0 };
/// Bogus prefaces for every packet of a player.
const FLOOD_FACTOR: f64 = 5.0;
/// Players beside a bulk flow: 64 of 60 Hz each.
const BESIDE_BULK: Load = Load { flows: 64, rate: 3_840.0, payload: 100, seconds: 0.0 };
/// What the bulk flow is given to carry each way, in bytes a second: 100 Mbit/s.
const BULK_BYTES_PER_S: u64 = 12_500_000;
/// Players over the bad path: 64 of 60 Hz each.
const IMPAIRED: Load = Load { flows: 64, rate: 3_840.0, payload: 100, seconds: 0.0 };
/// The bad path is played longer than the rest: chance averages out over many packets only.
const IMPAIRED_FACTOR: f64 = 4.0;

/// Proven players beside a flood, and without it.
pub(super) async fn flood(stage: &mut Stage, load: EdgeLoad, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    let players = Load { seconds: load.seconds, ..BESIDE_FLOOD };
    let (mut quiet, mut flooded) = (Rounds::default(), Rounds::default());
    for round in 1..=load.rounds {
        let text = |what: &str| format!("{what}, round {round} of {}", load.rounds);
        quiet.push(sheet.play(stage, &text("before a flood"), (Way::Muster, players)).await?);
        let beside = async {
            let mut playing = stage.start_players(Way::Muster, players, 0)?;
            // It is players that are proven whom a flood must not touch.
            playing.begun().await?;
            let mut flood = stage.start_flood(FLOOD_FACTOR * players.rate, load.seconds)?;
            let report = playing.report().await;
            flood.kill9().await?;
            report
        };
        let report = sheet.steps.run("flood", &text("beside a flood"), beside).await?;
        flooded.push(sheet.take(stage, Way::Muster, report).await?);
    }
    sheet.add([
        Figure::alone("edge.flood_loss_pct", flooded.loss_pct(), "%").against("no flood", quiet.loss_pct()),
        Figure::alone("edge.flood_p99_us", flooded.middle(p99), "us").against("no flood", quiet.middle(p99)),
    ]);
    Ok(())
}

/// A game beside a TCP connection of the same server that carries a lot both ways, and without it.
pub(super) async fn bulk(stage: &mut Stage, load: EdgeLoad, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    let players = Load { seconds: load.seconds, ..BESIDE_BULK };
    let _server = stage.start_bulk_server()?;
    let (mut quiet, mut beside, mut carried) = (Rounds::default(), Rounds::default(), Vec::new());
    for round in 1..=load.rounds {
        let text = |what: &str| format!("{what}, round {round} of {}", load.rounds);
        quiet.push(sheet.play(stage, &text("without a bulk flow"), (Way::Muster, players)).await?);
        let both = async {
            let mut bulk = stage.start_bulk(BULK_BYTES_PER_S)?;
            bulk.begun().await?;
            let report = stage.play(Way::Muster, players, 0).await?;
            let carried = bulk.end().await.context("the bulk flow did not outlast the players")?;
            anyhow::Ok((report, carried))
        };
        let (report, bulk) = sheet.steps.run("bulk", &text("beside a bulk flow"), both).await?;
        beside.push(sheet.take(stage, Way::Muster, report).await?);
        carried.push(8e-6 * (bulk.sent + bulk.received) as f64 / bulk.seconds);
    }
    let without = "no bulk flow";
    sheet.add([
        Figure::alone("edge.bulk_p50_us", beside.middle(p50), "us").against(without, quiet.middle(p50)),
        Figure::alone("edge.bulk_p99_us", beside.middle(p99), "us").against(without, quiet.middle(p99)),
        Figure::alone("edge.bulk_loss_pct", beside.loss_pct(), "%").against(without, quiet.loss_pct()),
    ]);
    sheet.add(median(&carried).map(|carried| Figure::alone("edge.bulk_mbit_per_s", carried, "Mbit/s")));
    Ok(())
}

/// The tunnel over the bad path, beside plain UDP over another like it.
pub(super) async fn impaired(stage: &mut Stage, load: EdgeLoad, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    sheet.steps.run("impair", "a bad path before the agent", stage.impair()).await?;
    let players = Load { seconds: IMPAIRED_FACTOR * load.seconds, ..IMPAIRED };
    let (mut tunnel, mut plain) = (Rounds::default(), Rounds::default());
    for round in 1..=load.rounds {
        let text = |what: &str| format!("bad path, {what}, round {round} of {}", load.rounds);
        tunnel.push(sheet.play(stage, &text("tunnel"), (Way::Muster, players)).await?);
        plain.push(sheet.play(stage, &text("plain UDP"), (Way::DirectImpaired, players)).await?);
    }
    // Of all rounds together: a median would throw away packets that chance needs.
    let loss = |of: &Rounds| {
        let sent = of.sum(|report| report.sent);
        100.0 * sent.saturating_sub(of.sum(|report| report.returned)) as f64 / sent.max(1) as f64
    };
    sheet.add([
        Figure::alone("tunnel.extra_loss_points", loss(&tunnel) - loss(&plain), "points"),
        Figure::alone("tunnel.loss_pct", loss(&tunnel), "%").against("plain UDP", loss(&plain)),
        Figure::alone("tunnel.p50_us", tunnel.middle(p50), "us").against("plain UDP", plain.middle(p50)),
    ]);
    sheet.steps.run("mend", "take the bad path away", stage.mend()).await
}
