//! `muster node`: list nodes.

use clap::Subcommand;

use super::Ops;
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List nodes, what they offer and what is promised
    Ls,
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    let Command::Ls = command;
    let nodes = context::all(async |after| ops.client.nodes(after).await).await?;
    let rows = nodes
        .iter()
        .map(|node| {
            vec![
                node.id.to_string(),
                node.name.clone(),
                node.region.clone(),
                node.state.as_str().to_owned(),
                format!("{} of {} m", node.cpu_millis_reserved, node.cpu_millis),
                format!(
                    "{} of {}",
                    output::size(node.memory_bytes_reserved),
                    output::size(node.memory_bytes)
                ),
                node.servers.to_string(),
                output::ago(node.last_seen_ms),
                node.explanation.clone(),
            ]
        })
        .collect();
    let headers = ["node", "name", "region", "state", "cpu", "memory", "servers", "seen", "why"];
    let empty = "no nodes; `muster token create --join agent --region REGION`, then `muster agent` on one";
    output::table(ops.json, &nodes, &headers, rows, empty)
}
