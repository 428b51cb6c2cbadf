//! `muster ticket`: ask for a match as a game client would, to try a queue by hand.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Subcommand;
use muster_protocol::api::{MAX_WAIT_S, Ticket, TicketRequest};
use muster_protocol::id::{TicketId, TicketMark, parse_id};

use super::Ops;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Ask for a match and wait for the assignment
    Create {
        /// Queue
        queue: String,
        /// Player's name
        #[arg(long, default_value = "cli")]
        player: String,
        /// Round trip to a region, REGION=MILLISECONDS; may be given several times
        #[arg(long, value_name = "REGION=MS", value_parser = latency)]
        latency: Vec<(String, u32)>,
        /// Seconds to wait for the assignment
        #[arg(long, default_value_t = 60)]
        wait: u64,
    },
    /// Show a ticket, and what it waits for
    Show {
        /// Its id
        #[arg(value_parser = parse_id::<TicketMark>)]
        id: TicketId,
    },
    /// Withdraw a ticket
    Cancel {
        /// Its id
        #[arg(value_parser = parse_id::<TicketMark>)]
        id: TicketId,
    },
}

fn latency(text: &str) -> Result<(String, u32), String> {
    let (region, ms) = text.split_once('=').ok_or("give REGION=MILLISECONDS")?;
    Ok((region.to_owned(), ms.parse().map_err(|_| "the milliseconds are not a number")?))
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create { queue, player, latency, wait } => {
            let latencies_ms: BTreeMap<_, _> = latency.into_iter().collect();
            let ticket = ops.client.create_ticket(&TicketRequest { queue, player, latencies_ms }).await?;
            show(ops, &await_end(ops, ticket, Duration::from_secs(wait)).await?)
        }
        Command::Show { id } => show(ops, &ops.client.ticket(&id).await?),
        Command::Cancel { id } => {
            ops.client.cancel_ticket(&id).await?;
            output::done(ops.json, &id, "is cancelled")
        }
    }
}

/// Long-polls until the ticket is in its last state.
async fn await_end(ops: &Ops, mut ticket: Ticket, wait: Duration) -> anyhow::Result<Ticket> {
    let deadline = Instant::now() + wait;
    while !ticket.state.is_final() {
        let left = deadline.saturating_duration_since(Instant::now()).as_secs() as u32;
        if left == 0 {
            bail!(
                "{} is still {}: {}. It stays in the queue: `muster ticket show` tells how it stands, `muster \
                 ticket cancel` withdraws it",
                ticket.id,
                ticket.state.as_str(),
                ticket.explanation
            );
        }
        eprintln!("{}", ticket.explanation);
        ticket = ops.client.wait_ticket(&ticket.id, ticket.state, left.min(MAX_WAIT_S)).await?;
    }
    Ok(ticket)
}

fn show(ops: &Ops, ticket: &Ticket) -> anyhow::Result<()> {
    let assignment = ticket.assignment.as_ref();
    let endpoints = assignment.map(|assignment| {
        let endpoint = assignment.endpoints.iter().map(|endpoint| {
            let token =
                endpoint.token.as_deref().map_or_else(String::new, |token| format!("\ntoken {token}"));
            let address = format!("{}:{}", endpoint.host, endpoint.port);
            let place = endpoint.url.clone().unwrap_or(address);
            let token = if endpoint.url.is_some() { String::new() } else { token };
            format!("{} {} {place}{token}", endpoint.port_name, endpoint.protocol.as_str())
        });
        endpoint.collect::<Vec<_>>().join("\n")
    });
    let lines = [
        ("ticket", ticket.id.to_string()),
        ("queue", ticket.queue.clone()),
        ("player", ticket.player.clone()),
        ("state", ticket.state.as_str().to_owned()),
        ("why", ticket.explanation.clone()),
        (
            "took",
            ticket
                .assigned_at_ms
                .map(|at| output::span(at.saturating_sub(ticket.created_at_ms)))
                .unwrap_or_default(),
        ),
        ("match", assignment.map(|assignment| assignment.match_id.to_string()).unwrap_or_default()),
        ("server", assignment.map(|assignment| assignment.server_id.to_string()).unwrap_or_default()),
        ("region", assignment.map(|assignment| assignment.region.clone()).unwrap_or_default()),
        ("connect", endpoints.unwrap_or_default()),
    ];
    output::details(ops.json, ticket, &lines)
}
