//! `muster queue`: apply, list and delete matchmaking queues.

mod definition;
mod history;
mod simulate;

use std::path::PathBuf;

use clap::Subcommand;
use muster_matchmaker::Queue;
use muster_protocol::api::{self, QueuePart, QueueSpec};

use super::{Ops, spec};
use crate::args::Global;
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Action(Action),
    /// Check a queue's file without applying it
    Check {
        /// TOML file of the queue; - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Replay a population against a changed queue, beside the queue as it is
    Simulate(simulate::Options),
}

/// What needs an orchestrator.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Create or change a queue
    Apply {
        /// TOML file of the queue; - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Write a queue's recording to standard output, a ticket a line, as `simulate --tickets` reads it
    Recording {
        /// Its name
        name: String,
        /// Clear it instead
        #[arg(long)]
        clear: bool,
    },
    /// Take tickets, and make no matches
    Pause {
        /// Its name
        name: String,
    },
    /// Make the last matches, and take no tickets
    Drain {
        /// Its name
        name: String,
    },
    /// Take tickets and make matches
    Resume {
        /// Its name
        name: String,
    },
    /// List queues and how they stand
    Ls,
    /// Show a queue: how it stands, and its whole definition
    Show {
        /// Its name
        name: String,
        /// The definition of this version instead, as a file that can be applied again
        #[arg(long, value_name = "N")]
        version: Option<u64>,
    },
    /// List the versions of a queue's definition that are kept
    History {
        /// Its name
        name: String,
    },
    /// Apply an older version of a queue's definition again, as a new one
    Rollback {
        /// Its name
        name: String,
        /// The version, as `history` lists it; the one before the last if it is left out
        #[arg(long, value_name = "N")]
        version: Option<u64>,
    },
    /// Delete a queue; its searching tickets fail with the reason
    Rm {
        /// Its name
        name: String,
    },
}

pub(crate) async fn run(global: &Global, command: Command) -> anyhow::Result<()> {
    match command {
        // These two need no orchestrator.
        Command::Check { file } => {
            let (spec, queue) = spec::read_queue(&file)?;
            output::done(global.json, &spec.name, &format!("can be applied: {}", shape(&queue)))
        }
        Command::Simulate(options) => simulate::run(global, &options).await,
        Command::Action(action) => {
            act(&Ops { client: context::client(global)?, json: global.json }, action).await
        }
    }
}

async fn act(ops: &Ops, action: Action) -> anyhow::Result<()> {
    match action {
        Action::Apply { file } => apply(ops, &spec::read_queue(&file)?.0).await,
        Action::Recording { name, clear: true } => {
            ops.client.clear_recording(&name).await?;
            output::done(ops.json, &name, "has an empty recording")
        }
        Action::Recording { name, clear: false } => recording(ops, &name).await,
        Action::Pause { name } => mode(ops, &ops.client.pause_queue(&name).await?),
        Action::Drain { name } => mode(ops, &ops.client.drain_queue(&name).await?),
        Action::Resume { name } => mode(ops, &ops.client.resume_queue(&name).await?),
        Action::Ls => list(ops).await,
        Action::Show { name, version: None } => show(ops, &ops.client.queue(&name).await?),
        Action::Show { name, version: Some(version) } => history::show(ops, &name, version).await,
        Action::History { name } => history::list(ops, &name).await,
        Action::Rollback { name, version } => apply(ops, &history::older(ops, &name, version).await?).await,
        Action::Rm { name } => {
            ops.client.delete_queue(&name).await?;
            output::done(ops.json, &name, "is deleted")
        }
    }
}

async fn apply(ops: &Ops, spec: &QueueSpec) -> anyhow::Result<()> {
    let queue = ops.client.apply_queue(spec).await?;
    if ops.json {
        return output::json(&queue);
    }
    let compiled = Queue::compile(&queue.spec)?;
    output::line(&format!(
        "queue {} version {} on fleet {}: {}",
        queue.spec.name,
        queue.version,
        queue.spec.fleet,
        shape(&compiled)
    ))?;
    queue.waiting_for.iter().try_for_each(|reason| output::line(&format!("  waiting: {reason}")))
}

async fn recording(ops: &Ops, name: &str) -> anyhow::Result<()> {
    let mut after: Option<String> = None;
    loop {
        let page = ops.client.recording(name, after.as_deref()).await?;
        for ticket in &page.items {
            output::line(&serde_json::to_string(ticket)?)?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn mode(ops: &Ops, queue: &api::Queue) -> anyhow::Result<()> {
    output::done(ops.json, &queue.spec.name, &format!("is {}", queue.mode.as_str()))
}

/// How many players make a match, and in how many teams.
fn shape(queue: &Queue) -> String {
    let players = players(queue);
    match queue.team_count() {
        1 => format!("{players} players make a match"),
        teams => format!("{players} players in {teams} teams make a match"),
    }
}

fn players(queue: &Queue) -> String {
    match queue.sizes() {
        (least, most) if least == most => most.to_string(),
        (least, most) => format!("{least} to {most}"),
    }
}

fn show(ops: &Ops, queue: &api::Queue) -> anyhow::Result<()> {
    let spec = &queue.spec;
    let waits = queue.wait_p50_ms.zip(queue.wait_p90_ms).map(|(half, most)| {
        format!(
            "half of those matched lately within {}, nine of ten within {}",
            output::span(half),
            output::span(most)
        )
    });
    let parts: Vec<String> = queue.parts.iter().map(part).collect();
    let definition = if ops.json { String::new() } else { definition::toml(spec)? };
    let lines = [
        ("queue", spec.name.clone()),
        ("fleet", spec.fleet.clone()),
        ("version", queue.version.to_string()),
        ("matches", Queue::compile(spec).map_or_else(|error| error.to_string(), |queue| shape(&queue))),
        ("mode", queue.mode.as_str().to_owned()),
        ("searching", queue.searching.to_string()),
        ("matched", queue.matched.to_string()),
        ("waits", waits.unwrap_or_default()),
        ("waiting for", queue.waiting_for.join("\n")),
        ("parts", parts.join("\n")),
    ];
    output::details(ops.json, queue, &lines)?;
    if ops.json { Ok(()) } else { output::line(&format!("\n{definition}")) }
}

/// A part of a queue in words.
fn part(part: &QueuePart) -> String {
    let named =
        part.regions.iter().map(|region| if region.is_empty() { "no region named" } else { region.as_str() });
    let regions = output::list(named);
    match (part.from, part.to) {
        (None, None) => regions,
        (Some(from), None) => format!("{regions}, from {from}"),
        (None, Some(to)) => format!("{regions}, below {to}"),
        (Some(from), Some(to)) => format!("{regions}, from {from} and below {to}"),
    }
}

async fn list(ops: &Ops) -> anyhow::Result<()> {
    let queues = context::all(async |after| ops.client.queues(after).await).await?;
    let rows = queues
        .iter()
        .map(|queue| {
            let regions = &queue.spec.regions;
            vec![
                queue.spec.name.clone(),
                queue.spec.fleet.clone(),
                Queue::compile(&queue.spec).map_or_else(|error| error.to_string(), |queue| players(&queue)),
                queue.mode.as_str().to_owned(),
                if regions.is_empty() { "all of the fleet".to_owned() } else { output::list(regions) },
                queue.searching.to_string(),
                queue.matched.to_string(),
                queue.openings.to_string(),
                queue.waiting_for.join("; "),
            ]
        })
        .collect();
    let headers = [
        "queue",
        "fleet",
        "players",
        "mode",
        "regions",
        "searching",
        "matched",
        "open matches",
        "waiting for",
    ];
    output::table(ops.json, &queues, &headers, rows, "no queues; `muster queue apply -f FILE` makes one")
}
