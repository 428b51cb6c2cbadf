//! Writing one match: tickets, match, seats and server in one serializable transaction.

use muster_protocol::id::TicketId;
use muster_store::Database;

use crate::lifecycle::claim_warm;
use crate::random;
use crate::records::{MatchRecord, MatchState, QueueRecord, ServerRecord, TicketRecord, TicketState};
use crate::seats::{assign_ticket, of_ticket, seated};
use crate::state::{StateError, matches, tickets};

/// How long a match waits for a server before it is given up and its tickets fail.
pub const MATCH_WAIT_MS: u64 = 10 * 60 * 1_000;

/// What a matchmaker makes matches by.
pub(super) struct Making<'a> {
    /// The queue's record.
    pub(super) record: &'a QueueRecord,
    /// How long players have to accept, in milliseconds; 0: they are not asked.
    pub(super) accept_ms: u64,
    /// Most players of a match.
    pub(super) max_players: u32,
    /// Other matchmakers have these tickets in memory, too.
    pub(super) is_shared: bool,
}

/// What became of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Committed {
    /// It has a server. How long each ticket had searched, in milliseconds.
    Assigned(Vec<u64>),
    /// It waits for one, or for its players to accept; as above.
    Waiting(Vec<u64>),
    /// One of its tickets was no longer searching; nothing was written.
    Stale,
}

/// Makes `members`, each with the name of its team, a match in `region`. A match of tickets that are still searching
/// is written whole or not at all; a server is claimed with it if one is warm.
pub(super) async fn commit_group(
    db: &Database,
    Making { record: queue, accept_ms, max_players, is_shared }: &Making<'_>,
    region: &str,
    members: &[(TicketId, String)],
    now_ms: u64,
) -> Result<Committed, StateError> {
    db.run("commit_match", async |mut tx| {
        let mut befores = Vec::with_capacity(members.len());
        for (ticket, _) in members {
            match tickets::load(&mut tx, *ticket).await? {
                Some(record) if record.state() == TicketState::Searching => befores.push(record),
                _ => return Ok(Committed::Stale),
            }
        }
        let match_id = random::id();
        let mut afters: Vec<TicketRecord> = befores
            .iter()
            .zip(members)
            .map(|(before, (_, team))| seated(before, match_id, team, now_ms))
            .collect();
        let mut record = MatchRecord {
            id: Some(match_id.into()),
            namespace: queue.namespace.clone(),
            queue: queue.name.clone(),
            fleet: queue.fleet.clone(),
            region: region.to_owned(),
            seats: afters.iter().flat_map(of_ticket).collect(),
            created_at_ms: now_ms,
            max_players: *max_players,
            ..Default::default()
        };
        await_server(&mut record, now_ms);
        let mut server = None;
        if *accept_ms > 0 {
            record.set_state(MatchState::Proposed);
            record.deadline_ms = now_ms + accept_ms;
        } else {
            server = claim_warm(&mut tx, &queue.namespace, &queue.fleet, region, match_id, now_ms).await?;
        }
        if let Some(server) = &server {
            assign(&mut record, server, now_ms);
        }
        matches::save(&mut tx, None, &record);
        for (before, after) in befores.iter().zip(&mut afters) {
            if let Some(server) = &server {
                assign_ticket(after, server.id, now_ms);
            }
            tickets::save(&mut tx, Some(before), after);
            if *is_shared {
                tickets::tell_matched(&mut tx, after);
            }
        }
        let waits_ms = befores.iter().map(|before| now_ms.saturating_sub(before.created_at_ms)).collect();
        Ok(if server.is_some() { Committed::Assigned(waits_ms) } else { Committed::Waiting(waits_ms) })
    })
    .await
}

/// Has a match wait for a server.
pub(super) fn await_server(record: &mut MatchRecord, now_ms: u64) {
    record.set_state(MatchState::Waiting);
    record.deadline_ms = now_ms + MATCH_WAIT_MS;
}

/// Gives a match its server.
pub(super) fn assign(record: &mut MatchRecord, server: &ServerRecord, now_ms: u64) {
    record.set_state(MatchState::Assigned);
    record.server = server.id;
    record.assigned_at_ms = now_ms;
}
