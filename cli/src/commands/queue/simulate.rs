//! `muster queue simulate`: a recorded or made-up population against a queue's definition, beside the one that is applied.
//!
//! What is simulated is the matchmaker's own core, in simulated time; what servers take to start is not in it.

mod regions;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use muster_matchmaker::Queue;
use muster_matchmaker::simulate::{
    Arrival, Home, MAX_SYNTHETIC, Scenario, SyntheticOptions, compare, simulate, synthetic,
};
use muster_protocol::api::{MAX_RECORDED_LINE_BYTES, QueueSpec, RecordedTicket};

use crate::args::Global;
use crate::commands::spec;
use crate::{context, output};
use regions::{Regions, regions};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// TOML file of the queue as it is to be; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// TOML file of the queue to compare with; if not given, the queue of that name as it is applied
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    /// Recorded tickets, one JSON object a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["synthetic", "per_s", "seed", "party"])]
    tickets: Option<PathBuf>,
    /// Make up so many tickets instead
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    synthetic: usize,
    /// Of those made up, how many come in a second
    #[arg(long, value_name = "RATE", default_value_t = 5.0)]
    per_s: f64,
    /// What decides the ones made up: the same seed makes the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Shares of parties of 1, 2, 3 and more players among those made up, as in 70,20,7
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    party: Vec<f64>,
    /// Servers of a region, REGION=COUNT; may be given several times. Not given: plenty in every region of the queue, or
    /// of its fleet
    #[arg(long, value_name = "REGION=COUNT", value_parser = servers)]
    servers: Vec<(String, u32)>,
    /// Seconds that a match has its server
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    match_s: u64,
    /// Milliseconds between two passes of the matchmaker
    #[arg(long, value_name = "MS", default_value_t = 100)]
    tick_ms: u64,
}

fn servers(text: &str) -> Result<(String, u32), String> {
    let (region, count) = text.split_once('=').ok_or("give REGION=COUNT")?;
    Ok((region.to_owned(), count.parse().map_err(|_| "the count is not a number")?))
}

pub(crate) async fn run(global: &Global, options: &Options) -> anyhow::Result<()> {
    ensure!(options.match_s > 0 && options.tick_ms > 0, "--match-s and --tick-ms must be at least 1");
    let (new_spec, new) = spec::read_queue(&options.file)?;
    let (old_spec, old) = if let Some(path) = &options.old {
        spec::read_queue(path)?
    } else {
        let (name, hint) = (&new_spec.name, "give --old FILE to compare with a file");
        let applied = match context::client(global) {
            Ok(client) => client.queue(name).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        let applied =
            applied.with_context(|| format!("cannot read queue {name} as it is applied; {hint}"))?;
        let compiled = Queue::compile(&applied.spec)?;
        (applied.spec, compiled)
    };
    let servers: BTreeMap<String, u32> = options.servers.iter().cloned().collect();
    let (mut reports, mut warnings) = (Vec::new(), BTreeSet::new());
    for (spec, queue) in [(&old_spec, &old), (&new_spec, &new)] {
        let arrivals = population(queue, options, new_spec.ticket_ttl_s)?;
        let fleet = if servers.is_empty() { regions_of_fleet(global, spec).await } else { None };
        let Regions { servers, warnings: told } = regions(spec, &servers, fleet.as_ref(), &arrivals)?;
        warnings.extend(told);
        let scenario =
            Scenario { servers, match_ms: options.match_s * 1_000, tick_ms: options.tick_ms, ends_ms: None };
        reports.push(simulate(queue, &arrivals, &scenario).report);
    }
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    let [old, new] = reports.as_slice() else { bail!("a simulation is missing") };
    if global.json {
        return output::json(&BTreeMap::from([("old", old), ("new", new)]));
    }
    if old.is_cut_short || new.is_cut_short {
        output::line("The simulation was cut short: it has too many moments. Give fewer tickets.")?;
    }
    output::line(compare(old, new).trim_end())
}

/// The regions of a queue's fleet, if it can be asked: a simulation from files alone needs no orchestrator.
async fn regions_of_fleet(global: &Global, queue: &QueueSpec) -> Option<BTreeSet<String>> {
    if !queue.regions.is_empty() {
        return None;
    }
    let fleet = context::client(global).ok()?.fleet(&queue.fleet).await.ok()?;
    Some(fleet.spec.regions.into_keys().collect())
}

/// The population as a queue sees it. One that both definitions see differently is read for each.
fn population(queue: &Queue, options: &Options, ttl_s: u32) -> anyhow::Result<Vec<Arrival>> {
    if let Some(path) = &options.tickets {
        return recorded(queue, path);
    }
    let regions: BTreeSet<&String> = options.servers.iter().map(|(region, _)| region).collect();
    let homes = regions.into_iter().map(|region| Home {
        region: region.clone(),
        share: 1.0,
        near_ms: 30,
        far_ms: 120,
    });
    let made = SyntheticOptions {
        tickets: options.synthetic,
        per_s: options.per_s,
        leaves_after_ms: Some(u64::from(ttl_s) * 1_000),
        party_shares: options.party.clone(),
        homes: homes.collect(),
        ..SyntheticOptions::default()
    };
    Ok(synthetic(queue, options.seed, &made)?)
}

/// The tickets of a JSON Lines file. Errors name the line.
fn recorded(queue: &Queue, path: &Path) -> anyhow::Result<Vec<Arrival>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut reader, mut arrivals, mut line) = (BufReader::new(file), Vec::new(), Vec::new());
    for number in 1.. {
        line.clear();
        let limit = MAX_RECORDED_LINE_BYTES as u64 + 1;
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut line);
        let read = read.with_context(|| format!("cannot read {}", path.display()))?;
        if read == 0 {
            break;
        }
        let wrong = |what: String| anyhow!("{} line {number}: {what}", path.display());
        ensure!(
            line.len() <= MAX_RECORDED_LINE_BYTES,
            wrong(format!("longer than {MAX_RECORDED_LINE_BYTES} bytes"))
        );
        if line.trim_ascii().is_empty() {
            continue;
        }
        ensure!(
            arrivals.len() < MAX_SYNTHETIC,
            wrong(format!("more than {MAX_SYNTHETIC} tickets; give a part of them"))
        );
        let ticket: RecordedTicket =
            serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
        arrivals.push(queue.recorded(number, &ticket).map_err(|error| wrong(error.to_string()))?);
    }
    ensure!(!arrivals.is_empty(), "{} holds no tickets", path.display());
    Ok(arrivals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_read_line_by_line_and_its_faults_are_told_with_the_line() {
        let queue = Queue::compile(&QueueSpec::simple("duel", "arena", 2)).expect("a queue");
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tickets.jsonl");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            recorded(&queue, &path)
        };
        let good = r#"{"entered_ms": 5, "players": [{"player": "ann"}]}"#;
        assert_eq!(read(&format!("{good}\n\n{good}\n")).expect("two").len(), 2);
        for (text, part) in [
            (format!("{good}\n{{\"entered_ms\": 5"), "line 2: EOF"),
            (format!("{good}\n{{\"players\": []}}"), "line 2: missing field `entered_ms`"),
            (r#"{"entered_ms": 5, "players": []}"#.to_owned(), "line 1: players"),
            (format!("{good}\n{}", "x".repeat(MAX_RECORDED_LINE_BYTES + 1)), "line 2: longer"),
            (String::new(), "holds no tickets"),
        ] {
            let error = read(&text).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
