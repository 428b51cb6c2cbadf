//! Mends records that say a machine is connected when it is not.
//!
//! The end of a link is written when it ends, but the store may not take it just then, or the replica that
//! had the link is dead. So the records are held from time to time against the registry, for links of this
//! replica, and against who lives, for those of others; a link that is missing twice in a row is written off.
//! A replica that stood still may find its own links written off while they stand: it closes them, and the
//! machines dial again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_engine::{WorkerId, inspect};
use muster_protocol::id::{EdgeId, NodeId};
use muster_store::Database;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock;
use crate::lifecycle::{self, StepError};
use crate::links::Links;
use crate::state::{self, StateError};

/// How often records and registry are compared.
const INTERVAL: Duration = Duration::from_secs(5);

/// A machine, and the number of the link that its record says is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    Node(NodeId, u64),
    Edge(EdgeId, u64),
}

/// Compares until `stop`.
pub(crate) async fn sweep(app: Arc<App>, stop: CancellationToken) {
    let mut missing = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let (now_ms, timeout_ms) = (clock::now_ms(), app.config.node_loss_timeout_ms());
        missing = match pass(&app.db, app.replica, &*app.links, &missing, (now_ms, timeout_ms)).await {
            Ok(missing) => missing,
            Err(error) => {
                tracing::warn!(%error, "records of links not compared with the links; trying again");
                missing
            }
        };
    }
}

/// The links that this replica has.
pub(crate) trait Registry {
    /// Whether an agent has a link, or is about to.
    fn knows_agent(&self, node: NodeId) -> bool;
    /// Whether an edge has a link.
    fn knows_edge(&self, edge: EdgeId) -> bool;
    /// Closes an agent's link if it is that of `session` or an older one.
    fn drop_agent(&self, node: NodeId, session: u64);
    /// As [`Registry::drop_agent`], of an edge.
    fn drop_edge(&self, edge: EdgeId, session: u64);
}

impl Registry for Links {
    fn knows_agent(&self, node: NodeId) -> bool {
        self.knows_agent(node)
    }

    fn knows_edge(&self, edge: EdgeId) -> bool {
        self.edge(edge).is_some()
    }

    fn drop_agent(&self, node: NodeId, session: u64) {
        self.drop_agent(node, session);
    }

    fn drop_edge(&self, edge: EdgeId, session: u64) {
        self.drop_edge(edge, session);
    }
}

/// Writes off the links of `before` that are still missing at `now_ms`; the links missing now.
pub(crate) async fn pass(
    db: &Database,
    replica: WorkerId,
    links: &impl Registry,
    before: &BTreeSet<Claim>,
    (now_ms, timeout_ms): (u64, u64),
) -> Result<BTreeSet<Claim>, StepError> {
    let (nodes, edges, workers) = db
        .read("connected machines", async |mut tx| {
            let (nodes, edges) = (state::nodes::list(&mut tx).await?, state::edges::list(&mut tx).await?);
            Ok::<_, StateError>((nodes, edges, inspect::workers(&mut tx).await?))
        })
        .await?;
    let stands = |of: Option<WorkerId>, here: bool| match of {
        Some(of) if of == replica => here,
        Some(of) => workers.contains(&of),
        None => false,
    };
    let mut missing = BTreeSet::new();
    for node in nodes {
        let (id, session) = (node.typed_id(), node.link_session);
        if !node.connected || node.replica() != Some(replica) {
            links.drop_agent(id, session);
        }
        if node.connected && !stands(node.replica(), links.knows_agent(id)) {
            missing.insert(Claim::Node(id, session));
        }
    }
    for edge in edges {
        let (id, session) = (edge.typed_id(), edge.link_session);
        if !edge.connected || edge.replica() != Some(replica) {
            links.drop_edge(id, session);
        }
        if edge.connected && !stands(edge.replica(), links.knows_edge(id)) {
            missing.insert(Claim::Edge(id, session));
        }
    }
    for claim in missing.intersection(before) {
        tracing::warn!(?claim, "a link is gone whose end was never written; writing it now");
        match *claim {
            Claim::Node(node, session) => {
                lifecycle::node_disconnected(db, node, session, now_ms, timeout_ms).await?;
            }
            Claim::Edge(edge, session) => {
                lifecycle::edge_disconnected(db, edge, session, now_ms).await?;
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, agent_hello, eventually, soon};
    use muster_protocol::agent::{AgentMessage, ToAgent, agent_message};
    use muster_transport::Role;

    /// A look of the bench's replica, now.
    async fn look(bench: &Bench, before: &BTreeSet<Claim>) -> BTreeSet<Claim> {
        let app = &bench.app;
        let times = (clock::now_ms(), app.config.node_loss_timeout_ms());
        pass(&app.db, app.replica, &*app.links, before, times).await.expect("compared")
    }

    #[tokio::test]
    async fn an_end_that_was_never_written_is_written_at_the_second_look() {
        let bench = Bench::start().await;
        let node = bench.machine(Role::Agent).await.id.parse().expect("a node's id");
        // A hello that was written, and then nothing: the link's end met a full disk.
        lifecycle::node_connected(&bench.app.db, node, &agent_hello(), bench.app.replica, 1_000)
            .await
            .expect("written");
        let connected = async || {
            let read = bench.app.db.read("test", async |mut tx| state::nodes::load(&mut tx, node).await);
            read.await.expect("readable").expect("there").connected
        };
        let greeting = bench.app.links.greet_agent(node);
        assert!(look(&bench, &BTreeSet::new()).await.is_empty(), "a hello under way");
        drop(greeting);
        let missing = look(&bench, &BTreeSet::new()).await;
        assert_eq!(missing.len(), 1);
        assert!(connected().await, "once may be a link that is just coming up");
        look(&bench, &missing).await;
        assert!(!connected().await);
        assert!(look(&bench, &missing).await.is_empty());
        bench.stop().await;
    }

    #[tokio::test]
    async fn the_links_of_a_dead_replica_are_written_off_and_those_of_a_live_one_are_not() {
        let bench = Bench::start().await;
        let other = bench.replica().await;
        let worker = other.worker();
        let node = bench.machine(Role::Agent).await.id.parse().expect("a node's id");
        let (dead, live) = (WorkerId::random(), other.app.replica);
        eventually("the worker to be there", async || {
            let workers = bench.app.db.read("test", async |mut tx| inspect::workers(&mut tx).await).await;
            workers.expect("readable").contains(&live).then_some(())
        })
        .await;
        for (replica, missing) in [(live, 0), (dead, 1)] {
            let hello = agent_hello();
            lifecycle::node_connected(&bench.app.db, node, &hello, replica, 1_000).await.expect("written");
            let found = look(&bench, &BTreeSet::new()).await;
            assert_eq!(found.len(), missing);
            look(&bench, &found).await;
            let read = bench.app.db.read("test", async |mut tx| state::nodes::load(&mut tx, node).await);
            assert_eq!(read.await.expect("readable").expect("there").connected, missing == 0);
        }
        worker.stop().await;
        other.stop_replica().await;
        bench.stop().await;
    }

    #[tokio::test]
    async fn a_link_that_was_written_off_while_it_stands_is_made_anew() {
        let bench = Bench::start().await;
        let identity = bench.machine(Role::Agent).await;
        let node: NodeId = identity.id.parse().expect("a node's id");
        let (connection, mut writer, mut reader) = bench.control(&identity).await;
        let hello = AgentMessage { body: Some(agent_message::Body::Hello(agent_hello())) };
        writer.send(&hello).await.expect("sent");
        soon("a welcome", reader.recv::<ToAgent>()).await.expect("readable").expect("a welcome");
        look(&bench, &BTreeSet::new()).await;
        assert!(connection.close_reason().is_none(), "a link that stands is left alone");
        // This replica stood still, and another took it for dead.
        lifecycle::node_disconnected(&bench.app.db, node, 1, 2_000, 20_000).await.expect("written");
        look(&bench, &BTreeSet::new()).await;
        let closed = soon("the link to be closed", connection.closed()).await;
        assert!(closed.to_string().contains("dial again"), "{closed}");
        bench.stop().await;
    }
}
