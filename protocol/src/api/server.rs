//! Servers: game-server actors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{MatchId, NodeId, SeatId, ServerId};

use super::TokenMode;

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PortProtocol {
    /// Datagrams, each on its own.
    Udp,
    /// A byte stream.
    Tcp,
    /// WebSocket: HTTP/1.1 upgrade, then frames.
    Ws,
}

impl PortProtocol {
    /// `udp`, `tcp` or `ws`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Ws => "ws",
        }
    }
}

/// Where a server is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Wanted; no node yet.
    Pending,
    /// A node and edge ports are reserved; the agent has not spoken yet.
    Placing,
    /// The agent fetches or loads the image.
    Pulling,
    /// The container starts.
    Starting,
    /// Warm: can be claimed.
    Ready,
    /// Claimed by a match.
    Allocated,
    /// Told to finish.
    Draining,
    /// Over, as it should be.
    Stopped,
    /// Over, as it should not be; the reason says why.
    Failed,
}

impl ServerState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Placing,
        Self::Pulling,
        Self::Starting,
        Self::Ready,
        Self::Allocated,
        Self::Draining,
        Self::Stopped,
        Self::Failed,
    ];

    /// The state's text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Placing => "placing",
            Self::Pulling => "pulling",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Allocated => "allocated",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// Whether it is over.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Server {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: ServerId,
    /// Namespace.
    pub namespace: String,
    /// Fleet.
    pub fleet: String,
    /// Region.
    pub region: String,
    /// Node it is placed on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub node: Option<NodeId>,
    /// Build it runs.
    pub build_digest: String,
    /// State.
    pub state: ServerState,
    /// In words: why it is where it is, and what it waits for.
    pub explanation: String,
    /// Stable code of a failure or stop; empty otherwise.
    #[serde(default)]
    pub reason: String,
    /// When each state was entered.
    pub entered_ms: BTreeMap<ServerState, u64>,
    /// When Docker said the container's process had started, on the node's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_started_ms: Option<u64>,
    /// Ports and how they are reached.
    pub ports: Vec<ServerPort>,
    /// Match that claimed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub match_id: Option<MatchId>,
    /// Seats sold.
    pub seats: Vec<Seat>,
    /// Flows and connections open through the edges.
    pub flows: u32,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ServerExit>,
}

/// A port of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ServerPort {
    /// Name.
    pub name: String,
    /// What is spoken on it.
    pub protocol: PortProtocol,
    /// Number inside the container.
    pub container_port: u16,
    /// Number on the edges of the region; 0 until placed.
    pub edge_port: u16,
    /// How clients prove themselves.
    pub token: TokenMode,
    /// Whether clients speak TLS.
    pub tls: bool,
}

/// One player's place on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Seat {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: SeatId,
    /// The player, as the studio's client named them.
    pub player: String,
    /// Whether the server says they are connected (SDK).
    pub connected: bool,
    /// Since when the player, who was connected, is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_at_ms: Option<u64>,
    /// Until when the seat is kept for a player who is not there: who is gone, or has yet to come while others are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until_ms: Option<u64>,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ServerExit {
    /// The process's exit code; 128 + signal if a signal ended it.
    pub code: i64,
    /// Whether it was killed for using more memory than its limit.
    pub out_of_memory: bool,
    /// Last lines of its log.
    pub log_tail: String,
}

/// Where a client connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Endpoint {
    /// Name of the server's port.
    pub port_name: String,
    /// What is spoken on it.
    pub protocol: PortProtocol,
    /// Host name or address of the edge.
    pub host: String,
    /// Port on the edge.
    pub port: u16,
    /// For WebSocket: the whole URL, token included if one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Whether the client speaks TLS.
    #[serde(default)]
    pub tls: bool,
    /// How to prove oneself.
    pub token_mode: TokenMode,
    /// The session token, if the mode asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When the token stops being valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_at_ms: Option<u64>,
}

/// Query of `GET /v1/servers/{id}/logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(feature = "schema", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// Keep the answer open and send what comes.
    #[serde(default)]
    pub follow: bool,
    /// Lines of the past to begin with.
    #[serde(default = "default_tail")]
    pub tail: u32,
}

fn default_tail() -> u32 {
    100
}
