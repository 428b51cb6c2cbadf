//! Filling openings: a ticket that leads may join one by itself, and an opening whose turn it is takes those who wait.
//!
//! Both end in [`Queue::allows_joining`](crate::Queue::allows_joining). A leader weighs the opening against a new match;
//! an opening fills as many seats as it can with those for whom there is no new match, or, if its priority is high,
//! before there are any.

use crate::balance::balance_into;
use crate::filling::Filling;
use crate::form::{Formed, MAX_COMPARED_REGIONS, MIN_AGAIN_MS, Room};
use crate::opening::OpeningKey;
use crate::openings::Open;
use crate::pool::{Pool, Slot};
use crate::ticket::Ticket;
use muster_protocol::api::Priority;

/// Most placements of one ticket into the teams of openings.
const MAX_PLACEMENTS: u32 = 4_000;

/// Tickets that could join an opening.
pub(crate) struct Join {
    pub(crate) opening: OpeningKey,
    pub(crate) members: Vec<Slot>,
    pub(crate) teams: Vec<usize>,
    pub(crate) quality: f64,
}

/// What the openings near a leader are for it.
#[derive(Default)]
pub(crate) struct Alone {
    /// The best it may join by itself, by the opening's priority.
    joins: [Option<Join>; 3],
    /// Those that it could join only in company.
    pub(crate) in_company: Vec<OpeningKey>,
}

impl Alone {
    pub(crate) fn take(&mut self, priority: Priority) -> Option<Join> {
        self.joins[priority as usize].take()
    }
}

impl Pool {
    /// Has an opening whose turn it is take those who wait; what comes of it, if anything does.
    pub(crate) fn fill(&mut self, key: OpeningKey, now_ms: u64, rooms: &[Room]) -> Option<Formed> {
        let open = self.openings.get(key)?;
        let since_ms = open.opening.since_ms;
        let wait_ms = now_ms.saturating_sub(since_ms);
        let room = rooms.iter().find(|room| room.name == open.opening.region);
        // One whose region is not offered is woken when it is.
        let Some(room) = room else {
            self.openings.again(key, None, true);
            return None;
        };
        let filling = Filling::new(self, open, room.region, now_ms);
        let (found, is_whole) = filling.best();
        if let Some(join) = found {
            return Some(self.join(join));
        }
        let relaxed_ms = self.queue.next_relaxation(wait_ms).map(|wait_ms| since_ms + wait_ms);
        let again_ms = (!is_whole).then(|| now_ms + wait_ms.max(MIN_AGAIN_MS));
        self.openings.again(key, [relaxed_ms, again_ms].into_iter().flatten().min(), is_whole);
        None
    }

    /// Has those who join an opening leave the pool. The opening goes on with them as long as it has seats.
    pub(crate) fn join(&mut self, join: Join) -> Formed {
        let mut opening = self.openings.remove(join.opening).expect("only an opening of the pool is joined");
        let beside = opening.playing.iter().map(|(ticket, _)| ticket.key).collect();
        let mut members = Vec::with_capacity(join.members.len());
        for (slot, team) in join.members.into_iter().zip(join.teams) {
            let key = self.entry(slot).ticket.key;
            members.push((key, team));
            opening.playing.extend(self.remove(key).map(|ticket| (ticket, team)));
        }
        let region = opening.region.clone();
        self.open(opening);
        Formed { region, members, quality: join.quality, joins: Some(join.opening), beside }
    }

    /// The openings near a leader, in the regions offered that are nearest to it.
    pub(crate) fn alone(&self, leader: Slot, now_ms: u64, rooms: &[Room]) -> Alone {
        let mut alone = Alone::default();
        if self.openings.is_empty() {
            return alone;
        }
        let (entry, hot) = (self.entry(leader), self.hot(leader));
        let texts = self.texts(leader);
        let able = rooms.iter().filter(|room| hot.regions >> room.region & 1 == 1);
        let mut regions: Vec<&str> = able.map(|room| room.name).collect();
        regions.retain(|region| self.openings.near(texts, region, entry.near).next().is_some());
        regions.sort_by_key(|region| entry.ticket.latency(region));
        let mut placements = MAX_PLACEMENTS;
        for region in regions.into_iter().take(MAX_COMPARED_REGIONS) {
            for open in self.openings.near(texts, region, entry.near) {
                self.meet(leader, open, now_ms, &mut placements, &mut alone);
            }
        }
        alone
    }

    fn meet(&self, leader: Slot, open: &Open, now_ms: u64, placements: &mut u32, alone: &mut Alone) {
        let (ticket, near) = (&self.entry(leader).ticket, self.entry(leader).near);
        let opening = &open.opening;
        if !self.could_join(leader, open) {
            return;
        }
        let quality = self.quality_joining(open, (near.0, near.0), &[ticket], now_ms);
        let best = &alone.joins[opening.priority as usize];
        if best.as_ref().is_some_and(|best| best.quality >= quality) {
            return;
        }
        let newcomers = [ticket];
        let teams = balance_into(&self.queue, opening, &newcomers, now_ms, placements).teams;
        let teams =
            teams.filter(|teams| self.queue.allows_joining(opening, &newcomers, teams, now_ms).is_ok());
        match teams {
            None => alone.in_company.push(opening.key),
            Some(teams) => {
                let join = Join { opening: opening.key, members: vec![leader], teams, quality };
                alone.joins[opening.priority as usize] = Some(join);
            }
        }
    }

    /// Whether a ticket that can play in its region could be among those who join an opening once everything has relaxed,
    /// as far as it and those who play tell.
    pub(crate) fn could_join(&self, slot: Slot, open: &Open) -> bool {
        let Open { opening, apart, largest, .. } = open;
        let entry = self.entry(slot);
        let reach = self.levels.reach(self.levels.last()).max(*apart);
        let is_near = open.apart_with(entry.near.0, entry.near.0) <= reach;
        if entry.ticket.players.len() > *largest || !is_near || !opening.accepts(&entry.ticket) {
            return false;
        }
        let newcomers = [&entry.ticket];
        let joined = opening.joined_by(&newcomers, &[0]);
        // Without teams: what the division decides is asked later.
        let mut rules = self.breaking.iter().map(|at| &self.queue.rules[*at]);
        rules.all(|rule| self.queue.may_hold_joining(rule, &joined, &opening.region, u64::MAX))
    }

    /// How good a match is that `newcomers` have joined, whose numbers are from `low` to `high`, from 0 to 1: skill is of
    /// all, latency and wait are theirs.
    pub(crate) fn quality_joining(
        &self,
        open: &Open,
        (low, high): (f64, f64),
        newcomers: &[&Ticket],
        now_ms: u64,
    ) -> f64 {
        let latency = |ticket: &&Ticket| ticket.latency(&open.opening.region);
        let worst_ms = newcomers.iter().map(latency).max().unwrap_or_default();
        self.worth.of(open.apart_with(low, high), worst_ms, open.opening.wait_ms(newcomers, now_ms))
    }
}
