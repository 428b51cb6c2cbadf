//! The installation as a whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ServerState, TicketState};

/// Answer of `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Status {
    /// Version of the orchestrator.
    pub version: String,
    /// What its clock shows, Unix milliseconds; 0 from one that does not say.
    #[serde(default)]
    pub now_ms: u64,
    /// Seconds it has run.
    pub uptime_s: u64,
    /// Orchestrators that run on this store.
    #[serde(default)]
    pub orchestrators: u32,
    /// Store driver and where it keeps its data.
    pub store: String,
    /// Nodes that are ready, and all.
    pub nodes_ready: u32,
    /// All nodes.
    pub nodes: u32,
    /// Edges that are connected.
    pub edges_connected: u32,
    /// All edges.
    pub edges: u32,
    /// Servers by state.
    pub servers: BTreeMap<ServerState, u32>,
    /// Tickets by state.
    pub tickets: BTreeMap<TicketState, u32>,
    /// What is wrong, in words with the way out; empty if nothing is.
    pub problems: Vec<String>,
}
