//! A queue as its definition has it: who makes a match, what its rules ask, and what follows of that for forming.
//!
//! How a definition becomes one is in `compile`; what is refused at the door besides, in `check`.

mod check;
mod compile;
#[cfg(test)]
mod tests;

pub use check::check;

use muster_protocol::api::{Reduce, Value, Weights, Within};

use crate::filter::Schema;
use crate::relaxing::Relaxing;

/// Most teams of a match.
pub const MAX_TEAMS: u32 = 100;
/// Most rules of a queue.
pub const MAX_RULES: usize = 32;
/// Most roles of a team.
pub const MAX_ROLES: usize = 16;

/// What is wrong with a definition, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct DefinitionError {
    /// As in `rules[2].attribute`.
    pub path: String,
    /// What is wrong, and how it is mended.
    pub what: String,
}

/// A compiled queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    pub(crate) schema: Schema,
    pub(crate) defaults: Vec<Value>,
    pub(crate) teams: Vec<Team>,
    pub(crate) rules: Vec<Rule>,
    /// Numbers of players a match may have, the largest first.
    pub(crate) sizes: Vec<usize>,
    pub(crate) fill_wait_ms: u64,
    pub(crate) weights: Weights,
}

/// One team.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Team {
    pub(crate) name: String,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) roles: Vec<Role>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Role {
    pub(crate) attribute: usize,
    pub(crate) is: String,
    pub(crate) min: usize,
}

/// A rule that can be asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) asks: Asks,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asks {
    Spread { attribute: usize, most: Relaxing, within: Within, party: Reduce },
    Deviation { attribute: usize, most: Relaxing, within: Within, party: Reduce },
    Gap { attribute: usize, most: Relaxing, party: Reduce },
    Same { attribute: usize },
    Common { attribute: usize, at_least: Relaxing },
    Apart { attribute: usize },
    Latency { most: Relaxing },
}

impl Asks {
    /// The limit that relaxes, if there is one.
    pub(crate) fn limit(&self) -> Option<&Relaxing> {
        match self {
            Self::Spread { most, .. }
            | Self::Deviation { most, .. }
            | Self::Gap { most, .. }
            | Self::Latency { most } => Some(most),
            Self::Common { at_least, .. } => Some(at_least),
            Self::Same { .. } | Self::Apart { .. } => None,
        }
    }

    /// What [`Queue::measure`] may be at most after a wait in milliseconds.
    pub(crate) fn bound(&self, wait_ms: u64) -> f64 {
        match self {
            // Of tags there must be enough, not few enough.
            Self::Common { at_least, .. } => -at_least.at(wait_ms),
            _ => self.limit().map_or(0.0, |limit| limit.at(wait_ms)),
        }
    }

    /// How far apart the numbers may be that it is about, as its limit is what `at` says of it: nobody further from the
    /// average than so far means nobody further than twice that from another. `None` if it is about no numbers.
    pub(crate) fn reach(&self, at: impl Fn(&Relaxing) -> f64) -> Option<f64> {
        match self {
            Self::Spread { most, .. } | Self::Gap { most, .. } => Some(at(most)),
            Self::Deviation { most, .. } => Some(2.0 * at(most)),
            Self::Same { .. } | Self::Common { .. } | Self::Apart { .. } | Self::Latency { .. } => None,
        }
    }

    /// Among whom it compares numbers, which they are, and what counts of a party; `None` if it does not, or compares
    /// teams.
    fn compares(&self) -> Option<(Within, usize, Reduce)> {
        match self {
            Self::Spread { attribute, within, party, .. }
            | Self::Deviation { attribute, within, party, .. } => Some((*within, *attribute, *party)),
            _ => None,
        }
    }

    /// Whether it depends on who is in which team.
    pub(crate) fn is_of_teams(&self) -> bool {
        matches!(self, Self::Gap { .. }) || self.compares().is_some_and(|(within, ..)| within == Within::Team)
    }

    /// Whether it is about each party by itself: whom it plays with changes nothing.
    pub(crate) fn is_of_parties(&self) -> bool {
        self.compares().is_some_and(|(within, ..)| within == Within::Party)
    }
}

impl Queue {
    /// What filters are compiled against.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How many teams a match has.
    pub fn team_count(&self) -> usize {
        self.teams.len()
    }

    /// The name of a team.
    pub fn team_name(&self, team: usize) -> &str {
        self.teams.get(team).map_or("", |team| &team.name)
    }

    /// The team of a name.
    pub fn team_named(&self, name: &str) -> Option<usize> {
        self.teams.iter().position(|team| team.name == name)
    }

    /// Fewest and most players of a match.
    pub fn sizes(&self) -> (usize, usize) {
        (self.sizes.last().copied().unwrap_or(0), self.sizes.first().copied().unwrap_or(0))
    }

    /// Most players of a party.
    pub fn largest_party(&self) -> usize {
        self.teams.iter().map(|team| team.max).max().unwrap_or(0)
    }

    /// The number by which tickets are near to each other, and what counts of a party.
    pub(crate) fn primary(&self) -> Option<(usize, Reduce)> {
        match self.primary_rule()?.asks {
            Asks::Spread { attribute, party, .. }
            | Asks::Deviation { attribute, party, .. }
            | Asks::Gap { attribute, party, .. } => Some((attribute, party)),
            _ => None,
        }
    }

    /// The number whose averages the teams are to have alike, and what counts of a party: what the first rule about a gap
    /// says, or the number by which tickets are near.
    pub(crate) fn balanced(&self) -> Option<(usize, Reduce)> {
        let of_gap = |rule: &Rule| match rule.asks {
            Asks::Gap { attribute, party, .. } => Some((attribute, party)),
            _ => None,
        };
        let near = || self.primary().map(|(attribute, _)| (attribute, Reduce::Avg));
        self.rules.iter().find_map(of_gap).or_else(near)
    }

    /// The rule whose number matters most: the first that compares numbers in the match, or the first of any other about
    /// numbers of those who are in different parties.
    pub(crate) fn primary_rule(&self) -> Option<&Rule> {
        let whole = |rule: &&Rule| rule.asks.compares().is_some_and(|(within, ..)| within == Within::Match);
        let any = |rule: &&Rule| rule.asks.is_of_teams();
        self.rules.iter().find(whole).or_else(|| self.rules.iter().find(any))
    }

    /// Whether a rule compares the numbers by which tickets are near, of everybody in a match.
    pub(crate) fn is_about_primary(&self, rule: &Rule) -> bool {
        let primary = self.primary().map(|(attribute, party)| (Within::Match, attribute, party));
        primary.is_some() && rule.asks.compares() == primary
    }

    /// Positions of the rules that more members can only break and that neither a number nor a region decides.
    pub(crate) fn breaking(&self) -> Vec<usize> {
        let breaks = |rule: &Rule| match rule.asks.compares() {
            Some((within, ..)) => within != Within::Team && !self.is_about_primary(rule),
            None => matches!(rule.asks, Asks::Common { .. }),
        };
        self.positions(breaks)
    }

    /// Positions of the rules that more members can also mend, so that only the whole match decides them.
    pub(crate) fn settling(&self) -> Vec<usize> {
        self.positions(|rule| matches!(rule.asks, Asks::Deviation { within: Within::Match, .. }))
    }

    fn positions(&self, of: impl Fn(&Rule) -> bool) -> Vec<usize> {
        (0..self.rules.len()).filter(|at| of(&self.rules[*at])).collect()
    }

    /// The smallest wait over `wait_ms` at which something relaxes.
    pub(crate) fn next_relaxation(&self, wait_ms: u64) -> Option<u64> {
        let limits = self.rules.iter().filter_map(|rule| rule.asks.limit()?.next_after(wait_ms));
        limits.chain(Some(self.fill_wait_ms).filter(|fill| *fill > wait_ms)).min()
    }
}
