//! A recorded population: the tickets that a queue has seen, one JSON object a line (JSON Lines).
//!
//! It is what a definition is tried out against before it is applied, so it holds what a ticket said and when, and
//! nothing of what became of it but that its players gave up. Players' names may be replaced by any others, as long
//! as the same player keeps the same name: block lists mean them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{PartyMember, Priority};

/// Longest line of a recorded population, in bytes.
pub const MAX_RECORDED_LINE_BYTES: usize = 256 * 1_024;

/// A line of a recorded population: one ticket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RecordedTicket {
    /// When it began to search, Unix milliseconds, or milliseconds from any other beginning that all lines share.
    pub entered_ms: u64,
    /// When its players gave up, or it expired, on the clock of `entered_ms`; absent where it stayed until it was
    /// matched, so that a replay lets it search on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// The party; at least one.
    pub players: Vec<PartyMember>,
    /// Round trip to each region, in milliseconds, the worst of the party; a region left out counts as far, and a
    /// ticket that names none is near to all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub latencies_ms: BTreeMap<String, u32>,
    /// Who is served first among equals.
    #[serde(default)]
    pub priority: Priority,
    /// What it asks of others, as in a ticket's request; empty: nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// Players that it will not play with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<String>,
}
