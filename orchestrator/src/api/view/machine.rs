//! Nodes, edges and the regions they form, as the API tells them.

use muster_protocol::api::{self, NodeState};

use crate::records::{EdgeRecord, NodeRecord};
use crate::state::nodes::Promised;
use crate::state::regions::RegionMachines;

/// A node, with what it promised and, while it is connected, when it was last heard.
pub(crate) fn node(record: NodeRecord, promised: &Promised, heard_ms: Option<u64>) -> api::Node {
    let (state, explanation) = node_state(&record);
    api::Node {
        id: record.typed_id(),
        name: record.name,
        region: record.region,
        state,
        explanation,
        version: record.version,
        cpu_millis: record.cpu_millis,
        cpu_millis_reserved: promised.cpu_millis as u32,
        memory_bytes: record.memory_bytes,
        memory_bytes_reserved: promised.memory_bytes,
        servers: promised.servers,
        last_seen_ms: heard_ms.unwrap_or(record.link_changed_at_ms),
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

/// An edge and, while it is connected, its flows and when it was last heard.
pub(crate) fn edge(record: EdgeRecord, heard: Option<(u32, u64)>) -> api::Edge {
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
        flows: heard.map_or(0, |(flows, _)| flows),
        last_seen_ms: heard.map_or(record.link_changed_at_ms, |(_, at_ms)| at_ms),
    }
}

/// A region, as clients see it. Beacons are those of connected edges.
pub(crate) fn region(name: &str, machines: &RegionMachines) -> api::Region {
    let beacon =
        |edge: &EdgeRecord| api::Beacon { host: edge.public_host.clone(), port: edge.beacon_port as u16 };
    let answering = machines.edges.iter().filter(|edge| edge.connected && edge.beacon_port > 0);
    api::Region {
        name: name.to_owned(),
        served: machines.is_served(),
        beacons: answering.map(beacon).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_in(connected: bool, unable: &str) -> NodeRecord {
        NodeRecord { connected, unable: unable.into(), ..NodeRecord::default() }
    }

    fn edge_in(connected: bool, beacon_port: u32) -> EdgeRecord {
        EdgeRecord { connected, beacon_port, ..EdgeRecord::default() }
    }

    #[test]
    fn a_region_shows_the_beacons_that_answer() {
        let machines = RegionMachines {
            nodes: vec![node_in(true, "")],
            edges: vec![edge_in(true, 7), edge_in(false, 8), edge_in(true, 0)],
        };
        let region = region("eu", &machines);
        assert!(region.served);
        assert_eq!(region.beacons.iter().map(|beacon| beacon.port).collect::<Vec<_>>(), [7]);
        assert!(!super::region("eu", &RegionMachines::default()).served);
    }

    #[test]
    fn a_node_that_cannot_serve_says_why() {
        assert_eq!(node_state(&node_in(true, "")), (NodeState::Ready, String::new()));
        assert_eq!(node_state(&node_in(true, "no Docker")), (NodeState::Unable, "no Docker".to_owned()));
        assert_eq!(node_state(&node_in(false, "")).0, NodeState::Disconnected);
        let lost = NodeRecord { lost: true, ..node_in(false, "") };
        assert_eq!(node_state(&lost).0, NodeState::Lost);
        assert!(!node_state(&lost).1.is_empty());
    }
}
