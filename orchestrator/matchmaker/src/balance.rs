//! Who is in which team: the division whose averages are nearest to each other, of those that teams and roles allow.
//!
//! Small matches are searched through; of large ones the search sees the most promising part, for it places large
//! parties first and each into the team that is behind.

use crate::queue::{Asks, Queue};
use crate::rules::has_roles;
use crate::ticket::Ticket;

/// Placements tried for one match.
const MAX_TRIED: u32 = 4_000;

/// A division, and how far the teams' averages are apart.
pub(crate) struct Balanced {
    /// The team of each member.
    pub(crate) teams: Vec<usize>,
}

/// Divides `members` into the queue's teams; `None` if that cannot be done.
pub(crate) fn balance(queue: &Queue, members: &[&Ticket]) -> Option<Balanced> {
    let attribute = queue.rules.iter().find_map(|rule| match rule.asks {
        Asks::Gap { attribute, .. } => Some(attribute),
        _ => None,
    });
    let attribute = attribute.or_else(|| queue.primary().map(|(attribute, _)| attribute));
    let weight = |ticket: &Ticket| attribute.map_or(0.0, |attribute| ticket.numbers(attribute).sum::<f64>());
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|one, other| {
        let (one, other) = (members[*one], members[*other]);
        let by_size = other.players.len().cmp(&one.players.len());
        by_size.then(weight(other).total_cmp(&weight(one))).then(one.key.cmp(&other.key))
    });
    let count = queue.teams.len();
    let players: usize = members.iter().map(|ticket| ticket.players.len()).sum();
    let mut search = Search {
        queue,
        members,
        order,
        weights: members.iter().map(|ticket| weight(ticket)).collect(),
        attribute,
        placed: vec![0; members.len()],
        sizes: vec![0; count],
        sums: vec![0.0; count],
        left: players,
        tried: 0,
        best: None,
    };
    search.place(0);
    search.best.map(|(_, teams)| Balanced { teams })
}

struct Search<'a> {
    queue: &'a Queue,
    members: &'a [&'a Ticket],
    /// Members in the order in which they are placed.
    order: Vec<usize>,
    weights: Vec<f64>,
    attribute: Option<usize>,
    placed: Vec<usize>,
    sizes: Vec<usize>,
    sums: Vec<f64>,
    /// Players not placed yet.
    left: usize,
    tried: u32,
    best: Option<(f64, Vec<usize>)>,
}

impl Search<'_> {
    /// Places the member at `depth` and all after it.
    fn place(&mut self, depth: usize) {
        if self.tried >= MAX_TRIED || self.best.as_ref().is_some_and(|(gap, _)| *gap <= 0.0) {
            return;
        }
        self.tried += 1;
        let Some(member) = self.order.get(depth).copied() else { return self.judge() };
        let size = self.members[member].players.len();
        let missing: usize =
            self.queue.teams.iter().zip(&self.sizes).map(|(team, size)| team.min.saturating_sub(*size)).sum();
        if missing > self.left {
            return;
        }
        let mut choices: Vec<usize> = (0..self.sizes.len())
            .filter(|team| self.sizes[*team] + size <= self.queue.teams[*team].max)
            .collect();
        // Empty teams that are alike are the same choice.
        let alike = |one: usize, other: usize| {
            let (one, other) = (&self.queue.teams[one], &self.queue.teams[other]);
            (one.min, one.max, &one.roles) == (other.min, other.max, &other.roles)
        };
        let empty: Vec<usize> = choices.iter().copied().filter(|team| self.sizes[*team] == 0).collect();
        choices.retain(|team| {
            self.sizes[*team] > 0 || !empty.iter().any(|other| other < team && alike(*other, *team))
        });
        let sums = &self.sums;
        choices.sort_by(|one, other| sums[*one].total_cmp(&sums[*other]).then(one.cmp(other)));
        for team in choices {
            self.placed[member] = team;
            self.sizes[team] += size;
            self.sums[team] += self.weights[member];
            self.left -= size;
            self.place(depth + 1);
            self.sizes[team] -= size;
            self.sums[team] -= self.weights[member];
            self.left += size;
        }
    }

    fn judge(&mut self) {
        for (at, team) in self.queue.teams.iter().enumerate() {
            if self.sizes[at] < team.min {
                return;
            }
            if !team.roles.is_empty() {
                let members = self.members.iter().zip(&self.placed).filter(|(_, of)| **of == at);
                let inside: Vec<&Ticket> = members.map(|(ticket, _)| *ticket).collect();
                if !has_roles(team, &inside) {
                    return;
                }
            }
        }
        let gap = self.attribute.map_or(0.0, |at| self.queue.gap(at, self.members, &self.placed));
        if self.best.as_ref().is_none_or(|(best, _)| gap < *best) {
            self.best = Some((gap, self.placed.clone()));
        }
    }
}
