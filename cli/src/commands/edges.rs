//! `muster edges`: list edge proxies, watch them, and limit what comes to them. (`muster edge` runs one.)

mod limits;
pub(crate) mod top;

use clap::Subcommand;

use super::Ops;
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List edge proxies and where players reach them
    Ls,
    /// Watch what goes through edge proxies: regions, edges and the busiest servers
    Top(top::Options),
    /// Show and set what sources may send to a region's edges
    #[command(subcommand)]
    Limits(limits::Command),
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Ls => list(ops).await,
        Command::Top(options) => top::run(ops, &options).await,
        Command::Limits(command) => limits::run(ops, command).await,
    }
}

async fn list(ops: &Ops) -> anyhow::Result<()> {
    let edges = context::all(async |after| ops.client.edges(after).await).await?;
    let rows = edges
        .iter()
        .map(|edge| {
            vec![
                edge.id.to_string(),
                edge.name.clone(),
                edge.region.clone(),
                if edge.connected { "connected" } else { "disconnected" }.to_owned(),
                edge.public_host.clone(),
                format!("{}-{}", edge.port_first, edge.port_last),
                edge.beacon_port.to_string(),
                edge.flows.to_string(),
                output::ago(edge.last_seen_ms),
            ]
        })
        .collect();
    let headers = ["edge", "name", "region", "state", "host", "ports", "beacon", "flows", "seen"];
    let empty = "no edges; `muster token create --join edge --region REGION`, then `muster edge` somewhere";
    output::table(ops.json, &edges, &headers, rows, empty)
}
