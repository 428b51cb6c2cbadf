//! Groups of neighbours that could be a match: what a set of tickets can tell before it is divided into teams.
//!
//! A group grows by one ticket at a time and is given up as soon as no match can come of it: too many players, too far
//! apart, one unwilling, roles that the seats left cannot fill. What the division decides is asked later.

use crate::near::Window;
use crate::needs::Needs;
use crate::pool::Pool;
use crate::rules::oldest_wait;
use crate::ticket::Ticket;
use crate::willing::Willing;
use muster_protocol::api::Priority;

/// Most groups begun where they are looked at one after the other.
const MAX_BEGUN: u32 = 4_096;

/// A neighbour that can play in a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Able {
    /// Position in the window.
    pub(crate) at: usize,
    pub(crate) near: f64,
    pub(crate) level: u16,
    pub(crate) latency_ms: u32,
    pub(crate) players: usize,
    pub(crate) entered_ms: u64,
    pub(crate) priority: Priority,
}

/// A group of as many players as a match may have.
#[derive(Debug)]
pub(crate) struct Group {
    /// Among the places searched.
    pub(crate) place: usize,
    /// Positions among those able, sorted.
    pub(crate) members: Vec<u16>,
    pub(crate) players: usize,
    /// That a match of them would have.
    pub(crate) quality: f64,
    /// The worst round trip of a member to the place, in milliseconds.
    pub(crate) worst_ms: u32,
}

/// A group that grows.
struct Growing {
    members: Vec<u16>,
    players: usize,
    low: f64,
    high: f64,
    /// Players by role that the teams need.
    roles: Vec<usize>,
}

/// Puts groups together for one leader.
pub(crate) struct Groups<'a> {
    pool: &'a Pool,
    window: &'a Window,
    willing: Willing<'a>,
    needs: Needs<'a>,
    now_ms: u64,
}

impl<'a> Groups<'a> {
    pub(crate) fn new(pool: &'a Pool, window: &'a Window, now_ms: u64) -> Self {
        let (willing, needs) = (Willing::new(pool, window), Needs::new(pool, window));
        Self { pool, window, willing, needs, now_ms }
    }

    /// Adds runs of neighbours around the leader, and groups of those who wait longest, of the largest parties and of
    /// those closest to the region first, within the limits of a level.
    pub(crate) fn runs(&mut self, able: &[Able], (place, level): (usize, u16), groups: &mut Vec<Group>) {
        let (reach, cap_ms) = (self.pool.levels.reach(level), self.pool.levels.cap_ms(level));
        let mut able_now = Vec::with_capacity(able.len());
        able_now.extend((0..able.len()).filter(|at| f64::from(able[*at].latency_ms) <= cap_ms));
        let leader = self.leader(able);
        let Some(middle) = able_now.iter().position(|at| *at == leader) else { return };
        let mut growing = self.begin(able, leader);
        // A run from further below than a match has players would be full before it came near the leader.
        let most = self.pool.queue.sizes.first().copied().unwrap_or_default();
        for first in middle.saturating_sub(most)..=middle {
            if able[leader].near - able[able_now[first]].near <= reach {
                let run = able_now[first..].iter().copied();
                groups.extend(self.fill(able, &mut growing, run, (place, level)));
            }
        }
        let mut order = able_now;
        order.retain(|at| (able[*at].near - able[leader].near).abs() <= reach);
        order.sort_unstable_by_key(|at| (std::cmp::Reverse(able[*at].priority), able[*at].entered_ms, *at));
        groups.extend(self.fill(able, &mut growing, order.iter().copied(), (place, level)));
        order.sort_unstable_by_key(|at| (std::cmp::Reverse(able[*at].players), able[*at].entered_ms, *at));
        groups.extend(self.fill(able, &mut growing, order.iter().copied(), (place, level)));
        order.sort_unstable_by_key(|at| (able[*at].latency_ms, *at));
        groups.extend(self.fill(able, &mut growing, order.into_iter(), (place, level)));
    }

    fn leader(&self, able: &[Able]) -> usize {
        let leader = able.iter().position(|able| able.at == self.window.leader);
        leader.expect("only regions that the leader can play in are searched")
    }

    /// The leader, who alone is in `growing` before and after, and as many of `order` as fit: the largest group on the
    /// way that a match may have.
    fn fill(
        &mut self,
        able: &[Able],
        growing: &mut Growing,
        order: impl Iterator<Item = usize>,
        (place, level): (usize, u16),
    ) -> Option<Group> {
        let most = self.pool.queue.sizes.first().copied().unwrap_or_default();
        let leader = growing.members[0];
        let mut complete = self.is_complete(growing, able).then_some(1);
        for at in order.filter(|at| *at != usize::from(leader)) {
            if growing.players == most {
                break;
            }
            if self.joins(growing, able, at, level) {
                self.join(growing, able, at);
                if self.is_complete(growing, able) {
                    complete = Some(growing.members.len());
                }
            }
        }
        let group = complete.and_then(|count| self.finish(able, &growing.members[..count], place));
        self.leave_alone(growing, able);
        group
    }

    /// Adds every group that contains the leader, as far as [`MAX_BEGUN`] goes, and says whether that was all.
    pub(crate) fn every(
        &mut self,
        able: &[Able],
        (place, oldest): (usize, u16),
        groups: &mut Vec<Group>,
    ) -> bool {
        let leader = self.leader(able);
        let mut order: Vec<usize> = (0..able.len()).filter(|at| *at != leader).collect();
        let distance = |at: usize| (able[at].near - able[leader].near).abs();
        order.sort_by(|one, other| distance(*one).total_cmp(&distance(*other)).then(one.cmp(other)));
        // Players of those from each place on.
        let mut left = vec![0; order.len() + 1];
        for (place, at) in order.iter().enumerate().rev() {
            left[place] = left[place + 1] + able[*at].players;
        }
        let mut growing = self.begin(able, leader);
        let mut every = Every { able, place, order, left, level: oldest, begun: 0, groups };
        self.grow(&mut every, &mut growing, 0);
        every.begun < MAX_BEGUN
    }

    /// Takes down `growing` if it is complete, and grows it by every one of those from a place on.
    fn grow(&mut self, every: &mut Every, growing: &mut Growing, from: usize) {
        if self.is_complete(growing, every.able) {
            every.groups.extend(self.finish(every.able, &growing.members, every.place));
        }
        let sizes = &self.pool.queue.sizes;
        let (most, least) = (sizes[0], sizes[sizes.len() - 1]);
        for place in from..every.order.len() {
            let is_too_few = growing.players + every.left[place] < least;
            if every.begun >= MAX_BEGUN || growing.players == most || is_too_few {
                return;
            }
            let at = every.order[place];
            if self.joins(growing, every.able, at, every.level) {
                every.begun += 1;
                let (low, high) = (growing.low, growing.high);
                self.join(growing, every.able, at);
                self.grow(every, growing, place + 1);
                growing.members.pop();
                growing.players -= every.able[at].players;
                self.needs.leave(&mut growing.roles, every.able[at].at);
                (growing.low, growing.high) = (low, high);
            }
        }
    }

    fn begin(&self, able: &[Able], leader: usize) -> Growing {
        let near = able[leader].near;
        let roles = self.needs.none();
        let mut growing = Growing { members: Vec::new(), players: 0, low: near, high: near, roles };
        self.join(&mut growing, able, leader);
        growing
    }

    /// Has all but the leader leave.
    fn leave_alone(&self, growing: &mut Growing, able: &[Able]) {
        for member in growing.members.drain(1..) {
            self.needs.leave(&mut growing.roles, able[usize::from(member)].at);
        }
        let leader = &able[usize::from(growing.members[0])];
        (growing.players, growing.low, growing.high) = (leader.players, leader.near, leader.near);
    }

    fn join(&self, growing: &mut Growing, able: &[Able], at: usize) {
        growing.members.push(at as u16);
        growing.players += able[at].players;
        growing.low = growing.low.min(able[at].near);
        growing.high = growing.high.max(able[at].near);
        self.needs.join(&mut growing.roles, able[at].at);
    }

    /// Whether one more may join, within the limits of a level.
    fn joins(&mut self, growing: &Growing, able: &[Able], at: usize, level: u16) -> bool {
        let Able { at: place, near, players, .. } = able[at];
        let most = self.pool.queue.sizes.first().copied().unwrap_or_default();
        let Some(seats) = most.checked_sub(growing.players + players) else { return false };
        growing.high.max(near) - growing.low.min(near) <= self.pool.levels.reach(level)
            && self.needs.fit(&growing.roles, place, seats)
            && self.is_willing(growing, able, place)
            && self.holds_with(growing, able, place, level)
    }

    fn is_willing(&mut self, growing: &Growing, able: &[Able], place: usize) -> bool {
        self.willing.is_everybody()
            || growing.members.iter().all(|member| self.willing.pair(able[usize::from(*member)].at, place))
    }

    /// Whether the rules hold that more members can only break.
    fn holds_with(&self, growing: &Growing, able: &[Able], place: usize, level: u16) -> bool {
        if self.pool.breaking.is_empty() {
            return true;
        }
        let ticket = |at: usize| &self.pool.entry(self.window.candidates[at].slot).ticket;
        let members = growing.members.iter().map(|member| able[usize::from(*member)].at);
        let tickets: Vec<&Ticket> = members.chain([place]).map(ticket).collect();
        let wait_ms = self.pool.levels.wait_ms(level);
        let queue = &self.pool.queue;
        self.pool.breaking.iter().all(|rule| queue.may_hold(&queue.rules[*rule], &tickets, &[], "", wait_ms))
    }

    fn is_complete(&self, growing: &Growing, able: &[Able]) -> bool {
        self.pool.queue.sizes.binary_search_by(|size| growing.players.cmp(size)).is_ok()
            && self.needs.are_met(&growing.roles)
            && self.is_settled(growing, able)
    }

    /// Whether the rules hold that only the whole decides.
    fn is_settled(&self, growing: &Growing, able: &[Able]) -> bool {
        if self.pool.settling.is_empty() {
            return true;
        }
        let of = |member: &u16| {
            &self.pool.entry(self.window.candidates[able[usize::from(*member)].at].slot).ticket
        };
        let tickets: Vec<&Ticket> = growing.members.iter().map(of).collect();
        let wait_ms = oldest_wait(&tickets, self.now_ms);
        let queue = &self.pool.queue;
        self.pool.settling.iter().all(|rule| queue.holds(&queue.rules[*rule], &tickets, &[], "", wait_ms))
    }

    /// The group, unless its own oldest has not waited long enough for it.
    fn finish(&self, able: &[Able], members: &[u16], place: usize) -> Option<Group> {
        let levels = &self.pool.levels;
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let (mut level, mut worst_ms, mut entered_ms, mut players) = (0, 0, u64::MAX, 0);
        for able in members.iter().map(|member| &able[usize::from(*member)]) {
            (low, high) = (low.min(able.near), high.max(able.near));
            level = level.max(able.level);
            worst_ms = worst_ms.max(able.latency_ms);
            entered_ms = entered_ms.min(able.entered_ms);
            players += able.players;
        }
        let (apart, wait_ms) = (high - low, self.now_ms.saturating_sub(entered_ms));
        let is_full = self.pool.queue.sizes.first() == Some(&players);
        let may_be = apart <= levels.reach(level)
            && f64::from(worst_ms) <= levels.cap_ms(level)
            && (is_full || wait_ms >= self.pool.queue.fill_wait_ms);
        let quality = self.pool.worth.of(apart, worst_ms, wait_ms);
        may_be.then(|| {
            let mut members = members.to_vec();
            members.sort_unstable();
            Group { place, members, players, quality, worst_ms }
        })
    }
}

/// Groups looked at one after the other.
struct Every<'a> {
    able: &'a [Able],
    /// Who may join, the nearest first.
    order: Vec<usize>,
    left: Vec<usize>,
    place: usize,
    level: u16,
    begun: u32,
    groups: &'a mut Vec<Group>,
}
