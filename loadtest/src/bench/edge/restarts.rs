//! The edge goes under its players: replaced in place as an upgrade does it, and killed.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::EdgeLoad;
use super::parts::PlayersReport;
use super::play::{Load, Way};
use super::rounds::Rounds;
use super::sheet::Sheet;
use super::stage::{SEATS, Stage};
use crate::bench::figures::Figure;
use crate::harness::stack::EDGE_UDP_IDLE_S;

/// Players of an edge that goes, and for how long they play.
const PLAYERS: Load = Load { flows: SEATS, rate: 10_000.0, payload: 100, seconds: 10.0 };
/// How long they have played when it does.
const AFTER: Duration = Duration::from_secs(3);

/// The next edge takes over under a thousand flows, whose clients do not know of it; and the same without.
pub(super) async fn upgrade(stage: &mut Stage, load: EdgeLoad, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    let (mut quiet, mut replaced) = (Rounds::default(), Rounds::default());
    for round in 1..=load.rounds {
        let text = |what: &str| format!("{what}, round {round} of {}", load.rounds);
        quiet.push(sheet.play(stage, &text("before an upgrade"), (Way::Muster, PLAYERS)).await?);
        let work = replace(stage);
        let report = sheet.steps.run("upgrade", &text("upgrade of the edge in place"), work).await?;
        replaced.push(sheet.take(stage, Way::Muster, report).await?);
    }
    let without = "no upgrade";
    let lost = |of: &Rounds| of.sum(PlayersReport::lost) as f64;
    let gap = Rounds::longest_gap_ms;
    let longest = |of: &Rounds| of.middle(|report| report.longest_us as f64 / 1e3);
    sheet.add([
        Figure::alone("edge.upgrade_flows_lost", replaced.sum(|report| report.lost_flows) as f64, "1"),
        Figure::alone("edge.upgrade_packets_lost", lost(&replaced), "1").against(without, lost(&quiet)),
        Figure::alone("edge.upgrade_gap_ms", gap(&replaced), "ms").against(without, gap(&quiet)),
        Figure::alone("edge.upgrade_longest_ms", longest(&replaced), "ms").against(without, longest(&quiet)),
    ]);
    Ok(())
}

async fn replace(stage: &mut Stage) -> anyhow::Result<PlayersReport> {
    let mut playing = stage.start_players(Way::Muster, PLAYERS, 0)?;
    playing.begun().await?;
    tokio::time::sleep(AFTER).await;
    let mut before = stage.replace_edge()?;
    let report = playing.report().await?;
    stage.check_alive().context("the next edge did not take over")?;
    // It ends one idle time after it has let go: sooner than this if that was while they played.
    let idle = Duration::from_secs(EDGE_UDP_IDLE_S.into());
    let ended = before.wait(idle).await.context("the upgrade was not over when the players were")?;
    ensure!(ended.success(), "the edge before ended ({ended}); the end of its log:\n{}", before.log_tail());
    Ok(report)
}

/// `kill -9` of the edge under a thousand flows, whose clients do not know of it.
pub(super) async fn kill(stage: &mut Stage, load: EdgeLoad, sheet: &mut Sheet<'_>) -> anyhow::Result<()> {
    let mut killed = Rounds::default();
    for round in 1..=load.rounds {
        let work = async {
            let mut playing = stage.start_players(Way::Muster, PLAYERS, 0)?;
            playing.begun().await?;
            tokio::time::sleep(AFTER).await;
            stage.kill_edge().await?;
            playing.report().await
        };
        let text = format!("kill -9 of the edge, round {round} of {}", load.rounds);
        let report = sheet.steps.run("restart", &text, work).await?;
        killed.push(sheet.take(stage, Way::Muster, report).await?);
    }
    let lost = killed.most(|report| report.lost_flows as f64);
    sheet.add([Figure::alone("edge.restart_flows_lost", lost, "1")]);
    // Of flows that are lost there is no gap to tell.
    if lost < SEATS as f64 {
        sheet.add([Figure::alone("edge.restart_gap_ms", killed.longest_gap_ms(), "ms")]);
    }
    Ok(())
}
