//! Two reports side by side, as a table of text for people; programs read the reports.

use std::collections::BTreeSet;

use super::{Distribution, Report};

/// Spaces between two columns.
const BETWEEN: &str = "  ";
/// What is said of a number that there is none of.
const NONE: &str = "-";

/// A table of two reports: what is counted, the old, the new, and how it changed.
pub fn compare(old: &Report, new: &Report) -> String {
    let header = ["", "old", "new", "change"].map(str::to_owned);
    let mut table = vec![header];
    for row in rows(old, new) {
        let text = |value: Option<f64>| value.map_or(NONE.to_owned(), |value| row.digits(value));
        table.push([row.label.clone(), text(row.old), text(row.new), row.change()]);
    }
    let widths: Vec<usize> = (0..4)
        .map(|column| table.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut text = String::new();
    for cells in table {
        let numbers = cells[1..].iter().zip(&widths[1..]).map(|(cell, width)| format!("{cell:>width$}"));
        let label = format!("{:<width$}", cells[0], width = widths[0]);
        let columns: Vec<String> = std::iter::once(label).chain(numbers).collect();
        text += &columns.join(BETWEEN);
        text.push('\n');
    }
    text
}

struct Row {
    label: String,
    old: Option<f64>,
    new: Option<f64>,
    decimals: usize,
}

impl Row {
    fn digits(&self, value: f64) -> String {
        format!("{value:.*}", self.decimals)
    }

    /// By how much it changed, and by which part of the old.
    fn change(&self) -> String {
        let (Some(old), Some(new)) = (self.old, self.new) else { return NONE.to_owned() };
        let difference = new - old;
        let digits = format!("{difference:+.*}", self.decimals);
        if digits.trim_start_matches(['+', '-', '0', '.']).is_empty() {
            return "=".to_owned();
        }
        if old.abs() > 0.0 {
            return format!("{digits} ({:+.1} %)", difference / old.abs() * 100.0);
        }
        digits
    }
}

fn rows(old: &Report, new: &Report) -> Vec<Row> {
    let counted = |label: &str, of: &dyn Fn(&Report) -> usize| Row {
        label: label.to_owned(),
        old: Some(of(old) as f64),
        new: Some(of(new) as f64),
        decimals: 0,
    };
    let mut rows = vec![
        counted("tickets", &|report| report.tickets),
        counted("players", &|report| report.players),
        counted("tickets matched", &|report| report.matched),
        counted("players matched", &|report| report.matched_players),
        counted("tickets left", &|report| report.left),
        counted("tickets unmatched", &|report| report.unmatched),
        counted("tickets refused", &|report| report.refused),
        counted("matches", &|report| report.matches),
        counted("longest unmatched ms", &|report| report.longest_unmatched_ms as usize),
    ];
    type Of = fn(&Report) -> Option<Distribution>;
    let distributions: [(&str, Of, usize); 5] = [
        ("wait ms", |report| report.wait_ms, 0),
        ("quality", |report| report.quality, 3),
        ("spread", |report| report.spread, 1),
        ("team gap", |report| report.gap, 1),
        ("worst latency ms", |report| report.latency_ms, 0),
    ];
    type Part = fn(Distribution) -> f64;
    let parts: [(&str, Part); 5] = [
        ("min", |of| of.min),
        ("p50", |of| of.p50),
        ("p90", |of| of.p90),
        ("p99", |of| of.p99),
        ("max", |of| of.max),
    ];
    for (name, of, decimals) in distributions {
        for (part, value) in parts {
            let label = format!("{name} {part}");
            rows.push(Row { label, old: of(old).map(value), new: of(new).map(value), decimals });
        }
    }
    let sizes: BTreeSet<usize> = old.sizes.keys().chain(new.sizes.keys()).copied().collect();
    for size in sizes {
        let of = move |report: &Report| report.sizes.get(&size).copied().unwrap_or_default();
        rows.push(counted(&format!("matches of {size}"), &of));
    }
    let regions: BTreeSet<&String> = old.regions.keys().chain(new.regions.keys()).collect();
    for region in regions {
        let of = move |report: &Report| report.regions.get(region).copied().unwrap_or_default();
        rows.push(counted(&format!("matches in {region}"), &of));
    }
    rows
}
