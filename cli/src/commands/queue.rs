//! `muster queue`: apply, list and delete matchmaking queues.

use std::path::PathBuf;

use clap::Subcommand;
use muster_protocol::api::QueueSpec;

use super::{Ops, spec};
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change a queue
    Apply {
        /// TOML file of the queue; - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List queues and how they stand
    Ls,
    /// Delete a queue; its searching tickets fail with the reason
    Rm {
        /// Its name
        name: String,
    },
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Apply { file } => apply(ops, &spec::read(&file, "queue")?).await,
        Command::Ls => list(ops).await,
        Command::Rm { name } => {
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
    output::line(&format!(
        "queue {} version {}: {} players make a match on fleet {}",
        queue.spec.name, queue.version, queue.spec.players, queue.spec.fleet
    ))?;
    queue.waiting_for.iter().try_for_each(|reason| output::line(&format!("  waiting: {reason}")))
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
                queue.spec.players.to_string(),
                if regions.is_empty() { "all of the fleet".to_owned() } else { output::list(regions) },
                queue.searching.to_string(),
                queue.matched.to_string(),
                queue.waiting_for.join("; "),
            ]
        })
        .collect();
    let headers = ["queue", "fleet", "players", "regions", "searching", "matched", "waiting for"];
    output::table(ops.json, &queues, &headers, rows, "no queues; `muster queue apply -f FILE` makes one")
}
