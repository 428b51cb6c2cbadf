//! Regions: the nodes and edges that share a name, and whether they can serve.

use std::collections::BTreeMap;

use muster_store::Transaction;

use super::{StateError, edges, nodes};
use crate::records::{EdgeRecord, NodeRecord};

/// A region's machines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegionMachines {
    /// Its nodes.
    pub nodes: Vec<NodeRecord>,
    /// Its edges.
    pub edges: Vec<EdgeRecord>,
}

impl RegionMachines {
    /// What keeps the region from being served, with the way out; `None` if it is served.
    pub fn obstacle(&self, region: &str) -> Option<String> {
        if let Some(node) = self.nodes.iter().find(|node| node.connected) {
            if !self.nodes.iter().any(is_usable) {
                let reason = &node.unable;
                return Some(format!("no node of region {region} can start servers: {reason}"));
            }
        } else if self.nodes.is_empty() {
            return Some(format!("region {region} has no node; join an agent with region = \"{region}\""));
        } else {
            return Some(format!(
                "no node of region {region} is connected; start its agent, or see why it cannot reach the \
                 orchestrator"
            ));
        }
        if self.edges.is_empty() {
            Some(format!("region {region} has no edge; join an edge with region = \"{region}\""))
        } else if !self.edges.iter().any(|edge| edge.connected) {
            Some(format!(
                "no edge of region {region} is connected; start it, or see why it cannot reach the orchestrator"
            ))
        } else {
            None
        }
    }

    /// Whether the region has a connected edge and a usable node.
    pub fn is_served(&self) -> bool {
        self.nodes.iter().any(is_usable) && self.edges.iter().any(|edge| edge.connected)
    }
}

/// Whether servers can be placed on a node.
pub fn is_usable(node: &NodeRecord) -> bool {
    node.connected && node.unable.is_empty() && !node.lost
}

/// A region's machines, without conflicting.
pub async fn of(tx: &mut Transaction, region: &str) -> Result<RegionMachines, StateError> {
    let nodes = nodes::list_in_region(tx, region).await?;
    Ok(RegionMachines { nodes, edges: edges::peek_in_region(tx, region).await? })
}

/// Every region that has a machine, by name, without conflicting.
pub async fn list(tx: &mut Transaction) -> Result<BTreeMap<String, RegionMachines>, StateError> {
    let mut regions: BTreeMap<String, RegionMachines> = BTreeMap::new();
    for node in nodes::list(tx).await? {
        regions.entry(node.region.clone()).or_default().nodes.push(node);
    }
    for edge in edges::list(tx).await? {
        regions.entry(edge.region.clone()).or_default().edges.push(edge);
    }
    Ok(regions)
}
