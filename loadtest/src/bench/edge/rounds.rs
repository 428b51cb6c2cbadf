//! What came of the rounds over one way at one load.

use super::parts::PlayersReport;
use crate::latency::median;

/// Reports of the rounds, in their order; at least one once a figure is asked for.
#[derive(Default)]
pub(super) struct Rounds(Vec<PlayersReport>);

impl Rounds {
    pub(super) fn push(&mut self, report: PlayersReport) {
        self.0.push(report);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The median of a figure.
    pub(super) fn middle(&self, of: impl Fn(&PlayersReport) -> f64) -> f64 {
        median(&self.0.iter().map(of).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    }

    /// A count, of all rounds together.
    pub(super) fn sum(&self, of: impl Fn(&PlayersReport) -> u64) -> u64 {
        self.0.iter().map(of).sum()
    }

    /// The largest of a figure.
    pub(super) fn most(&self, of: impl Fn(&PlayersReport) -> f64) -> f64 {
        self.0.iter().map(of).fold(0.0, f64::max)
    }

    /// Packets per CPU-second of the processes named.
    pub(super) fn packets_per_cpu_s(&self, names: &[&str]) -> f64 {
        self.middle(|report| {
            let used: f64 = names.iter().filter_map(|name| report.account.cpu_s.get(*name)).sum();
            report.packets() as f64 / used
        })
    }

    /// Microseconds of CPU per packet of one process.
    pub(super) fn us_per_packet(&self, name: &str) -> f64 {
        self.middle(|report| report.account.us_per_packet(name, report.packets()).unwrap_or(0.0))
    }

    /// How busy the first core was, which is the proxy's, and how busy the busiest of the others.
    pub(super) fn cores_busy_pct(&self) -> [f64; 2] {
        let busy = |report: &PlayersReport, others: bool| {
            let (first, rest) = report.account.cores.split_at(report.account.cores.len().min(1));
            let of = if others { rest } else { first };
            of.iter().map(|core| core.busy_pct).fold(0.0, f64::max)
        };
        [false, true].map(|others| self.middle(|report| busy(report, others)))
    }

    /// The longest time that a flow was without an answer, in milliseconds, median.
    pub(super) fn longest_gap_ms(&self) -> f64 {
        self.middle(|report| report.longest_gap_ms)
    }

    /// Packets of a hundred that did not come back, median.
    pub(super) fn loss_pct(&self) -> f64 {
        self.middle(loss_pct)
    }
}

/// Packets of a hundred that did not come back.
pub(super) fn loss_pct(report: &PlayersReport) -> f64 {
    100.0 * report.sent.saturating_sub(report.returned) as f64 / report.sent.max(1) as f64
}

pub(super) fn p50(report: &PlayersReport) -> f64 {
    report.p50_us as f64
}

pub(super) fn p99(report: &PlayersReport) -> f64 {
    report.p99_us as f64
}
