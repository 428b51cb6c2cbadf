//! Seats of matches that go on: sold to those who join, kept for those who dropped out or have yet to come, given up.
//!
//! Everything here is done in the transaction of whoever has news of it, and the match's server is told in the same. Who
//! joins which match is decided by the callers: matchmaking and lobbies. A new match's first seats are written by
//! `matchmaking` and `allocate` with the match itself.

mod follow;
mod rejoin;
#[cfg(test)]
mod rejoin_tests;

use std::collections::BTreeSet;

use muster_protocol::id::{MatchId, SeatId, SeatMark};
use muster_store::{StoreError, Transaction};

use crate::lifecycle::machine::{self, Event};
use crate::random;
use crate::records::{Goal, Id, MatchRecord, MatchSeat, MatchState, ServerState, TicketRecord, TicketState};
use crate::state::{StateError, matches, servers, tickets};

pub(crate) use follow::{follow, pass_kept};
pub(crate) use rejoin::{Comeback, give_up, is_seated, rejoin, rejoin_match};

/// Whose ticket is to be seated.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    /// The ticket as it is on record; `None`: it is made with its seats.
    pub(crate) before: Option<TicketRecord>,
    /// The ticket.
    pub(crate) ticket: TicketRecord,
    /// The team its players go to; may be empty.
    pub(crate) team: String,
}

/// Why no seat was sold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SellError {
    /// The match has fewer free seats than newcomers.
    #[error("{wanted} players do not fit into {free} free seats")]
    Full {
        /// Players who wanted in.
        wanted: usize,
        /// Seats that are free.
        free: usize,
    },
    /// The match is over, has yet to be accepted, or its server is on its way out.
    #[error("the match takes no more players")]
    Over,
    /// A player has a seat in the match, or wants two.
    #[error("{0} sits in this match already")]
    Seated(String),
    /// The store or a record in it failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<StoreError> for SellError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

/// Why a seat is given up: a stable code, and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Why(pub(crate) &'static str, pub(crate) &'static str);

/// Its player withdrew the ticket, or asked for another match.
pub(crate) const LEFT: Why = Why("left", "its players left the match");
/// Another ticket of the same players has what it had.
pub(crate) const REPLACED: Why = Why("replaced", "its players asked again, and have another ticket");

/// Sells seats of a match, which has its server or awaits it, to all of `newcomers`. The match and its server count as read
/// and conflict with others that change them. Returns the tickets as they are then, in the order of the newcomers.
///
/// # Errors
/// [`SellError`]; nothing is written then.
pub(crate) async fn sell(
    tx: &mut Transaction,
    before: &MatchRecord,
    newcomers: Vec<Newcomer>,
    now_ms: u64,
) -> Result<Vec<TicketRecord>, SellError> {
    let mut names: BTreeSet<&str> = before.seats.iter().map(|seat| seat.player.as_str()).collect();
    let players: Vec<_> = newcomers.iter().flat_map(|newcomer| newcomer.ticket.players()).collect();
    if let Some(player) = players.iter().find(|player| !names.insert(&player.player)) {
        return Err(SellError::Seated(player.player.clone()));
    }
    let (wanted, free) = (players.len(), before.free_seats());
    if wanted > free {
        return Err(SellError::Full { wanted, free });
    }
    let has_server = match before.state() {
        MatchState::Waiting => false,
        MatchState::Assigned if runs(tx, before).await? => true,
        _ => return Err(SellError::Over),
    };
    let (match_id, mut after) = (before.typed_id(), before.clone());
    let held_until_ms = follow::held_until(tx, before, now_ms).await?;
    let mut seated_tickets = Vec::with_capacity(newcomers.len());
    for Newcomer { before: known, ticket, team } in newcomers {
        let mut ticket = seated(&ticket, match_id, &team, now_ms);
        if has_server {
            assign_ticket(&mut ticket, before.server, now_ms);
        }
        after.seats.extend(of_ticket(&ticket).map(|seat| MatchSeat { kept_until_ms: held_until_ms, ..seat }));
        tickets::save(tx, known.as_ref(), &ticket);
        seated_tickets.push(ticket);
    }
    matches::save(tx, Some(before), &after);
    tell_server(tx, &after, true, now_ms).await?;
    Ok(seated_tickets)
}

/// Whether the match's server runs and may take players. Conflicts with its changes.
pub(crate) async fn runs(tx: &mut Transaction, record: &MatchRecord) -> Result<bool, StateError> {
    let Some(server) = record.server_id() else { return Ok(false) };
    let found = servers::load(tx, server).await?;
    Ok(found.is_some_and(|server| server.state() == ServerState::Allocated && server.goal() == Goal::Run))
}

/// Gives up seats of a match; a ticket that has none left is over. One that is not of the match, or none any more, is passed
/// over, and so is a match that is over. Returns the match as it is then.
pub(crate) async fn release(
    tx: &mut Transaction,
    before: &MatchRecord,
    seats: &[SeatId],
    why: Why,
    now_ms: u64,
) -> Result<MatchRecord, StateError> {
    let gone: BTreeSet<_> = seats.iter().map(SeatId::uuid).collect();
    let mut after = before.clone();
    after.seats.retain(|seat| !gone.contains(&seat.typed_id().uuid()));
    if before.ended_at_ms > 0 || after.seats.len() == before.seats.len() {
        return Ok(before.clone());
    }
    if before.free_seats() == 0
        && let Some(opening) = &mut after.opening
    {
        opening.since_ms = now_ms;
    }
    // Nobody waits for its server any more, and without a queue nobody would come.
    if after.seats.is_empty() && after.state() == MatchState::Waiting {
        after.set_state(MatchState::Dissolved);
        after.ended_at_ms = now_ms;
        why.0.clone_into(&mut after.reason);
    }
    matches::save(tx, Some(before), &after);
    let left = after.tickets();
    for ticket in before.tickets().into_iter().filter(|ticket| !left.contains(ticket)) {
        if let Some(ticket) = tickets::load(tx, ticket).await?
            && ticket.r#match == before.id
        {
            end_ticket(tx, &ticket, why, now_ms);
        }
    }
    tell_server(tx, &after, false, now_ms).await?;
    Ok(after)
}

/// Gives up the seats of a ticket that has some.
pub(crate) async fn leave(
    tx: &mut Transaction,
    ticket: &TicketRecord,
    now_ms: u64,
) -> Result<(), StateError> {
    let Some(match_id) = ticket.match_id() else { return Ok(()) };
    let Some(record) = matches::load(tx, match_id).await? else { return Ok(()) };
    let seats: Vec<SeatId> =
        record.seats.iter().filter(|seat| seat.ticket == ticket.id).map(MatchSeat::typed_id).collect();
    release(tx, &record, &seats, LEFT, now_ms).await.map(drop)
}

/// Ends a ticket that has lost its seats.
fn end_ticket(tx: &mut Transaction, before: &TicketRecord, Why(reason, detail): Why, now_ms: u64) {
    if before.state().is_final() && before.state() != TicketState::Assigned {
        return;
    }
    tickets::save(tx, Some(before), &before.ended(TicketState::Cancelled, (reason, detail), now_ms));
}

/// Has the match's server, if it has one, told what the record says by now; `sold`: somebody is to come.
pub(crate) async fn tell_server(
    tx: &mut Transaction,
    record: &MatchRecord,
    sold: bool,
    now_ms: u64,
) -> Result<(), StateError> {
    let Some(server) = record.server_id() else { return Ok(()) };
    let Some(before) = servers::load(tx, server).await? else { return Ok(()) };
    let mut after = before.clone();
    // Nothing but the record follows from it, and one that is over has nobody to be told.
    if machine::apply(&mut after, &Event::SeatsChanged { sold }, now_ms).is_ok() {
        servers::save(tx, &before, &after);
    }
    Ok(())
}

/// The ticket with a seat in a match for each of its players.
pub(crate) fn seated(ticket: &TicketRecord, match_id: MatchId, team: &str, now_ms: u64) -> TicketRecord {
    let mut after = ticket.clone();
    after.set_state(TicketState::Matched);
    after.matched_at_ms = now_ms;
    after.r#match = Some(match_id.into());
    team.clone_into(&mut after.team);
    after.members = ticket.players();
    for member in &mut after.members {
        member.seat = Some(random::id::<SeatMark>().into());
    }
    after.seat = after.members.first().and_then(|member| member.seat);
    after
}

/// Gives a matched ticket its server.
pub(crate) fn assign_ticket(ticket: &mut TicketRecord, server: Option<Id>, now_ms: u64) {
    ticket.set_state(TicketState::Assigned);
    ticket.server = server;
    ticket.assigned_at_ms = now_ms;
}

/// The seats of a seated ticket's players.
pub(crate) fn of_ticket(ticket: &TicketRecord) -> impl Iterator<Item = MatchSeat> {
    ticket.members.iter().map(|member| MatchSeat {
        id: member.seat,
        player: member.player.clone(),
        ticket: ticket.id,
        team: ticket.team.clone(),
        ..MatchSeat::default()
    })
}
