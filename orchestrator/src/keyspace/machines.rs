//! Keys of nodes, edges, what nodes have promised and which edge ports are taken.

use foundationdb_tuple::{Bytes, pack, unpack};
use muster_engine::WorkerId;
use muster_protocol::id::{EdgeId, NodeId, ServerId};

use super::{KeyRange, Prefix, id};
use crate::records::PortProtocol;

/// [`crate::records::NodeRecord`].
pub fn node(node: NodeId) -> Vec<u8> {
    pack(&(Prefix::Node as u16, id(node)))
}

/// Every node.
pub fn nodes() -> KeyRange {
    KeyRange::under(&(Prefix::Node as u16,))
}

/// Index of nodes by region.
pub fn node_by_region(region: &str, node: NodeId) -> Vec<u8> {
    pack(&(Prefix::NodeByRegion as u16, region, id(node)))
}

/// Nodes of a region.
pub fn nodes_by_region(region: &str) -> KeyRange {
    KeyRange::under(&(Prefix::NodeByRegion as u16, region))
}

/// What a node has promised to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Reserved {
    /// Thousandths of a CPU.
    CpuMillis = 1,
    /// Bytes.
    Memory = 2,
    /// Servers.
    Servers = 3,
}

/// A number: how much of `what` a node has promised.
pub fn node_reserved(node: NodeId, what: Reserved) -> Vec<u8> {
    pack(&(Prefix::NodeReserved as u16, id(node), what as u16))
}

/// [`crate::records::EdgeRecord`].
pub fn edge(edge: EdgeId) -> Vec<u8> {
    pack(&(Prefix::Edge as u16, id(edge)))
}

/// Every edge.
pub fn edges() -> KeyRange {
    KeyRange::under(&(Prefix::Edge as u16,))
}

/// Index of edges by region.
pub fn edge_by_region(region: &str, edge: EdgeId) -> Vec<u8> {
    pack(&(Prefix::EdgeByRegion as u16, region, id(edge)))
}

/// Edges of a region.
pub fn edges_by_region(region: &str) -> KeyRange {
    KeyRange::under(&(Prefix::EdgeByRegion as u16, region))
}

/// What a port is a number of: UDP ports are one space, TCP and WebSocket share the other.
pub(super) fn transport(protocol: PortProtocol) -> u16 {
    match protocol {
        PortProtocol::Udp => 1,
        PortProtocol::Tcp | PortProtocol::Ws => 2,
    }
}

/// [`crate::records::EdgePortRecord`].
pub fn edge_port(region: &str, protocol: PortProtocol, port: u16) -> Vec<u8> {
    pack(&(Prefix::EdgePort as u16, region, transport(protocol), port))
}

/// Ports of a region that are not free.
pub fn edge_ports(region: &str, protocol: PortProtocol) -> KeyRange {
    KeyRange::under(&(Prefix::EdgePort as u16, region, transport(protocol)))
}

/// Number of an [`edge_port`] key.
pub fn split_edge_port(key: &[u8]) -> Option<u16> {
    unpack::<(u16, String, u16, u16)>(key).ok().map(|(_, _, _, port)| port)
}

/// Flows of `server` through `edge`.
pub fn edge_flows(edge: EdgeId, server: ServerId) -> Vec<u8> {
    pack(&(Prefix::EdgeFlows as u16, id(edge), id(server)))
}

/// Flows through `edge`, by server.
pub fn edge_flows_of(edge: EdgeId) -> KeyRange {
    KeyRange::under(&(Prefix::EdgeFlows as u16, id(edge)))
}

/// [`crate::records::EdgeLimitsRecord`] of a region.
pub fn edge_limits(region: &str) -> Vec<u8> {
    pack(&(Prefix::EdgeLimits as u16, region))
}

/// The limits of every region that has any.
pub fn all_edge_limits() -> KeyRange {
    KeyRange::under(&(Prefix::EdgeLimits as u16,))
}

/// A running orchestrator.
pub fn replica(worker: WorkerId) -> Vec<u8> {
    pack(&(Prefix::Replica as u16, Bytes::from(&worker.as_bytes()[..])))
}

/// Running orchestrators.
pub fn replicas() -> KeyRange {
    KeyRange::under(&(Prefix::Replica as u16,))
}

/// The worker in a [`replica`] key.
pub fn split_replica(key: &[u8]) -> Option<WorkerId> {
    let (_, worker) = unpack::<(u16, Bytes<'_>)>(key).ok()?;
    Some(WorkerId::from_bytes(worker.as_ref().try_into().ok()?))
}
