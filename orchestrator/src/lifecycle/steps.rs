//! The steps that links, loops and the API take servers through: each one transaction, each idempotent.
//!
//! A step loads a record, lets `machine` decide, and writes the outcome with its effects. Where a message
//! speaks of many servers, each server, or a small batch, is a transaction of its own: after a crash in
//! between, the sender says it again.

use std::collections::BTreeSet;

use muster_protocol::agent::{AgentHello, ServerReport};
use muster_protocol::edge::{EdgeHello, RouteFailure};
use muster_protocol::id::{EdgeId, NodeId, ServerId};
use muster_store::{Database, StoreError, Transaction};

use super::backoff;
use super::machine::{self, Effect, Event};
use crate::keyspace::{self, Timer};
use crate::records::{MatchState, PortProtocol, ServerRecord, ServerState};
use crate::state::desired::MAX_SERVERS_PER_NODE;
use crate::state::{StateError, edges, health, kv, matches, nodes, ports, servers, timers};

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
    for effect in effects {
        settle(tx, &after, effect, now_ms).await?;
    }
    Ok(Some(after))
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
            timers::set(tx, after.retry_at_ms, &Timer::FleetRetry(namespace.to_owned(), fleet.to_owned()));
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
        let edges = edges::list_in_region(tx, &record.region).await?;
        let connected: Vec<EdgeId> =
            edges.iter().filter(|edge| edge.connected).map(crate::records::EdgeRecord::typed_id).collect();
        happen(tx, record.typed_id(), &Event::CheckReady(&connected), now_ms).await?;
    }
    Ok(())
}

/// Takes over what an agent says of one server. A server that is not on record, or not on this node, is
/// none of the agent's: it learns so from what it is asked to do, and may forget an end it reports.
///
/// # Errors
/// [`StepError::NotAServer`], or the store's.
pub async fn server_reported(
    db: &Database,
    node: NodeId,
    report: &ServerReport,
    now_ms: u64,
) -> Result<(), StepError> {
    let server: ServerId =
        report.server_id.parse().map_err(|_| StepError::NotAServer(report.server_id.clone()))?;
    db.run("server_reported", async |mut tx| {
        let known = servers::load(&mut tx, server).await?;
        if known.is_none_or(|record| record.node_id() != Some(node)) {
            if matches!(
                report.phase(),
                muster_protocol::agent::ServerPhase::Exited | muster_protocol::agent::ServerPhase::Failed
            ) {
                servers::let_forget(&mut tx, node, server).await?;
            }
            return Ok(());
        }
        if let Some(record) = happen(&mut tx, server, &Event::Reported(report), now_ms).await? {
            check_ready(&mut tx, &record, now_ms).await?;
        }
        Ok(())
    })
    .await
}

/// Takes over that an edge serves the ports of the servers in `ok`, and what it could not serve. May be
/// told the whole table every time: what is known already costs a read.
///
/// # Errors
/// The store's.
pub async fn routes_applied(
    db: &Database,
    region: &str,
    edge: EdgeId,
    ok: &[ServerId],
    failures: &[RouteFailure],
    now_ms: u64,
) -> Result<(), StepError> {
    for failure in failures {
        route_failed(db, region, failure, now_ms).await?;
    }
    let news = db
        .read("routes_applied_news", async |mut tx| {
            let mut news = Vec::new();
            for server in ok {
                let record = servers::peek(&mut tx, *server).await?;
                if record.is_some_and(|record| {
                    record.holds_resources
                        && record.region == region
                        && !record.routed_edges.contains(&edge.into())
                }) {
                    news.push(*server);
                }
            }
            Ok::<_, StateError>(news)
        })
        .await?;
    for batch in news.chunks(BATCH) {
        db.run("routes_applied", async |mut tx| {
            for server in batch {
                if let Some(record) = happen(&mut tx, *server, &Event::RoutesApplied(edge), now_ms).await? {
                    check_ready(&mut tx, &record, now_ms).await?;
                }
            }
            Ok::<_, StateError>(())
        })
        .await?;
    }
    Ok(())
}

async fn route_failed(
    db: &Database,
    region: &str,
    failure: &RouteFailure,
    now_ms: u64,
) -> Result<(), StepError> {
    use muster_protocol::agent::PortProtocol as Wire;
    let server: ServerId =
        failure.server_id.parse().map_err(|_| StepError::NotAServer(failure.server_id.clone()))?;
    let protocol = match failure.protocol() {
        Wire::Tcp => PortProtocol::Tcp,
        Wire::Ws => PortProtocol::Ws,
        Wire::Udp | Wire::Unspecified => PortProtocol::Udp,
    };
    let Ok(edge_port) = u16::try_from(failure.edge_port) else { return Ok(()) };
    let event = Event::RouteFailed { protocol, edge_port, code: &failure.code, detail: &failure.detail };
    db.run("route_failed", async |mut tx| {
        let record = servers::load(&mut tx, server).await?;
        // An edge may speak of what is over already, or of a port the server no longer has.
        let concerned = record.is_some_and(|record| {
            record.region == region
                && record.holds_resources
                && record.ports.iter().any(|port| port.edge_port == u32::from(edge_port))
        });
        if concerned {
            happen(&mut tx, server, &event, now_ms).await?;
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

/// Takes over an agent's hello: the node, every server it reports, and which it no longer has. Returns
/// the link's session, to be given to [`node_disconnected`].
///
/// # Errors
/// [`StepError::Unknown`] if the node is not on record, or the store's. Reports that name no server are
/// passed over.
pub async fn node_connected(
    db: &Database,
    node: NodeId,
    hello: &AgentHello,
    now_ms: u64,
) -> Result<u64, StepError> {
    let session = db
        .run("node_connected", async |mut tx| {
            nodes::upsert_hello(&mut tx, node, hello, now_ms)
                .await?
                .ok_or_else(|| StepError::Unknown(node.to_string()))
        })
        .await?;
    let mut spoken_of = BTreeSet::new();
    for report in &hello.servers {
        if let Ok(server) = report.server_id.parse::<ServerId>() {
            spoken_of.insert(server.uuid());
            server_reported(db, node, report, now_ms).await?;
        }
    }
    forget_forgotten(db, node, &spoken_of).await?;
    // Without Docker an agent cannot tell what it has: then what it does not list is not lost.
    if hello.unable.is_empty() {
        for server in on_node(db, node).await? {
            if !spoken_of.contains(&server.uuid()) {
                db.run("container_lost", async |mut tx| {
                    happen(&mut tx, server, &Event::ContainerLost, now_ms).await
                })
                .await?;
            }
        }
    }
    Ok(session)
}

/// Drops the notes to forget servers that the agent no longer speaks of.
async fn forget_forgotten(
    db: &Database,
    node: NodeId,
    spoken_of: &BTreeSet<uuid::Uuid>,
) -> Result<(), StateError> {
    db.run("forget_forgotten", async |mut tx| {
        let range = keyspace::servers_forget(node);
        for key in kv::scan_keys(&mut tx, &range, MAX_SERVERS_PER_NODE).await? {
            let server = keyspace::last_id::<muster_protocol::id::ServerMark>(&key);
            if server.is_none_or(|server| !spoken_of.contains(&server.uuid())) {
                tx.clear(&key);
            }
        }
        Ok(())
    })
    .await
}

async fn on_node(db: &Database, node: NodeId) -> Result<Vec<ServerId>, StateError> {
    db.read("servers_on_node", async |mut tx| {
        let keys = kv::scan_keys(&mut tx, &keyspace::servers_on_node(node), MAX_SERVERS_PER_NODE).await?;
        Ok(keys.iter().filter_map(|key| keyspace::last_id(key)).collect())
    })
    .await
}

/// Takes over that a node's link of `session` is down; the node is given up `loss_timeout_ms` later
/// unless it is back by then.
///
/// # Errors
/// The store's.
pub async fn node_disconnected(
    db: &Database,
    node: NodeId,
    session: u64,
    now_ms: u64,
    loss_timeout_ms: u64,
) -> Result<(), StepError> {
    db.run("node_disconnected", async |mut tx| {
        Ok(nodes::disconnected(&mut tx, node, session, now_ms, now_ms + loss_timeout_ms).await?)
    })
    .await
}

/// Takes over whether a connected agent can start anything: `unable` is empty if it can, and is
/// otherwise why not. Cheap if it is no news.
///
/// # Errors
/// The store's.
pub async fn node_unable(db: &Database, node: NodeId, unable: &str) -> Result<(), StepError> {
    db.run("node_unable", async |mut tx| Ok(nodes::set_unable(&mut tx, node, unable).await?)).await
}

/// Gives up a node that is still disconnected at its time: its servers fail, to be replaced.
pub(crate) async fn fail_lost_node(db: &Database, node: NodeId, now_ms: u64) -> Result<(), StateError> {
    loop {
        let more = db
            .run("node_lost", async |mut tx| {
                let Some(record) = nodes::load(&mut tx, node).await? else { return Ok(false) };
                if record.connected || record.lost || record.loss_due_ms > now_ms {
                    return Ok(false);
                }
                let keys = kv::scan_keys(&mut tx, &keyspace::servers_on_node(node), BATCH).await?;
                if keys.is_empty() {
                    tracing::warn!(%node, region = record.region, "node lost");
                    nodes::mark_lost(&mut tx, record);
                    return Ok(false);
                }
                for server in keys.iter().filter_map(|key| keyspace::last_id(key)) {
                    happen(&mut tx, server, &Event::NodeLost, now_ms).await?;
                }
                Ok::<_, StateError>(true)
            })
            .await?;
        if !more {
            return Ok(());
        }
    }
}

/// Takes over an edge's hello. Returns the link's session, to be given to [`edge_disconnected`].
///
/// # Errors
/// [`StepError::Unknown`] if the edge is not on record, or the store's.
pub async fn edge_connected(
    db: &Database,
    edge: EdgeId,
    hello: &EdgeHello,
    now_ms: u64,
) -> Result<u64, StepError> {
    db.run("edge_connected", async |mut tx| {
        edges::upsert_hello(&mut tx, edge, hello, now_ms)
            .await?
            .ok_or_else(|| StepError::Unknown(edge.to_string()))
    })
    .await
}

/// Takes over that an edge's link of `session` is down. Servers that waited for this edge alone are
/// ready then.
///
/// # Errors
/// The store's.
pub async fn edge_disconnected(
    db: &Database,
    edge: EdgeId,
    session: u64,
    now_ms: u64,
) -> Result<(), StepError> {
    let region = db
        .run("edge_disconnected", async |mut tx| edges::disconnected(&mut tx, edge, session, now_ms).await)
        .await?;
    if let Some(region) = region {
        check_awaiting(db, &region, now_ms).await?;
    }
    Ok(())
}

/// Looks at every server of a region that waits for edges.
async fn check_awaiting(db: &Database, region: &str, now_ms: u64) -> Result<(), StateError> {
    let keys = db
        .read("awaiting_routes", async |mut tx| {
            let range = keyspace::servers_awaiting_routes(region);
            kv::scan_keys(&mut tx, &range, crate::state::routes::MAX_ROUTED_SERVERS).await
        })
        .await?;
    for server in keys.iter().filter_map(|key| keyspace::last_id(key)) {
        db.run("check_ready", async |mut tx| {
            if let Some(record) = servers::load(&mut tx, server).await? {
                check_ready(&mut tx, &record, now_ms).await?;
            }
            Ok::<_, StateError>(())
        })
        .await?;
    }
    Ok(())
}

/// Takes over that this orchestrator has just started: nobody is connected, and the time of nodes that
/// do not come back begins now. Called once, before links are accepted.
///
/// # Errors
/// The store's.
pub async fn orchestrator_started(db: &Database, now_ms: u64, loss_timeout_ms: u64) -> Result<(), StepError> {
    let (nodes, edges) = db
        .read("machines", async |mut tx| {
            Ok::<_, StateError>((nodes::list(&mut tx).await?, edges::list(&mut tx).await?))
        })
        .await?;
    for node in nodes.iter().filter(|node| node.connected) {
        node_disconnected(db, node.typed_id(), node.link_session, now_ms, loss_timeout_ms).await?;
    }
    // A node that was down already gets its whole time again: it could not have been heard meanwhile.
    for node in nodes.iter().filter(|node| !node.connected && !node.lost && node.loss_due_ms > 0) {
        db.run("node_grace", async |mut tx| {
            nodes::postpone_loss(&mut tx, node.typed_id(), now_ms + loss_timeout_ms).await
        })
        .await?;
    }
    for edge in edges.iter().filter(|edge| edge.connected) {
        db.run("edge_disconnected", async |mut tx| {
            edges::disconnected(&mut tx, edge.typed_id(), edge.link_session, now_ms).await
        })
        .await?;
    }
    Ok(())
}
