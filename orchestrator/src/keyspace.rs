//! Every key of the store: one list of prefixes, one function per key.
//!
//! Keys are tuples in FoundationDB's encoding, which sorts as the tuples do. The numbers of [`Prefix`]
//! are part of the stored format: they are added to, never changed or used again. This module makes
//! keys and ranges and takes ids out of them; it reads and writes nothing.

use foundationdb_tuple::{Element, Subspace, TuplePack, Uuid, pack, unpack};
use muster_protocol::id::{ApiTokenId, EdgeId, JoinTokenId, MatchId, NodeId, ServerId, TicketId, UploadId};
use type_safe_id::{StaticType, TypeSafeId};

use crate::records::{PortProtocol, ServerState, TicketState};

/// First element of every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Prefix {
    // The installation.
    Authority = 1,
    SigningKey = 2,
    FlowKey = 3,
    Namespace = 4,
    ApiToken = 5,
    JoinToken = 6,
    // Builds.
    Upload = 10,
    Build = 11,
    Tag = 12,
    // Fleets.
    Fleet = 20,
    FleetHealth = 21,
    FleetDirty = 22,
    FleetPass = 23,
    FleetCount = 24,
    // Servers.
    Server = 30,
    ServerPod = 31,
    ServerByNamespace = 32,
    ServerLive = 33,
    ServerWarm = 34,
    ServerPending = 35,
    ServerRouted = 36,
    ServerAwaitingRoutes = 37,
    ServerOnNode = 38,
    ServerForget = 39,
    ServerCount = 40,
    // Machines.
    Node = 50,
    NodeByRegion = 51,
    NodeReserved = 52,
    Edge = 53,
    EdgeByRegion = 54,
    EdgePort = 55,
    // Matchmaking.
    Queue = 60,
    QueueStatus = 61,
    Ticket = 62,
    TicketSearching = 63,
    TicketCount = 64,
    Match = 65,
    MatchWaiting = 66,
    QueueCount = 67,
    // Time.
    Timer = 80,
    // Revisions: numbers that are added to whenever what they stand for changes, to be watched.
    Revision = 90,
}

/// Begin, included, and end, excluded, of a range of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub begin: Vec<u8>,
    /// First key beyond.
    pub end: Vec<u8>,
}

impl KeyRange {
    fn under<T: TuplePack>(prefix: &T) -> Self {
        let (begin, end) = Subspace::from(prefix).range();
        Self { begin, end }
    }

    /// The part behind `key`, as a page that ended with it goes on.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        let mut next = key.to_vec();
        next.push(0);
        self.begin = self.begin.max(next);
        self
    }

    /// The part from `key` on.
    #[must_use]
    pub fn from(mut self, key: Vec<u8>) -> Self {
        self.begin = self.begin.max(key);
        self
    }

    /// The part before `key`.
    #[must_use]
    pub fn until(mut self, key: Vec<u8>) -> Self {
        self.end = self.end.min(key);
        self
    }
}

fn id<T: StaticType>(id: TypeSafeId<T>) -> Uuid {
    id.uuid()
}

/// The id a key ends with: ids are the last element of every index of things. `None` if the key is
/// not one of an index.
pub fn last_id<T: StaticType>(key: &[u8]) -> Option<TypeSafeId<T>> {
    // A UUID is its type code and 16 bytes, unescaped, so the tail of the key is the whole of it.
    let bytes: [u8; 16] = key.get(key.len().checked_sub(16)?..)?.try_into().ok()?;
    Some(TypeSafeId::from_uuid(Uuid::from_bytes(bytes)))
}

/// The text a key ends with: names are the last element of every list of named things.
pub fn last_name(key: &[u8], range: &KeyRange) -> Option<String> {
    // The range begins with the prefix and one zero byte.
    let prefix = range.begin.len().checked_sub(1)?;
    unpack::<(String,)>(key.get(prefix..)?).ok().map(|(name,)| name)
}

// --- The installation ----------------------------------------------------------------------------

/// [`crate::records::AuthorityRecord`].
pub fn authority() -> Vec<u8> {
    pack(&(Prefix::Authority as u16,))
}

/// [`crate::records::SigningKeyRecord`] by key id.
pub fn signing_key(key_id: &str) -> Vec<u8> {
    pack(&(Prefix::SigningKey as u16, key_id))
}

/// Every signing key.
pub fn signing_keys() -> KeyRange {
    KeyRange::under(&(Prefix::SigningKey as u16,))
}

/// [`crate::records::FlowKeyRecord`] of a region.
pub fn flow_key(region: &str) -> Vec<u8> {
    pack(&(Prefix::FlowKey as u16, region))
}

/// [`crate::records::NamespaceRecord`] by name.
pub fn namespace(name: &str) -> Vec<u8> {
    pack(&(Prefix::Namespace as u16, name))
}

/// Every namespace.
pub fn namespaces() -> KeyRange {
    KeyRange::under(&(Prefix::Namespace as u16,))
}

/// [`crate::records::ApiTokenRecord`].
pub fn api_token(token: ApiTokenId) -> Vec<u8> {
    pack(&(Prefix::ApiToken as u16, id(token)))
}

/// Every API token.
pub fn api_tokens() -> KeyRange {
    KeyRange::under(&(Prefix::ApiToken as u16,))
}

/// [`crate::records::JoinTokenRecord`].
pub fn join_token(token: JoinTokenId) -> Vec<u8> {
    pack(&(Prefix::JoinToken as u16, id(token)))
}

/// Every join token.
pub fn join_tokens() -> KeyRange {
    KeyRange::under(&(Prefix::JoinToken as u16,))
}

// --- Builds --------------------------------------------------------------------------------------

/// [`crate::records::UploadRecord`].
pub fn upload(upload: UploadId) -> Vec<u8> {
    pack(&(Prefix::Upload as u16, id(upload)))
}

/// Every upload.
pub fn uploads() -> KeyRange {
    KeyRange::under(&(Prefix::Upload as u16,))
}

/// [`crate::records::BuildRecord`] by digest.
pub fn build(namespace: &str, digest: &str) -> Vec<u8> {
    pack(&(Prefix::Build as u16, namespace, digest))
}

/// Every build of a namespace.
pub fn builds(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::Build as u16, namespace))
}

/// [`crate::records::TagRecord`] by tag, `name:tag`.
pub fn tag(namespace: &str, tag: &str) -> Vec<u8> {
    pack(&(Prefix::Tag as u16, namespace, tag))
}

/// Every tag of a namespace.
pub fn tags(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::Tag as u16, namespace))
}

// --- Fleets --------------------------------------------------------------------------------------

/// [`crate::records::FleetRecord`].
pub fn fleet(namespace: &str, fleet: &str) -> Vec<u8> {
    pack(&(Prefix::Fleet as u16, namespace, fleet))
}

/// Every fleet of a namespace.
pub fn fleets(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::Fleet as u16, namespace))
}

/// Every fleet of every namespace.
pub fn all_fleets() -> KeyRange {
    KeyRange::under(&(Prefix::Fleet as u16,))
}

/// [`crate::records::FleetHealthRecord`].
pub fn fleet_health(namespace: &str, fleet: &str, region: &str) -> Vec<u8> {
    pack(&(Prefix::FleetHealth as u16, namespace, fleet, region))
}

/// Health of a fleet in all regions.
pub fn fleet_healths(namespace: &str, fleet: &str) -> KeyRange {
    KeyRange::under(&(Prefix::FleetHealth as u16, namespace, fleet))
}

/// Set while a fleet is to be looked at by its reconciler.
pub fn fleet_dirty(namespace: &str, fleet: &str) -> Vec<u8> {
    pack(&(Prefix::FleetDirty as u16, namespace, fleet))
}

/// Every fleet to be looked at.
pub fn fleets_dirty() -> KeyRange {
    KeyRange::under(&(Prefix::FleetDirty as u16,))
}

/// Namespace and fleet of a [`fleet_dirty`] key.
pub fn split_fleet_dirty(key: &[u8]) -> Option<(String, String)> {
    unpack::<(u16, String, String)>(key).ok().map(|(_, namespace, fleet)| (namespace, fleet))
}

/// Read and written by every pass over a fleet, so that of two at once one loses.
pub fn fleet_pass(namespace: &str, fleet: &str) -> Vec<u8> {
    pack(&(Prefix::FleetPass as u16, namespace, fleet))
}

/// Number of fleets of a namespace.
pub fn fleet_count(namespace: &str) -> Vec<u8> {
    pack(&(Prefix::FleetCount as u16, namespace))
}

// --- Servers -------------------------------------------------------------------------------------

/// [`crate::records::ServerRecord`]. Watch it to learn of a change.
pub fn server(server: ServerId) -> Vec<u8> {
    pack(&(Prefix::Server as u16, id(server)))
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

/// Live servers of every fleet.
pub fn all_servers_live() -> KeyRange {
    KeyRange::under(&(Prefix::ServerLive as u16,))
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

// --- Machines ------------------------------------------------------------------------------------

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
fn transport(protocol: PortProtocol) -> u16 {
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

// --- Matchmaking ---------------------------------------------------------------------------------

/// [`crate::records::QueueRecord`].
pub fn queue(namespace: &str, queue: &str) -> Vec<u8> {
    pack(&(Prefix::Queue as u16, namespace, queue))
}

/// Every queue of a namespace.
pub fn queues(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::Queue as u16, namespace))
}

/// Every queue of every namespace.
pub fn all_queues() -> KeyRange {
    KeyRange::under(&(Prefix::Queue as u16,))
}

/// [`crate::records::QueueStatusRecord`].
pub fn queue_status(namespace: &str, queue: &str) -> Vec<u8> {
    pack(&(Prefix::QueueStatus as u16, namespace, queue))
}

/// Number of queues of a namespace.
pub fn queue_count(namespace: &str) -> Vec<u8> {
    pack(&(Prefix::QueueCount as u16, namespace))
}

/// [`crate::records::TicketRecord`]. Watch it for a long poll.
pub fn ticket(ticket: TicketId) -> Vec<u8> {
    pack(&(Prefix::Ticket as u16, id(ticket)))
}

/// Index of searching tickets, by age; [`crate::records::SearchingTicket`].
pub fn ticket_searching(namespace: &str, queue: &str, ticket: TicketId) -> Vec<u8> {
    pack(&(Prefix::TicketSearching as u16, namespace, queue, id(ticket)))
}

/// Searching tickets of a queue, oldest first.
pub fn tickets_searching(namespace: &str, queue: &str) -> KeyRange {
    KeyRange::under(&(Prefix::TicketSearching as u16, namespace, queue))
}

/// Number of tickets in a state, final ones as long as they are kept.
pub fn ticket_count(namespace: &str, queue: &str, state: TicketState) -> Vec<u8> {
    pack(&(Prefix::TicketCount as u16, namespace, queue, state as u16))
}

/// Counts of a namespace.
pub fn ticket_counts_of_namespace(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::TicketCount as u16, namespace))
}

/// Counts of everything.
pub fn all_ticket_counts() -> KeyRange {
    KeyRange::under(&(Prefix::TicketCount as u16,))
}

/// Namespace, queue and state of a [`ticket_count`] key.
pub fn split_ticket_count(key: &[u8]) -> Option<(String, String, TicketState)> {
    let (_, namespace, queue, state) = unpack::<(u16, String, String, u16)>(key).ok()?;
    Some((namespace, queue, TicketState::try_from(i32::from(state)).ok()?))
}

/// [`crate::records::MatchRecord`].
pub fn match_(match_id: MatchId) -> Vec<u8> {
    pack(&(Prefix::Match as u16, id(match_id)))
}

/// Index of matches that wait for a server, by age.
pub fn match_waiting(namespace: &str, fleet: &str, region: &str, match_id: MatchId) -> Vec<u8> {
    pack(&(Prefix::MatchWaiting as u16, namespace, fleet, region, id(match_id)))
}

/// Waiting matches of a fleet, by region.
pub fn matches_waiting(namespace: &str, fleet: &str) -> KeyRange {
    KeyRange::under(&(Prefix::MatchWaiting as u16, namespace, fleet))
}

/// Region and match of a [`match_waiting`] key.
pub fn split_match_waiting(key: &[u8]) -> Option<(String, MatchId)> {
    unpack::<(u16, String, String, String, Uuid)>(key)
        .ok()
        .map(|(_, _, _, region, id)| (region, MatchId::from_uuid(id)))
}

// --- Time ----------------------------------------------------------------------------------------

/// What is to be done at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A searching ticket expires.
    TicketExpiry(TicketId),
    /// A ticket that is over is removed.
    TicketRemoval(TicketId),
    /// A match that still has no server is dissolved.
    MatchDeadline(MatchId),
    /// A match that is over is removed, with its tickets.
    MatchRemoval(MatchId),
    /// A draining server is stopped.
    DrainDeadline(ServerId),
    /// A server that is over is removed.
    ServerRemoval(ServerId),
    /// A disconnected node is given up.
    NodeLoss(NodeId),
    /// A fleet is looked at again after backing off.
    FleetRetry(String, String),
    /// A port comes out of quarantine: region, protocol (UDP or TCP), port.
    PortRelease(String, PortProtocol, u16),
}

/// The timer's key: timers sort by when they are due.
pub fn timer(due_ms: u64, timer: &Timer) -> Vec<u8> {
    let all = Subspace::from((Prefix::Timer as u16, due_ms));
    match timer {
        Timer::TicketExpiry(ticket) => all.pack(&(1u16, id(*ticket))),
        Timer::TicketRemoval(ticket) => all.pack(&(2u16, id(*ticket))),
        Timer::MatchDeadline(match_id) => all.pack(&(3u16, id(*match_id))),
        Timer::MatchRemoval(match_id) => all.pack(&(4u16, id(*match_id))),
        Timer::DrainDeadline(server) => all.pack(&(5u16, id(*server))),
        Timer::ServerRemoval(server) => all.pack(&(6u16, id(*server))),
        Timer::NodeLoss(node) => all.pack(&(7u16, id(*node))),
        Timer::FleetRetry(namespace, fleet) => all.pack(&(8u16, namespace, fleet)),
        Timer::PortRelease(region, protocol, port) => all.pack(&(9u16, region, transport(*protocol), *port)),
    }
}

/// Timers due at `now_ms` or before.
pub fn timers_due(now_ms: u64) -> KeyRange {
    let all = KeyRange::under(&(Prefix::Timer as u16,));
    all.until(pack(&(Prefix::Timer as u16, now_ms.saturating_add(1))))
}

/// What a [`timer`] key says.
pub fn split_timer(key: &[u8]) -> Option<(u64, Timer)> {
    let elements: Vec<Element<'_>> = unpack(key).ok()?;
    let [Element::Int(_), Element::Int(due), Element::Int(kind), rest @ ..] = elements.as_slice() else {
        return None;
    };
    let timer = match (kind, rest) {
        (1, [Element::Uuid(id)]) => Timer::TicketExpiry(TicketId::from_uuid(*id)),
        (2, [Element::Uuid(id)]) => Timer::TicketRemoval(TicketId::from_uuid(*id)),
        (3, [Element::Uuid(id)]) => Timer::MatchDeadline(MatchId::from_uuid(*id)),
        (4, [Element::Uuid(id)]) => Timer::MatchRemoval(MatchId::from_uuid(*id)),
        (5, [Element::Uuid(id)]) => Timer::DrainDeadline(ServerId::from_uuid(*id)),
        (6, [Element::Uuid(id)]) => Timer::ServerRemoval(ServerId::from_uuid(*id)),
        (7, [Element::Uuid(id)]) => Timer::NodeLoss(NodeId::from_uuid(*id)),
        (8, [Element::String(namespace), Element::String(fleet)]) => {
            Timer::FleetRetry(namespace.to_string(), fleet.to_string())
        }
        (9, [Element::String(region), Element::Int(space), Element::Int(port)]) => {
            let protocol = if *space == 1 { PortProtocol::Udp } else { PortProtocol::Tcp };
            Timer::PortRelease(region.to_string(), protocol, u16::try_from(*port).ok()?)
        }
        _ => return None,
    };
    Some((u64::try_from(*due).ok()?, timer))
}

// --- Revisions -----------------------------------------------------------------------------------

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

/// Any fleet has become dirty.
pub fn dirty_revision() -> Vec<u8> {
    pack(&(Prefix::Revision as u16, 4u16))
}

/// Something pending, or room for it.
pub fn placement_revision() -> Vec<u8> {
    pack(&(Prefix::Revision as u16, 5u16))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_sort_by_due_time_and_read_back() {
        let timers = [
            Timer::TicketExpiry(TicketId::new()),
            Timer::TicketRemoval(TicketId::new()),
            Timer::MatchDeadline(MatchId::new()),
            Timer::MatchRemoval(MatchId::new()),
            Timer::DrainDeadline(ServerId::new()),
            Timer::ServerRemoval(ServerId::new()),
            Timer::NodeLoss(NodeId::new()),
            Timer::FleetRetry("arena/prod".into(), "duel".into()),
            Timer::PortRelease("eu".into(), PortProtocol::Udp, 7_000),
            Timer::PortRelease("eu".into(), PortProtocol::Tcp, 7_000),
        ];
        let mut last = Vec::new();
        for (at, what) in timers.iter().enumerate() {
            // Steps across the lengths of encoded integers.
            let due = 1u64 << (at * 5);
            let key = timer(due, what);
            assert!(key > last, "{what:?}");
            assert_eq!(split_timer(&key), Some((due, what.clone())));
            let range = timers_due(due);
            assert!(range.begin <= key && key < range.end);
            assert!(timers_due(due - 1).end <= key);
            last = key;
        }
    }

    #[test]
    fn ids_and_names_come_back_out_of_keys() {
        let server = ServerId::new();
        assert_eq!(last_id(&server_pending("eu", server)), Some(server));
        assert_eq!(last_id(&server_warm("a/b", "f", "eu", server)), Some(server));
        assert_eq!(
            split_server_live(&server_live("a/b", "f", "eu", server)),
            Some(("a/b".into(), "f".into(), "eu".into(), server))
        );
        let range = fleets("a/b");
        assert_eq!(last_name(&fleet("a/b", "duel"), &range), Some("duel".into()));
        assert_eq!(
            split_server_count(&server_count("a/b", "f", "eu", ServerState::Failed)),
            Some(("a/b".into(), "f".into(), "eu".into(), ServerState::Failed))
        );
    }

    #[test]
    fn warm_servers_are_found_from_their_spread_on() {
        let server = ServerId::new();
        let key = server_warm("a/b", "f", "eu", server);
        let bytes = server.uuid().into_bytes();
        let spread = u16::from_be_bytes([bytes[14], bytes[15]]);
        assert!(server_warm_from("a/b", "f", "eu", spread) <= key);
        if let Some(next) = spread.checked_add(1) {
            assert!(server_warm_from("a/b", "f", "eu", next) > key);
        }
        let range = servers_warm("a/b", "f", "eu");
        assert!(range.begin <= key && key < range.end);
    }

    #[test]
    fn one_fleets_range_holds_no_other_fleets_keys() {
        let range = servers_live("a/b", "duel");
        let other = server_live("a/b", "duel-2", "eu", ServerId::new());
        assert!(other < range.begin || other >= range.end);
    }
}
