//! Queues: matchmaking modes.

use serde::{Deserialize, Serialize};

/// Most players of one match.
pub const MAX_PLAYERS: u32 = 1_000;

/// What a studio applies (`PUT /v1/queues/{name}`, `muster queue apply`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// Name within the namespace.
    pub name: String,
    /// The fleet whose servers its matches get.
    pub fleet: String,
    /// Players who make a match.
    pub players: u32,
    /// Regions it may choose; empty: every region of the fleet.
    #[serde(default)]
    pub regions: Vec<String>,
    /// A player whose latency to a region is over this, in milliseconds, is not sent there; 0: no cap.
    #[serde(default)]
    pub max_latency_ms: u32,
    /// A ticket that has found no match after this many seconds expires.
    #[serde(default = "default_ttl")]
    pub ticket_ttl_s: u32,
}

fn default_ttl() -> u32 {
    300
}

/// A queue and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Queue {
    /// As applied.
    pub spec: QueueSpec,
    /// Counts up with every change.
    pub version: u64,
    /// Tickets searching now.
    pub searching: u32,
    /// Tickets whose match waits for a server.
    pub matched: u32,
    /// In words: what keeps matches from being made, if anything does.
    pub waiting_for: Vec<String>,
}
