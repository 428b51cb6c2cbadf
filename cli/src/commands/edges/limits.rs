//! `muster edges limits`: what sources may send to a region's edges.

use std::path::PathBuf;

use clap::Subcommand;
use muster_protocol::api::{EdgeLimits, Rates};

use super::super::{Ops, spec};
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the limits of a region's edges
    Show {
        /// The region
        region: String,
    },
    /// Set the limits of a region's edges, whole; connected edges hold to them at once
    Set {
        /// The region
        region: String,
        /// TOML file of the limits; - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Lift all limits of a region's edges
    Clear {
        /// The region
        region: String,
    },
}

pub(super) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Show { region } => show(ops, &ops.client.edge_limits(&region).await?),
        Command::Set { region, file } => {
            let limits = spec::read(&file, "set of limits")?;
            show(ops, &ops.client.set_edge_limits(&region, &limits).await?)
        }
        Command::Clear { region } => {
            ops.client.set_edge_limits(&region, &EdgeLimits::default()).await?;
            output::done(ops.json, &region, "has no limits")
        }
    }
}

fn show(ops: &Ops, limits: &EdgeLimits) -> anyhow::Result<()> {
    let rates = |name: &'static str, rates: Rates| {
        let parts = [
            (u64::from(rates.packets_per_s), "packets"),
            (rates.bytes_per_s, "bytes"),
            (u64::from(rates.new_flows_per_s), "new flows"),
        ];
        let parts = parts.iter().filter(|(rate, _)| *rate > 0);
        (name, parts.map(|(rate, of)| format!("{rate} {of}/s")).collect::<Vec<_>>().join(", "))
    };
    if *limits == EdgeLimits::default() && !ops.json {
        return output::line("no limits; `muster edges limits set REGION -f FILE` sets some");
    }
    let lines = [
        rates("an address", limits.address),
        rates("a /24 or /64", limits.network),
        rates("a token", limits.token),
        rates("a server", limits.server),
        ("allow", limits.allow.join(", ")),
        ("deny", limits.deny.join(", ")),
    ];
    output::details(ops.json, limits, &lines)
}
