//! `muster ticket`: ask for a match as a game client would, to try a queue by hand.

mod create;

use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Subcommand;
use muster_protocol::api::{MAX_WAIT_S, Ticket, TicketExplanation};
use muster_protocol::id::{TicketId, TicketMark, parse_id};

use super::Ops;
use crate::output;
pub(super) use create::latency;

/// How often a ticket that is watched is looked at although its state is the same, in seconds: its explanation may not be.
const LOOK_S: u32 = 5;
/// Pause before a call that failed on the way is made again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Ask for a match and wait for the assignment
    Create(Box<create::Create>),
    /// Show a ticket, and what it waits for
    Show {
        /// Its id
        #[arg(value_parser = parse_id::<TicketMark>)]
        id: TicketId,
    },
    /// Tell a ticket as it is, and again whenever it or its explanation changes, until it is over
    Watch {
        /// Its id
        #[arg(value_parser = parse_id::<TicketMark>)]
        id: TicketId,
    },
    /// Accept the match that was found for a ticket
    Accept {
        /// Its id
        #[arg(value_parser = parse_id::<TicketMark>)]
        id: TicketId,
    },
    /// Decline the match that was found for a ticket
    Decline {
        /// Its id
        #[arg(value_parser = parse_id::<TicketMark>)]
        id: TicketId,
    },
    /// Say why a ticket is not matched
    Explain {
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

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => {
            let ticket = ops.client.create_ticket(&create.request()?).await?;
            show(ops, &await_end(ops, ticket, Duration::from_secs(create.wait)).await?)
        }
        Command::Watch { id } => watch(ops, &id).await,
        Command::Show { id } => show(ops, &ops.client.ticket(&id).await?),
        Command::Accept { id } => show(ops, &ops.client.accept_ticket(&id).await?),
        Command::Decline { id } => show(ops, &ops.client.decline_ticket(&id).await?),
        Command::Explain { id } => explain(ops, &ops.client.explain_ticket(&id).await?),
        Command::Cancel { id } => {
            ops.client.cancel_ticket(&id).await?;
            output::done(ops.json, &id, "is cancelled")
        }
    }
}

/// Long-polls until the ticket is in its last state.
pub(super) async fn await_end(ops: &Ops, mut ticket: Ticket, wait: Duration) -> anyhow::Result<Ticket> {
    let deadline = Instant::now() + wait;
    while !ticket.state.is_final() {
        let left = deadline.saturating_duration_since(Instant::now()).as_secs() as u32;
        if left == 0 {
            bail!(
                "{} is still {}: {}. It goes on waiting: `muster ticket show` tells how it stands, `muster \
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

/// Tells a ticket until it is over, through whatever keeps the orchestrator from answering for a while.
async fn watch(ops: &Ops, id: &TicketId) -> anyhow::Result<()> {
    let mut ticket = ops.client.ticket(id).await?;
    let mut told = None;
    loop {
        let now = (ticket.state, ticket.explanation.clone());
        if ops.json && told.as_ref() != Some(&now) {
            output::line(&serde_json::to_string(&ticket)?)?;
        } else if !ops.json && ticket.state.is_final() {
            return show(ops, &ticket);
        } else if told.as_ref() != Some(&now) {
            output::line(&format!("{}: {}", ticket.state.as_str(), ticket.explanation))?;
        }
        if ticket.state.is_final() {
            return Ok(());
        }
        told = Some(now);
        ticket = loop {
            match ops.client.wait_ticket(id, ticket.state, LOOK_S).await {
                Ok(ticket) => break ticket,
                Err(error) if error.is_transient() => {
                    eprintln!("{error}; asking again");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
    }
}

fn explain(ops: &Ops, told: &TicketExplanation) -> anyhow::Result<()> {
    if ops.json {
        return output::json(told);
    }
    for line in told.words.iter().chain(&told.waiting_for) {
        output::line(line)?;
    }
    match (told.expected_wait_p50_ms, told.expected_wait_p90_ms) {
        (Some(half), Some(most)) => output::line(&format!(
            "Of the tickets matched lately, half had waited for {} at most, nine of ten for {}.",
            output::span(half),
            output::span(most)
        )),
        _ => Ok(()),
    }
}

pub(super) fn show(ops: &Ops, ticket: &Ticket) -> anyhow::Result<()> {
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
        ("lobby", ticket.lobby.as_ref().map(|lobby| lobby.code.clone()).unwrap_or_default()),
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
        ("team", assignment.map(|assignment| assignment.team.clone()).unwrap_or_default()),
        ("connect", endpoints.unwrap_or_default()),
    ];
    output::details(ops.json, ticket, &lines)
}
