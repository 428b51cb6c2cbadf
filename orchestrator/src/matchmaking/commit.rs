//! Writing one match, or those who join one: tickets, match, seats and server in one serializable transaction.

use std::collections::BTreeSet;

use muster_protocol::id::{MatchId, TicketId};
use muster_store::{Database, Transaction};

use crate::lifecycle::claim_warm;
use crate::random;
use crate::records::{
    MatchOpening, MatchRecord, MatchState, QueueRecord, ServerRecord, TicketRecord, TicketState,
};
use crate::seats::{self, Newcomer, SellError, assign_ticket, of_ticket, seated};
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
    /// Whether its matches are open to others while they run and have free seats.
    pub(super) backfill: bool,
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
    /// They have joined a match that runs; as above.
    Joined(Vec<u64>),
    /// One of its tickets was no longer searching; nothing was written.
    Stale,
    /// The match that they were to join is another than was thought, or takes nobody; nothing was written.
    Closed,
}

/// Makes `members`, each with the name of its team, a match in `region`. A match of tickets that are still searching
/// is written whole or not at all; a server is claimed with it if one is warm.
pub(super) async fn commit_group(
    db: &Database,
    Making { record: queue, accept_ms, max_players, backfill, is_shared }: &Making<'_>,
    region: &str,
    members: &[(TicketId, String)],
    now_ms: u64,
) -> Result<Committed, StateError> {
    db.run("commit_match", async |mut tx| {
        let Some(befores) = searching(&mut tx, members).await? else { return Ok(Committed::Stale) };
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
            opening: backfill.then(MatchOpening::default),
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
        let waits_ms = waits_ms(&befores, now_ms);
        Ok(if server.is_some() { Committed::Assigned(waits_ms) } else { Committed::Waiting(waits_ms) })
    })
    .await
}

/// Seats `members`, each in the team of the name given, in a match that runs, of which the tickets `beside` are to be.
/// Who sits there is what they were held against, so a match that has changed meanwhile takes none of them.
pub(super) async fn commit_join(
    db: &Database,
    Making { max_players, is_shared, .. }: &Making<'_>,
    (match_id, beside): (MatchId, &[TicketId]),
    members: &[(TicketId, String)],
    now_ms: u64,
) -> Result<Committed, StateError> {
    db.run("commit_join", async |mut tx| {
        let Some(befores) = searching(&mut tx, members).await? else { return Ok(Committed::Stale) };
        let record = matches::load(&mut tx, match_id).await?.filter(MatchRecord::is_open);
        let is_known = |record: &MatchRecord| {
            let there: BTreeSet<TicketId> = record.tickets().into_iter().collect();
            there == beside.iter().copied().collect()
        };
        let Some(record) = record.filter(is_known) else { return Ok(Committed::Closed) };
        // The definition as it is now says how many a match has.
        let record = MatchRecord { max_players: *max_players, ..record };
        let newcomers = befores.iter().zip(members).map(|(before, (_, team))| Newcomer {
            before: Some(before.clone()),
            ticket: before.clone(),
            team: team.clone(),
        });
        match seats::sell(&mut tx, &record, newcomers.collect(), now_ms).await {
            Ok(seated) => {
                if *is_shared {
                    for ticket in &seated {
                        tickets::tell_matched(&mut tx, ticket);
                    }
                }
                Ok(Committed::Joined(waits_ms(&befores, now_ms)))
            }
            Err(SellError::State(error)) => Err(error),
            Err(SellError::Full { .. } | SellError::Over | SellError::Seated(_)) => Ok(Committed::Closed),
        }
    })
    .await
}

/// The tickets of `members`; `None` if one of them searches no more.
async fn searching(
    tx: &mut Transaction,
    members: &[(TicketId, String)],
) -> Result<Option<Vec<TicketRecord>>, StateError> {
    let mut found = Vec::with_capacity(members.len());
    for (ticket, _) in members {
        match tickets::load(tx, *ticket).await? {
            Some(record) if record.state() == TicketState::Searching => found.push(record),
            _ => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// How long each ticket has searched, in milliseconds.
fn waits_ms(tickets: &[TicketRecord], now_ms: u64) -> Vec<u64> {
    tickets.iter().map(|ticket| now_ms.saturating_sub(ticket.created_at_ms)).collect()
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
    if let Some(opening) = &mut record.opening {
        opening.since_ms = now_ms;
    }
    record.open_as(server, now_ms);
}
