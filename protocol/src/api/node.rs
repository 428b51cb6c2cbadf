//! Machines: nodes, edges and the regions they form.

use serde::{Deserialize, Serialize};

use crate::id::{EdgeId, NodeId};

/// Whether a node can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Connected and able.
    Ready,
    /// Connected, but can start nothing (no Docker engine, …).
    Unable,
    /// Its link is down; its servers are left alone for now.
    Disconnected,
    /// Gone for so long that its servers are replaced.
    Lost,
}

impl NodeState {
    /// The state's text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Unable => "unable",
            Self::Disconnected => "disconnected",
            Self::Lost => "lost",
        }
    }
}

/// A machine that runs containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Node {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: NodeId,
    /// Name a person knows it by.
    pub name: String,
    /// Region.
    pub region: String,
    /// State.
    pub state: NodeState,
    /// In words, if it is not ready.
    pub explanation: String,
    /// Agent's version.
    pub version: String,
    /// CPU it offers, in thousandths.
    pub cpu_millis: u32,
    /// CPU promised to servers.
    pub cpu_millis_reserved: u32,
    /// Memory it offers.
    pub memory_bytes: u64,
    /// Memory promised to servers.
    pub memory_bytes_reserved: u64,
    /// Servers placed on it.
    pub servers: u32,
    /// When it was last heard of.
    pub last_seen_ms: u64,
}

/// An edge proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Edge {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: EdgeId,
    /// Name a person knows it by.
    pub name: String,
    /// Region.
    pub region: String,
    /// Whether its link is up.
    pub connected: bool,
    /// Version.
    pub version: String,
    /// Where players reach it.
    pub public_host: String,
    /// First port it may listen on.
    pub port_first: u16,
    /// Last port it may listen on.
    pub port_last: u16,
    /// UDP port of its latency beacon.
    pub beacon_port: u16,
    /// Flows and connections through it.
    pub flows: u32,
    /// When it was last heard of.
    pub last_seen_ms: u64,
}

/// A region, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Region {
    /// Name.
    pub name: String,
    /// Whether it has a connected edge and a usable node.
    pub served: bool,
    /// Beacons to measure latency against.
    pub beacons: Vec<Beacon>,
}

/// Where to measure a region's latency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Beacon {
    /// Host name or address.
    pub host: String,
    /// UDP port.
    pub port: u16,
}
