//! The parts of a queue that is too large for one matchmaker: which of its tickets each lets lead.
//!
//! Every part's pool holds every ticket of the queue, so that nobody is cut off from those across a border; a part lets
//! only its own tickets lead. Parts are groups of regions, by the region that a ticket is nearest to, and bands of the
//! queue's primary number within a group. Where a queue is cut follows from who waits in it ([`Census::cut`]). Who runs
//! a part, and where this is kept, is not known here.

use std::collections::BTreeMap;

use crate::near::Near;
use crate::opening::Opening;
use crate::pool::Pool;
use crate::queue::Queue;
use crate::ticket::Ticket;

/// Most parts of a queue.
pub const MAX_PARTS: usize = muster_protocol::api::MAX_PARTS as usize;
/// Tickets that one part is enough for.
pub const PART_TICKETS: usize = 25_000;
/// Most regions that a table names, those with the most tickets; the others are the first group's.
const MAX_NAMED: usize = 64;
/// Parts are cut anew, as many as before, only if the largest becomes smaller than this share of what it is.
const WORTHWHILE: f64 = 2.0 / 3.0;

/// Regions whose tickets are led together, or in bands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Group {
    /// Regions, by name; "" is that of tickets that name none.
    pub regions: Vec<String>,
    /// Numbers at which a band ends and the next begins, ascending.
    pub cuts: Vec<f64>,
}

/// The parts of a queue. Whatever it is made of, each ticket is in exactly one.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    groups: Vec<Group>,
}

/// One part, to be told of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part<'a> {
    /// Its regions; those that no part names are the first's.
    pub regions: &'a [String],
    /// The least number in it, if it is a band that has one.
    pub from: Option<f64>,
    /// The least number over it.
    pub to: Option<f64>,
}

/// Where a ticket belongs: the region it is nearest to, and its number.
#[derive(Clone, Copy, Debug)]
struct Home<'a> {
    region: &'a str,
    number: f64,
}

impl Default for Parts {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Parts {
    /// Parts of these groups, at most [`MAX_PARTS`] of them: bands beyond are not cut off. Without groups it is one part.
    pub fn new(mut groups: Vec<Group>) -> Self {
        groups.truncate(MAX_PARTS);
        if groups.is_empty() {
            groups.push(Group::default());
        }
        let mut cuts_left = MAX_PARTS - groups.len();
        for group in &mut groups {
            group.cuts.retain(|cut| cut.is_finite());
            group.cuts.sort_by(f64::total_cmp);
            group.cuts.dedup();
            group.cuts.truncate(cuts_left);
            cuts_left -= group.cuts.len();
        }
        Self { groups }
    }

    /// Its groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many parts there are, from 1 to [`MAX_PARTS`].
    pub fn count(&self) -> usize {
        self.groups.iter().map(|group| group.cuts.len() + 1).sum()
    }

    /// Each part, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = Part<'_>> {
        self.groups.iter().flat_map(|group| {
            (0..=group.cuts.len()).map(|band| Part {
                regions: &group.regions,
                from: band.checked_sub(1).map(|below| group.cuts[below]),
                to: group.cuts.get(band).copied(),
            })
        })
    }

    /// The part that a ticket of `queue` is led by.
    pub fn of(&self, queue: &Queue, ticket: &Ticket) -> usize {
        if self.count() == 1 { 0 } else { self.at(home(queue, ticket)) }
    }

    /// The part that an opening of `queue` is filled by: where those who play there are led, in its own region.
    pub(crate) fn of_opening(&self, queue: &Queue, opening: &Opening) -> usize {
        let number = opening.playing.first().map_or(0.0, |(ticket, _)| home(queue, ticket).number);
        self.at(Home { region: &opening.region, number })
    }

    fn at(&self, home: Home<'_>) -> usize {
        let names = |group: &Group| group.regions.iter().any(|region| region == home.region);
        let group = self.groups.iter().position(names).unwrap_or(0);
        let before: usize = self.groups[..group].iter().map(|group| group.cuts.len() + 1).sum();
        before + self.groups[group].cuts.partition_point(|cut| *cut <= home.number)
    }
}

fn home<'a>(queue: &Queue, ticket: &'a Ticket) -> Home<'a> {
    let nearest = ticket.latencies_ms.iter().min_by_key(|(_, latency_ms)| **latency_ms);
    let number = queue.primary().map_or(0.0, |(attribute, party)| ticket.number(attribute, party));
    Home { region: nearest.map_or("", |(region, _)| region), number }
}

/// How many parts a queue should have whose `tickets` search in `now` parts: more as soon as those are not enough,
/// fewer once half of them would be.
pub fn wanted(tickets: usize, now: usize) -> usize {
    let enough = tickets.div_ceil(PART_TICKETS).clamp(1, MAX_PARTS);
    let is_idle = tickets < now.saturating_sub(1) * PART_TICKETS / 2;
    if enough > now || is_idle { enough } else { now }
}

/// Who waits: by nearest region, their numbers.
#[derive(Debug, Default)]
pub struct Census<'a> {
    regions: BTreeMap<&'a str, Vec<Near>>,
}

impl Pool {
    /// Who waits in it.
    pub fn census(&self) -> Census<'_> {
        let mut census = Census::default();
        for ticket in self.tickets() {
            let Home { region, number } = home(&self.queue, ticket);
            census.regions.entry(region).or_default().push(Near(number));
        }
        for numbers in census.regions.values_mut() {
            numbers.sort_unstable();
        }
        census
    }
}

/// Regions that are led together while it is cut.
struct Load<'a> {
    regions: Vec<&'a str>,
    tickets: usize,
    bands: usize,
}

impl Load<'_> {
    fn per_band(&self) -> usize {
        self.tickets / self.bands
    }
}

impl<'a> Census<'a> {
    /// The parts to have instead of `now`, if they should be `wanted` and it is worth the change.
    pub fn better(&self, now: &Parts, wanted: usize) -> Option<Parts> {
        let (count, largest) = (now.count(), self.largest(now));
        if count == wanted && largest <= PART_TICKETS {
            return None;
        }
        let cut = self.cut(wanted);
        let is_evener = cut.count() == count && (self.largest(&cut) as f64) < largest as f64 * WORTHWHILE;
        let is_better = count > wanted || cut.count() > count || largest > PART_TICKETS && is_evener;
        is_better.then_some(cut)
    }

    /// At most `count` parts with about as many tickets each. Regions that are large enough are cut into bands; the
    /// others are put together. Tickets of one region and one number cannot be told apart, so parts may be fewer.
    pub fn cut(&self, count: usize) -> Parts {
        let count = count.clamp(1, MAX_PARTS);
        let groups = self.loads(count).into_iter().map(|load| {
            let mut numbers: Vec<Near> =
                load.regions.iter().flat_map(|region| &self.regions[region]).copied().collect();
            numbers.sort_unstable();
            let mut cuts = Vec::new();
            let mut below = numbers[0];
            for band in 1..load.bands {
                // Where many share a number, behind them.
                let at = numbers.len() * band / load.bands;
                let next = at.max(numbers.partition_point(|number| *number <= below));
                let Some(cut) = numbers.get(next) else { break };
                cuts.push(cut.0);
                below = *cut;
            }
            Group { regions: load.regions.into_iter().map(str::to_owned).collect(), cuts }
        });
        Parts::new(groups.collect())
    }

    fn loads(&self, count: usize) -> Vec<Load<'a>> {
        let mut regions: Vec<(&str, usize)> =
            self.regions.iter().map(|(region, numbers)| (*region, numbers.len())).collect();
        regions.sort_by_key(|(region, tickets)| (std::cmp::Reverse(*tickets), *region));
        regions.truncate(MAX_NAMED);
        let total: usize = regions.iter().map(|(_, tickets)| tickets).sum();
        let share = total.div_ceil(count).max(1);
        let (large, small): (Vec<_>, Vec<_>) =
            regions.into_iter().partition(|(_, tickets)| *tickets >= share);
        let mut loads: Vec<Load> = large
            .into_iter()
            .map(|(region, tickets)| Load { regions: vec![region], tickets, bands: tickets / share })
            .collect();
        let left = count - loads.iter().map(|load| load.bands).sum::<usize>();
        let bins = loads.len()..loads.len() + left.min(small.len());
        loads.extend(bins.clone().map(|_| Load { regions: Vec::new(), tickets: 0, bands: 1 }));
        for (region, tickets) in small {
            let bin = loads[bins.clone()].iter_mut().min_by_key(|load| load.tickets);
            // Large regions take no more bands than their share, so that one is left if anybody is.
            let Some(bin) = bin else { break };
            bin.regions.push(region);
            bin.tickets += tickets;
        }
        for _ in bins.len()..left {
            if let Some(largest) = loads.iter_mut().max_by_key(|load| load.per_band()) {
                largest.bands += 1;
            }
        }
        loads.sort_by_key(Load::per_band);
        // A part of few is not worth having beside one of many: they are led together, in one band more.
        while loads.len() > 1
            && loads[0].per_band() * 2 < share
            && loads[loads.len() - 1].per_band() * 2 > share * 3
        {
            let smallest = loads.remove(0);
            if let Some(largest) = loads.last_mut() {
                largest.regions.extend(smallest.regions);
                largest.tickets += smallest.tickets;
                largest.bands += smallest.bands;
            }
            loads.sort_by_key(Load::per_band);
        }
        // Whoever comes from elsewhere is led with the fewest: they are first.
        loads
    }

    /// Tickets of the largest part.
    fn largest(&self, parts: &Parts) -> usize {
        let mut tickets = [0; MAX_PARTS];
        for (region, numbers) in &self.regions {
            for number in numbers {
                tickets[parts.at(Home { region, number: number.0 })] += 1;
            }
        }
        tickets.into_iter().max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
