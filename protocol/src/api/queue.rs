//! Queues: matchmaking modes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::ApiTokenId;

use super::{AttributeSpec, RuleSpec, TeamSpec, Weights};

/// Most players of one match.
pub const MAX_PLAYERS: u32 = 1_000;
/// Most tickets that a queue keeps a recording of; those that come after are not recorded.
pub const MAX_RECORDED: u64 = 200_000;
/// Most parts that a queue is cut into.
pub const MAX_PARTS: u32 = 16;
/// Longest time a ticket may search, in seconds: a day.
pub const MAX_TICKET_TTL_S: u32 = 86_400;
/// Longest time players may have to accept a match, in seconds.
pub const MAX_ACCEPT_S: u32 = 600;
/// Longest round trip to a region that is stated or limited, in milliseconds: a minute.
pub const MAX_LATENCY_MS: u32 = 60_000;
/// How long a ticket searches where the queue does not say, in seconds.
pub const DEFAULT_TICKET_TTL_S: u32 = 300;

/// What a studio applies (`PUT /v1/queues/{name}`, `muster queue apply`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// Name within the namespace.
    pub name: String,
    /// The fleet whose servers its matches get.
    pub fleet: String,
    /// Players who make a match, where they are not in teams: short for one team of so many. 0: the teams say.
    #[serde(default)]
    pub players: u32,
    /// Regions it may choose; empty: every region of the fleet.
    #[serde(default)]
    pub regions: Vec<String>,
    /// A player whose latency to a region is over this, in milliseconds, is not sent there: short for a rule that
    /// never relaxes. 0: no cap, or the rules say.
    #[serde(default)]
    pub max_latency_ms: u32,
    /// A ticket that has found no match after this many seconds expires.
    #[serde(default = "default_ttl")]
    pub ticket_ttl_s: u32,
    /// Players have to accept their match within this many seconds, before it gets a server: whoever declines or does
    /// not answer is out, and the others search on with the wait they had. 0: they are not asked.
    #[serde(default)]
    pub accept_s: u32,
    /// Keep what tickets say and when they came, to try changed definitions out against (`muster queue recording`).
    #[serde(default)]
    pub recording: bool,
    /// Most parts it is cut into, each led by a matchmaker of its own, as soon as there are tickets to tell apart by region
    /// or number. 0: as many as its searching tickets need.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub parts: u32,
    /// What players are described by, by name.
    #[serde(default)]
    pub attributes: BTreeMap<String, AttributeSpec>,
    /// The teams of a match.
    #[serde(default)]
    pub teams: Vec<TeamSpec>,
    /// The number of players must be a multiple of this.
    #[serde(default = "super::one")]
    pub count_multiple: u32,
    /// Fewest players of a match in all, where the teams' `min` together is less. 0: as the teams say.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub min_players: u32,
    /// Most players of a match in all, where the teams' `max` together is more. 0: as the teams say.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub max_players: u32,
    /// For this many seconds of the oldest ticket's wait only full matches are made; then the teams' `min` will do.
    #[serde(default)]
    pub fill_wait_s: u32,
    /// What must hold for a match.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
    /// What makes one match better than another.
    #[serde(default)]
    pub weights: Weights,
}

fn default_ttl() -> u32 {
    DEFAULT_TICKET_TTL_S
}

impl QueueSpec {
    /// A queue whose matches are of `players`, who are all alike: everything else as it is when nothing is said.
    pub fn simple(name: impl Into<String>, fleet: impl Into<String>, players: u32) -> Self {
        Self {
            name: name.into(),
            fleet: fleet.into(),
            players,
            regions: Vec::new(),
            max_latency_ms: 0,
            ticket_ttl_s: DEFAULT_TICKET_TTL_S,
            accept_s: 0,
            recording: false,
            parts: 0,
            attributes: BTreeMap::new(),
            teams: Vec::new(),
            count_multiple: 1,
            min_players: 0,
            max_players: 0,
            fill_wait_s: 0,
            rules: Vec::new(),
            weights: Weights::default(),
        }
    }
}

/// A queue and how it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Queue {
    /// As applied.
    pub spec: QueueSpec,
    /// Counts up with every change.
    pub version: u64,
    /// Whether it takes tickets and makes matches.
    #[serde(default)]
    pub mode: QueueMode,
    /// Tickets searching now.
    pub searching: u32,
    /// Tickets whose match waits for a server.
    pub matched: u32,
    /// Running matches that it fills, as far as they are counted: at most 1,000.
    #[serde(default)]
    pub openings: u32,
    /// How long half of the tickets matched lately had waited, in milliseconds; absent before the first match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_p50_ms: Option<u64>,
    /// How long nine of ten had waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_p90_ms: Option<u64>,
    /// In words: what keeps matches from being made, if anything does.
    pub waiting_for: Vec<String>,
    /// The parts it is cut into; empty if it is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<QueuePart>,
}

/// A version of a queue's definition; the last ones are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueueVersion {
    /// Counts up with every change.
    pub version: u64,
    /// As applied.
    pub spec: QueueSpec,
    /// When, Unix milliseconds.
    pub applied_at_ms: u64,
    /// The API token it was applied with; absent if it was applied before versions were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub applied_by: Option<ApiTokenId>,
}

/// A part of a queue: tickets that one matchmaker leads. Matches cross the borders of parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct QueuePart {
    /// Tickets that are nearest to one of these regions; "" stands for naming none. The first part's are also those that
    /// no part names.
    pub regions: Vec<String>,
    /// Of these, tickets whose number is not below this: the one by which the queue sorts. Absent: there is no least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<f64>,
    /// And below this. Absent: there is no most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<f64>,
}

/// Whether a queue takes tickets and makes matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum QueueMode {
    /// Both.
    #[default]
    Open,
    /// It takes tickets, and makes no matches.
    Paused,
    /// It makes matches, and takes no tickets.
    Draining,
}

impl QueueMode {
    /// The mode's text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Paused => "paused",
            Self::Draining => "draining",
        }
    }
}
