//! The report of a run of bots: what was sent, what came back, how fast. No I/O but one write.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use muster_protocol::api::PortProtocol;
use serde::{Deserialize, Serialize};

use crate::bot::BotOutcome;
use crate::latency::Latencies;

/// What came of a run; its JSON is what other programs read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Every player was matched, every message was answered, and no answer was another's.
    pub ok: bool,
    /// Players who asked for a match.
    pub players: u64,
    /// Players who got one.
    pub matched: u64,
    /// By protocol.
    pub protocols: BTreeMap<PortProtocol, ProtocolReport>,
    /// By phase: how long it took, in milliseconds.
    pub phases_ms: BTreeMap<String, u64>,
}

/// The exchange over one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolReport {
    /// Messages sent.
    pub sent: u64,
    /// Messages answered.
    pub returned: u64,
    /// Answers that were not the bot's own.
    pub mixed: u64,
    /// Half of all answers came within this, in microseconds.
    pub p50_us: u64,
    /// 99 of 100 answers came within this, in microseconds.
    pub p99_us: u64,
}

impl Report {
    /// Adds up what `bots` did over `protocols`, all of which must have been played.
    pub fn new(bots: &[BotOutcome], protocols: &[PortProtocol]) -> Self {
        let by_protocol: BTreeMap<_, _> =
            protocols.iter().map(|protocol| (*protocol, add_up(bots, *protocol))).collect();
        let matched = bots.iter().filter(|bot| bot.is_matched()).count() as u64;
        let answered =
            |report: &ProtocolReport| report.sent > 0 && report.returned == report.sent && report.mixed == 0;
        let ok = matched == bots.len() as u64
            && bots.iter().all(|bot| bot.failure.is_none())
            && by_protocol.values().all(answered);
        Self { ok, players: bots.len() as u64, matched, protocols: by_protocol, phases_ms: phases(bots) }
    }

    /// Writes the report to `path`, whose directory is made if missing.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        write_file(path, &text)
    }
}

/// Writes `text` and a line's end to `path`, whose directory is made if missing.
pub fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the directory {}", directory.display()))?;
    }
    std::fs::write(path, format!("{text}\n")).with_context(|| format!("cannot write {}", path.display()))
}

fn add_up(bots: &[BotOutcome], protocol: PortProtocol) -> ProtocolReport {
    let mut latencies = Latencies::default();
    let mut report = ProtocolReport::default();
    for bot in bots.iter().filter(|bot| bot.protocol == protocol) {
        if let Some(exchange) = &bot.exchange {
            report.sent += exchange.sent();
            report.returned += exchange.returned();
            report.mixed += exchange.mixed();
            latencies.merge(exchange.latencies());
        }
    }
    report.p50_us = latencies.percentile(50.0);
    report.p99_us = latencies.percentile(99.0);
    report
}

/// Wall-clock phases of the whole run. They overlap where bots are at different points.
fn phases(bots: &[BotOutcome]) -> BTreeMap<String, u64> {
    let span = |from: fn(&BotOutcome) -> Option<u64>, to: fn(&BotOutcome) -> Option<u64>| {
        let first = bots.iter().filter_map(from).min();
        let last = bots.iter().filter_map(to).max();
        first.zip(last).map(|(first, last)| last.saturating_sub(first))
    };
    let spans = [
        ("beacons", span(|bot| bot.times.began_ms, |bot| bot.times.measured_ms)),
        ("match", span(|bot| bot.times.measured_ms, |bot| bot.times.assigned_ms)),
        ("connect", span(|bot| bot.times.assigned_ms, |bot| bot.times.connected_ms)),
        ("play", span(|bot| bot.times.connected_ms, |bot| bot.times.finished_ms)),
    ];
    spans.into_iter().filter_map(|(name, ms)| ms.map(|ms| (name.to_owned(), ms))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bot::BotTimes;
    use crate::exchange::Exchange;
    use crate::wire::State;

    fn played(protocol: PortProtocol, sent: u32, answered: u32) -> BotOutcome {
        let mut exchange = Exchange::new("ann", None, 3, String::new());
        for _ in 0..sent {
            let message = exchange.next(0);
            if message.seq <= answered {
                let state = State {
                    player: message.player,
                    seq: message.seq,
                    nonce: message.nonce,
                    tick: 0,
                    count: u64::from(message.seq),
                    peer: "p".into(),
                    pad: String::new(),
                };
                exchange.receive(&serde_json::to_vec(&state).expect("plain data"), 40);
            }
        }
        BotOutcome {
            player: "ann".into(),
            protocol,
            server: Some(muster_protocol::id::ServerId::new()),
            region: Some("local".into()),
            exchange: Some(exchange),
            times: BotTimes {
                began_ms: Some(0),
                measured_ms: Some(10),
                assigned_ms: Some(110),
                connected_ms: Some(130),
                finished_ms: Some(1_130),
            },
            failure: None,
        }
    }

    const BOTH: [PortProtocol; 2] = [PortProtocol::Udp, PortProtocol::Tcp];

    #[test]
    fn all_matched_and_answered_is_ok() {
        let report = Report::new(&[played(PortProtocol::Udp, 5, 5), played(PortProtocol::Tcp, 2, 2)], &BOTH);
        assert!(report.ok);
        assert_eq!((report.players, report.matched), (2, 2));
        assert_eq!(report.protocols[&PortProtocol::Udp].returned, 5);
        assert_eq!(report.protocols[&PortProtocol::Udp].p50_us, 40);
        assert_eq!(report.phases_ms["match"], 100);
        assert_eq!(report.phases_ms["play"], 1_000);
    }

    #[test]
    fn one_lost_message_is_not_ok() {
        let report = Report::new(&[played(PortProtocol::Udp, 5, 4), played(PortProtocol::Tcp, 2, 2)], &BOTH);
        assert!(!report.ok);
    }

    #[test]
    fn a_protocol_that_nobody_played_is_not_ok() {
        let report = Report::new(&[played(PortProtocol::Udp, 5, 5)], &BOTH);
        assert!(!report.ok);
    }

    #[test]
    fn a_bot_without_a_match_is_not_ok() {
        let lost = BotOutcome {
            server: None,
            exchange: None,
            failure: Some("expired".into()),
            ..played(PortProtocol::Tcp, 0, 0)
        };
        let report =
            Report::new(&[played(PortProtocol::Udp, 5, 5), played(PortProtocol::Tcp, 2, 2), lost], &BOTH);
        assert_eq!((report.ok, report.players, report.matched), (false, 3, 2));
    }

    #[test]
    fn the_json_has_the_documented_keys_and_no_others() {
        let report = Report::new(&[played(PortProtocol::Udp, 1, 1)], &BOTH[..1]);
        let json: serde_json::Value = serde_json::to_value(&report).expect("plain data");
        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().expect("an object").keys().cloned().collect()
        };
        assert_eq!(keys(&json), ["matched", "ok", "phases_ms", "players", "protocols"]);
        assert_eq!(keys(&json["protocols"]["udp"]), ["mixed", "p50_us", "p99_us", "returned", "sent"]);
    }
}
