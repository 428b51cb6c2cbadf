//! Tickets: a player's request for a match, and what came of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{MatchId, SeatId, ServerId, TicketId};

use super::{Endpoint, Lobby, Value};

/// Longest player name, in bytes.
pub const MAX_PLAYER_BYTES: usize = 128;
/// Most regions a ticket may state its latency to.
pub const MAX_LATENCIES: usize = 64;
/// Most players of a party besides the one who asks.
pub const MAX_PARTY: usize = 99;
/// Longest filter, in bytes.
pub const MAX_FILTER_BYTES: usize = 1_024;
/// Most names on a ticket's block list.
pub const MAX_BLOCKS: usize = 256;
/// Longest idempotency key, in bytes.
pub const MAX_IDEMPOTENCY_KEY_BYTES: usize = 128;
/// Most tokens of older tickets that a request may show.
pub const MAX_PREVIOUS_TOKENS: usize = 16;
/// Longest wait of one long poll, in seconds.
pub const MAX_WAIT_S: u32 = 60;

/// Asks for a match (`POST /v1/tickets`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// Queue.
    pub queue: String,
    /// The player, by the studio's name for them.
    pub player: String,
    /// What describes the player, by the names of the queue's attributes; what is left out is the queue's default.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Value>,
    /// Who comes with the player: a party stays together, in one team.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub party: Vec<PartyMember>,
    /// Round trip to each region, in milliseconds, as the beacons told, the worst of the party; a region left out
    /// counts as far.
    #[serde(default)]
    pub latencies_ms: BTreeMap<String, u32>,
    /// What must be true between each player of this ticket (`mine`) and each of another (`theirs`, or no prefix), as
    /// in `abs(skill - mine.skill) < 50 and "ctf" in modes`. It holds against a ticket if theirs holds, too.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// Players that this ticket will not play with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
    /// Who is served first among equals.
    #[serde(default)]
    pub priority: Priority,
    /// Anything of the caller's that nobody guesses, such as a UUID: the same request sent again with it answers with the
    /// ticket that is there and its token, so that nothing is lost with an answer. Another request with it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// If the players have seats in a match of this queue that goes on, the ticket is theirs at once, on the same server;
    /// `false`: those seats are given up, and another match is looked for. Asked for with a token of the role `client`, it
    /// holds of seats whose tickets `previous_tokens` shows; others are left alone.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub rejoin: bool,
    /// Own tokens of the tickets that the players had before: they show whose the seats and tickets are. Of tickets in this
    /// queue that still wait, the new one takes the place. Those that are over, or of elsewhere, count for nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_tokens: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Default for TicketRequest {
    fn default() -> Self {
        Self {
            queue: String::new(),
            player: String::new(),
            attributes: BTreeMap::new(),
            party: Vec::new(),
            latencies_ms: BTreeMap::new(),
            filter: String::new(),
            blocks: Vec::new(),
            priority: Priority::default(),
            idempotency_key: None,
            rejoin: true,
            previous_tokens: Vec::new(),
        }
    }
}

impl TicketRequest {
    /// Asks for a match of one player.
    pub fn new(queue: impl Into<String>, player: impl Into<String>) -> Self {
        Self { queue: queue.into(), player: player.into(), ..Self::default() }
    }
}

/// A player of a party.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PartyMember {
    /// The player, by the studio's name for them.
    pub player: String,
    /// What describes the player, as for the one who asks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, Value>,
}

/// Who is served first among equals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After the others.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// Where a ticket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TicketState {
    /// In its queue.
    Searching,
    /// In a match that waits for its server.
    Matched,
    /// Has a seat and knows where.
    Assigned,
    /// Withdrawn by its owner, or its seats were given up; the reason says why.
    Cancelled,
    /// Nobody was found in time.
    Expired,
    /// Cannot be served; the reason says why.
    Failed,
}

impl TicketState {
    /// The state's text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Searching => "searching",
            Self::Matched => "matched",
            Self::Assigned => "assigned",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more will come.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Searching | Self::Matched)
    }
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Ticket {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: TicketId,
    /// Queue; empty if it is of a lobby, or of a server joined by its id.
    pub queue: String,
    /// Player.
    pub player: String,
    /// State.
    pub state: TicketState,
    /// In words: what it waits for, or why it ended.
    pub explanation: String,
    /// Shows and withdraws this ticket and no other, as a bearer token: for a game's client that has no token of the
    /// API. Only in answers to the request that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When it was acknowledged.
    pub created_at_ms: u64,
    /// When it entered its match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_at_ms: Option<u64>,
    /// When it got its server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_at_ms: Option<u64>,
    /// Its match waits until all players have accepted, and until then at most (`POST /v1/tickets/{id}/accept`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_by_ms: Option<u64>,
    /// Whether this ticket has accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
    /// Where to play; set once assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// The lobby it is of, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lobby: Option<Lobby>,
}

/// Query of `GET /v1/tickets/{id}`: a long poll if `wait_s` is over 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema, utoipa::IntoParams))]
#[cfg_attr(feature = "schema", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields)]
pub struct TicketQuery {
    /// Answer once the state is another than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TicketState>,
    /// Or after this many seconds, at most [`MAX_WAIT_S`].
    #[serde(default)]
    pub wait_s: u32,
}

/// A seat on a server, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Assignment {
    /// The match.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub match_id: MatchId,
    /// The server.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub server_id: ServerId,
    /// Its region.
    pub region: String,
    /// The player's seat.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub seat_id: SeatId,
    /// The team the ticket's players are in.
    #[serde(default)]
    pub team: String,
    /// Where to connect, one per port and edge; the first of a port is the preferred one.
    pub endpoints: Vec<Endpoint>,
    /// The seats of the others of the party.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub party: Vec<AllocatedSeat>,
}

/// A server claimed by request: the answer of `POST /v1/fleets/{name}/allocate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Allocated {
    /// The match made for it.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub match_id: MatchId,
    /// The server.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub server_id: ServerId,
    /// Its region.
    pub region: String,
    /// A seat for every player named.
    pub seats: Vec<AllocatedSeat>,
}

/// One seat of an [`Allocated`] server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AllocatedSeat {
    /// Player.
    pub player: String,
    /// Seat.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub seat_id: SeatId,
    /// Where the player connects.
    pub endpoints: Vec<Endpoint>,
}
