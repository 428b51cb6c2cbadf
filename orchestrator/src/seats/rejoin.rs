//! Players who come back: who asks for a match while a seat in one is kept for them has that seat again.
//!
//! A party comes back whole: each of its players has a seat in the same match, or the ticket searches like any other.

use muster_protocol::id::SeatId;
use muster_store::Transaction;

use super::{LEFT, Why, assign_ticket, end_ticket, release, runs, tell_server};
use crate::records::{Id, MatchRecord, MatchSeat, MatchState, TicketRecord, TicketState};
use crate::state::{StateError, fleets, matches, tickets};

/// Most matches of one player that are looked at, those of their newest seats.
const MAX_LOOKED_AT: usize = 4;
/// What a ticket is over for whose seats another ticket of the same players has now.
const REPLACED: Why = Why("replaced", "its players asked again, and came back with another ticket");

/// Gives `ticket`, which is not on record yet, the seats that its players have in a match of its queue whose server runs:
/// the ticket as it is written then, or `None` if they have none, and nothing is written. Older tickets of these seats give
/// way.
pub(crate) async fn rejoin(
    tx: &mut Transaction,
    ticket: &TicketRecord,
    now_ms: u64,
) -> Result<Option<TicketRecord>, StateError> {
    let (namespace, queue) = (&ticket.namespace, &ticket.queue);
    for match_id in matches::of_player(tx, namespace, queue, &ticket.player, MAX_LOOKED_AT).await? {
        let Some(record) = matches::load(tx, match_id).await? else { continue };
        let Some(seats) = seats_of(&record, ticket) else { continue };
        if record.state() == MatchState::Assigned && runs(tx, &record).await? {
            return come_back(tx, &record, &seats, ticket, now_ms).await.map(Some);
        }
    }
    Ok(None)
}

/// As [`rejoin`], to one match, which has its server or awaits it.
pub(crate) async fn rejoin_match(
    tx: &mut Transaction,
    record: &MatchRecord,
    ticket: &TicketRecord,
    now_ms: u64,
) -> Result<Option<TicketRecord>, StateError> {
    let Some(seats) = seats_of(record, ticket) else { return Ok(None) };
    let goes_on = match record.state() {
        MatchState::Waiting => true,
        MatchState::Assigned => runs(tx, record).await?,
        _ => false,
    };
    if goes_on { come_back(tx, record, &seats, ticket, now_ms).await.map(Some) } else { Ok(None) }
}

/// The seat of each of the ticket's players; `None` if one has none.
fn seats_of(record: &MatchRecord, ticket: &TicketRecord) -> Option<Vec<MatchSeat>> {
    let seat = |player: &str| record.seats.iter().find(|seat| seat.player == player).cloned();
    ticket.players().iter().map(|member| seat(&member.player)).collect()
}

async fn come_back(
    tx: &mut Transaction,
    before: &MatchRecord,
    seats: &[MatchSeat],
    ticket: &TicketRecord,
    now_ms: u64,
) -> Result<TicketRecord, StateError> {
    let mut back = ticket.clone();
    back.set_state(TicketState::Matched);
    back.matched_at_ms = now_ms;
    if before.server.is_some() {
        assign_ticket(&mut back, before.server, now_ms);
    }
    back.r#match = before.id;
    back.members = ticket.players();
    for (member, seat) in back.members.iter_mut().zip(seats) {
        member.seat = seat.id;
    }
    if let Some(first) = seats.first() {
        back.seat = first.id;
        back.team.clone_from(&first.team);
    }
    tickets::save(tx, None, &back);

    let kept_ms =
        fleets::peek(tx, &before.namespace, &before.fleet).await?.unwrap_or_default().reconnect_ms();
    let taken = |id: Option<Id>| seats.iter().any(|seat| seat.id == id);
    let mut after = before.clone();
    for seat in after.seats.iter_mut().filter(|seat| taken(seat.id)) {
        seat.ticket = back.id;
        if seat.dropped_at_ms > 0 {
            // They are on their way: they have the whole time again to get there.
            seat.kept_until_ms = now_ms + kept_ms;
        }
    }
    matches::save(tx, Some(before), &after);
    let left = after.tickets();
    for older in before.tickets().into_iter().filter(|older| !left.contains(older)) {
        if let Some(older) = tickets::load(tx, older).await? {
            end_ticket(tx, &older, REPLACED, now_ms);
        }
    }
    tell_server(tx, &after, true, now_ms).await?;
    Ok(back)
}

/// Gives up the seats that the ticket's players have in matches of its queue.
pub(crate) async fn give_up(
    tx: &mut Transaction,
    ticket: &TicketRecord,
    now_ms: u64,
) -> Result<(), StateError> {
    for member in ticket.players() {
        let (namespace, queue) = (&ticket.namespace, &ticket.queue);
        for match_id in matches::of_player(tx, namespace, queue, &member.player, MAX_LOOKED_AT).await? {
            let Some(record) = matches::load(tx, match_id).await? else { continue };
            let own = record.seats.iter().filter(|seat| seat.player == member.player);
            let seats: Vec<SeatId> = own.map(MatchSeat::typed_id).collect();
            release(tx, &record, &seats, LEFT, now_ms).await?;
        }
    }
    Ok(())
}
