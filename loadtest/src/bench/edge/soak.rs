//! The soak: a steady load for long; memory has to stay flat, and no packet may come to another player.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::play::{Load, Way};
use super::rounds::loss_pct;
use super::stage::{AGENT_NAME, PROXY_NAME, Stage};
use crate::bench::BenchOptions;
use crate::bench::figures::{Figure, Figures};
use crate::harness::steps::Steps;

/// Players.
const FLOWS: usize = 256;
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Shortest soak, in seconds: memory of the second quarter and of the last are compared.
const SHORTEST_S: f64 = 8.0;
/// Growth between the two, of a hundred, over which memory is not flat.
const FLAT_PCT: f64 = 5.0;

/// How long to soak, and how hard.
#[derive(Clone, Copy, Debug)]
pub struct SoakLoad {
    /// Seconds.
    pub seconds: f64,
    /// Round trips a second.
    pub rate: f64,
}

impl Default for SoakLoad {
    /// An hour at about 30% of what one core of the edge carries.
    fn default() -> Self {
        Self { seconds: 3_600.0, rate: 12_000.0 }
    }
}

/// Soaks.
///
/// # Errors
/// Memory grew, or a packet came to another player than its own.
pub async fn soak(options: &BenchOptions, load: SoakLoad, steps: &mut Steps) -> anyhow::Result<Figures> {
    ensure!(load.seconds >= SHORTEST_S, "a soak takes at least {SHORTEST_S} s");
    ensure!(load.rate > 0.0, "a soak of no packets shows nothing");
    let mut stage = Stage::set_up(options, steps).await?;
    let players = Load { flows: FLOWS, rate: load.rate, payload: 100, seconds: load.seconds };
    let text = format!("{} round trips a second for {} s", load.rate, load.seconds);
    let soaked = steps.run("soak", &text, async {
        let playing = stage.start_players(Way::Muster, players, 0)?;
        let mut playing = tokio::spawn(playing.report());
        let (mut edge, mut agent) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                report = &mut playing => return anyhow::Ok((report??, edge, agent)),
                () = tokio::time::sleep(LOOK_EVERY) => {
                    stage.check_alive()?;
                    let memory = stage.memory(Way::Muster)?;
                    edge.extend(memory.get(PROXY_NAME).map(|bytes| *bytes as f64));
                    agent.extend(memory.get(AGENT_NAME).map(|bytes| *bytes as f64));
                }
            }
        }
    });
    let (report, edge, agent) = soaked.await?;
    steps.tell(&report.line());
    let (edge_grew, agent_grew) = (growth_pct(&edge)?, growth_pct(&agent)?);
    ensure!(report.mixed == 0, "{} packets came to another player than their own", report.mixed);
    ensure!(report.lost_flows == 0, "{} flows were without an answer at the end", report.lost_flows);
    for (who, grew) in [("edge", edge_grew), ("agent", agent_grew)] {
        ensure!(grew <= FLAT_PCT, "the memory of the {who} grew by {grew:.1}% while nothing else changed");
    }
    Ok(Figures::new(vec![
        Figure::alone("soak.seconds", load.seconds, "s"),
        Figure::alone("soak.round_trips", report.returned as f64, "1"),
        Figure::alone("soak.loss_pct", loss_pct(&report), "%"),
        Figure::alone("soak.mixed", report.mixed as f64, "1"),
        Figure::alone("soak.edge_memory_growth_pct", edge_grew, "%"),
        Figure::alone("soak.agent_memory_growth_pct", agent_grew, "%"),
    ]))
}

/// How much more the last quarter of `samples` holds than the second; the first is the start.
fn growth_pct(samples: &[f64]) -> anyhow::Result<f64> {
    let quarter = samples.len() / 4;
    ensure!(quarter > 0, "memory was looked at {} times only", samples.len());
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let last = samples.len().checked_sub(quarter).context("a quarter is less than the whole")?;
    let (second, last) = (mean(&samples[quarter..2 * quarter]), mean(&samples[last..]));
    Ok(100.0 * (last - second) / second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_from_the_second_quarter_to_the_last() {
        let start = [10.0, 40.0];
        let flat = [start.as_slice(), &[100.0; 6]].concat();
        assert!(growth_pct(&flat).expect("enough samples").abs() < 1e-9);
        let grows = [start.as_slice(), &[100.0, 100.0, 105.0, 108.0, 110.0, 110.0]].concat();
        assert!((growth_pct(&grows).expect("enough samples") - 10.0).abs() < 1e-9);
        assert!(growth_pct(&[1.0; 3]).is_err());
    }
}
