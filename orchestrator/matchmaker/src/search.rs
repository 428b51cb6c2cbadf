//! Which of a leader's neighbours to play with: groups of them are put together, ranked by the quality that a match of
//! them would have, and divided into teams until one is allowed.
//!
//! Of few neighbours every group is looked at. Of many, runs of neighbours by number, those who wait longest and the
//! largest parties first are; where none of these is a match, groups are tried one after the other up to a bound.

use std::cmp::Reverse;

use crate::balance::balance;
use crate::form::Room;
use crate::groups::{Able, Group, Groups};
use crate::near::{Candidate, Window};
use crate::pool::{Pool, Slot};
use crate::ticket::Ticket;

/// Neighbours, the leader among them, of which every group is looked at.
pub(crate) const FEW: usize = 12;
/// Most groups that are divided into teams for one leader and level, for each region, of those put together greedily.
const MAX_TRIES: usize = 6;
/// Most of those looked at one after the other.
const MAX_EVERY_TRIES: usize = 1 << (FEW - 1);
/// Most levels of waiting tried for one leader in one region.
const MAX_LEVELS: usize = 4;
/// Most placements of parties into teams for one leader.
const MAX_PLACEMENTS: u32 = 40_000;

/// A match that could be made.
pub(crate) struct Proposal {
    /// Position of the room.
    pub(crate) room: usize,
    pub(crate) members: Vec<Slot>,
    pub(crate) teams: Vec<usize>,
    pub(crate) players: usize,
    pub(crate) quality: f64,
}

impl Proposal {
    pub(crate) fn is_better(&self, other: &Self) -> bool {
        (self.players, self.quality) > (other.players, other.quality)
    }
}

/// The neighbours that can play in a room's region.
struct Place {
    room: usize,
    able: Vec<Able>,
}

/// Memory that one search leaves to the next. Without it every turn would ask for a few large pieces, for which the
/// allocator tidies up behind all the tickets that left, which costs the more the more there are.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    pub(crate) candidates: Vec<Candidate>,
    able: Vec<Vec<Able>>,
    groups: Vec<Group>,
}

/// The search for one leader.
pub(crate) struct Search<'a> {
    pool: &'a Pool,
    window: &'a Window,
    rooms: &'a [Room<'a>],
    groups: Groups<'a>,
    spare: &'a mut Spare,
    now_ms: u64,
    /// Highest level of those in the window.
    oldest: u16,
    /// Placements left.
    placements: u32,
    is_whole: bool,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        pool: &'a Pool,
        window: &'a Window,
        rooms: &'a [Room<'a>],
        spare: &'a mut Spare,
        now_ms: u64,
    ) -> Self {
        let groups = Groups::new(pool, window, now_ms);
        let oldest = window.candidates.iter().map(|candidate| candidate.level).max().unwrap_or_default();
        Self {
            pool,
            window,
            rooms,
            groups,
            spare,
            now_ms,
            oldest,
            placements: MAX_PLACEMENTS,
            is_whole: true,
        }
    }

    /// Whether everything was looked at that could have been a match.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether so few are near that every group of them is looked at.
    pub(crate) fn is_few(&self) -> bool {
        self.window.candidates.len() <= FEW
    }

    /// The best match found that contains the leader, in one of `rooms`. Tickets are read whole only for the groups
    /// that are divided into teams, and these are the best of all rooms together.
    pub(crate) fn best(&mut self, rooms: &[usize]) -> Option<Proposal> {
        let places: Vec<Place> = rooms.iter().filter_map(|room| self.place(*room)).collect();
        let mut groups = std::mem::take(&mut self.spare.groups);
        let found = self.best_in(&places, &mut groups);
        groups.clear();
        self.spare.groups = groups;
        self.spare.able.extend(places.into_iter().map(|place| place.able));
        found
    }

    fn best_in(&mut self, places: &[Place], groups: &mut Vec<Group>) -> Option<Proposal> {
        let is_few = |place: &Place| place.able.len() <= FEW;
        let was_whole = self.is_whole;
        for (tried, level) in self.levels(places).into_iter().enumerate() {
            groups.clear();
            for (at, place) in places.iter().enumerate() {
                if !is_few(place) {
                    self.groups.runs(&place.able, (at, level), groups);
                } else if tried == 0 {
                    self.is_whole &= self.groups.every(&place.able, (at, self.oldest), groups);
                }
            }
            let tries = if places.iter().all(is_few) { MAX_EVERY_TRIES } else { MAX_TRIES * places.len() };
            let found = self.best_of(places, groups, tries);
            if found.is_some() || places.iter().all(is_few) {
                return found;
            }
        }
        // What was given up before is looked at now.
        self.is_whole = was_whole;
        groups.clear();
        for (at, place) in places.iter().enumerate() {
            self.is_whole &= self.groups.every(&place.able, (at, self.oldest), groups);
        }
        self.best_of(places, groups, MAX_EVERY_TRIES)
    }

    /// The neighbours that can play in a room's region, if the leader is among them and they are enough for a match.
    fn place(&mut self, room: usize) -> Option<Place> {
        let region = self.rooms[room].region;
        let cap_ms = self.pool.levels.cap_ms(self.oldest);
        let mut kept = self.spare.able.pop().unwrap_or_default();
        kept.clear();
        let all = self.window.candidates.iter().enumerate();
        let here = all.filter(|(_, candidate)| candidate.hot.regions >> region & 1 == 1);
        let able = here.map(|(at, candidate)| Able {
            at,
            near: candidate.near,
            level: candidate.level,
            latency_ms: self.pool.latency_ms(candidate, region),
            players: usize::from(candidate.hot.players),
            entered_ms: candidate.hot.entered_ms,
            priority: candidate.hot.priority,
        });
        kept.extend(able.filter(|able| f64::from(able.latency_ms) <= cap_ms));
        let least = self.pool.queue.sizes.last().copied().unwrap_or_default();
        let is_enough = kept.iter().map(|able| able.players).sum::<usize>() >= least;
        if is_enough && kept.iter().any(|able| able.at == self.window.leader) {
            return Some(Place { room, able: kept });
        }
        self.spare.able.push(kept);
        None
    }

    /// The levels at which to look: the leader's own, the next that others bring, and the highest of all.
    fn levels(&self, places: &[Place]) -> Vec<u16> {
        let own = self.window.candidates[self.window.leader].level;
        let mut levels = Vec::new();
        for able in places.iter().flat_map(|place| &place.able) {
            if able.level >= own && !levels.contains(&able.level) {
                levels.push(able.level);
            }
        }
        levels.sort_unstable();
        if levels.len() > MAX_LEVELS {
            levels.truncate(MAX_LEVELS - 1);
            levels.push(self.oldest);
        }
        levels
    }

    /// The best of `groups` that can be divided into teams and is allowed: the largest, of these by quality, of these the
    /// one whose worst member is nearest, of these one that need not wait for its server, and of these where there is most
    /// room.
    fn best_of(&mut self, places: &[Place], groups: &mut Vec<Group>, tries: usize) -> Option<Proposal> {
        let rank = |group: &'_ Group| {
            let room = &self.rooms[places[group.place].room];
            (group.worst_ms, room.warm == 0, Reverse(room.capacity), group.place)
        };
        groups.sort_unstable_by(|one, other| {
            let worth = other.players.cmp(&one.players).then(other.quality.total_cmp(&one.quality));
            worth.then_with(|| rank(one).cmp(&rank(other)).then_with(|| one.members.cmp(&other.members)))
        });
        groups.dedup_by(|one, other| one.place == other.place && one.members == other.members);
        for (tried, group) in groups.iter().enumerate() {
            if tried >= tries || self.placements == 0 {
                self.is_whole = false;
                return None;
            }
            let found = self.divided(&places[group.place], group);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The match of a group, if it can be divided into teams and is allowed.
    fn divided(&mut self, place: &Place, group: &Group) -> Option<Proposal> {
        let slot = |at: &u16| self.window.candidates[place.able[usize::from(*at)].at].slot;
        let members: Vec<Slot> = group.members.iter().map(slot).collect();
        let tickets: Vec<&Ticket> = members.iter().map(|slot| &self.pool.entry(*slot).ticket).collect();
        let found = balance(&self.pool.queue, &tickets, self.now_ms, &mut self.placements);
        self.is_whole &= found.is_whole;
        let (teams, region) = (found.teams?, self.rooms[place.room].name);
        let is_allowed = self.pool.queue.allows(&tickets, &teams, region, self.now_ms).is_ok();
        is_allowed.then_some(Proposal {
            room: place.room,
            members,
            teams,
            players: group.players,
            quality: group.quality,
        })
    }
}
