//! `muster doctor`: looks at a machine's orchestrator, running or not, and names the fix for what is wrong.
//!
//! Each check is a file. None changes anything: what it finds damaged it leaves as it is.

mod api;
mod certificate;
mod disk;
mod docker;
mod ports;
mod store;

use anyhow::bail;
use clap::Args;
use muster_orchestrator::Config;
use serde::Serialize;

use crate::args::Global;
use crate::process::{self, orchestrator};
use crate::{context, output};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    orchestrator: process::Options<orchestrator::Keys>,
}

/// What a check found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "words")]
pub(crate) enum Verdict {
    /// All is well; what was seen.
    Ok(String),
    /// What is wrong, and how it is mended.
    Problem(String),
    /// It could not be looked at, and why that may be well.
    Skipped(String),
}

#[derive(Serialize)]
struct Finding {
    check: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
}

pub(crate) async fn run(global: &Global, options: Options) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    let mut found = |check, verdict| findings.push(Finding { check, verdict });
    match options.orchestrator.load::<Config>().map(|loaded| loaded.own) {
        Err(error) => found("configuration", Verdict::Problem(format!("{error:#}"))),
        Ok(config) => {
            let valid = match config.validate() {
                Ok(()) => Verdict::Ok("nothing in it contradicts itself".to_owned()),
                Err(error) => Verdict::Problem(error.to_string()),
            };
            found("configuration", valid);
            found("certificate", certificate::check(config.api.tls.as_ref()));
            found("disk", disk::check(&config.data_dir));
            let (store, is_running) = store::check(&config).await;
            found("store", store);
            for (check, verdict) in ports::check(&config, is_running) {
                found(check, verdict);
            }
        }
    }
    for (check, verdict) in api::check(context::client(global)).await {
        found(check, verdict);
    }
    found("docker", docker::check().await);
    show(global.json, &findings)
}

fn show(json: bool, findings: &[Finding]) -> anyhow::Result<()> {
    if json {
        output::json(&findings)?;
    } else {
        for Finding { check, verdict } in findings {
            let (mark, words) = match verdict {
                Verdict::Ok(words) => ("ok", words),
                Verdict::Problem(words) => ("PROBLEM", words),
                Verdict::Skipped(words) => ("skipped", words),
            };
            output::line(&format!(
                "{check:14} {mark:8} {}",
                words.replace('\n', "\n                        ")
            ))?;
        }
    }
    let problems = findings.iter().filter(|finding| matches!(finding.verdict, Verdict::Problem(_))).count();
    if problems > 0 {
        bail!("{problems} of {} checks found a problem", findings.len());
    }
    Ok(())
}
