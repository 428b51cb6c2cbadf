//! `muster store`: look into an orchestrator's store without an orchestrator.
//!
//! An embedded store serves one process, so its orchestrator has to be stopped first; a cluster can be
//! looked at while it is used.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, Subcommand};
use muster_orchestrator::check::{self, Row};
use muster_orchestrator::run::STORE_FILE;
use muster_orchestrator::{Bytes, Database, OpenOptions, StoreLocation};
use serde::Serialize;

use crate::output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check that the records of the store agree with each other; changes nothing
    Check(Place),
    /// Print every row, one a line; secrets are not shown
    Dump(Place),
}

/// Where the store is.
#[derive(Args)]
pub(crate) struct Place {
    /// The orchestrator's `data_dir`
    #[arg(long, env = "MUSTER_DATA_DIR", default_value = ".muster/orchestrator", value_name = "DIR")]
    data_dir: PathBuf,
    /// `embedded`, or fdb: and a cluster file
    #[arg(long, env = "MUSTER_STORE", default_value = "embedded")]
    store: StoreLocation,
}

#[derive(Serialize)]
struct Finding {
    row: String,
    what: String,
}

pub(crate) async fn run(json: bool, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check(place) => check(json, &place).await,
        Command::Dump(place) => dump(json, &place).await,
    }
}

async fn open(place: &Place) -> anyhow::Result<Database> {
    let file = place.data_dir.join(STORE_FILE);
    if place.store == StoreLocation::Embedded && !file.exists() {
        bail!("there is no store at {}; give the orchestrator's --data-dir", file.display());
    }
    Ok(Database::open_location(&place.store, &file, OpenOptions::default()).await?)
}

async fn check(json: bool, place: &Place) -> anyhow::Result<()> {
    let db = open(place).await?;
    let report = check::check(&db).await?;
    db.shutdown().await;
    let findings: Vec<Finding> = report
        .findings
        .iter()
        .map(|finding| {
            let row = Row::of(&finding.key.clone().into(), &Bytes::new());
            Finding { row: format!("{} {}", row.kind, row.key), what: finding.what.clone() }
        })
        .collect();
    let rows = findings.iter().map(|finding| vec![finding.row.clone(), finding.what.clone()]).collect();
    let total: u64 = report.rows.values().sum();
    output::table(json, &findings, &["row", "what is wrong"], rows, &format!("{total} rows, and all agree"))?;
    if !findings.is_empty() {
        bail!("{} of {total} rows do not agree; keep a copy of the store and report this", findings.len());
    }
    Ok(())
}

async fn dump(json: bool, place: &Place) -> anyhow::Result<()> {
    let db = open(place).await?;
    check::visit(&db, |key, value| {
        let row = Row::of(key, value);
        if json {
            let line = serde_json::json!({"kind": row.kind, "key": row.key, "value": row.value});
            return output::line(&line.to_string());
        }
        output::line(&format!("{} {} = {}", row.kind, row.key, row.value))
    })
    .await?;
    db.shutdown().await;
    Ok(())
}
