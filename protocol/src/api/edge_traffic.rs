//! What goes through an edge now: the busiest servers, the tunnels, and what went no further.

use serde::{Deserialize, Serialize};

use crate::id::{EdgeId, NodeId, ServerId};

/// Most servers that [`EdgeTraffic`] names.
pub const MAX_BUSIEST: usize = 50;

/// Traffic of an edge. Rates are of the time between its last two reports; counts are since it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EdgeTraffic {
    /// The edge.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub edge: EdgeId,
    /// Name a person knows it by.
    pub name: String,
    /// Its region.
    pub region: String,
    /// When it last reported; 0: not yet since its link came up.
    pub at_ms: u64,
    /// What time the rates are of; 0: it has not reported twice yet, and rates are 0.
    pub over_ms: u64,
    /// All servers together.
    pub total: Traffic,
    /// Half of the packets measured last had no more added to them by the edge, in microseconds: from receiving
    /// one to its having left.
    pub added_p50_us: u32,
    /// All but one in a hundred of them.
    pub added_p99_us: u32,
    /// The tunnels to agents that stand.
    pub tunnels: Vec<TunnelTraffic>,
    /// What went no further, most first.
    pub drops: Vec<Drops>,
    /// The busiest servers, by packets; at most 50.
    pub servers: Vec<ServerTraffic>,
    /// Servers that have a route through the edge.
    pub servers_routed: u32,
}

/// How much goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Traffic {
    /// UDP flows and open connections now.
    pub flows: u32,
    /// Packets to servers per second; of a connection, pieces of its stream.
    pub packets_to_servers_per_s: u64,
    /// Packets to clients per second.
    pub packets_to_clients_per_s: u64,
    /// Payload bytes to servers per second.
    pub bytes_to_servers_per_s: u64,
    /// Payload bytes to clients per second.
    pub bytes_to_clients_per_s: u64,
    /// Packets, flows and connections per second that went no further.
    pub drops_per_s: u64,
}

/// Traffic of one server through an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ServerTraffic {
    /// The server.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub server: ServerId,
    /// Its namespace; empty if the server is gone.
    pub namespace: String,
    /// Its fleet; empty if the server is gone.
    pub fleet: String,
    /// How much goes through.
    #[serde(flatten)]
    pub traffic: Traffic,
    /// What went no further, most first.
    pub drops: Vec<Drops>,
    /// The edge's tunnel to the server's agent, which it shares with the node's other servers; absent while none stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelTraffic>,
}

/// A tunnel of datagrams to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TunnelTraffic {
    /// The agent's node.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub node: NodeId,
    /// Round trip, microseconds.
    pub rtt_us: u32,
    /// QUIC packets sent per second, each with one or more datagrams.
    pub packets_sent_per_s: u64,
    /// QUIC packets sent and lost since the connection came up.
    pub packets_lost: u64,
    /// Of a million QUIC packets sent lately, how many were lost.
    pub lost_ppm: u32,
    /// Datagrams that made room for newer ones before they were sent, since the connection came up.
    pub datagrams_dropped: u64,
    /// All but one in a hundred of the datagrams measured last waited no longer to be sent, microseconds.
    pub queue_p99_us: u32,
    /// Largest QUIC packet that the path is known to carry, bytes.
    pub mtu: u32,
    /// Half of the packets measured last on their way through this tunnel had no more added to them by the edge,
    /// microseconds; 0: none was measured yet.
    pub added_p50_us: u32,
    /// All but one in a hundred of them.
    pub added_p99_us: u32,
}

/// What went no further for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Drops {
    /// Stable name of the reason.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// How often per second.
    pub per_s: u64,
}
