//! Forming matches: a ticket leads, and of those near to it the best match that contains it is made.
//!
//! Here are the turns, the regions and what becomes of them; which of the neighbours are looked at together is in
//! `search`, and what openings are for a leader, or take by themselves, in `join`.

use crate::join::{Alone, Join};
use crate::near::Window;
use crate::opening::OpeningKey;
use crate::pool::{Pool, Slot};
use crate::search::{Proposal, Search, Spare};
use crate::ticket::TicketKey;
use muster_protocol::api::Priority;

/// Regions of which the best is taken: those nearest to the leader. Of those further away the first will do.
pub(crate) const MAX_COMPARED_REGIONS: usize = 4;
/// When one leads again that led in vain though not everything could be looked at: after as long as it has waited, and
/// this long at least, in milliseconds.
pub(crate) const MIN_AGAIN_MS: u64 = 1_000;

/// How often a leader lets others have a better match first that needs one whom it would have played with.
const MAX_YIELDED: u32 = 3;
/// How often a better match is looked for that needs somebody of the one before.
const MAX_BETTER: usize = 3;

/// A region that may host matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Name.
    pub region: String,
    /// Warm servers there.
    pub warm: u32,
    /// Matches that can get a server there, warm or started for them.
    pub capacity: u32,
}

/// A match, or those who join one.
#[derive(Clone, Debug, PartialEq)]
pub struct Formed {
    /// Where it is to be played.
    pub region: String,
    /// Its tickets and their teams.
    pub members: Vec<(TicketKey, usize)>,
    /// How good it is, from 0 to 1.
    pub quality: f64,
    /// The opening that they join; `None`: it is a new match.
    pub joins: Option<OpeningKey>,
    /// The tickets of those who play there already, as far as is known here. What they join is to be a match of these.
    pub beside: Vec<TicketKey>,
}

/// An offer while matches are formed: what is left of it, and the region's position in the pool.
pub(crate) struct Room<'a> {
    pub(crate) name: &'a str,
    pub(crate) region: usize,
    pub(crate) warm: u32,
    pub(crate) capacity: u32,
}

/// What came of a turn.
struct Led {
    found: Option<Proposal>,
    /// Whether everything was looked at.
    is_whole: bool,
}

impl Pool {
    /// Forms at most `limit` matches of tickets whose turn it is at `now_ms`, within what `offers` have room for (the
    /// first [`MAX_REGIONS`](crate::MAX_REGIONS) of them). Those matched leave the pool.
    pub fn form(&mut self, now_ms: u64, offers: &[Offer], limit: usize) -> Vec<Formed> {
        let regions = self.meet_regions(offers);
        let rooms = offers.iter().zip(regions).map(|(offer, region)| {
            let Offer { region: name, warm, capacity } = offer;
            Room { name, region, warm: *warm, capacity: *capacity }
        });
        let mut rooms: Vec<Room> = rooms.collect();
        let (mut formed, mut spare) = (Vec::new(), std::mem::take(&mut self.spare));
        while formed.len() < limit {
            if let Some(opening) = self.openings.next(now_ms, true) {
                formed.extend(self.fill(opening, now_ms, &rooms));
                continue;
            }
            let open = open(&rooms);
            let Some(leader) = self.agenda.next(now_ms, open) else {
                let Some(opening) = self.openings.next(now_ms, false) else { break };
                formed.extend(self.fill(opening, now_ms, &rooms));
                continue;
            };
            let mut alone = self.alone(leader, now_ms, &rooms);
            if let Some(join) = alone.take(Priority::High) {
                formed.push(self.join(join));
                continue;
            }
            let led = self.led_by(leader, now_ms, (&rooms, open), &mut spare);
            if let Some(join) = joined_rather(&mut alone, led.found.as_ref()) {
                formed.push(self.join(join));
                continue;
            }
            let Some(found) = led.found else {
                alone.in_company.iter().for_each(|opening| self.openings.wake(*opening));
                self.led_in_vain(leader, now_ms, open, led.is_whole);
                continue;
            };
            formed.push(self.made(leader, found, &mut rooms, now_ms));
        }
        self.agenda.note(now_ms, open(&rooms));
        self.spare = spare;
        formed
    }

    /// Has the members of a match leave the pool, and take its room.
    fn made(&mut self, leader: Slot, found: Proposal, rooms: &mut [Room], now_ms: u64) -> Formed {
        if !found.members.contains(&leader) {
            self.entry_mut(leader).yielded += 1;
            self.agenda.again(leader, Some(now_ms), 0);
        }
        let room = &mut rooms[found.room];
        (room.capacity, room.warm) = (room.capacity - 1, room.warm.saturating_sub(1));
        let region = room.name.to_owned();
        let keys: Vec<TicketKey> = found.members.iter().map(|slot| self.entry(*slot).ticket.key).collect();
        for key in &keys {
            self.remove(*key);
        }
        let members = keys.into_iter().zip(found.teams).collect();
        Formed { region, members, quality: found.quality, joins: None, beside: Vec::new() }
    }

    /// Has a leader that found nobody lead again when it may by itself: when something relaxes, when there is room
    /// where there was none, or, if not everything was looked at, later.
    fn led_in_vain(&mut self, leader: Slot, now_ms: u64, open: u64, is_whole: bool) {
        let missed = self.hot(leader).regions & !open;
        let entry = self.entry_mut(leader);
        let entered_ms = entry.ticket.entered_ms;
        let wait_ms = now_ms.saturating_sub(entered_ms);
        if !is_whole {
            entry.fruitless += 1;
        }
        let relaxed_ms = self.queue.next_relaxation(wait_ms).map(|wait_ms| entered_ms + wait_ms);
        let again_ms = (!is_whole).then(|| now_ms + wait_ms.max(MIN_AGAIN_MS));
        self.agenda.again(leader, [relaxed_ms, again_ms].into_iter().flatten().min(), missed);
    }

    /// The match of a leader, or, where few are near, a better one that needs somebody of it.
    fn led_by(&self, leader: Slot, now_ms: u64, rooms: (&[Room], u64), spare: &mut Spare) -> Led {
        let (mut led, is_few) = self.best_of(leader, now_ms, rooms, spare);
        if !is_few || self.entry(leader).yielded >= MAX_YIELDED {
            return led;
        }
        let priority = self.hot(leader).priority;
        for _ in 0..MAX_BETTER {
            let Some(found) = &led.found else { break };
            let others = found.members.iter().filter(|other| self.hot(**other).priority >= priority);
            let theirs = others.filter_map(|other| self.best_of(*other, now_ms, rooms, spare).0.found);
            let best = theirs.reduce(|one, other| if other.is_better(&one) { other } else { one });
            let Some(better) = best.filter(|best| best.is_better(found)) else { break };
            led.found = Some(better);
        }
        led
    }

    /// The best match found that contains a ticket, and whether all of few neighbours were looked at for it.
    fn best_of(
        &self,
        leader: Slot,
        now_ms: u64,
        (rooms, open): (&[Room], u64),
        spare: &mut Spare,
    ) -> (Led, bool) {
        let able = self.hot(leader).regions & open;
        if able == 0 {
            return (Led { found: None, is_whole: true }, true);
        }
        let window = self.window(leader, now_ms, open, std::mem::take(&mut spare.candidates));
        let nearest = nearest(self, &window, rooms, able);
        let mut search = Search::new(self, &window, rooms, spare, now_ms);
        let (compared, further) = nearest.split_at(nearest.len().min(MAX_COMPARED_REGIONS));
        let found = search.best(compared);
        let found = found.or_else(|| further.iter().find_map(|room| search.best(&[*room])));
        let is_whole = window.is_whole && search.is_whole();
        let is_few = search.is_few();
        spare.candidates = window.candidates;
        (Led { found, is_whole }, is_few)
    }
}

/// What a leader joins, if that is no worse than the match `found` for it, or there is none.
fn joined_rather(alone: &mut Alone, found: Option<&Proposal>) -> Option<Join> {
    match found {
        None => alone.take(Priority::Normal).or_else(|| alone.take(Priority::Low)),
        Some(found) => alone.take(Priority::Normal).filter(|join| join.quality >= found.quality),
    }
}

/// The regions with room, one bit each.
fn open(rooms: &[Room]) -> u64 {
    rooms.iter().filter(|room| room.capacity > 0).fold(0, |open, room| open | 1 << room.region)
}

/// Positions of the rooms that the leader can play in, those nearest to it first, and of these those that are warm.
fn nearest(pool: &Pool, window: &Window, rooms: &[Room], able: u64) -> Vec<usize> {
    let leader = &window.candidates[window.leader];
    let mut nearest: Vec<usize> =
        (0..rooms.len()).filter(|at| rooms[*at].capacity > 0 && able >> rooms[*at].region & 1 == 1).collect();
    nearest.sort_by_key(|at| (pool.latency_ms(leader, rooms[*at].region), rooms[*at].warm == 0));
    nearest
}
