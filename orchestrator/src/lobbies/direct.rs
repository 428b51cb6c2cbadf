//! Joining a server by its id, where its fleet says `direct_connect`: a ready one is claimed, of a running one a free seat is
//! taken.

use muster_protocol::api::JoinRequest;
use muster_protocol::id::{MatchId, ServerId};
use muster_store::{Database, Transaction};

use super::LobbyError;
use super::guests::Guests;
use super::join::{Entry, enter};
use crate::asker::Asker;
use crate::lifecycle::machine::Event;
use crate::lifecycle::{explain, happen};
use crate::random;
use crate::records::{FleetRecord, MatchRecord, MatchState, ServerRecord, ServerState, TicketRecord};
use crate::seats;
use crate::state::{StateError, fleets, matches, nodes, servers, tickets};

/// Seats who asks on a server. Otherwise as [`super::create`].
///
/// # Errors
/// [`LobbyError`]; nothing is written then.
pub async fn join_server(
    db: &Database,
    namespace: &str,
    server: ServerId,
    request: &JoinRequest,
    asker: &Asker,
    now_ms: u64,
) -> Result<TicketRecord, LobbyError> {
    let who = (request.player.as_str(), request.party.as_slice());
    let guests = Guests::new(namespace, who, request.idempotency_key.as_ref(), asker);
    let match_id = random::id();
    db.run("join_server", async |mut tx| {
        if let Some(made) = guests.made_before(&mut tx).await? {
            return Ok(made);
        }
        let record = servers::load(&mut tx, server).await?.filter(|record| record.namespace == namespace);
        let record = record.ok_or(LobbyError::UnknownServer(server))?;
        let fleet = fleets::peek(&mut tx, namespace, &record.fleet).await?;
        let fleet = fleet.filter(|fleet| !fleet.deleting);
        let fleet = fleet.ok_or_else(|| LobbyError::UnknownFleet(record.fleet.clone()))?;
        if !fleet.direct_connect {
            return Err(LobbyError::NoDirectConnect(fleet.name));
        }
        match record.state() {
            ServerState::Ready => claim(&mut tx, &fleet, &record, match_id, &guests, now_ms).await,
            ServerState::Allocated => enter_running(&mut tx, &record, &guests, now_ms).await,
            _ => Err(not_now(&record, explain(&record, None))),
        }
    })
    .await
}

fn not_now(record: &ServerRecord, why: impl Into<String>) -> LobbyError {
    LobbyError::ServerState { server: record.typed_id(), why: why.into() }
}

async fn enter_running(
    tx: &mut Transaction,
    record: &ServerRecord,
    guests: &Guests<'_>,
    now_ms: u64,
) -> Result<TicketRecord, LobbyError> {
    let found = match record.match_id() {
        Some(match_id) => matches::load(tx, match_id).await?,
        None => None,
    };
    let Some(found) = found else { return Err(not_now(record, "its match is not on record")) };
    if !found.queue.is_empty() {
        // Its rules hold for all who play, and only the matchmaker knows them.
        let why = format!("its match was made by queue {}; ask for a match there", found.queue);
        return Err(not_now(record, why));
    }
    match enter(tx, &found, guests, now_ms).await? {
        Entry::Seated(ticket) => Ok(*ticket),
        Entry::Refused(error) => Err(error),
    }
}

/// Makes a match of those who ask on a server that is warm.
async fn claim(
    tx: &mut Transaction,
    fleet: &FleetRecord,
    server: &ServerRecord,
    match_id: MatchId,
    guests: &Guests<'_>,
    now_ms: u64,
) -> Result<TicketRecord, LobbyError> {
    let (wanted, most) = (guests.count(), fleet.max_players);
    if wanted > most as usize {
        return Err(LobbyError::TooMany { wanted, most, of: format!("fleet {}", fleet.name) });
    }
    if !is_in_reach(tx, server).await? {
        return Err(not_now(server, "its node is out of reach"));
    }
    happen(tx, server.typed_id(), &Event::Claimed(match_id), now_ms).await?;
    let mut ticket = seats::seated(&guests.ticket(&fleet.name, now_ms), match_id, "", now_ms);
    seats::assign_ticket(&mut ticket, server.id, now_ms);
    let record = MatchRecord {
        id: Some(match_id.into()),
        namespace: server.namespace.clone(),
        fleet: fleet.name.clone(),
        region: server.region.clone(),
        state: MatchState::Assigned.into(),
        seats: seats::of_ticket(&ticket).collect(),
        server: server.id,
        created_at_ms: now_ms,
        assigned_at_ms: now_ms,
        max_players: most,
        ..MatchRecord::default()
    };
    matches::save(tx, None, &record);
    tickets::save(tx, None, &ticket);
    Ok(ticket)
}

async fn is_in_reach(tx: &mut Transaction, server: &ServerRecord) -> Result<bool, StateError> {
    let Some(node) = server.node_id() else { return Ok(false) };
    Ok(nodes::peek(tx, node).await?.is_some_and(|node| node.connected))
}
