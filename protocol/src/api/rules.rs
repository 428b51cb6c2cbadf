//! What a queue asks of its matches: attributes, teams, rules, how they relax, and what counts how much.
//!
//! Only the shape; what it means, and what contradicts itself, is the matchmaker's.

use serde::{Deserialize, Serialize};

use super::{AttributeKind, Value};

/// An attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AttributeSpec {
    /// What it holds.
    pub kind: AttributeKind,
    /// What a player has who does not say.
    pub default: Value,
}

/// A team, or several alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TeamSpec {
    /// Its name; of several, each gets a number behind it.
    pub name: String,
    /// How many such teams there are.
    #[serde(default = "super::one")]
    pub count: u32,
    /// Fewest players.
    pub min: u32,
    /// Most players.
    pub max: u32,
    /// Who must be in it.
    #[serde(default)]
    pub roles: Vec<RoleSpec>,
}

/// At least so many players of a team have a text attribute with this value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RoleSpec {
    /// The attribute.
    pub attribute: String,
    /// The value.
    pub is: String,
    /// How many at least.
    pub min: u32,
}

/// A rule and its name, by which it is explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RuleSpec {
    /// Name.
    pub name: String,
    /// What it asks.
    #[serde(flatten)]
    pub rule: RuleKind,
    /// How it relaxes, by the wait of the match's oldest ticket.
    #[serde(default)]
    pub expand: Vec<Step>,
}

/// What a rule asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RuleKind {
    /// The largest and the smallest number are at most so far apart.
    Spread {
        /// A number.
        attribute: String,
        /// How far.
        most: f64,
        /// Among whom.
        #[serde(default)]
        within: Within,
        /// What counts of a party.
        #[serde(default)]
        party: Reduce,
    },
    /// No number is further from the average than so far. What counts of a party counts in the average for each of its
    /// players.
    Deviation {
        /// A number.
        attribute: String,
        /// How far.
        most: f64,
        /// Among whom.
        #[serde(default)]
        within: Within,
        /// What counts of a party.
        #[serde(default)]
        party: Reduce,
    },
    /// The teams' averages are at most so far apart. What counts of a party counts for each of its players.
    Gap {
        /// A number.
        attribute: String,
        /// How far.
        most: f64,
        /// What counts of a party.
        #[serde(default)]
        party: Reduce,
    },
    /// Everybody has the same text.
    Same {
        /// A text.
        attribute: String,
    },
    /// Everybody has so many tags in common.
    Common {
        /// Tags.
        attribute: String,
        /// How many.
        at_least: f64,
    },
    /// No two parties share a tag.
    Apart {
        /// Tags.
        attribute: String,
    },
    /// Nobody has a longer round trip to the match's region, in milliseconds.
    Latency {
        /// How long.
        most: f64,
    },
}

/// Among whom numbers are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Within {
    /// Everybody in the match.
    #[default]
    Match,
    /// Everybody in the same team.
    Team,
    /// The players of each party, who all count.
    Party,
}

/// What counts of a party's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reduce {
    /// Their average.
    #[default]
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

/// From a wait on, another limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Seconds.
    pub after_s: u32,
    /// The limit from then on.
    pub to: f64,
}

/// What makes one match better than another: each is a share of its quality.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// How close the players' numbers are (of the first rule about a spread or gap).
    pub skill: f64,
    /// How short the worst round trip is.
    pub latency: f64,
    /// How long the oldest has waited.
    pub wait: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { skill: 0.5, latency: 0.3, wait: 0.2 }
    }
}
