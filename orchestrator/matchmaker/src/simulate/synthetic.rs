//! A population made up for a definition nobody has a recording for: seeded, so that two definitions are compared on
//! the same players.
//!
//! It is plausible, not measured: a recording says more about a game than any option here.

use std::collections::{BTreeMap, BTreeSet};

use muster_protocol::api::{AttributeKind, Value};

use super::{Arrival, MAX_TIME_MS};
use crate::queue::{Asks, Queue};
use crate::ticket::{Player, Ticket, TicketError, TicketKey};

/// Most tickets of a synthetic population.
pub const MAX_SYNTHETIC: usize = 1_000_000;
/// Uniform numbers whose sum is taken for a normal one: their variance is then 1.
const UNIFORMS: usize = 12;
/// The deviation of a number of whose attribute nothing is said, as a part of its default.
const DEVIATION: f64 = 0.2;
/// How far a party's players deviate from its number, as a part of how far parties deviate.
const WITHIN_PARTY: f64 = 0.25;

/// What a synthetic population is like.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntheticOptions {
    /// Tickets; at most [`MAX_SYNTHETIC`].
    pub tickets: usize,
    /// Tickets that come in a second, on average; over 0.
    pub per_s: f64,
    /// When the first may come, in milliseconds.
    pub begins_ms: u64,
    /// Each leaves after so many milliseconds, if it is not matched before; `None`: never.
    pub leaves_after_ms: Option<u64>,
    /// The shares of parties of 1, 2, 3 and more players, in any unit; empty: all come alone.
    pub party_shares: Vec<f64>,
    /// Standard deviations of numbers, by attribute; of one not named a fifth of its default, or 1 if that is 0.
    pub deviations: BTreeMap<String, f64>,
    /// Values of texts and tags, by attribute, each as likely as the others. Texts not named have the values that
    /// roles ask for and the default; tags not named are the default's.
    pub values: BTreeMap<String, Vec<String>>,
    /// Where players live; empty: they are near to every region.
    pub homes: Vec<Home>,
}

/// Players of a region.
#[derive(Clone, Debug, PartialEq)]
pub struct Home {
    /// The region.
    pub region: String,
    /// Their share of all, in any unit.
    pub share: f64,
    /// Their round trip to the region, in milliseconds, give or take half.
    pub near_ms: u32,
    /// Their round trip to every other home, in milliseconds, give or take half.
    pub far_ms: u32,
}

impl Default for SyntheticOptions {
    /// A thousand players who come alone, five a second, and stay.
    fn default() -> Self {
        Self {
            tickets: 1_000,
            per_s: 5.0,
            begins_ms: 0,
            leaves_after_ms: None,
            party_shares: Vec::new(),
            deviations: BTreeMap::new(),
            values: BTreeMap::new(),
            homes: Vec::new(),
        }
    }
}

/// What is wrong with the options, with the option's name.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SyntheticError {
    /// Too many tickets.
    #[error("tickets: at most {MAX_SYNTHETIC}, not {0}")]
    Tickets(usize),
    /// So many tickets a second are none, or they come for too long.
    #[error("per_s: {0} is no rate for so many tickets; give a number over 0")]
    Rate(f64),
    /// Shares are no shares.
    #[error("{0}: shares are finite numbers of at least 0, not all 0")]
    Shares(&'static str),
    /// The queue takes no party so large.
    #[error("party_shares: {0}")]
    Party(TicketError),
    /// An attribute is not there, or not of that kind.
    #[error("{option}: {what}")]
    Attribute {
        /// The option.
        option: &'static str,
        /// What is wrong.
        what: String,
    },
}

/// A population for a queue: the same of the same seed and options.
///
/// # Errors
/// [`SyntheticError`], naming the option.
pub fn synthetic(
    queue: &Queue,
    seed: u64,
    options: &SyntheticOptions,
) -> Result<Vec<Arrival>, SyntheticError> {
    let lasts_ms = check(queue, options)?;
    let mut random = Random(seed);
    // So many times drawn from one span come as independent arrivals do.
    let mut times: Vec<u64> =
        (0..options.tickets).map(|_| options.begins_ms + (random.unit() * lasts_ms) as u64).collect();
    times.sort_unstable();
    let makers = makers(queue, options);
    let shares = if options.party_shares.is_empty() { &[1.0][..] } else { &options.party_shares };
    let arrivals = times.into_iter().enumerate().map(|(number, entered_ms)| {
        let size = random.pick(shares.iter().copied()) + 1;
        let players = players(&makers, number, size, &mut random);
        let latencies_ms = latencies(&options.homes, &mut random);
        let ticket = Ticket { latencies_ms, ..Ticket::new(number as TicketKey + 1, players, entered_ms) };
        let leaves_ms = options.leaves_after_ms.map(|after_ms| entered_ms.saturating_add(after_ms));
        Arrival { ticket, leaves_ms }
    });
    Ok(arrivals.collect())
}

/// How long they come, in milliseconds, if the options are right.
fn check(queue: &Queue, options: &SyntheticOptions) -> Result<f64, SyntheticError> {
    if options.tickets > MAX_SYNTHETIC {
        return Err(SyntheticError::Tickets(options.tickets));
    }
    let lasts_ms = options.tickets as f64 / options.per_s * 1_000.0;
    let latest_ms = options.begins_ms as f64 + lasts_ms;
    if !(options.per_s > 0.0 && latest_ms <= MAX_TIME_MS as f64) {
        return Err(SyntheticError::Rate(options.per_s));
    }
    let are_shares = |shares: &mut dyn Iterator<Item = f64>| {
        let (mut sum, mut is_good) = (0.0, true);
        for share in shares {
            is_good &= share.is_finite() && share >= 0.0;
            sum += share;
        }
        is_good && sum > 0.0 && sum.is_finite()
    };
    if !options.party_shares.is_empty() && !are_shares(&mut options.party_shares.iter().copied()) {
        return Err(SyntheticError::Shares("party_shares"));
    }
    if !options.homes.is_empty() && !are_shares(&mut options.homes.iter().map(|home| home.share)) {
        return Err(SyntheticError::Shares("homes"));
    }
    let (size, largest) = (options.party_shares.len(), queue.largest_party());
    if size > largest {
        return Err(SyntheticError::Party(TicketError::PartyTooLarge { size, largest }));
    }
    let wrong = |option, what| Err(SyntheticError::Attribute { option, what });
    for (name, deviation) in &options.deviations {
        let is_number = queue.schema.get(name).is_some_and(|(_, kind)| *kind == AttributeKind::Number);
        if !is_number || !deviation.is_finite() || *deviation < 0.0 {
            return wrong("deviations", format!("{name} = {deviation}: name a number, and at least 0"));
        }
    }
    for (name, values) in &options.values {
        let checked = match queue.schema.get(name) {
            Some((_, AttributeKind::Tags)) => {
                Value::Tags(values.iter().cloned().collect()).check(AttributeKind::Tags)
            }
            Some((_, AttributeKind::Text)) => {
                values.iter().try_for_each(|text| Value::Text(text.clone()).check(AttributeKind::Text))
            }
            _ => return wrong("values", format!("the queue declares no texts or tags {name}")),
        };
        if let Err(error) = checked {
            return wrong("values", format!("{name} {error}"));
        }
        if values.is_empty() {
            return wrong("values", format!("{name} has none"));
        }
    }
    Ok(lasts_ms)
}

/// How the values of an attribute are made.
enum Maker {
    Number {
        mean: f64,
        deviation: f64,
    },
    /// One of these, for a whole party or for each player.
    Text {
        values: Vec<String>,
        is_shared: bool,
    },
    /// Each of these or not, but not none, for a whole party: it plays what it agrees on.
    Tags(Vec<String>),
    Fixed(Value),
}

/// By the attributes' positions.
fn makers(queue: &Queue, options: &SyntheticOptions) -> Vec<Maker> {
    let mut makers: Vec<Maker> = queue.defaults.iter().cloned().map(Maker::Fixed).collect();
    for (name, (at, _)) in &queue.schema {
        let given = options.values.get(name);
        let maker = match &queue.defaults[*at] {
            Value::Number(mean) => {
                let usual = if *mean == 0.0 { 1.0 } else { mean.abs() * DEVIATION };
                let deviation = options.deviations.get(name).copied().unwrap_or(usual);
                Maker::Number { mean: *mean, deviation }
            }
            Value::Text(default) => {
                let roles = queue.teams.iter().flat_map(|team| &team.roles);
                let asked = roles.filter(|role| role.attribute == *at).map(|role| &role.is);
                let known: BTreeSet<&String> = asked.chain([default]).collect();
                let values = given.cloned().unwrap_or_else(|| known.into_iter().cloned().collect());
                let is_shared = queue
                    .rules
                    .iter()
                    .any(|rule| matches!(rule.asks, Asks::Same { attribute } if attribute == *at));
                Maker::Text { values, is_shared }
            }
            Value::Tags(_) => match given {
                Some(values) => Maker::Tags(values.clone()),
                None => continue,
            },
        };
        makers[*at] = maker;
    }
    makers
}

fn players(makers: &[Maker], number: usize, size: usize, random: &mut Random) -> Vec<Player> {
    let mut players: Vec<Player> = (0..size)
        .map(|at| Player { name: format!("p{number}-{at}"), attributes: Vec::with_capacity(makers.len()) })
        .collect();
    for maker in makers {
        let shared = match maker {
            Maker::Number { mean, deviation } => Value::Number(mean + random.normal() * deviation),
            Maker::Text { values, .. } => Value::Text(random.one_of(values)),
            Maker::Tags(values) => {
                let mut tags: BTreeSet<String> =
                    values.iter().filter(|_| random.unit() < 0.5).cloned().collect();
                if tags.is_empty() {
                    tags.insert(random.one_of(values));
                }
                Value::Tags(tags)
            }
            Maker::Fixed(value) => value.clone(),
        };
        for player in &mut players {
            let own = match (maker, &shared) {
                (Maker::Number { deviation, .. }, Value::Number(party)) if size > 1 => {
                    Value::Number(party + random.normal() * deviation * WITHIN_PARTY)
                }
                (Maker::Text { values, is_shared: false }, _) => Value::Text(random.one_of(values)),
                _ => shared.clone(),
            };
            player.attributes.push(own);
        }
    }
    players
}

fn latencies(homes: &[Home], random: &mut Random) -> BTreeMap<String, u32> {
    if homes.is_empty() {
        return BTreeMap::new();
    }
    let at = random.pick(homes.iter().map(|home| home.share));
    let mut latencies = BTreeMap::new();
    for (other, home) in homes.iter().enumerate() {
        let typical = if other == at { home.near_ms } else { homes[at].far_ms };
        latencies.insert(home.region.clone(), (f64::from(typical) * (0.5 + random.unit())) as u32);
    }
    latencies
}

/// `SplitMix64`: small, and the same on every machine and in every version, which no library promises.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, without 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly normal, with deviation 1: a sum, since logarithms and cosines differ between machines.
    fn normal(&mut self) -> f64 {
        (0..UNIFORMS).map(|_| self.unit()).sum::<f64>() - UNIFORMS as f64 / 2.0
    }

    /// A place, each as likely as its share says.
    fn pick(&mut self, shares: impl Iterator<Item = f64> + Clone) -> usize {
        let mut left = self.unit() * shares.clone().sum::<f64>();
        let mut last = 0;
        for (at, share) in shares.enumerate().filter(|(_, share)| *share > 0.0) {
            if left < share {
                return at;
            }
            left -= share;
            last = at;
        }
        last
    }

    /// One of the values, of which there is at least one.
    fn one_of(&mut self, values: &[String]) -> String {
        let at = (self.unit() * values.len() as f64) as usize;
        values.get(at).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_numbers_are_those_of_the_published_generator() {
        let mut random = Random(1_234_567);
        let published = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(published, [(); 3].map(|()| random.next()));
    }
}
