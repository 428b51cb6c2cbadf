//! Figures as they come: each is shown at once and kept, whatever becomes of the parts after it.

use std::collections::BTreeMap;

use anyhow::ensure;

use super::parts::PlayersReport;
use super::play::{Load, Way};
use super::stage::Stage;
use crate::bench::figures::{Figure, Figures};
use crate::harness::steps::Steps;

/// What the parts of the benchmark write to.
pub(super) struct Sheet<'a> {
    pub(super) steps: &'a mut Steps,
    figures: Vec<Figure>,
    failed: Vec<String>,
    /// What the edge had dropped when it was looked at last, by reason.
    dropped: BTreeMap<String, u64>,
}

impl<'a> Sheet<'a> {
    /// An empty one, whose parts are shown as `steps`.
    pub(super) fn new(steps: &'a mut Steps) -> Self {
        Self { steps, figures: Vec::new(), failed: Vec::new(), dropped: BTreeMap::new() }
    }

    /// Notes figures.
    pub(super) fn add(&mut self, figures: impl IntoIterator<Item = Figure>) {
        for figure in figures {
            self.steps.tell(&figure.line());
            self.figures.push(figure);
        }
    }

    /// Notes how `part` ended; the others go on.
    pub(super) fn close(&mut self, part: &str, ended: anyhow::Result<()>) {
        if let Err(error) = ended {
            let failure = format!("{part}: {error:#}");
            self.steps.tell(&format!("failed: {failure}"));
            self.failed.push(failure);
        }
    }

    /// Plays once, shown as `text`, and shows what came of it.
    pub(super) async fn play(
        &mut self,
        stage: &mut Stage,
        text: &str,
        (way, load): (Way, Load),
    ) -> anyhow::Result<PlayersReport> {
        let played = self.steps.run("round", text, stage.play(way, load, 0)).await?;
        self.take(stage, way, played).await
    }

    /// Shows what the machine did in a round over `way`, what was lost, and what the edge says that it dropped.
    ///
    /// # Errors
    /// Muster gave a packet to another player than its own: that is no round. One that a yardstick did it with is lost.
    pub(super) async fn take(
        &mut self,
        stage: &Stage,
        way: Way,
        report: PlayersReport,
    ) -> anyhow::Result<PlayersReport> {
        self.steps.tell(&report.line());
        let dropped = self.look(stage).await;
        if !dropped.is_empty() {
            self.steps.tell(&format!("edge dropped: {}", dropped.join(", ")));
        }
        let mixed = format!("{} packets came to another player than their own", report.mixed);
        if report.mixed > 0 && way != Way::Muster {
            self.steps.tell(&mixed);
            return Ok(report);
        }
        ensure!(report.mixed == 0, mixed);
        Ok(report)
    }

    /// What the edge has dropped since the last look, by reason.
    pub(super) async fn look(&mut self, stage: &Stage) -> Vec<String> {
        // One that does not answer is told of by what needs it.
        let drops = drops(&stage.edge_metrics().await.unwrap_or_default());
        let before = std::mem::replace(&mut self.dropped, drops);
        let more = |(reason, count): (&String, &u64)| {
            // An edge that was started again counts from 0.
            let before = before.get(reason).filter(|before| *before <= count).copied().unwrap_or(0);
            (*count > before).then(|| format!("{reason} {}", count - before))
        };
        self.dropped.iter().filter_map(more).collect()
    }

    /// All that was noted.
    pub(super) fn into_figures(self) -> Figures {
        Figures { failed: self.failed, ..Figures::new(self.figures) }
    }
}

/// Reads what an edge shows at `/metrics` of its drops, by reason.
fn drops(metrics: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let rest = line.strip_prefix("muster_edge_drops_total{reason=\"")?;
        let (reason, count) = rest.split_once("\"} ")?;
        Some((reason.to_owned(), count.trim().parse().ok()?))
    };
    metrics.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_by_reason() {
        let text = "# TYPE muster_edge_drops_total counter\nmuster_edge_drops_total{reason=\"unproven\"} 3\n\
                    muster_edge_drops_total{reason=\"tunnel_full\"} 12\nmuster_edge_flows 1\n";
        let drops = drops(text);
        assert_eq!(drops, BTreeMap::from([("tunnel_full".to_owned(), 12), ("unproven".to_owned(), 3)]));
    }
}
