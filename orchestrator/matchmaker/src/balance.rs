//! Who is in which team: the division whose averages are nearest to each other, of those that teams and roles allow.
//!
//! Small matches are searched through; of large ones the search sees the most promising part, for it places large
//! parties first and each into the team that is behind.

use crate::opening::Opening;
use crate::queue::{Queue, Role, Rule, Team};
use crate::rules::{has_roles, oldest_wait, spread};
use crate::ticket::Ticket;

/// Placements tried for one match.
const MAX_TRIED: u32 = 4_000;

/// What came of a division.
pub(crate) struct Balanced {
    /// The team of each member; `None` if no division was found that holds.
    pub(crate) teams: Option<Vec<usize>>,
    /// Whether every division was looked at.
    pub(crate) is_whole: bool,
}

/// Divides `members` into the queue's teams, with at most `left` placements, which are taken off.
pub(crate) fn balance(queue: &Queue, members: &[&Ticket], now_ms: u64, left: &mut u32) -> Balanced {
    divide(queue, None, members, oldest_wait(members, now_ms), left)
}

/// As [`balance`], for `newcomers` to a match that runs: those who play stay in their teams.
pub(crate) fn balance_into(
    queue: &Queue,
    opening: &Opening,
    newcomers: &[&Ticket],
    now_ms: u64,
    left: &mut u32,
) -> Balanced {
    divide(queue, Some(opening), newcomers, opening.wait_ms(newcomers, now_ms), left)
}

fn divide(
    queue: &Queue,
    opening: Option<&Opening>,
    members: &[&Ticket],
    wait_ms: u64,
    left: &mut u32,
) -> Balanced {
    let number = queue.balanced();
    let weight = |ticket: &Ticket| number.map_or(0.0, |(attribute, party)| ticket.sum(attribute, party));
    let sizes: Vec<usize> = members.iter().map(|ticket| ticket.players.len()).collect();
    let weights: Vec<f64> = members.iter().map(|ticket| weight(ticket)).collect();
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|one, other| {
        let by_size = sizes[*other].cmp(&sizes[*one]);
        by_size
            .then(weights[*other].total_cmp(&weights[*one]))
            .then(members[*one].key.cmp(&members[*other].key))
    });
    let count = queue.teams.len();
    let (mut team_sizes, mut team_sums) = (vec![0; count], vec![0.0; count]);
    for (ticket, team) in opening.iter().flat_map(|opening| &opening.playing) {
        team_sizes[*team] += ticket.players.len();
        team_sums[*team] += weight(ticket);
    }
    let mut search = Search {
        queue,
        opening,
        members,
        decided: queue.rules.iter().filter(|rule| rule.asks.is_of_teams()).collect(),
        wait_ms,
        order,
        players: sizes.iter().sum(),
        party: sizes,
        weights,
        has_gap: number.is_some(),
        placed: vec![0; members.len()],
        choices: vec![Vec::new(); members.len()],
        sizes: team_sizes,
        sums: team_sums,
        tried: 0,
        most_tried: MAX_TRIED.min(*left),
        best: None,
    };
    search.place(0);
    *left -= search.tried;
    let is_whole = search.tried < search.most_tried;
    Balanced { teams: search.best.map(|(_, teams)| teams), is_whole }
}

struct Search<'a> {
    queue: &'a Queue,
    /// Whom the members join.
    opening: Option<&'a Opening>,
    members: &'a [&'a Ticket],
    /// The rules that the division decides.
    decided: Vec<&'a Rule>,
    /// Of the oldest.
    wait_ms: u64,
    /// Members in the order in which they are placed.
    order: Vec<usize>,
    /// Players of each member, and the sum of their numbers.
    party: Vec<usize>,
    weights: Vec<f64>,
    has_gap: bool,
    placed: Vec<usize>,
    /// By depth, the teams to try: kept to be used again.
    choices: Vec<Vec<usize>>,
    sizes: Vec<usize>,
    sums: Vec<f64>,
    /// Players not placed yet.
    players: usize,
    tried: u32,
    most_tried: u32,
    best: Option<(f64, Vec<usize>)>,
}

impl Search<'_> {
    /// Places the member at `depth` and all after it.
    fn place(&mut self, depth: usize) {
        if self.tried >= self.most_tried || self.best.as_ref().is_some_and(|(gap, _)| *gap <= 0.0) {
            return;
        }
        self.tried += 1;
        let Some(member) = self.order.get(depth).copied() else { return self.judge() };
        let size = self.party[member];
        let missing: usize =
            self.queue.teams.iter().zip(&self.sizes).map(|(team, size)| team.min.saturating_sub(*size)).sum();
        // A match that runs may have teams that others fill later.
        if missing > self.players && self.opening.is_none() {
            return;
        }
        let mut choices = std::mem::take(&mut self.choices[depth]);
        choices.clear();
        choices.extend((0..self.sizes.len()).filter(|team| self.fits(*team, size)));
        let sums = &self.sums;
        choices.sort_unstable_by(|one, other| sums[*one].total_cmp(&sums[*other]).then(one.cmp(other)));
        for team in choices.iter().copied() {
            // Sums are restored, not subtracted: a sum that went there and back might not be the same.
            let before = self.sums[team];
            self.placed[member] = team;
            self.sizes[team] += size;
            self.sums[team] += self.weights[member];
            self.players -= size;
            if self.can_have_roles(team, depth) {
                self.place(depth + 1);
            }
            self.sizes[team] -= size;
            self.sums[team] = before;
            self.players += size;
        }
        self.choices[depth] = choices;
    }

    /// Whether so many players more fit into a team; of empty teams that are alike only into the first.
    fn fits(&self, team: usize, size: usize) -> bool {
        let teams = &self.queue.teams;
        let alike = |other: &Team| {
            let one = &teams[team];
            (one.min, one.max, &one.roles) == (other.min, other.max, &other.roles)
        };
        self.sizes[team] + size <= teams[team].max
            && (self.sizes[team] > 0
                || !(0..team).any(|other| self.sizes[other] == 0 && alike(&teams[other])))
    }

    /// Whether the seats left in a team can bring the roles that it misses, of members placed up to `depth`. Roles of
    /// one attribute exclude each other.
    fn can_have_roles(&self, at: usize, depth: usize) -> bool {
        let team = &self.queue.teams[at];
        let seats = team.max - self.sizes[at];
        let missing = |role: &Role| {
            let inside = self.order[..=depth].iter().filter(|member| self.placed[**member] == at);
            let playing = self.opening.into_iter().flat_map(|opening| opening.in_team(at));
            let all = inside.map(|member| self.members[*member]).chain(playing);
            let texts = all.flat_map(|ticket| ticket.texts(role.attribute));
            role.min.saturating_sub(texts.filter(|text| *text == role.is).count())
        };
        team.roles.iter().all(|one| {
            let alike = team.roles.iter().filter(|other| other.attribute == one.attribute);
            alike.map(missing).sum::<usize>() <= seats
        })
    }

    fn judge(&mut self) {
        if let Some(opening) = self.opening {
            return self.judge_joining(opening);
        }
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
        let gap = self.gap();
        if self.best.as_ref().is_some_and(|(best, _)| gap >= *best) {
            return;
        }
        let (members, teams) = (self.members, &self.placed);
        if self.decided.iter().all(|rule| self.queue.holds(rule, members, teams, "", self.wait_ms)) {
            self.best = Some((gap, self.placed.clone()));
        }
    }

    /// That teams are not too small and can have their roles was seen to on the way.
    fn judge_joining(&mut self, opening: &Opening) {
        let gap = self.gap();
        if self.best.as_ref().is_some_and(|(best, _)| gap >= *best) {
            return;
        }
        let joined = opening.joined_by(self.members, &self.placed);
        if self
            .decided
            .iter()
            .all(|rule| self.queue.holds_joining(rule, &joined, &opening.region, self.wait_ms))
        {
            self.best = Some((gap, self.placed.clone()));
        }
    }

    /// How far the teams' averages are apart.
    fn gap(&self) -> f64 {
        let averages = self.sums.iter().zip(&self.sizes).filter(|(_, size)| **size > 0);
        if self.has_gap { spread(averages.map(|(sum, size)| sum / *size as f64)) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::testing::{player, queue};
    use muster_protocol::api::Value;

    const NOW_MS: u64 = 1_000_000;

    fn gap(members: &[&Ticket], sums: &[f64], teams: &[usize]) -> Option<f64> {
        let (mut players, mut sum) = ([0usize; 2], [0.0; 2]);
        for (at, team) in teams.iter().enumerate() {
            players[*team] += members[at].players.len();
            sum[*team] += sums[at];
        }
        (players == [3, 3]).then(|| (sum[0] / 3.0 - sum[1] / 3.0).abs())
    }

    #[test]
    fn no_division_is_fairer() {
        let queue = queue(
            r#"
            name = "threes"
            fleet = "arena"
            [attributes]
            skill = { kind = "number", default = 0 }
            [[teams]]
            name = "side"
            count = 2
            min = 3
            max = 3
            [[rules]]
            name = "fair"
            kind = "gap"
            attribute = "skill"
            most = 100000
            "#,
        );
        for seed in 0..300 {
            let mut random = StdRng::seed_from_u64(seed);
            let sizes: &[usize] = [&[1, 1, 1, 1, 1, 1][..], &[2, 1, 1, 1, 1], &[2, 2, 1, 1], &[3, 1, 1, 1]]
                [random.random_range(0..4)];
            let (mut tickets, mut sums) = (Vec::new(), Vec::new());
            for (key, size) in sizes.iter().enumerate() {
                let skills: Vec<f64> = (0..*size).map(|_| random.random_range(0.0..1_000.0)).collect();
                let named = |(at, skill): (usize, &f64)| {
                    player(&queue, format!("p{key}-{at}"), &[("skill", Value::Number(*skill))])
                };
                let players = skills.iter().enumerate().map(named).collect();
                tickets.push(Ticket::new(key as u128, players, NOW_MS));
                sums.push(skills.iter().sum::<f64>());
            }
            let members: Vec<&Ticket> = tickets.iter().collect();
            let fairest = (0u32..1 << members.len())
                .filter_map(|sides| {
                    let teams: Vec<usize> = (0..members.len()).map(|at| (sides >> at & 1) as usize).collect();
                    gap(&members, &sums, &teams)
                })
                .fold(f64::INFINITY, f64::min);
            let found = balance(&queue, &members, NOW_MS, &mut { MAX_TRIED });
            let teams = found.teams.expect("they can be divided");
            let ours = gap(&members, &sums, &teams).expect("three a side");
            assert!(
                found.is_whole && (ours - fairest).abs() < 1e-6,
                "seed {seed}: {ours}, {fairest} is possible"
            );
        }
    }
}
