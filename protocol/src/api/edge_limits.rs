//! What sources may send to the edges of a region.

use serde::{Deserialize, Serialize};

/// Most prefixes of one list: two lists of the longest texts fit one value of the store.
pub const MAX_PREFIXES: usize = 900;

/// Limits of a region's edges. What is not said is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct EdgeLimits {
    /// Of one address, whatever its port.
    #[serde(skip_serializing_if = "Rates::is_none")]
    pub address: Rates,
    /// Of an IPv4 /24 or an IPv6 /64 together.
    #[serde(skip_serializing_if = "Rates::is_none")]
    pub network: Rates,
    /// Of one flow: what a session token, or on `open` ports an address and port, has opened.
    #[serde(skip_serializing_if = "Rates::is_none")]
    pub token: Rates,
    /// Of all sources to one server.
    #[serde(skip_serializing_if = "Rates::is_none")]
    pub server: Rates,
    /// Prefixes (`198.51.100.0/24`) and addresses to which neither `deny` nor the limits of address and network apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Prefixes and addresses of which nothing is taken; connections of theirs that stand are reset.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// How much there may be per second, and at once after a quiet second. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// UDP packets, and pieces of TCP and WebSocket connections that are read at once (16 KiB at most). Packets over a limit
    /// are dropped, connections are read more slowly.
    pub packets_per_s: u32,
    /// Bytes of those, as players send them. A packet of the largest size passes whatever the rate.
    pub bytes_per_s: u64,
    /// New UDP flows, and new TCP and WebSocket connections; of a token, how often its flow may begin or move, and how
    /// many connections it may begin.
    pub new_flows_per_s: u32,
}

impl Rates {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
