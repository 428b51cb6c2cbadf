//! The one schema of all benchmark results.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::report::write_file;

/// What one benchmark found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Processor, cores, memory, kernel.
    pub machine: String,
    /// Commit measured; `-dirty` if the working tree differed from it.
    pub commit: String,
    /// The command that measured, with its arguments.
    pub command: String,
    /// The figures.
    pub figures: Vec<Figure>,
    /// Parts that failed, each with why; what others found is in `figures`. Not written if none failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// One figure, with the yardstick measured beside it if it has one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Dotted: `alloc.per_s`.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// `1/s`, `ms`, `us`, `%`, `packets/cpu-s`.
    pub unit: String,
    /// What it is compared with, and how that was run; none if with nothing.
    pub baseline: Option<String>,
    /// The same figure of the baseline.
    pub baseline_value: Option<f64>,
    /// `value` over `baseline_value`.
    pub ratio: Option<f64>,
}

impl Figure {
    /// A figure that stands alone.
    pub fn alone(name: &str, value: f64, unit: &str) -> Self {
        let (name, unit) = (name.to_owned(), unit.to_owned());
        Self { name, value: tidy(value), unit, baseline: None, baseline_value: None, ratio: None }
    }

    /// The same, beside `baseline`.
    #[must_use]
    pub fn against(mut self, baseline: &str, value: f64) -> Self {
        self.baseline = Some(baseline.to_owned());
        self.baseline_value = Some(tidy(value));
        self.ratio = (value != 0.0).then(|| tidy(self.value / value));
        self
    }

    /// As a line for people.
    pub fn line(&self) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{:<34} {:>10} {:<14}", self.name, self.value, self.unit);
        if let (Some(baseline), Some(value)) = (&self.baseline, self.baseline_value) {
            let _ = write!(text, " {baseline}: {value}");
        }
        if let Some(ratio) = self.ratio {
            let _ = write!(text, " (×{ratio})");
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// Four significant digits: more than any of these measurements is good for.
fn tidy(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

impl Figures {
    /// `figures`, measured now by this process.
    pub fn new(figures: Vec<Figure>) -> Self {
        let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let command = args.join(" ").replacen(args.first().map_or("", String::as_str), "muster-loadtest", 1);
        Self { machine: machine(), commit: commit(), command, figures, failed: Vec::new() }
    }

    /// Writes them to `path`.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_file(path, &serde_json::to_string_pretty(self)?)
    }

    /// As a table for people, with what failed below it.
    pub fn table(&self) -> String {
        let figures = self.figures.iter().map(|figure| format!("  {}\n", figure.line()));
        figures.chain(self.failed.iter().map(|failure| format!("  failed: {failure}\n"))).collect()
    }
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    let cpu =
        field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory_kib: u64 = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cpu}, {cores} cores, {} GiB, {} {}", memory_kib >> 20, std::env::consts::OS, kernel.trim())
}

fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit}-dirty"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_the_schema() {
        let figures = Figures::new(vec![
            Figure::alone("alloc.per_s", 1234.56, "1/s"),
            Figure::alone("edge.packets_per_cpu_s", 90_000.0, "packets/cpu-s").against("nginx", 60_000.0),
        ]);
        let json = serde_json::to_value(&figures).expect("plain data");
        let keys: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(keys, ["command", "commit", "figures", "machine"]);
        assert_eq!(json["figures"][0]["value"], 1235.0);
        assert_eq!(json["figures"][0]["baseline"], serde_json::Value::Null);
        assert_eq!(json["figures"][1]["ratio"], 1.5);
        assert!(figures.command.starts_with("muster-loadtest"));
    }

    #[test]
    fn what_failed_is_beside_what_was_found() {
        let mut figures = Figures::new(vec![Figure::alone("edge.added_p50_us", 80.0, "us")]);
        figures.failed.push("flood: no flow stood".to_owned());
        let json = serde_json::to_value(&figures).expect("plain data");
        assert_eq!(json["failed"][0], "flood: no flow stood");
        assert_eq!(json["figures"][0]["value"], 80.0);
        let table = figures.table();
        assert!(table.contains("edge.added_p50_us") && table.contains("failed: flood"), "{table}");
    }

    #[test]
    fn digits_nobody_measured_are_left_out() {
        assert!((tidy(123_456.0) - 123_500.0).abs() < 1e-6);
        assert!((tidy(0.001_234_56) - 0.001_235).abs() < 1e-9);
        assert!(tidy(0.0) == 0.0);
    }
}
