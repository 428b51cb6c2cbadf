//! Fleets: a build, and how many servers of it to keep where.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::PortProtocol;

/// Most ports of one server.
pub const MAX_PORTS: usize = 16;
/// How long a dropped player's seat is kept unless the fleet says otherwise, in seconds.
pub const DEFAULT_RECONNECT_S: u32 = 60;
/// How long the seat of a player who has not come yet is held unless the fleet says otherwise, in seconds.
pub const DEFAULT_CONNECT_S: u32 = 120;
/// Most warm servers of one fleet in one region.
pub const MAX_WARM: u32 = 1_000;

/// What a studio applies (`PUT /v1/fleets/{name}`, `muster fleet apply`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FleetSpec {
    /// Name within the namespace.
    pub name: String,
    /// Tag or digest of a build in the namespace.
    pub build: String,
    /// Players may make, find and join lobbies on its servers.
    #[serde(default)]
    pub lobbies: bool,
    /// Players may join a server by its id.
    #[serde(default)]
    pub direct_connect: bool,
    /// Most players of a server that is joined in one of these ways; needed for both.
    #[serde(default)]
    pub max_players: u32,
    /// Ports the server listens on inside its container.
    pub ports: Vec<PortSpec>,
    /// By region: how many servers.
    pub regions: BTreeMap<String, RegionSpec>,
    /// What one server may use.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// Extra environment. Names beginning with `MUSTER_` are Muster's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Arguments for the image's entry point.
    #[serde(default)]
    pub args: Vec<String>,
    /// How long things may take.
    #[serde(default)]
    pub timeouts: TimeoutsSpec,
    /// Matches of queues are open to others while they run and have free seats, unless their server says otherwise.
    /// Changing it replaces no server, and holds for matches made from then on.
    #[serde(default)]
    pub backfill: bool,
}

/// One port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PortSpec {
    /// Name; the server finds the number under `MUSTER_PORT_<NAME>`.
    pub name: String,
    /// What is spoken on it.
    pub protocol: PortProtocol,
    /// Number inside the container, 1 to 65535; wider than that, so that one out of range is answered
    /// with the name of its field as every other fault of a fleet is.
    pub port: u32,
    /// How clients prove themselves.
    #[serde(default)]
    pub token: TokenMode,
    /// TCP and WebSocket: players speak TLS, on WebSocket by `wss`.
    #[serde(default)]
    pub tls: bool,
    /// TCP and WebSocket: the server gets each connection with a header of PROXY protocol v2, which has the player's
    /// address.
    #[serde(default)]
    pub proxy_protocol: bool,
}

/// How a client proves itself on a port.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenMode {
    /// The session token comes first: a preface on UDP and TCP, `?token=` on WebSocket.
    #[default]
    Preface,
    /// Anyone may connect.
    Open,
    /// UDP only: as `preface`, or the token comes from another socket of the client's address, for engines that
    /// hide the one they play by.
    Claim,
}

/// Servers of a fleet in one region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegionSpec {
    /// Ready, unclaimed servers to keep.
    #[serde(default)]
    pub warm: u32,
    /// Most servers at a time, claimed ones included.
    #[serde(default = "default_max")]
    pub max: u32,
}

fn default_max() -> u32 {
    100
}

/// What one server may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Thousandths of a CPU.
    pub cpu_millis: u32,
    /// Memory, MiB; more is an out-of-memory kill.
    pub memory_mib: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Mount the image read-only.
    pub read_only_root: bool,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self { cpu_millis: 500, memory_mib: 512, pids: 256, read_only_root: false }
    }
}

/// How long things may take, in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsSpec {
    /// From container start until ready.
    pub ready_s: u32,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace_s: u32,
    /// An allocated server without players for this long is stopped; 0: never.
    pub idle_s: u32,
    /// A draining server is stopped after this, players or not.
    pub drain_s: u32,
    /// Without an SDK health call for this long a server that made one is unhealthy; 0: never.
    pub health_s: u32,
    /// The seat of a player who was connected, and is no longer, is kept for them for this long; 0: not at all. Changing
    /// it replaces no server.
    pub reconnect_s: u32,
    /// The seat of a player who has not been connected yet is held for this long, counted from when the server first says
    /// that another of the match is connected, or from when the seat is sold in a match of which one was; 0: for as long as
    /// the match goes on. Changing it replaces no server.
    pub connect_s: u32,
}

impl Default for TimeoutsSpec {
    fn default() -> Self {
        Self {
            ready_s: 60,
            stop_grace_s: 10,
            idle_s: 300,
            drain_s: 3_600,
            health_s: 30,
            reconnect_s: DEFAULT_RECONNECT_S,
            connect_s: DEFAULT_CONNECT_S,
        }
    }
}

/// A fleet and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Fleet {
    /// As applied.
    pub spec: FleetSpec,
    /// Counts up with every change.
    pub version: u64,
    /// Digest that `spec.build` stood for when it was applied.
    pub build_digest: String,
    /// By region.
    pub regions: BTreeMap<String, FleetRegionStatus>,
    /// In words: what keeps the fleet from what was asked, if anything does.
    pub waiting_for: Vec<String>,
}

/// Servers of a fleet in a region, by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FleetRegionStatus {
    /// Not yet ready.
    pub starting: u32,
    /// Warm.
    pub ready: u32,
    /// Claimed.
    pub allocated: u32,
    /// Told to finish.
    pub draining: u32,
    /// Failed, within the time failures are kept.
    pub failed: u32,
}

/// Claims a ready server (`POST /v1/fleets/{name}/allocate`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AllocateRequest {
    /// Regions to take it from, best first; empty: any.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Players to sell seats to, by the studio's names; may be empty.
    #[serde(default)]
    pub players: Vec<String>,
    /// Handed to the server with its allocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}
