//! Nodes come, go and are given up.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use muster_engine::WorkerId;
use muster_protocol::agent::{AgentHello, ServerReport};
use muster_protocol::id::{NodeId, ServerId, ServerMark};
use muster_store::{Database, Transaction};

use super::{BATCH, Event, StepError, happen, server_reported};
use crate::keyspace;
use crate::records::NodeRecord;
use crate::state::desired::MAX_SERVERS_PER_NODE;
use crate::state::{StateError, edges, kv, nodes};

/// Servers of one node in transactions at once: they share the store's group commit, and one after the other a node of
/// thousands would be back only after as many commits. More would not be faster.
pub(crate) const MAX_CONCURRENT: usize = 32;

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
    replica: WorkerId,
    now_ms: u64,
) -> Result<u64, StepError> {
    let session = db
        .run("node_connected", async |mut tx| {
            nodes::upsert_hello(&mut tx, node, hello, replica, now_ms)
                .await?
                .ok_or_else(|| StepError::Unknown(node.to_string()))
        })
        .await?;
    // Each server once, since they are taken over side by side.
    let mut reports = BTreeMap::new();
    for report in &hello.servers {
        if let Ok(server) = report.server_id.parse::<ServerId>() {
            reports.insert(server.uuid(), report.clone());
        }
    }
    let spoken_of: BTreeSet<uuid::Uuid> = reports.keys().copied().collect();
    let take =
        |report: ServerReport| async move { server_reported(db, node, session, &report, now_ms).await };
    stream::iter(reports.into_values().map(take))
        .buffer_unordered(MAX_CONCURRENT)
        .try_collect::<()>()
        .await?;
    forget_forgotten(db, (node, session), &spoken_of).await?;
    // Without Docker an agent cannot tell what it has: then what it does not list is not lost.
    if hello.unable.is_empty() {
        lose_unspoken(db, (node, session), &spoken_of, now_ms).await?;
    }
    Ok(session)
}

/// Takes servers of the node that its hello on the link of `session` does not speak of as lost. On a newer link it
/// may speak of more.
async fn lose_unspoken(
    db: &Database,
    (node, session): (NodeId, u64),
    spoken_of: &BTreeSet<uuid::Uuid>,
    now_ms: u64,
) -> Result<(), StepError> {
    let mut unspoken = on_node(db, node).await?;
    unspoken.retain(|server| !spoken_of.contains(&server.uuid()));
    let lose = |server: ServerId| async move {
        db.run("container_lost", async |mut tx| {
            require_link(&mut tx, node, session).await?;
            happen(&mut tx, server, &Event::ContainerLost, now_ms).await?;
            Ok::<_, StepError>(())
        })
        .await
    };
    stream::iter(unspoken.into_iter().map(lose)).buffer_unordered(MAX_CONCURRENT).try_collect().await
}

/// What is written because of what a link said is written only while it is the node's newest.
pub(super) async fn require_link(tx: &mut Transaction, node: NodeId, session: u64) -> Result<(), StepError> {
    if nodes::has_link(tx, node, session).await? {
        Ok(())
    } else {
        Err(StepError::Superseded(node.to_string()))
    }
}

/// Drops the notes to forget servers that the agent no longer speaks of.
async fn forget_forgotten(
    db: &Database,
    (node, session): (NodeId, u64),
    spoken_of: &BTreeSet<uuid::Uuid>,
) -> Result<(), StepError> {
    db.run("forget_forgotten", async |mut tx| {
        require_link(&mut tx, node, session).await?;
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

/// How far a node is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// More of its servers are there.
    More,
    /// It is.
    Whole,
}

/// Gives up a node, whose time is over: some of its servers fail, to be replaced, and once none is left, it is
/// marked.
pub(crate) async fn give_up_node(
    tx: &mut Transaction,
    record: NodeRecord,
    now_ms: u64,
) -> Result<Lost, StateError> {
    let node = record.typed_id();
    let keys = kv::scan_keys(tx, &keyspace::servers_on_node(node), BATCH).await?;
    if keys.is_empty() {
        tracing::warn!(%node, region = record.region, "node lost");
        nodes::mark_lost(tx, record);
        return Ok(Lost::Whole);
    }
    for server in keys.iter().filter_map(|key| keyspace::last_id(key)) {
        happen(tx, server, &Event::NodeLost, now_ms).await?;
    }
    Ok(Lost::More)
}

/// Takes over that this orchestrator has just started: the time of nodes that do not come back begins now,
/// for perhaps nobody was there to hear them. If it `is_alone` on its store, nobody is connected; if not, the
/// links of replicas that are dead are found by `links::sweep`. Called once, before links are accepted.
///
/// # Errors
/// The store's.
pub async fn orchestrator_started(
    db: &Database,
    is_alone: bool,
    now_ms: u64,
    loss_timeout_ms: u64,
) -> Result<(), StepError> {
    let (nodes, edges) = db
        .read("machines", async |mut tx| {
            Ok::<_, StateError>((nodes::list(&mut tx).await?, edges::list(&mut tx).await?))
        })
        .await?;
    for node in nodes.iter().filter(|node| is_alone && node.connected) {
        node_disconnected(db, node.typed_id(), node.link_session, now_ms, loss_timeout_ms).await?;
    }
    // A node that was down already gets its whole time again: it could not have been heard meanwhile.
    for node in nodes.iter().filter(|node| !node.connected && !node.lost && node.loss_due_ms > 0) {
        db.run("node_grace", async |mut tx| {
            nodes::postpone_loss(&mut tx, node.typed_id(), now_ms + loss_timeout_ms).await
        })
        .await?;
    }
    for edge in edges.iter().filter(|edge| is_alone && edge.connected) {
        db.run("edge_disconnected", async |mut tx| {
            edges::disconnected(&mut tx, edge.typed_id(), edge.link_session, now_ms).await
        })
        .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ServerState;
    use crate::world::{REGION, World};

    #[tokio::test]
    async fn a_hello_that_is_taken_over_late_loses_nothing_that_a_newer_link_speaks_of() {
        let mut world = World::new();
        let node = world.add_node(REGION).await;
        world.add_edge(REGION, (7_000, 7_999)).await;
        // Two links; the hello of the first, which spoke of no server, is still being taken over.
        let older = world.node_says_hello(node).await;
        let newer = world.node_says_hello(node).await;
        world.apply_fleet("sha256:one", &[(REGION, 1, 9)]).await;
        world.settle().await;
        let ready = async || world.servers_in(ServerState::Ready).await.len();
        assert_eq!(ready().await, 1);
        let nothing = BTreeSet::new();
        for work in [
            lose_unspoken(&world.db, (node, older), &nothing, world.now_ms()).await,
            forget_forgotten(&world.db, (node, older), &nothing).await,
        ] {
            assert!(matches!(work, Err(StepError::Superseded(_))), "{work:?}");
        }
        assert_eq!(ready().await, 1);
        lose_unspoken(&world.db, (node, newer), &nothing, world.now_ms()).await.expect("the newest is heard");
        assert_eq!(ready().await, 0);
    }
}
