//! Which of those who wait an opening takes: as many players as it has seats, and of these the best.
//!
//! Of few neighbours every group is looked at. Of many, those nearest by number, those of the highest priority and
//! longest wait, the largest parties and those closest to the region first; and then each alone.

use std::cmp::Reverse;

use crate::balance::balance_into;
use crate::join::Join;
use crate::near::{Hot, Near};
use crate::openings::Open;
use crate::pool::{Pool, Slot};
use crate::search::FEW;
use crate::ticket::Ticket;

/// Neighbours on each side of its number that an opening is filled from: all are as many as a word has bits.
const MAX_KEPT: usize = 24;
/// Tickets looked at on each side.
const MAX_SEEN: usize = 192;
/// How often one that looked in vain looks at twice as many as before.
const MAX_WIDENED: u32 = 6;
/// Most placements of parties into teams for one turn.
const MAX_PLACEMENTS: u32 = 40_000;

/// A neighbour.
struct Able<'a> {
    slot: Slot,
    ticket: &'a Ticket,
    near: f64,
    latency_ms: u32,
    /// Others who could play with it, one bit each.
    willing: u64,
}

/// Neighbours who would join together.
struct Group {
    /// Positions among the neighbours, sorted.
    members: Vec<usize>,
    players: usize,
    quality: f64,
}

/// One turn of an opening.
pub(crate) struct Filling<'a> {
    pool: &'a Pool,
    open: &'a Open,
    now_ms: u64,
    /// The nearest by number first.
    able: Vec<Able<'a>>,
    /// Level of the longest wait there is.
    level: u16,
    is_whole: bool,
}

impl<'a> Filling<'a> {
    /// Gathers the neighbours of an opening that can play at the position of its region.
    pub(crate) fn new(pool: &'a Pool, open: &'a Open, region: usize, now_ms: u64) -> Self {
        let level = pool.levels.at(open.opening.wait_ms(&[], now_ms));
        let mut filling = Self { pool, open, now_ms, able: Vec::new(), level, is_whole: true };
        if let Some(bucket) = pool.bucket_with(&open.texts) {
            let here = (open.middle(), Slot::MIN);
            filling.gather(&mut bucket.near.range(..here).rev(), region);
            filling.gather(&mut bucket.near.range(here..), region);
        }
        let oldest = filling.able.iter().map(|able| pool.levels.at(able.ticket.wait_ms(now_ms))).max();
        filling.level = filling.level.max(oldest.unwrap_or_default());
        let (reach, cap_ms) = (filling.reach(filling.level), pool.levels.cap_ms(filling.level));
        filling.able.retain(|able| {
            open.apart_with(able.near, able.near) <= reach && f64::from(able.latency_ms) <= cap_ms
        });
        let middle = open.middle().0;
        filling.able.sort_by_key(|able| (Near((able.near - middle).abs()), able.slot));
        filling.ask_all();
        filling
    }

    fn gather(&mut self, side: &mut dyn Iterator<Item = (&(Near, Slot), &Hot)>, region: usize) {
        let (pool, open) = (self.pool, self.open);
        let full = self.able.len() + MAX_KEPT;
        let seen = MAX_SEEN << open.fruitless.min(MAX_WIDENED);
        let reach = self.reach(pool.levels.last());
        for (looked_at, ((near, slot), hot)) in side.enumerate() {
            if open.apart_with(near.0, near.0) > reach {
                return;
            }
            if looked_at >= seen || self.able.len() >= full {
                self.is_whole = false;
                return;
            }
            let can_play = hot.regions >> region & 1 == 1 && usize::from(hot.players) <= open.largest;
            if can_play && pool.could_join(*slot, open) {
                let ticket = &pool.entry(*slot).ticket;
                let latency_ms = ticket.latency(&open.opening.region);
                self.able.push(Able { slot: *slot, ticket, near: near.0, latency_ms, willing: 0 });
            }
        }
    }

    /// How far apart the numbers may be at a level: at least as far as those who play allow.
    fn reach(&self, level: u16) -> f64 {
        self.pool.levels.reach(level).max(self.open.apart)
    }

    /// Asks each pair of neighbours whether they would play together.
    fn ask_all(&mut self) {
        for one in 1..self.able.len() {
            for other in 0..one {
                let pair = [self.able[one].ticket, self.able[other].ticket];
                if pair[0].accepts(pair[1]) && !pair[0].shares_player(pair[1]) {
                    self.able[one].willing |= 1 << other;
                    self.able[other].willing |= 1 << one;
                }
            }
        }
    }

    /// The best group that may join, and whether everybody near was looked at.
    pub(crate) fn best(mut self) -> (Option<Join>, bool) {
        let mut groups = Vec::new();
        let mut placements = MAX_PLACEMENTS;
        if self.able.len() <= FEW {
            self.grow(&mut Vec::new(), 0, &mut groups);
        } else {
            self.is_whole = false;
            self.greedy(&mut groups);
        }
        let mut found = self.first_allowed(groups, &mut placements);
        if found.is_none() && self.able.len() > FEW {
            let alone = (0..self.able.len()).filter_map(|at| self.group(&[at])).collect();
            found = self.first_allowed(alone, &mut placements);
        }
        (found, self.is_whole)
    }

    /// Adds every group of those from a place on that contains `members`.
    fn grow(&self, members: &mut Vec<usize>, from: usize, groups: &mut Vec<Group>) {
        for at in from..self.able.len() {
            if self.joins(members, at) {
                members.push(at);
                groups.extend(self.group(members));
                self.grow(members, at + 1, groups);
                members.pop();
            }
        }
    }

    /// Adds groups that grow in several orders, at every size.
    fn greedy(&self, groups: &mut Vec<Group>) {
        let nearest: Vec<usize> = (0..self.able.len()).collect();
        let mut oldest = nearest.clone();
        oldest.sort_by_key(|at| (Reverse(self.able[*at].ticket.priority), self.able[*at].ticket.entered_ms));
        let mut largest = oldest.clone();
        largest.sort_by_key(|at| Reverse(self.able[*at].ticket.players.len()));
        let mut closest = nearest.clone();
        closest.sort_by_key(|at| self.able[*at].latency_ms);
        for order in [nearest, oldest, largest, closest] {
            let mut members = Vec::new();
            for at in order {
                if self.joins(&members, at) {
                    members.push(at);
                    groups.extend(self.group(&members));
                }
            }
        }
    }

    /// Whether one more may be among `members`.
    fn joins(&self, members: &[usize], at: usize) -> bool {
        let one = &self.able[at];
        let all = || members.iter().map(|member| &self.able[*member]);
        let players: usize = all().map(|able| able.ticket.players.len()).sum();
        let low = all().map(|able| able.near).fold(one.near, f64::min);
        let high = all().map(|able| able.near).fold(one.near, f64::max);
        players + one.ticket.players.len() <= self.open.seats
            && members.iter().all(|member| one.willing >> member & 1 == 1)
            && self.open.apart_with(low, high) <= self.reach(self.level)
    }

    /// The group of `members`, if the match may have so many players, and its oldest has waited long enough for it.
    fn group(&self, members: &[usize]) -> Option<Group> {
        let (pool, open) = (self.pool, self.open);
        let able = || members.iter().map(|member| &self.able[*member]);
        let tickets: Vec<&Ticket> = able().map(|able| able.ticket).collect();
        let players = tickets.iter().map(|ticket| ticket.players.len()).sum();
        let low = able().map(|able| able.near).fold(f64::INFINITY, f64::min);
        let high = able().map(|able| able.near).fold(f64::NEG_INFINITY, f64::max);
        let worst_ms = able().map(|able| able.latency_ms).max().unwrap_or_default();
        let level = pool.levels.at(open.opening.wait_ms(&tickets, self.now_ms));
        let may_be = pool.queue.may_run_with(open.opening.players() + players)
            && open.apart_with(low, high) <= self.reach(level)
            && f64::from(worst_ms) <= pool.levels.cap_ms(level)
            && self.is_settled(&tickets);
        may_be.then(|| {
            let mut members = members.to_vec();
            members.sort_unstable();
            let quality = pool.quality_joining(open, (low, high), &tickets, self.now_ms);
            Group { members, players, quality }
        })
    }

    /// Whether the rules hold that only the whole match decides.
    fn is_settled(&self, tickets: &[&Ticket]) -> bool {
        let (pool, opening) = (self.pool, &self.open.opening);
        if pool.settling.is_empty() {
            return true;
        }
        let joined = opening.joined_by(tickets, &vec![0; tickets.len()]);
        let wait_ms = opening.wait_ms(tickets, self.now_ms);
        let mut rules = pool.settling.iter().map(|at| &pool.queue.rules[*at]);
        rules.all(|rule| pool.queue.holds_joining(rule, &joined, &opening.region, wait_ms))
    }

    /// The first that is allowed: the largest, and of these the best by quality.
    fn first_allowed(&mut self, mut groups: Vec<Group>, placements: &mut u32) -> Option<Join> {
        groups.sort_unstable_by(|one, other| {
            let worth = other.players.cmp(&one.players).then(other.quality.total_cmp(&one.quality));
            worth.then_with(|| one.members.cmp(&other.members))
        });
        groups.dedup_by(|one, other| one.members == other.members);
        groups.into_iter().find_map(|group| self.divided(group, placements))
    }

    fn divided(&mut self, group: Group, placements: &mut u32) -> Option<Join> {
        let (queue, opening) = (&self.pool.queue, &self.open.opening);
        let tickets: Vec<&Ticket> = group.members.iter().map(|at| self.able[*at].ticket).collect();
        let found = balance_into(queue, opening, &tickets, self.now_ms, placements);
        self.is_whole &= found.is_whole;
        let teams = found.teams?;
        queue.allows_joining(opening, &tickets, &teams, self.now_ms).ok()?;
        let members = group.members.iter().map(|at| self.able[*at].slot).collect();
        Some(Join { opening: opening.key, members, teams, quality: group.quality })
    }
}
