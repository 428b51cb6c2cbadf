//! Keys of revisions: numbers that are added to whenever what they stand for changes, to be watched.

use foundationdb_tuple::pack;
use muster_protocol::id::NodeId;

use super::{Prefix, id};

/// What a node's agent is asked to do; see [`crate::state::desired_for_node`].
pub fn node_revision(node: NodeId) -> Vec<u8> {
    pack(&(Prefix::Revision as u16, 1u16, id(node)))
}

/// What the edges of a region are to serve; see [`crate::state::routes_for_region`].
pub fn region_revision(region: &str) -> Vec<u8> {
    pack(&(Prefix::Revision as u16, 2u16, region))
}

/// A fleet: its specification, its servers, its waiting matches.
pub fn fleet_revision(namespace: &str, fleet: &str) -> Vec<u8> {
    pack(&(Prefix::Revision as u16, 3u16, namespace, fleet))
}

/// A queue: its specification, its tickets.
pub fn queue_revision(namespace: &str, queue: &str) -> Vec<u8> {
    pack(&(Prefix::Revision as u16, 6u16, namespace, queue))
}

/// Which queues there are.
pub fn queues_revision() -> Vec<u8> {
    pack(&(Prefix::Revision as u16, 7u16))
}

/// Nodes and edges: which there are, and which can be used.
pub fn machines_revision() -> Vec<u8> {
    pack(&(Prefix::Revision as u16, 8u16))
}

/// Not a revision: which servers were nudged when they got a workflow; see [`crate::workflows`].
pub fn servers_nudged() -> Vec<u8> {
    pack(&(Prefix::Revision as u16, 9u16))
}
