//! A running match as matchmaking takes it: who sits in it and how it is filled, read by the queue's definition as it is now.
//!
//! Who plays stays in the match whatever the definition says of them now: what of a ticket no longer fits is let go, its
//! filter too.

use muster_matchmaker::{Opening, OpeningKey, Queue, Ticket};
use muster_protocol::id::MatchId;
use muster_store::Transaction;
use uuid::Uuid;

use super::candidate::{candidate, players};
use crate::records::{MatchRecord, SearchingTicket, TicketMember, TicketRecord};
use crate::state::{StateError, matches, tickets};

/// The key in the pool that stands for a match.
pub(super) fn opening_key(match_id: MatchId) -> OpeningKey {
    match_id.uuid().as_u128()
}

/// The match that a key in the pool stands for.
pub(super) fn match_id(key: OpeningKey) -> MatchId {
    MatchId::from_uuid(Uuid::from_u128(key))
}

/// The opening that a match is, without conflicting; `None` if its queue does not fill it, or has no team any more that
/// somebody plays in.
pub(crate) async fn opening(
    tx: &mut Transaction,
    queue: &Queue,
    match_id: MatchId,
) -> Result<Option<Opening>, StateError> {
    let record = matches::peek(tx, match_id).await?.filter(MatchRecord::is_open);
    let Some((record, open)) = record.and_then(|record| Some((record.clone(), record.opening?))) else {
        return Ok(None);
    };
    let mut playing = Vec::new();
    for id in record.tickets() {
        let seats = || record.seats.iter().filter(|seat| seat.ticket == Some(id.into()));
        let Some(team) = seats().next().and_then(|seat| queue.team_named(&seat.team)) else {
            return Ok(None);
        };
        let known = tickets::peek(tx, id).await?.unwrap_or_default();
        let row = SearchingTicket { members: seated(&record, &known), ..known.searching() };
        let ticket = candidate(queue, id, &row).unwrap_or_else(|_| {
            let players = players(queue, id, &row);
            Ticket::new(id.uuid().as_u128(), players, row.created_at_ms)
        });
        playing.push((ticket, team));
    }
    Ok(Some(Opening {
        key: opening_key(match_id),
        region: record.region,
        playing,
        since_ms: open.since_ms,
        priority: open.priority().into(),
    }))
}

/// The players of a ticket who have a seat in the match, with what they said of themselves.
fn seated(record: &MatchRecord, ticket: &TicketRecord) -> Vec<TicketMember> {
    ticket.players().into_iter().filter(|member| record.holds(ticket.id, member.seat)).collect()
}
