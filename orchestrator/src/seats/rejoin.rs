//! Players who come back: who asks for a match while a seat in one is theirs has that seat again.
//!
//! A party comes back whole: each of its players has a seat in the same match, or the ticket searches like any other. A name
//! alone leads nowhere: the seat must be among what whoever asks may dispose of ([`Owned`]).

use muster_protocol::id::{MatchId, SeatId};
use muster_store::Transaction;

use super::{LEFT, REPLACED, assign_ticket, end_ticket, release, runs, tell_server};
use crate::asker::Owned;
use crate::records::{Id, MatchRecord, MatchSeat, MatchState, TicketRecord, TicketState};
use crate::state::{StateError, fleets, matches, tickets};

/// Most matches of one player that are looked at, those of their newest seats.
const MAX_LOOKED_AT: usize = 4;

/// What came of asking for a seat that one may have.
#[derive(Debug)]
pub(crate) enum Comeback {
    /// They have their seats, by the new ticket.
    Back(Box<TicketRecord>),
    /// They have none there, not all of them have, or the match does not go on. Nothing is written.
    No,
    /// All have, but nothing shows that this player's is theirs. Nothing is written.
    Unproven(String),
}

/// Gives `ticket`, which is not on record yet, the seats that its players have in a match of its queue that has its server
/// or awaits it: the ticket as it is written then, or `None` if they have none, and nothing is written. Older tickets of
/// these seats give way.
pub(crate) async fn rejoin(
    tx: &mut Transaction,
    ticket: &TicketRecord,
    owned: &Owned,
    now_ms: u64,
) -> Result<Option<TicketRecord>, StateError> {
    for match_id in matches_of(tx, ticket, &ticket.player, owned).await? {
        let Some(record) = matches::load(tx, match_id).await? else { continue };
        if let Comeback::Back(back) = rejoin_match(tx, &record, ticket, owned, now_ms).await? {
            return Ok(Some(*back));
        }
    }
    Ok(None)
}

/// As [`rejoin`], to one match.
pub(crate) async fn rejoin_match(
    tx: &mut Transaction,
    record: &MatchRecord,
    ticket: &TicketRecord,
    owned: &Owned,
    now_ms: u64,
) -> Result<Comeback, StateError> {
    let Some(seats) = seats_of(record, ticket) else { return Ok(Comeback::No) };
    let goes_on = match record.state() {
        MatchState::Waiting => true,
        MatchState::Assigned => runs(tx, record).await?,
        _ => false,
    };
    if !goes_on {
        return Ok(Comeback::No);
    }
    if let Some(seat) = seats.iter().find(|seat| !owned.covers(seat)) {
        return Ok(Comeback::Unproven(seat.player.clone()));
    }
    Ok(Comeback::Back(Box::new(come_back(tx, record, &seats, ticket, now_ms).await?)))
}

/// Matches of the ticket's queue in which `player`, or those whose tickets are shown, may have seats.
async fn matches_of(
    tx: &mut Transaction,
    ticket: &TicketRecord,
    player: &str,
    owned: &Owned,
) -> Result<Vec<MatchId>, StateError> {
    let of_queue = owned.tickets.iter().filter(|older| older.queue == ticket.queue);
    let mut found: Vec<MatchId> = of_queue.filter_map(TicketRecord::match_id).collect();
    if owned.vouched {
        found.extend(matches::of_player(tx, &ticket.namespace, &ticket.queue, player, MAX_LOOKED_AT).await?);
    }
    found.sort_by_key(MatchId::uuid);
    found.dedup();
    // The newest first: ids begin with when they were made.
    found.reverse();
    Ok(found)
}

/// Whether the player who asks for a match has a seat in one of its queue, as the index has it. Does not conflict.
pub(crate) async fn is_seated(tx: &mut Transaction, ticket: &TicketRecord) -> Result<bool, StateError> {
    let found = matches::of_player(tx, &ticket.namespace, &ticket.queue, &ticket.player, 1).await?;
    Ok(!found.is_empty())
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

    let fleet = fleets::peek(tx, &before.namespace, &before.fleet).await?.unwrap_or_default();
    let taken = |id: Option<Id>| seats.iter().any(|seat| seat.id == id);
    let mut after = before.clone();
    for seat in after.seats.iter_mut().filter(|seat| taken(seat.id)) {
        seat.ticket = back.id;
        if seat.kept_until_ms > 0 {
            // They are on their way: they have the whole time again to get there.
            let was_there = seat.connected_at_ms > 0;
            let kept_ms = if was_there { Some(fleet.reconnect_ms()) } else { fleet.connect_ms() };
            seat.kept_until_ms = kept_ms.map_or(0, |kept_ms| now_ms + kept_ms);
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

/// Gives up the seats that the ticket's players have in matches of its queue, as far as they are among what is `owned`.
pub(crate) async fn give_up(
    tx: &mut Transaction,
    ticket: &TicketRecord,
    owned: &Owned,
    now_ms: u64,
) -> Result<(), StateError> {
    for member in ticket.players() {
        for match_id in matches_of(tx, ticket, &member.player, owned).await? {
            let Some(record) = matches::load(tx, match_id).await? else { continue };
            let is_own = |seat: &&MatchSeat| seat.player == member.player && owned.covers(seat);
            let seats: Vec<SeatId> = record.seats.iter().filter(is_own).map(MatchSeat::typed_id).collect();
            release(tx, &record, &seats, LEFT, now_ms).await?;
        }
    }
    Ok(())
}
