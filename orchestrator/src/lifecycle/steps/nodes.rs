//! Nodes come, go and are given up.

use std::collections::BTreeSet;

use muster_protocol::agent::AgentHello;
use muster_protocol::id::{NodeId, ServerId, ServerMark};
use muster_store::Database;

use super::{BATCH, Event, StepError, happen, server_reported};
use crate::keyspace;
use crate::state::desired::MAX_SERVERS_PER_NODE;
use crate::state::{StateError, edges, kv, nodes};

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
            let server = keyspace::last_id::<ServerMark>(&key);
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
