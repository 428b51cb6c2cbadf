//! A population replayed against a queue's definition: what its players would have got, before the definition is
//! applied.
//!
//! Time here is simulated, and goes from one moment at which something is due to the next: a ticket comes or leaves,
//! a limit relaxes, a server becomes free. Forming is the pool's own, so what is found here is what the queue does;
//! what a server takes to start, and what a request takes on its way, is not in it. The same goes in, the same comes
//! out.

mod compare;
mod recorded;
mod report;
mod synthetic;
#[cfg(test)]
mod tests;

pub use compare::compare;
pub use recorded::RecordedError;
pub use report::{Distribution, Report};
pub use synthetic::{Home, MAX_SYNTHETIC, SyntheticError, SyntheticOptions, synthetic};

use std::collections::{BTreeMap, BTreeSet};

use crate::form::{Formed, Offer};
use crate::pool::Pool;
use crate::queue::Queue;
use crate::ticket::{Ticket, TicketKey};

/// Most moments of one simulation; what is not done by then stays undone, which its report says.
pub const MAX_MOMENTS: usize = 10_000_000;
/// Latest time of a simulation, in milliseconds: far enough from the last there is for waits to be added.
pub const MAX_TIME_MS: u64 = 1 << 53;

/// A ticket that comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// It comes at its `entered_ms`. Its key is of no matter here.
    pub ticket: Ticket,
    /// When its players give up, or it expires, if it is not matched before; `None`: never.
    pub leaves_ms: Option<u64>,
}

/// What a population is replayed on.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Servers by region. A match takes one.
    pub servers: BTreeMap<String, u32>,
    /// How long a match has its server, in milliseconds; at least 1.
    pub match_ms: u64,
    /// Matches are formed once in so many milliseconds at most, as by a matchmaker that makes passes; at least 1.
    pub tick_ms: u64,
    /// Nothing happens after this; `None`: it ends when nothing is left to happen.
    pub ends_ms: Option<u64>,
}

/// What became of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the match at this place of [`Replay::matches`].
    Matched(usize),
    /// It left at this time, unmatched.
    Left(u64),
    /// It searches still at the end, or had not come by then.
    Unmatched,
    /// The queue does not admit it, or its time is over [`MAX_TIME_MS`].
    Refused,
}

/// A match of a simulation.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// When it was made.
    pub at_ms: u64,
    /// Where.
    pub region: String,
    /// The arrivals in it, by their places, and their teams.
    pub members: Vec<(usize, usize)>,
    /// How good it is, from 0 to 1.
    pub quality: f64,
}

/// A simulation that has run.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// In numbers.
    pub report: Report,
    /// Its matches, the earliest first.
    pub matches: Vec<Played>,
    /// What became of each arrival, in their order.
    pub outcomes: Vec<Outcome>,
}

/// Replays `arrivals`, in any order, against a queue.
pub fn simulate(queue: &Queue, arrivals: &[Arrival], scenario: &Scenario) -> Replay {
    let mut run = Run::new(queue, arrivals, scenario);
    let mut is_cut_short = false;
    let mut moments = 0;
    while let Some(now_ms) = run.next_moment() {
        if moments == MAX_MOMENTS {
            is_cut_short = true;
            break;
        }
        moments += 1;
        run.happens(now_ms);
    }
    let ended_ms = scenario.ends_ms.unwrap_or(run.last_ms.unwrap_or_default());
    let report = report::report(queue, arrivals, &run.matches, &run.outcomes, ended_ms);
    let report = Report { moments, is_cut_short, ..report };
    Replay { report, matches: run.matches, outcomes: run.outcomes }
}

struct Run<'a> {
    arrivals: &'a [Arrival],
    scenario: &'a Scenario,
    pool: Pool,
    /// Places of the arrivals that are still to come, the next one last.
    coming: Vec<usize>,
    /// When tickets of the pool leave, and which.
    leaving: BTreeSet<(u64, usize)>,
    /// When matches end, and how many in which region.
    ending: BTreeMap<(u64, &'a str), u32>,
    /// Free servers by region.
    free: BTreeMap<&'a str, u32>,
    matches: Vec<Played>,
    outcomes: Vec<Outcome>,
    began_ms: u64,
    /// The moment that was last.
    last_ms: Option<u64>,
}

impl<'a> Run<'a> {
    fn new(queue: &Queue, arrivals: &'a [Arrival], scenario: &'a Scenario) -> Self {
        let is_good = |arrival: &Arrival| {
            arrival.ticket.entered_ms <= MAX_TIME_MS && queue.admits(&arrival.ticket).is_ok()
        };
        let entered_ms = |at: &usize| arrivals[*at].ticket.entered_ms;
        let mut coming: Vec<usize> = (0..arrivals.len()).filter(|at| is_good(&arrivals[*at])).collect();
        coming.sort_by_key(|at| std::cmp::Reverse((entered_ms(at), *at)));
        let outcome = |arrival| if is_good(arrival) { Outcome::Unmatched } else { Outcome::Refused };
        Self {
            arrivals,
            scenario,
            pool: Pool::new(queue.clone()),
            began_ms: coming.last().map_or(0, entered_ms),
            coming,
            leaving: BTreeSet::new(),
            ending: BTreeMap::new(),
            free: scenario.servers.iter().map(|(region, servers)| (region.as_str(), *servers)).collect(),
            matches: Vec::new(),
            outcomes: arrivals.iter().map(outcome).collect(),
            last_ms: None,
        }
    }

    /// The next moment at which there is something to do: a whole number of ticks from the first arrival.
    fn next_moment(&self) -> Option<u64> {
        let comes_ms = self.coming.last().map(|at| self.arrivals[*at].ticket.entered_ms);
        let leaves_ms = self.leaving.first().map(|(leaves_ms, _)| *leaves_ms);
        // With nobody waiting, a server that becomes free is noticed when somebody comes.
        let ends_ms =
            self.ending.keys().next().map(|(ends_ms, _)| *ends_ms).filter(|_| !self.pool.is_empty());
        let has_room = self.free.values().any(|free| *free > 0);
        // That a region has room again is known here.
        let due_ms = self.pool.agenda.next_turn_ms().filter(|_| has_room);
        let next_ms = [comes_ms, leaves_ms, ends_ms, due_ms].into_iter().flatten().min()?;
        let tick_ms = self.scenario.tick_ms.max(1);
        let earliest_ms = self.last_ms.map_or(self.began_ms, |last_ms| last_ms.saturating_add(tick_ms));
        let since_ms = next_ms.max(earliest_ms) - self.began_ms;
        let at_ms = self.began_ms.saturating_add(since_ms.div_ceil(tick_ms).saturating_mul(tick_ms));
        let end_ms = self.scenario.ends_ms.unwrap_or(u64::MAX).min(2 * MAX_TIME_MS);
        (at_ms <= end_ms).then_some(at_ms)
    }

    fn happens(&mut self, now_ms: u64) {
        self.last_ms = Some(now_ms);
        self.end_matches(now_ms);
        while let Some(at) = self.coming.pop_if(|at| self.arrivals[*at].ticket.entered_ms <= now_ms) {
            let arrival = &self.arrivals[at];
            let ticket = Ticket { key: at as TicketKey, ..arrival.ticket.clone() };
            self.pool.insert(ticket).expect("what the queue does not admit was left out");
            self.leaving.extend(arrival.leaves_ms.map(|leaves_ms| (leaves_ms, at)));
        }
        while let Some((leaves_ms, at)) = self.leaving.first().copied().filter(|(ms, _)| *ms <= now_ms) {
            self.leaving.remove(&(leaves_ms, at));
            self.pool.remove(at as TicketKey);
            self.outcomes[at] = Outcome::Left(leaves_ms);
        }
        let offers: Vec<Offer> = self
            .free
            .iter()
            .map(|(region, free)| Offer { region: (*region).to_owned(), warm: *free, capacity: *free })
            .collect();
        let room: usize = offers.iter().map(|offer| offer.capacity as usize).sum();
        // No more than there is room for, so that those who are due and not reached lead first when there is again.
        for formed in self.pool.form(now_ms, &offers, room) {
            self.play(formed, now_ms);
        }
    }

    /// Frees the servers of matches that are over.
    fn end_matches(&mut self, now_ms: u64) {
        while let Some(entry) = self.ending.first_entry().filter(|entry| entry.key().0 <= now_ms) {
            let ((_, region), servers) = entry.remove_entry();
            *self.free.entry(region).or_default() += servers;
        }
    }

    fn play(&mut self, formed: Formed, now_ms: u64) {
        let (region, _) = self
            .scenario
            .servers
            .get_key_value(&formed.region)
            .expect("a match is in a region that was offered");
        *self.free.entry(region).or_default() -= 1;
        let ends_ms = now_ms.saturating_add(self.scenario.match_ms.max(1));
        *self.ending.entry((ends_ms, region)).or_default() += 1;
        let members: Vec<(usize, usize)> =
            formed.members.into_iter().map(|(key, team)| (key as usize, team)).collect();
        for (at, _) in &members {
            self.outcomes[*at] = Outcome::Matched(self.matches.len());
            if let Some(leaves_ms) = self.arrivals[*at].leaves_ms {
                self.leaving.remove(&(leaves_ms, *at));
            }
        }
        self.matches.push(Played { at_ms: now_ms, region: formed.region, members, quality: formed.quality });
    }
}
