//! `muster ticket`: ask for a match as a game client would, to try a queue by hand.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Subcommand;
use muster_protocol::api::{MAX_WAIT_S, PartyMember, Ticket, TicketExplanation, TicketRequest, Value};
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
        /// What describes the player and all of the party, NAME=VALUE: a number, a text, or tags with commas between
        /// and at the end; may be given several times
        #[arg(long, value_name = "NAME=VALUE", value_parser = attribute)]
        attribute: Vec<(String, Value)>,
        /// A player who comes along; may be given several times
        #[arg(long = "with", value_name = "PLAYER")]
        party: Vec<String>,
        /// What must be true between this ticket's players and others, as in 'abs(skill - mine.skill) < 50'
        #[arg(long, default_value = "")]
        filter: String,
        /// A player not to play with; may be given several times
        #[arg(long, value_name = "PLAYER")]
        block: Vec<String>,
        /// Look for another match even if a seat is kept for the player in one that goes on, and give that seat up
        #[arg(long)]
        no_rejoin: bool,
        /// Token of a ticket that the players had before, to come back to its seats or to take its place; may be given
        /// several times. With a token of the API that is not of role client none is needed
        #[arg(long = "previous-token", value_name = "TOKEN")]
        previous_tokens: Vec<String>,
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

pub(super) fn latency(text: &str) -> Result<(String, u32), String> {
    let (region, ms) = text.split_once('=').ok_or("give REGION=MILLISECONDS")?;
    Ok((region.to_owned(), ms.parse().map_err(|_| "the milliseconds are not a number")?))
}

/// `3.5` is a number, `a,` and `a,b` are tags, all else is a text.
fn attribute(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    // "nan" and "inf" would be numbers, but none that a queue knows: as texts they are refused with the attribute's name.
    let value = if let Some(number) = value.parse().ok().filter(|number: &f64| number.is_finite()) {
        Value::Number(number)
    } else if value.contains(',') {
        Value::Tags(value.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
    } else {
        Value::Text(value.to_owned())
    };
    Ok((name.to_owned(), value))
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Create {
            queue,
            player,
            latency,
            attribute,
            party,
            filter,
            block,
            no_rejoin,
            previous_tokens,
            wait,
        } => {
            let attributes: BTreeMap<_, _> = attribute.into_iter().collect();
            let member = |player| PartyMember { player, attributes: attributes.clone() };
            let request = TicketRequest {
                latencies_ms: latency.into_iter().collect(),
                party: party.into_iter().map(member).collect(),
                attributes: attributes.clone(),
                filter,
                blocks: block,
                rejoin: !no_rejoin,
                previous_tokens,
                ..TicketRequest::new(queue, player)
            };
            let ticket = ops.client.create_ticket(&request).await?;
            show(ops, &await_end(ops, ticket, Duration::from_secs(wait)).await?)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_what_they_look_like() {
        assert_eq!(attribute("skill=3.5"), Ok(("skill".into(), Value::Number(3.5))));
        assert_eq!(attribute("role=tank"), Ok(("role".into(), Value::Text("tank".into()))));
        assert_eq!(attribute("skill=nan"), Ok(("skill".into(), Value::Text("nan".into()))));
        let tags = |tags: &[&str]| Value::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect());
        assert_eq!(attribute("modes=ctf,duel"), Ok(("modes".into(), tags(&["ctf", "duel"]))));
        assert_eq!(attribute("modes=ctf,"), Ok(("modes".into(), tags(&["ctf"]))));
        assert!(attribute("skill").is_err());
    }
}
