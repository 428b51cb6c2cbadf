//! Whether a match may be: every rule, for tickets in teams, in a region, at a time.
//!
//! This is what a match is held against last, whatever formed it, and what tests hold every match against.

use std::collections::BTreeSet;

use crate::queue::{Asks, Queue, Rule, Team};
use crate::ticket::Ticket;
use muster_protocol::api::Within;

/// Why tickets are no match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The number of players, or of a team's.
    Size,
    /// A team's roles.
    Roles,
    /// Two of them will not play with each other, by a filter or a block list, or have a player in common.
    Unwilling,
    /// A rule, by name.
    Rule(String),
}

/// The wait of the oldest of these, in milliseconds.
pub(crate) fn oldest_wait(members: &[&Ticket], now_ms: u64) -> u64 {
    members.iter().map(|ticket| ticket.wait_ms(now_ms)).max().unwrap_or(0)
}

impl Queue {
    /// Whether `members`, each in the team that `teams` names at its place, may play in `region`.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn allows(
        &self,
        members: &[&Ticket],
        teams: &[usize],
        region: &str,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let wait_ms = oldest_wait(members, now_ms);
        let players: usize = members.iter().map(|ticket| ticket.players.len()).sum();
        let is_full = self.sizes.first() == Some(&players);
        if !self.sizes.contains(&players) || (!is_full && wait_ms < self.fill_wait_ms) {
            return Err(Refusal::Size);
        }
        for (at, team) in self.teams.iter().enumerate() {
            let inside: Vec<&Ticket> = in_team(members, teams, at).collect();
            let size: usize = inside.iter().map(|ticket| ticket.players.len()).sum();
            if size < team.min || size > team.max {
                return Err(Refusal::Size);
            }
            if !has_roles(team, &inside) {
                return Err(Refusal::Roles);
            }
        }
        if !all_willing(members) {
            return Err(Refusal::Unwilling);
        }
        let broken = self.rules.iter().find(|rule| !self.holds(rule, members, teams, region, wait_ms));
        broken.map_or(Ok(()), |rule| Err(Refusal::Rule(rule.name.clone())))
    }

    /// Whether a rule holds after a wait of the oldest, in milliseconds. Of members without teams (`teams` is empty), what
    /// is asked of teams holds.
    pub(crate) fn holds(
        &self,
        rule: &Rule,
        members: &[&Ticket],
        teams: &[usize],
        region: &str,
        wait_ms: u64,
    ) -> bool {
        self.measure(rule, members, teams, region) <= rule.asks.bound(wait_ms)
    }

    /// Where members stand by a rule: it holds while this is at most its [`Asks::bound`].
    pub(crate) fn measure(&self, rule: &Rule, members: &[&Ticket], teams: &[usize], region: &str) -> f64 {
        match &rule.asks {
            Asks::Spread { attribute, within, party, .. } => {
                let apart = |tickets: &mut dyn Iterator<Item = &Ticket>| {
                    spread(tickets.map(|ticket| ticket.number(*attribute, *party)))
                };
                match within {
                    Within::Match => apart(&mut members.iter().copied()),
                    Within::Team => (0..self.teams.len())
                        .map(|team| apart(&mut in_team(members, teams, team)))
                        .fold(0.0, f64::max),
                }
            }
            Asks::Gap { attribute, .. } => self.gap(*attribute, members, teams),
            Asks::Same { attribute } => {
                let mut texts = members.iter().flat_map(|ticket| ticket.texts(*attribute));
                texts.next().map_or(0, |first| texts.filter(|text| *text != first).count()) as f64
            }
            Asks::Common { attribute, .. } => -(common(members, *attribute) as f64),
            Asks::Apart { attribute } => shared(members, *attribute) as f64,
            Asks::Latency { .. } => {
                members.iter().map(|ticket| f64::from(ticket.latency(region))).fold(0.0, f64::max)
            }
        }
    }

    /// How far the teams' averages are apart.
    pub(crate) fn gap(&self, attribute: usize, members: &[&Ticket], teams: &[usize]) -> f64 {
        let averages = (0..self.teams.len()).filter_map(|team| {
            let numbers = in_team(members, teams, team).flat_map(|ticket| ticket.numbers(attribute));
            let (sum, count) = numbers.fold((0.0, 0u32), |(sum, count), number| (sum + number, count + 1));
            (count > 0).then(|| sum / f64::from(count))
        });
        spread(averages)
    }
}

pub(crate) fn in_team<'a>(
    members: &'a [&'a Ticket],
    teams: &'a [usize],
    team: usize,
) -> impl Iterator<Item = &'a Ticket> {
    members.iter().zip(teams).filter(move |(_, of)| **of == team).map(|(ticket, _)| *ticket)
}

/// How far the largest and the smallest are apart; 0 of none.
pub(crate) fn spread(numbers: impl Iterator<Item = f64>) -> f64 {
    let (min, max) =
        numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), n| (min.min(n), max.max(n)));
    if max < min { 0.0 } else { max - min }
}

pub(crate) fn has_roles(team: &Team, inside: &[&Ticket]) -> bool {
    team.roles.iter().all(|role| {
        let texts = inside.iter().flat_map(|ticket| ticket.texts(role.attribute));
        texts.filter(|text| *text == role.is).count() >= role.min
    })
}

fn all_willing(members: &[&Ticket]) -> bool {
    let pairs = members
        .iter()
        .enumerate()
        .flat_map(|(at, one)| members[at + 1..].iter().map(move |other| (one, other)));
    pairs.into_iter().all(|(one, other)| one.accepts(other) && !one.shares_player(other))
}

/// How many tags everybody has.
pub(crate) fn common(members: &[&Ticket], attribute: usize) -> usize {
    let mut all = members.iter().flat_map(|ticket| ticket.tags(attribute));
    let Some(first) = all.next() else { return 0 };
    let rest: Vec<_> = all.collect();
    first.iter().filter(|tag| rest.iter().all(|tags| tags.contains(*tag))).count()
}

/// How many tags parties have that others of them have too.
pub(crate) fn shared(members: &[&Ticket], attribute: usize) -> usize {
    let mut seen = BTreeSet::new();
    let mut again = 0;
    for ticket in members {
        let own: BTreeSet<&String> = ticket.tags(attribute).flatten().collect();
        again += own.into_iter().filter(|tag| !seen.insert(*tag)).count();
    }
    again
}
