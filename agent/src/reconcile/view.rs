//! What a server is shown of itself by the SDK endpoint. Values only.

use muster_protocol::agent::ServerSpec;
use serde::Serialize;

/// A server, as it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ServerView {
    /// Its id.
    pub(crate) id: String,
    /// Namespace.
    pub(crate) namespace: String,
    /// Fleet.
    pub(crate) fleet: String,
    /// Region.
    pub(crate) region: String,
    /// `starting`, `ready`, `allocated`, `draining` or `stopping`.
    pub(crate) state: &'static str,
    /// The match that claimed it, if one has.
    pub(crate) allocation: Option<AllocationView>,
    /// Seats it has said are connected.
    pub(crate) connected_seats: Vec<String>,
    /// Whether it has been told to finish.
    pub(crate) draining: bool,
    /// When it is stopped although players may be on it, Unix milliseconds; absent: no such time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drain_deadline_ms: Option<u64>,
}

/// A match, as the server that hosts it sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct AllocationView {
    /// The match.
    pub(crate) match_id: String,
    /// Who will come.
    pub(crate) seats: Vec<SeatView>,
    /// What queue or caller gave along; JSON if it is JSON, else text.
    pub(crate) data: serde_json::Value,
}

/// One player's place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SeatView {
    /// The seat.
    pub(crate) seat: String,
    /// The player, as the studio's client named them.
    pub(crate) player: String,
}

impl ServerView {
    /// The view of a server made from `spec`; `state` and `connected_seats` are the agent's to say.
    pub(crate) fn new(
        spec: &ServerSpec,
        state: &'static str,
        draining: bool,
        connected_seats: Vec<String>,
    ) -> Self {
        Self {
            id: spec.server_id.clone(),
            namespace: spec.namespace.clone(),
            fleet: spec.fleet.clone(),
            region: spec.region.clone(),
            state,
            allocation: spec.allocation.as_ref().map(|allocation| AllocationView {
                match_id: allocation.match_id.clone(),
                seats: allocation
                    .seats
                    .iter()
                    .map(|seat| SeatView { seat: seat.seat_id.clone(), player: seat.player.clone() })
                    .collect(),
                data: data(&allocation.data),
            }),
            connected_seats,
            draining,
            drain_deadline_ms: Some(spec.drain_deadline_ms).filter(|&at| draining && at != 0),
        }
    }
}

fn data(text: &str) -> serde_json::Value {
    if text.is_empty() {
        return serde_json::Value::Null;
    }
    serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.to_owned()))
}
