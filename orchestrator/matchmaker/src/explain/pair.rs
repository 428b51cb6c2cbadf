//! Two tickets held against each other: the first thing that keeps them from one match, whoever else is in it.
//!
//! What depends on the others of a match (a gap between teams, a spread within one of several) excludes no pair.

use crate::form::Offer;
use crate::queue::{Asks, Queue, Team};
use crate::rules::oldest_wait;
use crate::ticket::Ticket;

use super::Exclusion;

/// Exclusions before the rules' own: filters, blocks and players who are in both.
const BEFORE_RULES: usize = 4;

/// What pairs are held against.
pub(super) struct Pairing<'a> {
    queue: &'a Queue,
    now_ms: u64,
    offers: &'a [Offer],
    /// The teams of a pair as far as they are known: both are in the only team, if there is one team.
    teams: &'static [usize],
}

impl<'a> Pairing<'a> {
    pub(super) fn new(queue: &'a Queue, now_ms: u64, offers: &'a [Offer]) -> Self {
        Self { queue, now_ms, offers, teams: if queue.teams.len() == 1 { &[0, 0] } else { &[] } }
    }

    /// Everything that can exclude, in the order in which it is asked.
    pub(super) fn everything(&self) -> Vec<Exclusion> {
        let mut all =
            vec![Exclusion::OwnFilter, Exclusion::TheirFilter, Exclusion::Block, Exclusion::SamePlayer];
        all.extend(self.queue.rules.iter().map(|rule| Exclusion::Rule(rule.name.clone())));
        all.extend([Exclusion::Sizes, Exclusion::Roles]);
        all
    }

    /// The first of [`Pairing::everything`] that excludes `other` for `own`, by its place there.
    pub(super) fn exclusion(&self, own: &Ticket, other: &Ticket) -> Option<usize> {
        if !own.filter_takes(other) {
            return Some(0);
        }
        if !other.filter_takes(own) {
            return Some(1);
        }
        if own.blocks_any_of(other) || other.blocks_any_of(own) {
            return Some(2);
        }
        if own.shares_player(other) {
            return Some(3);
        }
        let both = [own, other];
        let wait_ms = oldest_wait(&both, self.now_ms);
        let broken = self.queue.rules.iter().position(|rule| {
            let holds = |region: &str| self.queue.may_hold(rule, &both, self.teams, region, wait_ms);
            match &rule.asks {
                Asks::Latency { .. } => !self.offers.iter().any(|offer| holds(&offer.region)),
                _ => !holds(""),
            }
        });
        if let Some(rule) = broken {
            return Some(BEFORE_RULES + rule);
        }
        match room(self.queue, &both) {
            Room::Fits => None,
            Room::NoTeams => Some(BEFORE_RULES + self.queue.rules.len()),
            Room::NoRoles => Some(BEFORE_RULES + self.queue.rules.len() + 1),
        }
    }
}

/// Whether parties have room in a match, if whoever else is needed comes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Room {
    Fits,
    /// There would be, if there were no roles.
    NoRoles,
    NoTeams,
}

/// Whether there is a match with room for `parties`: one, or two.
pub(super) fn room(queue: &Queue, parties: &[&Ticket]) -> Room {
    // Teams that are alike are the same place: the first of each kind, and a second for the other party.
    let mut places: Vec<usize> = Vec::new();
    for (at, team) in queue.teams.iter().enumerate() {
        let alike = places.iter().filter(|place| is_alike(&queue.teams[**place], team)).count();
        if alike < parties.len() {
            places.push(at);
        }
    }
    let fewest: usize = queue.teams.iter().map(|team| players_with(team, &[]).0).sum();
    let fewest_bare: usize = queue.teams.iter().map(|team| team.min).sum();
    let most = queue.sizes.first().copied().unwrap_or_default();
    // Of a placement: what the teams that got parties need at least, more than they do when empty.
    let of_placement = |placed: &[(&Team, &[&Ticket])]| {
        let (mut players, mut bare) = (fewest, fewest_bare);
        let (mut has_roles, mut has_room) = (true, true);
        for (team, inside) in placed {
            let (needed, load) = players_with(team, inside);
            has_room &= load <= team.max;
            has_roles &= needed <= team.max;
            players = players - players_with(team, &[]).0 + needed;
            bare = bare - team.min + team.min.max(load);
        }
        match (has_room && bare <= most, has_roles && players <= most) {
            (true, true) => Room::Fits,
            (true, false) => Room::NoRoles,
            (false, _) => Room::NoTeams,
        }
    };
    let teams = || places.iter().map(|at| &queue.teams[*at]);
    let mut best = teams().map(|team| of_placement(&[(team, parties)])).min().unwrap_or(Room::NoTeams);
    if let [one, other] = parties {
        for (first, team) in teams().enumerate() {
            if best == Room::Fits {
                break;
            }
            let apart = teams().enumerate().filter(|(second, _)| *second != first);
            let room = apart.map(|(_, second)| of_placement(&[(team, &[*one]), (second, &[*other])])).min();
            best = room.map_or(best, |room| best.min(room));
        }
    }
    best
}

fn is_alike(one: &Team, other: &Team) -> bool {
    (one.min, one.max, &one.roles) == (other.min, other.max, &other.roles)
}

/// How many players a team with these parties has at least, those of its roles included; and how many the parties are.
fn players_with(team: &Team, inside: &[&Ticket]) -> (usize, usize) {
    let load: usize = inside.iter().map(|ticket| ticket.players.len()).sum();
    // One player has a role of every attribute at most, so those who come are shared between attributes.
    let missing = |attribute: usize| -> usize {
        let of = team.roles.iter().filter(|role| role.attribute == attribute);
        let has = |is: &str| {
            inside.iter().flat_map(|ticket| ticket.texts(attribute)).filter(|text| *text == is).count()
        };
        of.map(|role| role.min.saturating_sub(has(&role.is))).sum()
    };
    let coming = team.roles.iter().map(|role| missing(role.attribute)).max().unwrap_or_default();
    (team.min.max(load + coming), load)
}
