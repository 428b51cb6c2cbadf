//! Keys of servers and of the indices that find them.

use foundationdb_tuple::{Uuid, pack, unpack};
use muster_protocol::id::{NodeId, ServerId};

use super::{KeyRange, Prefix, id};
use crate::records::ServerState;

/// [`crate::records::ServerRecord`]. Watch it to learn of a change.
pub fn server(server: ServerId) -> Vec<u8> {
    pack(&(Prefix::Server as u16, id(server)))
}

/// Every server.
pub fn all_servers() -> KeyRange {
    KeyRange::under(&(Prefix::Server as u16,))
}

/// [`crate::records::Pod`] of a server.
pub fn server_pod(server: ServerId) -> Vec<u8> {
    pack(&(Prefix::ServerPod as u16, id(server)))
}

/// Index: servers of a namespace, final ones included, by age.
pub fn server_by_namespace(namespace: &str, server: ServerId) -> Vec<u8> {
    pack(&(Prefix::ServerByNamespace as u16, namespace, id(server)))
}

/// All of [`server_by_namespace`].
pub fn servers_by_namespace(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::ServerByNamespace as u16, namespace))
}

/// Index of servers that are not over; [`crate::records::LiveServer`].
pub fn server_live(namespace: &str, fleet: &str, region: &str, server: ServerId) -> Vec<u8> {
    pack(&(Prefix::ServerLive as u16, namespace, fleet, region, id(server)))
}

/// Live servers of a fleet, by region.
pub fn servers_live(namespace: &str, fleet: &str) -> KeyRange {
    KeyRange::under(&(Prefix::ServerLive as u16, namespace, fleet))
}

/// Live servers of a fleet in a region.
pub fn servers_live_in(namespace: &str, fleet: &str, region: &str) -> KeyRange {
    KeyRange::under(&(Prefix::ServerLive as u16, namespace, fleet, region))
}

/// Region of a [`server_live`] key.
pub fn split_server_live(key: &[u8]) -> Option<(String, String, String, ServerId)> {
    unpack::<(u16, String, String, String, Uuid)>(key)
        .ok()
        .map(|(_, namespace, fleet, region, server)| (namespace, fleet, region, ServerId::from_uuid(server)))
}

/// Index of ready, unclaimed servers, spread evenly over `u16`, so that claimants who begin at
/// random places seldom meet.
pub fn server_warm(namespace: &str, fleet: &str, region: &str, server: ServerId) -> Vec<u8> {
    let bytes = server.uuid().into_bytes();
    let spread = u16::from_be_bytes([bytes[14], bytes[15]]);
    pack(&(Prefix::ServerWarm as u16, namespace, fleet, region, spread, id(server)))
}

/// Where the servers from `spread` on begin within [`servers_warm`].
pub fn server_warm_from(namespace: &str, fleet: &str, region: &str, spread: u16) -> Vec<u8> {
    pack(&(Prefix::ServerWarm as u16, namespace, fleet, region, spread))
}

/// Warm servers of a fleet in a region.
pub fn servers_warm(namespace: &str, fleet: &str, region: &str) -> KeyRange {
    KeyRange::under(&(Prefix::ServerWarm as u16, namespace, fleet, region))
}

/// Index of servers that wait for a node, by age.
pub fn server_pending(region: &str, server: ServerId) -> Vec<u8> {
    pack(&(Prefix::ServerPending as u16, region, id(server)))
}

/// All of [`server_pending`], by region.
pub fn servers_pending() -> KeyRange {
    KeyRange::under(&(Prefix::ServerPending as u16,))
}

/// Those of [`server_pending`] in a region.
pub fn servers_pending_in(region: &str) -> KeyRange {
    KeyRange::under(&(Prefix::ServerPending as u16, region))
}

/// Region of a [`server_pending`] key.
pub fn split_server_pending(key: &[u8]) -> Option<(String, ServerId)> {
    unpack::<(u16, String, Uuid)>(key).ok().map(|(_, region, id)| (region, ServerId::from_uuid(id)))
}

/// Index of servers whose ports the edges of a region serve.
pub fn server_routed(region: &str, server: ServerId) -> Vec<u8> {
    pack(&(Prefix::ServerRouted as u16, region, id(server)))
}

/// All of [`server_routed`] in a region.
pub fn servers_routed(region: &str) -> KeyRange {
    KeyRange::under(&(Prefix::ServerRouted as u16, region))
}

/// Index of servers that would be ready but for routes.
pub fn server_awaiting_routes(region: &str, server: ServerId) -> Vec<u8> {
    pack(&(Prefix::ServerAwaitingRoutes as u16, region, id(server)))
}

/// All of [`server_awaiting_routes`] in a region.
pub fn servers_awaiting_routes(region: &str) -> KeyRange {
    KeyRange::under(&(Prefix::ServerAwaitingRoutes as u16, region))
}

/// Index of live servers placed on a node.
pub fn server_on_node(node: NodeId, server: ServerId) -> Vec<u8> {
    pack(&(Prefix::ServerOnNode as u16, id(node), id(server)))
}

/// All of [`server_on_node`] of a node.
pub fn servers_on_node(node: NodeId) -> KeyRange {
    KeyRange::under(&(Prefix::ServerOnNode as u16, id(node)))
}

/// Index of servers whose end the node's agent reported and may forget.
pub fn server_forget(node: NodeId, server: ServerId) -> Vec<u8> {
    pack(&(Prefix::ServerForget as u16, id(node), id(server)))
}

/// All of [`server_forget`] of a node.
pub fn servers_forget(node: NodeId) -> KeyRange {
    KeyRange::under(&(Prefix::ServerForget as u16, id(node)))
}

/// Number of servers in a state, final ones as long as they are kept.
pub fn server_count(namespace: &str, fleet: &str, region: &str, state: ServerState) -> Vec<u8> {
    pack(&(Prefix::ServerCount as u16, namespace, fleet, region, state as u16))
}

/// Counts of a fleet.
pub fn server_counts(namespace: &str, fleet: &str) -> KeyRange {
    KeyRange::under(&(Prefix::ServerCount as u16, namespace, fleet))
}

/// Counts of a namespace.
pub fn server_counts_of_namespace(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::ServerCount as u16, namespace))
}

/// Counts of everything.
pub fn all_server_counts() -> KeyRange {
    KeyRange::under(&(Prefix::ServerCount as u16,))
}

/// Namespace, fleet, region and state of a [`server_count`] key.
pub fn split_server_count(key: &[u8]) -> Option<(String, String, String, ServerState)> {
    let (_, namespace, fleet, region, state) = unpack::<(u16, String, String, String, u16)>(key).ok()?;
    Some((namespace, fleet, region, ServerState::try_from(i32::from(state)).ok()?))
}
