//! A match that runs and has free seats, and what must hold for those who join it.
//!
//! Those who play already were matched before and stay where they are: newcomers are held against them and against each
//! other, and a rule that those who play do not hold themselves (a limit had relaxed for them, or one has left) may
//! not become worse by newcomers.

use crate::queue::{Asks, Queue, Rule};
use crate::rules::{Refusal, in_team, oldest_wait};
use crate::ticket::Ticket;
use muster_protocol::api::Priority;

/// What an opening is told from others by.
pub type OpeningKey = u128;

/// A running match with free seats.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// Which it is.
    pub key: OpeningKey,
    /// Where it is played.
    pub region: String,
    /// Who plays, and in which team. Of a party the ones who are still there.
    pub playing: Vec<(Ticket, usize)>,
    /// Since when it has had free seats, Unix milliseconds.
    pub since_ms: u64,
    /// `High`: filled before new matches are made. `Low`: only by those for whom there is no new match. `Normal`:
    /// whichever is better.
    pub priority: Priority,
}

/// Those who play, and those who would join them, all in their teams.
pub(crate) struct Joined<'a> {
    members: Vec<&'a Ticket>,
    teams: Vec<usize>,
    /// How many of the members play already; they come first.
    playing: usize,
}

impl Opening {
    /// Players who are there.
    pub fn players(&self) -> usize {
        self.playing.iter().map(|(ticket, _)| ticket.players.len()).sum()
    }

    /// The wait that counts for limits if `newcomers` join, in milliseconds: the longest of theirs and its own.
    pub(crate) fn wait_ms(&self, newcomers: &[&Ticket], now_ms: u64) -> u64 {
        oldest_wait(newcomers, now_ms).max(now_ms.saturating_sub(self.since_ms))
    }

    pub(crate) fn in_team(&self, team: usize) -> impl Iterator<Item = &Ticket> {
        self.playing.iter().filter(move |(_, of)| *of == team).map(|(ticket, _)| ticket)
    }

    /// It with `newcomers`, each in the team that `teams` names at its place.
    pub(crate) fn joined_by<'a>(&'a self, newcomers: &[&'a Ticket], teams: &[usize]) -> Joined<'a> {
        let playing = self.playing.iter().map(|(ticket, _)| ticket);
        Joined {
            members: playing.chain(newcomers.iter().copied()).collect(),
            teams: self.playing.iter().map(|(_, team)| *team).chain(teams.iter().copied()).collect(),
            playing: self.playing.len(),
        }
    }

    /// Whether those who play and a newcomer take each other, and none of them is both.
    pub(crate) fn accepts(&self, newcomer: &Ticket) -> bool {
        let mut playing = self.playing.iter();
        playing.all(|(ticket, _)| ticket.accepts(newcomer) && !ticket.shares_player(newcomer))
    }
}

impl Queue {
    /// Whether `newcomers`, each in the team that `teams` names at its place, may join an opening. What is asked of teams
    /// and their roles is that others can still bring it.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn allows_joining(
        &self,
        opening: &Opening,
        newcomers: &[&Ticket],
        teams: &[usize],
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let joined = opening.joined_by(newcomers, teams);
        let players: usize = joined.members.iter().map(|ticket| ticket.players.len()).sum();
        if !self.may_run_with(players) {
            return Err(Refusal::Size);
        }
        for at in 0..self.teams.len() {
            if teams.contains(&at) {
                self.team_may_be(at, &joined)?;
            }
        }
        let takes = |(at, one): (usize, &&Ticket)| {
            let others = newcomers[at + 1..].iter();
            opening.accepts(one)
                && others.into_iter().all(|other| one.accepts(other) && !one.shares_player(other))
        };
        if !newcomers.iter().enumerate().all(takes) {
            return Err(Refusal::Unwilling);
        }
        let wait_ms = opening.wait_ms(newcomers, now_ms);
        let broken =
            self.rules.iter().find(|rule| !self.holds_joining(rule, &joined, &opening.region, wait_ms));
        broken.map_or(Ok(()), |rule| Err(Refusal::Rule(rule.name.clone())))
    }

    /// Whether a match that runs may go on with so many players: as many as a match may have, or so few that others
    /// are awaited.
    pub(crate) fn may_run_with(&self, players: usize) -> bool {
        self.sizes.contains(&players) || self.sizes.last().is_some_and(|least| players < *least)
    }

    /// Whether a team that was joined is not too large, and the seats left in it can bring the roles it misses. Roles of
    /// one attribute exclude each other, so that each missing one needs a seat of its own.
    fn team_may_be(&self, at: usize, joined: &Joined) -> Result<(), Refusal> {
        let team = &self.teams[at];
        let inside: Vec<&Ticket> = in_team(&joined.members, &joined.teams, at).collect();
        let size: usize = inside.iter().map(|ticket| ticket.players.len()).sum();
        let Some(seats) = team.max.checked_sub(size) else { return Err(Refusal::Size) };
        let missing = |attribute: usize| -> usize {
            let of = team.roles.iter().filter(|role| role.attribute == attribute);
            let texts = || inside.iter().flat_map(|ticket| ticket.texts(attribute));
            of.map(|role| role.min.saturating_sub(texts().filter(|text| *text == role.is).count())).sum()
        };
        let can_have = team.roles.iter().all(|role| missing(role.attribute) <= seats);
        if can_have { Ok(()) } else { Err(Refusal::Roles) }
    }

    /// Whether a rule holds for a match that is joined, or is no worse than it was.
    pub(crate) fn holds_joining(&self, rule: &Rule, joined: &Joined, region: &str, wait_ms: u64) -> bool {
        self.is_no_worse(rule, joined, region, wait_ms, Self::measure)
    }

    /// Whether a rule may hold so once others have joined, too, as far as these tell.
    pub(crate) fn may_hold_joining(&self, rule: &Rule, joined: &Joined, region: &str, wait_ms: u64) -> bool {
        self.is_no_worse(rule, joined, region, wait_ms, Self::measure_so_far)
    }

    fn is_no_worse(
        &self,
        rule: &Rule,
        joined: &Joined,
        region: &str,
        wait_ms: u64,
        measure: fn(&Self, &Rule, &[&Ticket], &[usize], &str) -> f64,
    ) -> bool {
        let Joined { members, teams, playing } = joined;
        if matches!(rule.asks, Asks::Latency { .. }) || rule.asks.is_of_parties() {
            // Those who play have the connection and the party they have.
            return self.holds(rule, &members[*playing..], &teams[*playing..], region, wait_ms);
        }
        let bound = rule.asks.bound(wait_ms);
        let whole = measure(self, rule, members, teams, region);
        whole <= bound || whole <= self.measure(rule, &members[..*playing], &teams[..*playing], region)
    }

    /// How far apart the numbers by which tickets are near may be of those who play and whoever joins, whatever the limits
    /// are, since nothing may become worse only.
    pub(crate) fn apart_already(&self, opening: &Opening) -> f64 {
        let members: Vec<&Ticket> = opening.playing.iter().map(|(ticket, _)| ticket).collect();
        let about = self.rules.iter().filter(|rule| self.is_about_primary(rule));
        let apart = about.filter_map(|rule| {
            let measured = self.measure(rule, &members, &[], &opening.region);
            // As far as a limit would let them be that was where they stand.
            rule.asks.reach(|_| measured)
        });
        apart.fold(0.0, f64::max)
    }
}
