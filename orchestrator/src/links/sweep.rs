//! Mends records that say a machine is connected when it is not.
//!
//! The end of a link is written when it ends, but the store may not take it just then. So the records are
//! held against the registry from time to time; a link that is missing twice in a row is written off.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use muster_protocol::id::{EdgeId, NodeId};
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::clock;
use crate::lifecycle::{self, StepError};
use crate::state::{self, StateError};

/// How often records and registry are compared.
const INTERVAL: Duration = Duration::from_secs(5);

/// A machine, and the number of the link that its record says is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
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
        missing = match pass(&app, &missing).await {
            Ok(missing) => missing,
            Err(error) => {
                tracing::warn!(%error, "records of links not compared with the links; trying again");
                missing
            }
        };
    }
}

/// Writes off the links of `before` that are still missing; the links missing now.
async fn pass(app: &App, before: &BTreeSet<Claim>) -> Result<BTreeSet<Claim>, StepError> {
    let (nodes, edges) = app
        .db
        .read("connected machines", async |mut tx| {
            Ok::<_, StateError>((state::nodes::list(&mut tx).await?, state::edges::list(&mut tx).await?))
        })
        .await?;
    let nodes = nodes.iter().filter(|node| node.connected);
    let edges = edges.iter().filter(|edge| edge.connected);
    let missing: BTreeSet<Claim> = nodes
        .filter(|node| !app.links.knows_agent(node.typed_id()))
        .map(|node| Claim::Node(node.typed_id(), node.link_session))
        .chain(
            edges
                .filter(|edge| app.links.edge(edge.typed_id()).is_none())
                .map(|edge| Claim::Edge(edge.typed_id(), edge.link_session)),
        )
        .collect();
    let (now_ms, timeout_ms) = (clock::now_ms(), app.config.node_loss_timeout_ms());
    for claim in missing.intersection(before) {
        tracing::warn!(?claim, "a link is gone whose end was never written; writing it now");
        match *claim {
            Claim::Node(node, session) => {
                lifecycle::node_disconnected(&app.db, node, session, now_ms, timeout_ms).await?;
            }
            Claim::Edge(edge, session) => {
                lifecycle::edge_disconnected(&app.db, edge, session, now_ms).await?;
            }
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, agent_hello};
    use muster_transport::Role;

    #[tokio::test]
    async fn an_end_that_was_never_written_is_written_at_the_second_look() {
        let bench = Bench::start().await;
        let node = bench.machine(Role::Agent).await.id.parse().expect("a node's id");
        // A hello that was written, and then nothing: the link's end met a full disk.
        lifecycle::node_connected(&bench.app.db, node, &agent_hello(), 1_000).await.expect("written");
        let connected = async || {
            let read = bench.app.db.read("test", async |mut tx| state::nodes::load(&mut tx, node).await);
            read.await.expect("readable").expect("there").connected
        };
        let greeting = bench.app.links.greet_agent(node);
        assert!(pass(&bench.app, &BTreeSet::new()).await.expect("compared").is_empty(), "a hello under way");
        drop(greeting);
        let missing = pass(&bench.app, &BTreeSet::new()).await.expect("compared");
        assert_eq!(missing.len(), 1);
        assert!(connected().await, "once may be a link that is just coming up");
        pass(&bench.app, &missing).await.expect("compared");
        assert!(!connected().await);
        assert!(pass(&bench.app, &missing).await.expect("compared").is_empty());
        bench.stop().await;
    }
}
