//! A ticket as forming sees it: a party that stays together.

use std::collections::{BTreeMap, BTreeSet};

use crate::filter::Filter;
use crate::queue::Queue;
use muster_protocol::api::{MAX_BLOCKS, Priority, Reduce, Value, ValueError};

/// Latency to a region that a ticket does not name, though it names others.
pub const FAR: u32 = u32::MAX;

/// What a ticket is told from others by.
pub type TicketKey = u128;

/// One player.
#[derive(Clone, Debug, PartialEq)]
pub struct Player {
    /// The studio's name for them.
    pub name: String,
    /// A value for every attribute of the queue, in its order.
    pub attributes: Vec<Value>,
}

/// A party that searches.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// Which it is.
    pub key: TicketKey,
    /// Who is in it; at least one.
    pub players: Vec<Player>,
    /// Round trip to regions by name, in milliseconds: the worst of the party.
    pub latencies_ms: BTreeMap<String, u32>,
    /// Since when it searches, Unix milliseconds.
    pub entered_ms: u64,
    /// Who is served first.
    pub priority: Priority,
    /// What it asks of others.
    pub filter: Option<Filter>,
    /// Players it will not play with.
    pub blocks: BTreeSet<String>,
}

/// Why a ticket does not fit its queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Nobody is in it.
    #[error("a ticket needs at least one player")]
    Empty,
    /// It fits into no team.
    #[error("a party of {size} fits into no team of this queue; the largest takes {largest}")]
    PartyTooLarge {
        /// Players of the party.
        size: usize,
        /// Players of the largest team.
        largest: usize,
    },
    /// A name is there twice.
    #[error("player {0:?} is in the party twice")]
    Twice(String),
    /// The queue declares no such attribute.
    #[error("this queue declares no attribute {0:?}")]
    UnknownAttribute(String),
    /// A value is not what the queue declares.
    #[error("attribute {name:?} {error}")]
    Value {
        /// The attribute.
        name: String,
        /// What is wrong with it.
        error: ValueError,
    },
    /// Its own players keep every match from being allowed.
    #[error("this party can never be matched in this queue: {0}")]
    Never(String),
    /// Its block list is too long.
    #[error("a block list has at most {MAX_BLOCKS} names")]
    TooManyBlocks,
}

impl Queue {
    /// The attributes of a player who says `said`, whole: what is not said is the default.
    ///
    /// # Errors
    /// [`TicketError`], naming the attribute.
    pub fn attributes(&self, said: &BTreeMap<String, Value>) -> Result<Vec<Value>, TicketError> {
        let mut whole = self.defaults.clone();
        for (name, value) in said {
            let Some((at, kind)) = self.schema.get(name) else {
                return Err(TicketError::UnknownAttribute(name.clone()));
            };
            value.check(*kind).map_err(|error| TicketError::Value { name: name.clone(), error })?;
            whole[*at] = value.clone();
        }
        Ok(whole)
    }

    /// As [`Queue::attributes`], for what was said when the queue may have been another: what it does not know, or
    /// knows as something else, is the default.
    pub fn known_attributes(&self, said: &BTreeMap<String, Value>) -> Vec<Value> {
        let mut whole = self.defaults.clone();
        for (name, value) in said {
            if let Some((at, kind)) = self.schema.get(name)
                && value.check(*kind).is_ok()
            {
                whole[*at] = value.clone();
            }
        }
        whole
    }

    /// Whether a ticket can be matched here at all.
    ///
    /// # Errors
    /// [`TicketError`].
    pub fn admits(&self, ticket: &Ticket) -> Result<(), TicketError> {
        if ticket.blocks.len() > MAX_BLOCKS {
            return Err(TicketError::TooManyBlocks);
        }
        let mut names = BTreeSet::new();
        for Player { name, .. } in &ticket.players {
            if !names.insert(name) {
                return Err(TicketError::Twice(name.clone()));
            }
        }
        let largest = self.largest_party();
        match ticket.players.len() {
            0 => Err(TicketError::Empty),
            size if size > largest => Err(TicketError::PartyTooLarge { size, largest }),
            _ => Ok(()),
        }
    }
}

impl Ticket {
    /// A party that names no latency and asks nothing of others, of normal priority.
    pub fn new(key: TicketKey, players: Vec<Player>, entered_ms: u64) -> Self {
        Self {
            key,
            players,
            latencies_ms: BTreeMap::new(),
            entered_ms,
            priority: Priority::Normal,
            filter: None,
            blocks: BTreeSet::new(),
        }
    }

    /// Round trip to a region: 0 anywhere for one that names none.
    pub(crate) fn latency(&self, region: &str) -> u32 {
        if self.latencies_ms.is_empty() { 0 } else { self.latencies_ms.get(region).copied().unwrap_or(FAR) }
    }

    /// How long it has searched, in milliseconds.
    pub(crate) fn wait_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.entered_ms)
    }

    pub(crate) fn number(&self, attribute: usize, reduce: Reduce) -> f64 {
        let numbers = self.numbers(attribute);
        match reduce {
            Reduce::Avg => numbers.sum::<f64>() / self.players.len().max(1) as f64,
            Reduce::Min => numbers.fold(f64::INFINITY, f64::min),
            Reduce::Max => numbers.fold(f64::NEG_INFINITY, f64::max),
        }
    }

    /// What counts of it, once for each of its players.
    pub(crate) fn sum(&self, attribute: usize, reduce: Reduce) -> f64 {
        match reduce {
            Reduce::Avg => self.numbers(attribute).sum(),
            Reduce::Min | Reduce::Max => self.number(attribute, reduce) * self.players.len() as f64,
        }
    }

    pub(crate) fn numbers(&self, attribute: usize) -> impl Iterator<Item = f64> {
        self.players.iter().map(move |player| match player.attributes.get(attribute) {
            Some(Value::Number(number)) => *number,
            // A player's attributes are of the declared kinds.
            _ => 0.0,
        })
    }

    pub(crate) fn texts(&self, attribute: usize) -> impl Iterator<Item = &str> {
        self.players.iter().map(move |player| match player.attributes.get(attribute) {
            Some(Value::Text(text)) => text.as_str(),
            _ => "",
        })
    }

    pub(crate) fn tags(&self, attribute: usize) -> impl Iterator<Item = &BTreeSet<String>> {
        self.players.iter().filter_map(move |player| match player.attributes.get(attribute) {
            Some(Value::Tags(tags)) => Some(tags),
            _ => None,
        })
    }

    /// Whether each takes the other: no one is blocked, and both filters hold for every pair of players.
    pub(crate) fn accepts(&self, other: &Self) -> bool {
        !self.blocks_any_of(other)
            && self.filter_takes(other)
            && !other.blocks_any_of(self)
            && other.filter_takes(self)
    }

    /// Whether a player is in both, who asked twice.
    pub(crate) fn shares_player(&self, other: &Self) -> bool {
        self.players.iter().any(|own| other.players.iter().any(|theirs| theirs.name == own.name))
    }

    /// Whether a player of the other is on its block list.
    pub(crate) fn blocks_any_of(&self, other: &Self) -> bool {
        other.players.iter().any(|player| self.blocks.contains(&player.name))
    }

    /// Whether its filter, if it has one, holds between each of its players and each of the other's.
    pub(crate) fn filter_takes(&self, other: &Self) -> bool {
        self.filter.as_ref().is_none_or(|filter| {
            self.players.iter().all(|mine| {
                other.players.iter().all(|theirs| filter.accepts(&mine.attributes, &theirs.attributes))
            })
        })
    }
}
