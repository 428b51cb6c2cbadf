//! A lobby, as the API tells it.

use muster_protocol::api;
use serde_json::Value;

use crate::records::{MatchRecord, MatchState};

/// The lobby that a match is; `None` if it is none.
pub(crate) fn lobby(record: MatchRecord) -> Option<api::Lobby> {
    let (id, server_id) = (record.typed_id(), record.server_id());
    let is_waiting = record.state() == MatchState::Waiting;
    let lobby = record.lobby?;
    Some(api::Lobby {
        id,
        code: lobby.code,
        fleet: record.fleet,
        region: record.region,
        state: if is_waiting { api::LobbyState::Waiting } else { api::LobbyState::Running },
        name: lobby.name,
        visibility: if lobby.public { api::Visibility::Public } else { api::Visibility::Private },
        open: !lobby.closed && !lobby.ending,
        players: record.seats.len() as u32,
        max_players: record.max_players,
        owner: lobby.owner,
        config: config(&lobby.config),
        tags: lobby.tags,
        server_id,
        created_at_ms: record.created_at_ms,
    })
}

/// JSON if it is JSON, which an older agent may not have looked at.
fn config(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
