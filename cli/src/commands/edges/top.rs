//! `muster edges top`: what goes through the edges now, again and again. (`muster edge top` is the same.)

mod tables;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::{Args, value_parser};
use muster_client::ClientError;
use muster_protocol::api::EdgeTraffic;
use muster_protocol::problem::ProblemCode;

use super::super::Ops;
use crate::{context, output};

/// Most edges that are asked each time.
const MAX_EDGES: usize = 100;

#[derive(Args)]
pub(crate) struct Options {
    /// Only edges of this region
    #[arg(long)]
    region: Option<String>,
    /// Most servers to show, the busiest first
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    servers: usize,
    /// Seconds between two looks; edges report every two
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Look once; so does --json
    #[arg(long)]
    once: bool,
}

/// What the edges that are connected say, and how many there are that are not.
pub(super) struct Look {
    pub(super) edges: Vec<EdgeTraffic>,
    pub(super) silent: usize,
    pub(super) passed_over: usize,
}

pub(crate) async fn run(ops: &Ops, options: &Options) -> anyhow::Result<()> {
    if ops.json {
        return output::json(&look(ops, options).await?.edges);
    }
    let is_terminal = std::io::stdout().is_terminal();
    if options.once {
        return output::line(&tables::text(&look(ops, options).await?, options.servers, is_terminal));
    }
    loop {
        let text = match look(ops, options).await {
            Ok(look) => tables::text(&look, options.servers, is_terminal),
            // An orchestrator that is being upgraded is back soon.
            Err(error) if error.is_transient() => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        print(&text, is_terminal)?;
        tokio::time::sleep(Duration::from_secs(options.every)).await;
    }
}

async fn look(ops: &Ops, options: &Options) -> Result<Look, ClientError> {
    let all = context::all(async |after| ops.client.edges(after).await).await?;
    let of_region = |region: &str| options.region.as_deref().is_none_or(|asked| asked == region);
    let (connected, silent): (Vec<_>, Vec<_>) =
        all.into_iter().filter(|edge| of_region(&edge.region)).partition(|edge| edge.connected);
    let passed_over = connected.len().saturating_sub(MAX_EDGES);
    let mut look = Look { edges: Vec::new(), silent: silent.len(), passed_over };
    for edge in connected.into_iter().take(MAX_EDGES) {
        match ops.client.edge_traffic(edge.id).await {
            Ok(traffic) => look.edges.push(traffic),
            // It has just lost its link.
            Err(error) if error.code() == Some(ProblemCode::EdgeUnreachable) => look.silent += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(look)
}

/// Prints `text`; with `redraw` in the place of what stood there.
fn print(text: &str, redraw: bool) -> anyhow::Result<()> {
    if !redraw {
        return output::line(text);
    }
    // Home; each line up to its end, then whatever is below: without clearing first, nothing flickers.
    let mut lines = String::with_capacity(text.len());
    for line in text.lines() {
        lines.push_str(line);
        lines.push_str("\x1b[K\n");
    }
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "\x1b[H{lines}\x1b[J")?;
    Ok(stdout.flush()?)
}
