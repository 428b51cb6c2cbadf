//! Why a ticket is where it is: the answer of `GET /v1/tickets/{id}/explain`.

use serde::{Deserialize, Serialize};

use crate::id::TicketId;

use super::TicketState;

/// Why a ticket is where it is, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TicketExplanation {
    /// The ticket.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: TicketId,
    /// Its state.
    pub state: TicketState,
    /// In sentences, for people.
    pub words: Vec<String>,
    /// What keeps the queue's matches from being made, if anything does.
    pub waiting_for: Vec<String>,
    /// How long half of the tickets matched lately had waited, in milliseconds; absent before the first match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_wait_p50_ms: Option<u64>,
    /// How long nine of ten had waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_wait_p90_ms: Option<u64>,
    /// What its search is like; absent once it searches no more, or cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchExplanation>,
}

/// What a ticket's search is like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SearchExplanation {
    /// How long it has searched, in milliseconds.
    pub waited_ms: u64,
    /// Every rule with a limit, and where its limit is.
    pub limits: Vec<LimitExplanation>,
    /// Other tickets looked at: those nearest to it.
    pub looked_at: usize,
    /// Other tickets that search.
    pub others: usize,
    /// Of those looked at, how many each thing excludes, each counted once under the first that excludes it.
    pub excluded: Vec<Exclusion>,
    /// Of those looked at, how many nothing excludes.
    pub candidates: usize,
    /// Players of the smallest match.
    pub smallest: usize,
    /// Players of a full match.
    pub full: usize,
    /// The best group so far, unless it can play in no region that is offered now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<GroupExplanation>,
    /// Running matches with free seats.
    #[serde(default)]
    pub openings: OpeningsExplanation,
}

/// Running matches with free seats, for a ticket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OpeningsExplanation {
    /// Those looked at.
    pub looked_at: usize,
    /// How many of them each thing excludes, each counted once; `tickets` says how many matches.
    pub excluded: Vec<Exclusion>,
    /// Those that the ticket could join by itself now.
    pub joinable: usize,
}

/// Where a rule's limit is for a ticket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LimitExplanation {
    /// The rule.
    pub rule: String,
    /// The limit now.
    pub now: f64,
    /// In how many milliseconds it relaxes next; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relaxes_in_ms: Option<u64>,
    /// To what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relaxes_to: Option<f64>,
}

/// How many other tickets something excludes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Exclusion {
    /// `own_filter`, `their_filter`, `block`, `same_player`, `sizes`, `roles`, or `rule`.
    pub by: String,
    /// The rule's name, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How many.
    pub tickets: usize,
}

/// Tickets that could come together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GroupExplanation {
    /// Where they would play.
    pub region: String,
    /// Players, the ticket's own included.
    pub players: usize,
    /// Players missing for the smallest match.
    pub missing: usize,
    /// How good a match they would be, from 0 to 1; absent of too few players.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
}
