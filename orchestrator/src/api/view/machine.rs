//! Nodes, edges and the regions they form, as the API tells them.

use std::collections::BTreeMap;

use muster_protocol::api::{self, NodeState};

use crate::links::{AgentStatus, EdgeStatus};
use crate::records::{EdgeRecord, NodeRecord};

/// What a node has promised to servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeReservations {
    /// Thousandths of a CPU.
    pub(crate) cpu_millis: u32,
    /// Bytes.
    pub(crate) memory_bytes: u64,
    /// Servers.
    pub(crate) servers: u32,
}

/// A node, with what it promised and, if it is connected here, what it last said.
pub(crate) fn node(record: NodeRecord, reserved: NodeReservations, link: Option<&AgentStatus>) -> api::Node {
    let (state, explanation) = node_state(&record);
    api::Node {
        id: record.typed_id(),
        name: record.name,
        region: record.region,
        state,
        explanation,
        version: record.version,
        cpu_millis: record.cpu_millis,
        cpu_millis_reserved: reserved.cpu_millis,
        memory_bytes: record.memory_bytes,
        memory_bytes_reserved: reserved.memory_bytes,
        servers: reserved.servers,
        last_seen_ms: link.map_or(record.link_changed_at_ms, |link| link.last_seen_ms),
    }
}

/// State of a node, and in words what keeps it from being ready.
pub(crate) fn node_state(record: &NodeRecord) -> (NodeState, String) {
    if record.lost {
        let why = "its link was down for so long that its servers were replaced; start its agent again, \
                   or look into that machine";
        (NodeState::Lost, why.to_owned())
    } else if !record.connected {
        let why = "its link is down; its servers go on and are replaced if it stays away: check that its \
                   agent runs and reaches the orchestrator's link address";
        (NodeState::Disconnected, why.to_owned())
    } else if record.unable.is_empty() {
        (NodeState::Ready, String::new())
    } else {
        (NodeState::Unable, record.unable.clone())
    }
}

/// An edge and, if it is connected here, what it last said.
pub(crate) fn edge(record: EdgeRecord, link: Option<&EdgeStatus>) -> api::Edge {
    api::Edge {
        id: record.typed_id(),
        name: record.name,
        region: record.region,
        connected: record.connected,
        version: record.version,
        public_host: record.public_host,
        port_first: record.port_first as u16,
        port_last: record.port_last as u16,
        beacon_port: record.beacon_port as u16,
        flows: link.map_or(0, |link| link.flows),
        last_seen_ms: link.map_or(record.link_changed_at_ms, |link| link.last_seen_ms),
    }
}

/// The regions that `nodes` and `edges` form, by name. Beacons are those of connected edges.
pub(crate) fn regions(nodes: &[NodeRecord], edges: &[EdgeRecord]) -> Vec<api::Region> {
    #[derive(Default)]
    struct Found {
        usable_node: bool,
        connected_edge: bool,
        beacons: Vec<api::Beacon>,
    }
    let mut regions: BTreeMap<&str, Found> = BTreeMap::new();
    for node in nodes {
        regions.entry(&node.region).or_default().usable_node |= node_state(node).0 == NodeState::Ready;
    }
    for edge in edges {
        let region = regions.entry(&edge.region).or_default();
        if !edge.connected {
            continue;
        }
        region.connected_edge = true;
        if edge.beacon_port > 0 {
            region
                .beacons
                .push(api::Beacon { host: edge.public_host.clone(), port: edge.beacon_port as u16 });
        }
    }
    let region = |(name, found): (&str, Found)| api::Region {
        name: name.to_owned(),
        served: found.usable_node && found.connected_edge,
        beacons: found.beacons,
    };
    regions.into_iter().map(region).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_in(region: &str, connected: bool, unable: &str) -> NodeRecord {
        NodeRecord { region: region.into(), connected, unable: unable.into(), ..NodeRecord::default() }
    }

    fn edge_in(region: &str, connected: bool, beacon_port: u32) -> EdgeRecord {
        EdgeRecord { region: region.into(), connected, beacon_port, ..EdgeRecord::default() }
    }

    #[test]
    fn a_region_is_served_by_a_node_and_an_edge() {
        let nodes = [node_in("a", true, ""), node_in("b", false, ""), node_in("c", true, "no Docker")];
        let edges = [edge_in("a", true, 7), edge_in("a", false, 8), edge_in("b", true, 0), edge_in("d", true, 9)];
        let regions = regions(&nodes, &edges);
        let served: Vec<(&str, bool, usize)> =
            regions.iter().map(|r| (r.name.as_str(), r.served, r.beacons.len())).collect();
        assert_eq!(served, [("a", true, 1), ("b", false, 0), ("c", false, 0), ("d", false, 1)]);
    }

    #[test]
    fn a_node_that_cannot_serve_says_why() {
        assert_eq!(node_state(&node_in("a", true, "")), (NodeState::Ready, String::new()));
        assert_eq!(node_state(&node_in("a", true, "no Docker")), (NodeState::Unable, "no Docker".to_owned()));
        assert_eq!(node_state(&node_in("a", false, "")).0, NodeState::Disconnected);
        let lost = NodeRecord { lost: true, ..node_in("a", false, "") };
        assert_eq!(node_state(&lost).0, NodeState::Lost);
        assert!(!node_state(&lost).1.is_empty());
    }
}
