//! Results as people read them. Text only; nothing is measured here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::bot::BotOutcome;
use crate::harness::steps::seconds;
use crate::report::Report;

/// Failures listed one by one; of the rest only their number.
const MAX_FAILURES: usize = 10;
/// Messages without an answer listed per bot.
const MAX_UNANSWERED: usize = 8;

/// Matches and the exchange by protocol.
pub fn exchange(report: &Report) -> String {
    let mut text = format!("\n  players   {} asked, {} matched\n\n", report.players, report.matched);
    let _ = writeln!(
        text,
        "  {:<10}{:>10}{:>10}{:>8}{:>8}{:>12}{:>12}",
        "protocol", "sent", "returned", "lost", "mixed", "p50", "p99"
    );
    for (protocol, of) in &report.protocols {
        let _ = writeln!(
            text,
            "  {:<10}{:>10}{:>10}{:>8}{:>8}{:>12}{:>12}",
            protocol.as_str(),
            of.sent,
            of.returned,
            of.sent - of.returned,
            of.mixed,
            latency(of.p50_us),
            latency(of.p99_us)
        );
    }
    text
}

/// What went wrong, bot by bot; empty if nothing did.
pub fn failures(bots: &[BotOutcome]) -> String {
    let mut lines = Vec::new();
    for bot in bots {
        let name = format!("{} ({})", bot.player, bot.protocol.as_str());
        if let Some(failure) = &bot.failure {
            lines.push(format!("{name}: {failure}"));
        }
        let Some(exchange) = &bot.exchange else { continue };
        if exchange.missing() > 0 {
            let (missing, sent) = (exchange.missing(), exchange.sent());
            let first: Vec<u32> = exchange.unanswered().take(MAX_UNANSWERED).collect();
            lines.push(format!("{name}: {missing} of {sent} not answered, first {first:?}"));
        }
        if let Some(why) = exchange.last_mix() {
            lines.push(format!("{name}: {} answers not its own, the last because {why}", exchange.mixed()));
        }
    }
    let mut text = String::new();
    for line in lines.iter().take(MAX_FAILURES) {
        let _ = writeln!(text, "  ✗ {line}");
    }
    if lines.len() > MAX_FAILURES {
        let _ = writeln!(text, "  … and {} more", lines.len() - MAX_FAILURES);
    }
    text
}

/// Which servers were played on, where, by how many.
pub fn places(bots: &[BotOutcome], nodes: &BTreeMap<String, String>) -> String {
    let mut players: BTreeMap<(String, String), usize> = BTreeMap::new();
    for bot in bots {
        if let (Some(server), Some(region)) = (&bot.server, &bot.region) {
            *players.entry((server.to_string(), region.clone())).or_default() += 1;
        }
    }
    let mut text = format!("\n  {:<32}{:<14}{:<14}{:>8}\n", "server", "region", "node", "players");
    for ((server, region), count) in &players {
        let node = nodes.get(server).map_or("-", String::as_str);
        let _ = writeln!(text, "  {server:<32}{region:<14}{node:<14}{count:>8}");
    }
    text
}

/// Phases with their times, as bars.
pub fn phases(done: &[(String, u64)]) -> String {
    const WIDTH: u64 = 40;
    let longest = done.iter().map(|(_, ms)| *ms).max().unwrap_or(0).max(1);
    let mut text = String::from("\n");
    for (name, ms) in done {
        let bar = "█".repeat((ms * WIDTH).div_ceil(longest) as usize);
        let _ = writeln!(text, "  {name:<14}{:>9}  {bar}", seconds(Duration::from_millis(*ms)));
    }
    text
}

fn latency(us: u64) -> String {
    if us < 10_000 { format!("{us} µs") } else { format!("{:.1} ms", us as f64 / 1_000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ProtocolReport;
    use muster_protocol::api::PortProtocol;

    #[test]
    fn loss_is_shown_as_a_number() {
        let udp = ProtocolReport { sent: 100, returned: 98, mixed: 1, p50_us: 300, p99_us: 12_345 };
        let report = Report {
            ok: false,
            players: 4,
            matched: 4,
            protocols: BTreeMap::from([(PortProtocol::Udp, udp)]),
            phases_ms: BTreeMap::new(),
        };
        let text = exchange(&report);
        let row: Vec<&str> = text.lines().last().expect("a row").split_whitespace().collect();
        assert_eq!(row, ["udp", "100", "98", "2", "1", "300", "µs", "12.3", "ms"]);
    }

    #[test]
    fn the_longest_phase_has_the_longest_bar() {
        let text = phases(&[("short".into(), 10), ("long".into(), 1_000)]);
        let bars: Vec<usize> = text.lines().skip(1).map(|line| line.matches('█').count()).collect();
        assert_eq!(bars, [1, 40]);
    }
}
