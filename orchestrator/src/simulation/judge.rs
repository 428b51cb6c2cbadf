//! The promises, held against what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_protocol::id::{MatchId, ServerId};

use super::Stage;
use super::edge::Edge;
use crate::check;
use crate::records::{Goal, Id, MatchRecord, MatchState, ServerRecord, TicketRecord, TicketState};
use crate::state::{StateError, edge_limits, matches, servers, tickets};
use crate::world::{NAMESPACE, REGION};

/// How far clocks may be apart, and a message be under way, in milliseconds.
const TOLERANCE_MS: u64 = 12_000;

/// A server on which people play is stopped: only a deadline that has passed, an operator who would not wait, or
/// the loss of its node allow that.
pub(super) async fn a_stop(stage: &Stage, server: ServerId, by: &str) {
    let read = stage.db.read("judge", async |mut tx| servers::peek(&mut tx, server).await).await;
    let Ok(Some(record)) = read else {
        stage.broken(format!("{server} is stopped while people play ({by}), and is not on record"));
        return;
    };
    let overdue = record.drain_deadline_ms > 0
        && record.drain_deadline_ms <= stage.now_ms() + TOLERANCE_MS
        && (record.goal() != Goal::Run || record.state().is_final());
    let forced = stage.forced.lock().expect("whole").contains(&server);
    if !overdue && !forced && record.reason != "node_lost" {
        stage.broken(format!(
            "{server} is stopped while people play ({by}): {:?}, goal {:?}, reason {:?}, deadline {} at {}",
            record.state(),
            record.goal(),
            record.reason,
            record.drain_deadline_ms,
            stage.now_ms()
        ));
    }
}

struct Records {
    tickets: Vec<TicketRecord>,
    matches: BTreeMap<MatchId, MatchRecord>,
    servers: BTreeMap<ServerId, ServerRecord>,
}

/// Tickets that were acknowledged, their matches, and every server, at one moment.
async fn read(stage: &Stage) -> Result<Records, StateError> {
    let known: Vec<_> = stage.tickets.lock().expect("whole").keys().copied().collect();
    stage
        .db
        .read("judge", async |mut tx| {
            let mut records =
                Records { tickets: Vec::new(), matches: BTreeMap::new(), servers: BTreeMap::new() };
            for ticket in &known {
                let Some(record) = tickets::peek(&mut tx, *ticket).await? else { continue };
                if let Some(id) = record.match_id()
                    && !records.matches.contains_key(&id)
                    && let Some(found) = matches::peek(&mut tx, id).await?
                {
                    records.matches.insert(id, found);
                }
                records.tickets.push(record);
            }
            for record in servers::list(&mut tx, NAMESPACE, None, 10_000).await? {
                records.servers.insert(record.typed_id(), record);
            }
            Ok(records)
        })
        .await
}

/// What must be true at every moment.
pub(super) async fn now(stage: &Stage) {
    // Before the records are read: what players learn meanwhile may be newer than what is read.
    let known = stage.tickets.lock().expect("whole").clone();
    let Ok(records) = read(stage).await else { return };
    let found: BTreeSet<_> = records.tickets.iter().map(TicketRecord::typed_id).collect();
    for ticket in known.keys().filter(|ticket| !found.contains(*ticket)) {
        stage.broken(format!("{ticket} was acknowledged and is gone"));
    }
    for ticket in &records.tickets {
        let id = ticket.typed_id();
        let Some(known) = known.get(&id).copied() else { continue };
        if known.cancelled && ticket.state() != TicketState::Cancelled {
            stage.broken(format!("{id} was cancelled and is {:?}", ticket.state()));
        }
        let server = ticket.server.map(Id::typed);
        if known.server.is_some() && known.server != server {
            stage.broken(format!("{id} was told {:?} and has {server:?}", known.server));
        }
        if matches!(ticket.state(), TicketState::Matched | TicketState::Assigned) {
            let seated = ticket.match_id().and_then(|id| records.matches.get(&id)).is_some_and(|found| {
                found.state() != MatchState::Dissolved
                    && found.seats.iter().filter(|seat| seat.ticket == ticket.id).count() == 1
            });
            if !seated {
                stage.broken(format!("{id} is {:?} and sits nowhere", ticket.state()));
            }
        }
    }
    for (id, found) in &records.matches {
        seats(stage, *id, found, &records);
    }
    claims(stage, &records);
    match check::check(&stage.db).await {
        Ok(report) => {
            for finding in report.findings {
                stage.broken(format!("records do not agree: {}", finding.what));
            }
        }
        Err(error) => stage.broken(format!("not checked: {error}")),
    }
}

/// Everybody who sits in a match is in that match and in no other.
fn seats(stage: &Stage, id: MatchId, found: &MatchRecord, records: &Records) {
    if found.state() == MatchState::Dissolved {
        return;
    }
    if found.max_players > 0 && found.seats.len() > found.max_players as usize {
        stage.broken(format!("{id} has {} seats of {}", found.seats.len(), found.max_players));
    }
    for seat in found.seats.iter().filter_map(|seat| seat.ticket) {
        let here = records.tickets.iter().find(|ticket| ticket.id == Some(seat));
        if here.is_some_and(|ticket| ticket.match_id() != Some(id)) {
            stage.broken(format!(
                "{} sits in {id} and is in another match",
                seat.typed::<muster_protocol::id::TicketMark>()
            ));
        }
    }
}

/// A server is one match's, and the match says the same.
fn claims(stage: &Stage, records: &Records) {
    let mut claimed: BTreeMap<ServerId, MatchId> = BTreeMap::new();
    for (id, found) in &records.matches {
        let Some(server) = found.server.map(Id::typed) else { continue };
        if let Some(other) = claimed.insert(server, *id) {
            stage.broken(format!("{server} is claimed twice: by {id} and {other}"));
        }
        let theirs = records.servers.get(&server).and_then(ServerRecord::match_id);
        if theirs != Some(*id) {
            stage.broken(format!("{id} has {server}, which has {theirs:?}"));
        }
    }
}

/// What is still under way; `None` once everything has come to rest.
pub(super) async fn unrest(stage: &Stage, warm: usize) -> Option<String> {
    let Ok(records) = read(stage).await else { return Some("the store".to_owned()) };
    let searching = records.tickets.iter().filter(|ticket| !ticket.state().is_final());
    // Those assigned are final only in that nothing more happens to them.
    let searching = searching.filter(|ticket| ticket.state() != TicketState::Assigned).count();
    if searching > 0 {
        return Some(format!("{searching} tickets"));
    }
    let live: BTreeSet<ServerId> =
        records.servers.iter().filter(|(_, server)| !server.state().is_final()).map(|(id, _)| *id).collect();
    let ready = live.iter().filter(|id| records.servers[id].state().as_str_name() == "SERVER_STATE_READY");
    let (ready, all) = (ready.count(), live.len());
    if ready != warm || all != warm {
        let states: Vec<_> = live.iter().map(|id| records.servers[id].state()).collect();
        return Some(format!("{ready} of {warm} warm servers, {all} in all: {states:?}"));
    }
    let nodes = stage.nodes.lock().expect("whole").clone();
    let running: BTreeSet<ServerId> = nodes.iter().flat_map(|node| node.running()).collect();
    if running != live {
        let (leaked, missing) = (running.difference(&live).count(), live.difference(&running).count());
        return Some(format!("{leaked} containers that nobody wants, {missing} that are missing"));
    }
    None
}

/// An edge that does not hold to the limits that were set last.
pub(super) async fn lax(stage: &Stage, edges: &[Arc<Edge>]) -> Option<String> {
    let set = stage.db.read("limits", async |mut tx| edge_limits::peek(&mut tx, REGION).await).await;
    let Ok(set) = set else { return Some("the store".to_owned()) };
    let lax = edges.iter().find(|edge| edge.limits() != set.to_wire())?;
    Some(format!("{} holds to {:?} instead of {set:?}", lax.id, lax.limits()))
}
