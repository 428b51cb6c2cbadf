//! Lobbies: matches that players choose, by name, by code, or as the fullest that fits; and joining a server by its id.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{MatchId, ServerId};

use super::PartyMember;

/// Longest name of a lobby, in bytes.
pub const MAX_LOBBY_NAME_BYTES: usize = 64;
/// Largest configuration of a lobby, in bytes of JSON.
pub const MAX_LOBBY_CONFIG_BYTES: usize = 4 * 1024;
/// Most tags of a lobby.
pub const MAX_LOBBY_TAGS: usize = 16;
/// Longest value of a tag, in bytes.
pub const MAX_LOBBY_TAG_BYTES: usize = 64;
/// Letters of a lobby's code.
pub const LOBBY_CODE_LETTERS: usize = 6;
/// What a code is made of: capital letters, without those that look or sound like another.
pub const LOBBY_CODE_ALPHABET: &[u8] = b"ABCDEFGHJKLMPQRSTUVWXYZ";

/// A code as it is stored, from what a player typed: case does not matter. `None` if it can be none.
pub fn lobby_code(typed: &str) -> Option<String> {
    let code = typed.trim().to_ascii_uppercase();
    let is_code =
        code.len() == LOBBY_CODE_LETTERS && code.bytes().all(|letter| LOBBY_CODE_ALPHABET.contains(&letter));
    is_code.then_some(code)
}

/// Makes a lobby (`POST /v1/lobbies`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LobbyRequest {
    /// Fleet whose servers host it; it must say `lobbies = true`.
    pub fleet: String,
    /// The player who makes it, by the studio's name for them.
    pub player: String,
    /// Who comes along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub party: Vec<PartyMember>,
    /// Regions it may be in, best first; empty: any of the fleet's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Round trip to each region, in milliseconds, as the beacons told: the nearest is taken. A region left out counts as
    /// far.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latencies_ms: BTreeMap<String, u32>,
    /// What it is to be like.
    #[serde(default)]
    pub lobby: LobbySpec,
    /// Anything of the caller's that nobody guesses: the same request sent again with it answers with the ticket that is there
    /// and its token. Another request with it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// What a lobby is like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LobbySpec {
    /// Name that other players see.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Who may find it.
    pub visibility: Visibility,
    /// Most players, the fleet's `max_players` at most, which is what holds if this is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_players: Option<u32>,
    /// Any JSON of the game's, [`MAX_LOBBY_CONFIG_BYTES`] at most; the server and those who list see it.
    #[serde(skip_serializing_if = "serde_json::Value::is_null")]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub config: serde_json::Value,
    /// What it can be searched by: `{"map": "dust", "mode": "ctf"}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Who may find a lobby.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody.
    #[default]
    Public,
    /// Nobody: it is joined by its code or id.
    Private,
}

impl Visibility {
    /// The text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

/// Joins the fullest public lobby that fits (`POST /v1/lobbies/find`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct FindLobbyRequest {
    /// Fleet.
    pub fleet: String,
    /// The player, by the studio's name for them.
    pub player: String,
    /// Who comes along: all get a seat, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub party: Vec<PartyMember>,
    /// Regions it may be in; empty: any of the fleet's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<String>,
    /// Round trip to each region, in milliseconds: of lobbies as full, the nearest is taken.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latencies_ms: BTreeMap<String, u32>,
    /// Farthest region, in milliseconds; one whose latency is not stated is farther. Left out: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency_ms: Option<u32>,
    /// Tags it must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// If none fits, make this one, with the tags searched for besides its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<LobbySpec>,
    /// Own tokens of the tickets that the players had before, which show that a seat there is theirs: they have it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_tokens: Vec<String>,
    /// Anything of the caller's that nobody guesses: the same request sent again with it answers with the ticket that is there
    /// and its token. Another request with it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// Joins a lobby (`POST /v1/lobbies/{lobby}/join`) or a server (`POST /v1/servers/{id}/join`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The player, by the studio's name for them.
    pub player: String,
    /// Who comes along: all get a seat, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub party: Vec<PartyMember>,
    /// Own tokens of the tickets that the players had before, which show that a seat there is theirs: they have it again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_tokens: Vec<String>,
    /// Anything of the caller's that nobody guesses: the same request sent again with it answers with the ticket that is there
    /// and its token. Another request with it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

impl JoinRequest {
    /// Joins alone.
    pub fn new(player: impl Into<String>) -> Self {
        Self { player: player.into(), ..Self::default() }
    }
}

/// Where a lobby is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum LobbyState {
    /// Its server is being started; players may join already.
    Waiting,
    /// Its server runs.
    Running,
}

impl LobbyState {
    /// The text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
        }
    }
}

/// A lobby.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Lobby {
    /// Its id, which is its match's.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: MatchId,
    /// Letters by which players tell each other of it.
    pub code: String,
    /// Fleet.
    pub fleet: String,
    /// Region.
    pub region: String,
    /// State.
    pub state: LobbyState,
    /// Name; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Who may find it.
    pub visibility: Visibility,
    /// Whether the game lets players in.
    pub open: bool,
    /// Seats that are held.
    pub players: u32,
    /// Most of them.
    pub max_players: u32,
    /// The player who made it.
    pub owner: String,
    /// The game's JSON; absent: none.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub config: serde_json::Value,
    /// What it can be searched by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Its server, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub server_id: Option<ServerId>,
    /// When it was made.
    pub created_at_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_a_player_types_it() {
        assert_eq!(lobby_code(" kqxbtz\n"), Some("KQXBTZ".to_owned()));
        for wrong in ["KQXBT", "KQXBTZA", "KQX-BTZ", "KQXBTO", "KQXBT1", "", "ÄÖÜ"] {
            assert_eq!(lobby_code(wrong), None, "{wrong}");
        }
    }
}
