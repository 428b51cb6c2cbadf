//! A searching ticket as matchmaking takes it: its row, read by the queue's definition as it is now.
//!
//! A definition may have changed since the ticket came, so what it no longer knows of a ticket is let go, and what it
//! asks for beyond is its default. A ticket that cannot be read so waits all the same, and its explanation says why.

use std::collections::BTreeMap;

use muster_matchmaker::filter::Filter;
use muster_matchmaker::{Player, Queue, Ticket};
use muster_protocol::id::TicketId;

use crate::records::{SearchingTicket, TicketMember};

/// The ticket that `row` is of, or why it cannot be matched as the queue is now.
pub(crate) fn candidate(queue: &Queue, id: TicketId, row: &SearchingTicket) -> Result<Ticket, String> {
    let players = players(queue, id, row);
    let filter =
        match row.filter.as_str() {
            "" => None,
            text => Some(Filter::compile(text, queue.schema()).map_err(|error| {
                format!("its filter does not fit the queue as it is defined now: {error}")
            })?),
        };
    let ticket = Ticket {
        key: id.uuid().as_u128(),
        players,
        latencies_ms: row.latencies_ms.clone(),
        entered_ms: row.created_at_ms,
        priority: row.priority().into(),
        filter,
        blocks: row.blocks.iter().cloned().collect(),
    };
    queue.admits(&ticket).map_err(|error| error.to_string())?;
    Ok(ticket)
}

/// The players of a ticket, with what the queue as it is now knows of what they said.
pub(super) fn players(queue: &Queue, id: TicketId, row: &SearchingTicket) -> Vec<Player> {
    if row.members.is_empty() {
        // An older version wrote it: one player, whom its row does not name.
        return vec![Player { name: id.to_string(), attributes: queue.known_attributes(&BTreeMap::new()) }];
    }
    let known = |member: &TicketMember| Player {
        name: member.player.clone(),
        attributes: queue.known_attributes(&member.values()),
    };
    row.members.iter().map(known).collect()
}
