//! Writing one match: tickets, match, seats and server in one serializable transaction.

use muster_protocol::id::{SeatMark, TicketId};
use muster_store::Database;

use crate::lifecycle::claim_warm;
use crate::random;
use crate::records::{
    MatchRecord, MatchSeat, MatchState, QueueRecord, ServerRecord, TicketRecord, TicketState,
};
use crate::state::{StateError, matches, tickets};

/// How long a match waits for a server before it is given up and its tickets fail.
pub const MATCH_WAIT_MS: u64 = 10 * 60 * 1_000;

/// What became of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It has a server.
    Assigned,
    /// It waits for one.
    Waiting,
    /// One of its tickets was no longer searching; nothing was written.
    Stale,
}

/// Makes `members` a match in `region`. A match of tickets that are still searching is written whole or
/// not at all; a server is claimed with it if one is warm.
pub(super) async fn commit_group(
    db: &Database,
    queue: &QueueRecord,
    region: &str,
    members: &[TicketId],
    now_ms: u64,
) -> Result<Committed, StateError> {
    db.run("commit_match", async |mut tx| {
        let mut befores = Vec::with_capacity(members.len());
        for ticket in members {
            match tickets::load(&mut tx, *ticket).await? {
                Some(record) if record.state() == TicketState::Searching => befores.push(record),
                _ => return Ok(Committed::Stale),
            }
        }
        let match_id = random::id();
        let mut record = MatchRecord {
            id: Some(match_id.into()),
            namespace: queue.namespace.clone(),
            queue: queue.name.clone(),
            fleet: queue.fleet.clone(),
            region: region.to_owned(),
            state: MatchState::Waiting.into(),
            seats: befores.iter().map(seat).collect(),
            created_at_ms: now_ms,
            deadline_ms: now_ms + MATCH_WAIT_MS,
            ..Default::default()
        };
        let server = claim_warm(&mut tx, &queue.namespace, &queue.fleet, region, match_id, now_ms).await?;
        if let Some(server) = &server {
            assign(&mut record, server, now_ms);
        }
        matches::save(&mut tx, None, &record);
        for (before, seat) in befores.iter().zip(&record.seats) {
            let mut after = before.clone();
            after.set_state(TicketState::Matched);
            after.matched_at_ms = now_ms;
            after.r#match = record.id;
            after.seat = seat.id;
            if let Some(server) = &server {
                assign_ticket(&mut after, server, now_ms);
            }
            tickets::save(&mut tx, Some(before), &after);
        }
        Ok(if server.is_some() { Committed::Assigned } else { Committed::Waiting })
    })
    .await
}

fn seat(ticket: &TicketRecord) -> MatchSeat {
    MatchSeat { id: Some(random::id::<SeatMark>().into()), player: ticket.player.clone(), ticket: ticket.id }
}

/// Gives a match its server.
pub(super) fn assign(record: &mut MatchRecord, server: &ServerRecord, now_ms: u64) {
    record.set_state(MatchState::Assigned);
    record.server = server.id;
    record.assigned_at_ms = now_ms;
}

/// Gives a matched ticket its server.
pub(super) fn assign_ticket(record: &mut TicketRecord, server: &ServerRecord, now_ms: u64) {
    record.set_state(TicketState::Assigned);
    record.server = server.id;
    record.assigned_at_ms = now_ms;
}
