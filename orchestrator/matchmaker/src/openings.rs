//! The openings of a pool, found by texts, region and number as tickets are, and whose turn it is to be filled.
//!
//! An opening looks for players when it comes or changes, when a limit relaxes for it, when its region is offered
//! again, when somebody is near who could join only in company, and, if not everybody near could be looked at, after a
//! while. Those of high priority also do when anybody near comes. Of a queue in parts, one that is filled elsewhere looks
//! here only for those who are led here and wake it. What looking means is not known here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::near::Near;
use crate::opening::{Opening, OpeningKey};
use crate::queue::Queue;
use crate::rules::spread;
use muster_protocol::api::Priority;

/// Openings of a region looked at for one ticket: so many on each side of its number.
const MAX_LOOKED_AT: usize = 8;

/// An opening, and what is asked of it often.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) opening: Opening,
    /// Smallest and largest of the numbers by which tickets are near, of those who play.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// How far apart they may be with those who join, whatever the limits are.
    pub(crate) apart: f64,
    /// Players who can still join.
    pub(crate) seats: usize,
    /// Players of the largest party that can.
    pub(crate) largest: usize,
    /// What everybody has in common by rules `same`.
    pub(crate) texts: Vec<String>,
    /// How often it looked in vain though not everybody could be looked at.
    pub(crate) fruitless: u32,
    due_ms: Option<u64>,
    is_filled_here: bool,
}

/// Whose turn comes first: by priority, then by age.
type Turn = (Reverse<Priority>, u64, OpeningKey);

/// Those with texts and region in common, by the middle of their numbers.
type Place = BTreeSet<(Near, OpeningKey)>;

/// The openings of a pool.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    all: BTreeMap<OpeningKey, Open>,
    by_place: BTreeMap<Vec<String>, BTreeMap<String, Place>>,
    /// Turns that come with time.
    due: BTreeSet<(u64, OpeningKey)>,
    /// Turns that have come.
    ready: BTreeSet<Turn>,
}

impl Open {
    /// `None` of what nobody can join: nobody plays there, or there is no seat, or a team that the queue has not.
    fn new(queue: &Queue, opening: Opening, is_filled_here: bool) -> Option<Self> {
        let primary = queue.primary();
        let number = |ticket: &crate::Ticket| {
            // As for tickets: without a number those who came at about the same time are near.
            primary.map_or(opening.since_ms as f64, |(at, party)| ticket.number(at, party))
        };
        let (mut low, mut high, mut sizes) = (f64::INFINITY, f64::NEG_INFINITY, vec![0; queue.teams.len()]);
        for (ticket, team) in &opening.playing {
            *sizes.get_mut(*team)? += ticket.players.len();
            let number = number(ticket);
            (low, high) = (low.min(number), high.max(number));
        }
        let players = opening.players();
        let seats = queue.sizes.first().copied().unwrap_or_default().saturating_sub(players);
        let rooms = queue.teams.iter().zip(sizes).map(|(team, size)| team.max.saturating_sub(size));
        let largest = rooms.max().unwrap_or_default().min(seats);
        let texts = queue.texts_of(opening.playing.iter().map(|(ticket, _)| ticket));
        let (fruitless, due_ms, apart) = (0, None, queue.apart_already(&opening));
        let open =
            Self { opening, low, high, apart, seats, largest, texts, fruitless, due_ms, is_filled_here };
        (players > 0 && largest > 0).then_some(open)
    }

    /// Between them.
    pub(crate) fn middle(&self) -> Near {
        Near(self.low + (self.high - self.low) / 2.0)
    }

    /// How far apart the numbers are once those from `low` to `high` have joined.
    pub(crate) fn apart_with(&self, low: f64, high: f64) -> f64 {
        spread([self.low, self.high, low, high].into_iter())
    }

    fn turn(&self) -> Turn {
        (Reverse(self.opening.priority), self.opening.since_ms, self.opening.key)
    }
}

impl Openings {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Opening> {
        self.all.values().map(|open| &open.opening)
    }

    pub(crate) fn get(&self, key: OpeningKey) -> Option<&Open> {
        self.all.get(&key)
    }

    /// Every one of them.
    pub(crate) fn into_all(self) -> impl Iterator<Item = Opening> {
        self.all.into_values().map(|open| open.opening)
    }

    /// Takes one in, in the place of what was known of it, and has it look for players if it is filled here. Returns
    /// whether anybody can join it; one that nobody can is not kept.
    pub(crate) fn insert(&mut self, queue: &Queue, opening: Opening, is_filled_here: bool) -> bool {
        self.remove(opening.key);
        let Some(open) = Open::new(queue, opening, is_filled_here) else { return false };
        let key = open.opening.key;
        let regions = self.by_place.entry(open.texts.clone()).or_default();
        regions.entry(open.opening.region.clone()).or_default().insert((open.middle(), key));
        if is_filled_here {
            self.ready.insert(open.turn());
        }
        self.all.insert(key, open);
        true
    }

    pub(crate) fn remove(&mut self, key: OpeningKey) -> Option<Opening> {
        let open = self.all.remove(&key)?;
        self.ready.remove(&open.turn());
        if let Some(due_ms) = open.due_ms {
            self.due.remove(&(due_ms, key));
        }
        // Texts may be of any number over time; the places are as many as there are now.
        if let Some(regions) = self.by_place.get_mut(&open.texts) {
            if let Some(place) = regions.get_mut(&open.opening.region) {
                place.remove(&(open.middle(), key));
                if place.is_empty() {
                    regions.remove(&open.opening.region);
                }
            }
            if regions.is_empty() {
                self.by_place.remove(&open.texts);
            }
        }
        Some(open.opening)
    }

    /// The one that looks for players next at `now_ms`, whose turn is taken thereby; of high priority only, or any.
    pub(crate) fn next(&mut self, now_ms: u64, is_high: bool) -> Option<OpeningKey> {
        while let Some((_, key)) = self.due.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms) {
            self.wake(key);
        }
        let (Reverse(priority), _, key) = self.ready.first().copied()?;
        if is_high && priority != Priority::High {
            return None;
        }
        self.ready.pop_first();
        Some(key)
    }

    /// One looks for players now.
    pub(crate) fn wake(&mut self, key: OpeningKey) {
        let Some(open) = self.all.get_mut(&key) else { return };
        if let Some(due_ms) = open.due_ms.take() {
            self.due.remove(&(due_ms, key));
        }
        self.ready.insert(open.turn());
    }

    /// Those of a region look for players now.
    pub(crate) fn wake_region(&mut self, region: &str) {
        let places = self.by_place.values().filter_map(|regions| regions.get(region));
        let keys = places.flatten().map(|(_, key)| *key);
        let keys: Vec<OpeningKey> = keys.filter(|key| self.all[key].is_filled_here).collect();
        for key in keys {
            self.wake(key);
        }
    }

    /// One that looked in vain does so again at `due_ms`, and sooner if it is woken.
    pub(crate) fn again(&mut self, key: OpeningKey, due_ms: Option<u64>, is_whole: bool) {
        let Some(open) = self.all.get_mut(&key) else { return };
        open.fruitless += u32::from(!is_whole);
        let due_ms = due_ms.filter(|_| open.is_filled_here);
        open.due_ms = due_ms;
        self.due.extend(due_ms.map(|due_ms| (due_ms, key)));
    }

    /// When one looks for players next, Unix milliseconds; those whose turn has come do so `now_ms`.
    pub(crate) fn next_due_ms(&self, now_ms: u64) -> Option<u64> {
        let ready_ms = (!self.ready.is_empty()).then_some(now_ms);
        self.due.first().map(|(due_ms, _)| *due_ms).into_iter().chain(ready_ms).min()
    }

    /// The regions in which there are some with these texts.
    pub(crate) fn regions(&self, texts: &[String]) -> impl Iterator<Item = &str> {
        self.by_place.get(texts).into_iter().flat_map(|regions| regions.keys().map(String::as_str))
    }

    /// Those with these texts in a region that are nearest to a number, at most [`MAX_LOOKED_AT`] on each side.
    pub(crate) fn near(&self, texts: &[String], region: &str, near: Near) -> impl Iterator<Item = &Open> {
        let place = self.by_place.get(texts).and_then(|regions| regions.get(region));
        let here = (near, OpeningKey::MIN);
        let found = place.into_iter().flat_map(move |place| {
            let below = place.range(..here).rev().take(MAX_LOOKED_AT);
            below.chain(place.range(here..).take(MAX_LOOKED_AT))
        });
        found.filter_map(|(_, key)| self.all.get(key))
    }
}
