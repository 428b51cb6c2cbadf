//! The steps that links, loops and the API take servers through: each one transaction, each idempotent.
//!
//! A step loads a record, lets `machine` decide, and writes the outcome with its effects. Where a message
//! speaks of many servers, each server, or a small batch, is a transaction of its own: after a crash in
//! between, the sender says it again.

mod edges;
mod nodes;

use muster_protocol::agent::{ServerPhase, ServerReport};
use muster_protocol::id::{EdgeId, NodeId, ServerId};
use muster_store::{Database, StoreError, Transaction};

use super::backoff;
use super::machine::{self, Effect, Event};
use crate::lobbies;
use crate::records::{EdgeRecord, MatchState, ServerRecord, ServerState};
use crate::seats;
use crate::state::{self, StateError, health, matches, ports, servers};

pub(crate) use edges::require_link as require_edge_link;
pub use edges::{edge_connected, edge_disconnected, routes_applied};
pub(crate) use nodes::{Lost, MAX_CONCURRENT, give_up_node};
pub use nodes::{node_connected, node_disconnected, node_unable, orchestrator_started};

/// Servers changed in one transaction where one message speaks of many.
const BATCH: usize = 32;

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The store or a record in it failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The node or edge is not on record: its certificate outlived the store it was made by.
    #[error("{0} is not known here; join it again with a new join token")]
    Unknown(String),
    /// The link that said it is over: the machine has a newer one, perhaps to another replica, or was written
    /// off. What it says now, it says there.
    #[error("the link of {0} is not the newest; the machine says it again on the newer one")]
    Superseded(String),
    /// The message names something that is no id.
    #[error("{0:?} is not a server id")]
    NotAServer(String),
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

/// Lets `event` happen to a server: the changed record, or `None` if there is no such server. A claim
/// that is refused changes nothing and gives the record as it is.
pub(crate) async fn happen(
    tx: &mut Transaction,
    server: ServerId,
    event: &Event<'_>,
    now_ms: u64,
) -> Result<Option<ServerRecord>, StateError> {
    let Some(before) = servers::load(tx, server).await? else { return Ok(None) };
    let mut after = before.clone();
    let Ok(effects) = machine::apply(&mut after, event, now_ms) else { return Ok(Some(before)) };
    servers::save(tx, &before, &after);
    if before.state != after.state {
        tracing::debug!(
            server = %server, fleet = after.fleet, from = before.state().as_str_name(),
            to = after.state().as_str_name(), reason = after.reason, "server changes state"
        );
    }
    if before.state() == ServerState::Allocated && after.state() == ServerState::Draining {
        close_lobby(tx, &after).await?;
    }
    for effect in effects {
        settle(tx, &after, effect, now_ms).await?;
    }
    Ok(Some(after))
}

/// Takes the lobby on `server`, which is to finish, out of what is found.
async fn close_lobby(tx: &mut Transaction, server: &ServerRecord) -> Result<(), StateError> {
    let Some(match_id) = server.match_id() else { return Ok(()) };
    let Some(before) = matches::load(tx, match_id).await? else { return Ok(()) };
    let mut after = before.clone();
    if let Some(lobby) = &mut after.lobby {
        lobby.ending = true;
        matches::save(tx, Some(&before), &after);
    }
    Ok(())
}

async fn settle(
    tx: &mut Transaction,
    server: &ServerRecord,
    effect: Effect,
    now_ms: u64,
) -> Result<(), StateError> {
    let (namespace, fleet, region) = (&*server.namespace, &*server.fleet, &*server.region);
    match effect {
        Effect::CountFailure { ready_for_ms } => {
            let before = health::load(tx, namespace, fleet, region).await?;
            let after = backoff::after_failure(before.as_ref(), server, ready_for_ms, now_ms);
            health::save(tx, namespace, fleet, region, &after);
        }
        Effect::Quarantine { protocol, edge_port } => {
            ports::quarantine(tx, region, protocol, edge_port, now_ms).await?;
        }
        Effect::EndMatch => {
            if let Some(match_id) = server.match_id()
                && let Some(before) = matches::load(tx, match_id).await?
                && before.ended_at_ms == 0
            {
                let mut after = before.clone();
                after.set_state(MatchState::Ended);
                after.ended_at_ms = now_ms;
                after.reason.clone_from(&server.reason);
                matches::save(tx, Some(&before), &after);
            }
        }
        Effect::Backfill => {
            if let Some(match_id) = server.match_id()
                && let Some(before) = matches::load(tx, match_id).await?
                && before.ended_at_ms == 0
            {
                let mut after = before.clone();
                after.open_as(server, now_ms);
                matches::save(tx, Some(&before), &after);
            }
        }
        Effect::LetForget => {
            if let Some(node) = server.node_id() {
                servers::let_forget(tx, node, server.typed_id()).await?;
            }
        }
    }
    Ok(())
}

/// Makes the server ready if nothing is missing but that somebody looks.
pub(crate) async fn check_ready(
    tx: &mut Transaction,
    record: &ServerRecord,
    now_ms: u64,
) -> Result<(), StateError> {
    if record.state() == ServerState::Starting && record.agent_ready_at_ms > 0 {
        let edges = state::edges::list_in_region(tx, &record.region).await?;
        let connected: Vec<EdgeId> =
            edges.iter().filter(|edge| edge.connected).map(EdgeRecord::typed_id).collect();
        happen(tx, record.typed_id(), &Event::CheckReady(&connected), now_ms).await?;
    }
    Ok(())
}

/// Takes over what an agent says of one server on its link of `session`. A server that is not on record, or
/// not on this node, is none of the agent's: it learns so from what it is asked to do, and may forget an end
/// it reports.
///
/// # Errors
/// [`StepError::NotAServer`], [`StepError::Superseded`], or the store's.
pub async fn server_reported(
    db: &Database,
    node: NodeId,
    session: u64,
    report: &ServerReport,
    now_ms: u64,
) -> Result<(), StepError> {
    let server: ServerId =
        report.server_id.parse().map_err(|_| StepError::NotAServer(report.server_id.clone()))?;
    db.run("server_reported", async |mut tx| {
        nodes::require_link(&mut tx, node, session).await?;
        let known = servers::load(&mut tx, server).await?;
        if known.is_none_or(|record| record.node_id() != Some(node)) {
            if matches!(report.phase(), ServerPhase::Exited | ServerPhase::Failed) {
                servers::let_forget(&mut tx, node, server).await?;
            }
            return Ok(());
        }
        if let Some(record) = happen(&mut tx, server, &Event::Reported(report), now_ms).await? {
            check_ready(&mut tx, &record, now_ms).await?;
            seats::follow(&mut tx, &record, &report.released_seats, now_ms).await?;
            if let Some(wish) = &report.lobby {
                lobbies::server_wishes(&mut tx, &record, wish, now_ms).await?;
            }
        }
        Ok(())
    })
    .await
}

/// Stops a server of `namespace`: one that a match has is drained, unless `force`; any other stops at
/// once. `reason` is a stable code. Returns the server as it is then, or `None` if there is none.
///
/// # Errors
/// The store's.
pub async fn stop_server(
    db: &Database,
    namespace: &str,
    server: ServerId,
    reason: &str,
    force: bool,
    now_ms: u64,
) -> Result<Option<ServerRecord>, StepError> {
    db.run("stop_server", async |mut tx| {
        let Some(record) = servers::load(&mut tx, server).await? else { return Ok(None) };
        if record.namespace != namespace {
            return Ok(None);
        }
        let gently = !force && matches!(record.state(), ServerState::Allocated | ServerState::Draining);
        let event = if gently { Event::Drain { reason } } else { Event::Stop { reason } };
        Ok(happen(&mut tx, server, &event, now_ms).await?)
    })
    .await
}

/// Stops a draining server whose time to finish is over.
pub(crate) async fn pass_drain_deadline(
    tx: &mut Transaction,
    server: ServerId,
    now_ms: u64,
) -> Result<(), StateError> {
    happen(tx, server, &Event::DrainDeadline, now_ms).await.map(drop)
}
