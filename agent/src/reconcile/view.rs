//! What a server is shown of itself by the SDK endpoint. Values only.

use std::collections::BTreeMap;

use muster_protocol::agent::{Lobby, ServerSpec};
use muster_protocol::api::Visibility;
use muster_protocol::id::SeatId;
use serde::Serialize;

/// A server, as it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ServerView {
    /// Its id.
    pub id: String,
    /// Namespace.
    pub namespace: String,
    /// Fleet.
    pub fleet: String,
    /// Region.
    pub region: String,
    /// `starting`, `ready`, `allocated`, `draining` or `stopping`.
    pub state: &'static str,
    /// The match that claimed it, if one has.
    pub allocation: Option<AllocationView>,
    /// Seats it has said are connected.
    pub connected_seats: Vec<String>,
    /// Seats that nobody may sit in again, whatever they show; not shown.
    #[serde(skip)]
    pub closed_seats: Vec<SeatId>,
    /// Whether it has been told to finish.
    pub draining: bool,
    /// When it is stopped although players may be on it, Unix milliseconds; absent: no such time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_deadline_ms: Option<u64>,
}

/// A match, as the server that hosts it sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AllocationView {
    /// The match.
    pub match_id: String,
    /// Who will come.
    pub seats: Vec<SeatView>,
    /// What queue or caller gave along; JSON if it is JSON, else text.
    pub data: serde_json::Value,
    /// The lobby that the match is; absent if it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lobby: Option<LobbyView>,
}

/// A lobby, as the server that hosts it sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LobbyView {
    /// By which players join.
    pub code: String,
    /// Name.
    pub name: String,
    /// `public` or `private`.
    pub visibility: &'static str,
    /// Whether players are let in.
    pub open: bool,
    /// Most players.
    pub max_players: u32,
    /// The player who made it.
    pub owner: String,
    /// The game's JSON.
    pub config: serde_json::Value,
    /// What it can be searched by.
    pub tags: BTreeMap<String, String>,
}

impl From<&Lobby> for LobbyView {
    fn from(lobby: &Lobby) -> Self {
        Self {
            code: lobby.code.clone(),
            name: lobby.name.clone(),
            visibility: if lobby.public { Visibility::Public } else { Visibility::Private }.as_str(),
            open: lobby.open,
            max_players: lobby.max_players,
            owner: lobby.owner.clone(),
            config: data(&lobby.config),
            tags: lobby.tags.clone().into_iter().collect(),
        }
    }
}

/// One player's place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SeatView {
    /// The seat.
    pub seat: String,
    /// The player, as the studio's client named them.
    pub player: String,
    /// The player's team; empty where the server was claimed by request.
    pub team: String,
}

impl ServerView {
    /// The view of a server made from `spec`; `state` and `connected_seats` are the agent's to say.
    pub fn new(spec: &ServerSpec, state: &'static str, draining: bool, connected_seats: Vec<String>) -> Self {
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
                    .map(|seat| SeatView {
                        seat: seat.seat_id.clone(),
                        player: seat.player.clone(),
                        team: seat.team.clone(),
                    })
                    .collect(),
                data: data(&allocation.data),
                lobby: allocation.lobby.as_ref().map(LobbyView::from),
            }),
            connected_seats,
            closed_seats: Vec::new(),
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
