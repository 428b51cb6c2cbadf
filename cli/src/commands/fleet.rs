//! `muster fleet`: apply, list and delete fleets.

use std::path::PathBuf;

use clap::Subcommand;
use muster_protocol::api::{Fleet, FleetSpec};

use super::{Ops, spec};
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or change a fleet
    Apply {
        /// TOML file of the fleet; - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// List fleets and how they stand
    Ls,
    /// Delete a fleet; its servers drain
    Rm {
        /// Its name
        name: String,
    },
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Apply { file } => apply(ops, &spec::read(&file, "fleet")?).await,
        Command::Ls => list(ops).await,
        Command::Rm { name } => {
            ops.client.delete_fleet(&name).await?;
            output::done(ops.json, &name, "is deleted; its servers drain")
        }
    }
}

async fn apply(ops: &Ops, spec: &FleetSpec) -> anyhow::Result<()> {
    let fleet = ops.client.apply_fleet(spec).await?;
    if ops.json {
        return output::json(&fleet);
    }
    output::line(&format!(
        "fleet {} version {} runs {}",
        fleet.spec.name, fleet.version, fleet.build_digest
    ))?;
    fleet.waiting_for.iter().try_for_each(|reason| output::line(&format!("  waiting: {reason}")))
}

async fn list(ops: &Ops) -> anyhow::Result<()> {
    let fleets = context::all(async |after| ops.client.fleets(after).await).await?;
    let rows = fleets.iter().flat_map(rows).collect();
    let headers =
        ["fleet", "build", "region", "warm", "ready", "starting", "allocated", "draining", "failed"];
    output::table(ops.json, &fleets, &headers, rows, "no fleets; `muster fleet apply -f FILE` makes one")?;
    if !ops.json {
        for fleet in &fleets {
            for reason in &fleet.waiting_for {
                output::line(&format!("{}: {reason}", fleet.spec.name))?;
            }
        }
    }
    Ok(())
}

fn rows(fleet: &Fleet) -> Vec<Vec<String>> {
    let status = |region: &str| fleet.regions.get(region).cloned().unwrap_or_default();
    let regions = fleet.spec.regions.iter();
    regions
        .map(|(region, spec)| {
            let status = status(region);
            vec![
                fleet.spec.name.clone(),
                fleet.spec.build.clone(),
                region.clone(),
                spec.warm.to_string(),
                status.ready.to_string(),
                status.starting.to_string(),
                status.allocated.to_string(),
                status.draining.to_string(),
                status.failed.to_string(),
            ]
        })
        .collect()
}
