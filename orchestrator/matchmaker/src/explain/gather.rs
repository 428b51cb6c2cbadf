//! The best group a ticket has so far: as many others as can be gathered around it in one region.
//!
//! It gathers greedily in several orders, as forming does, and keeps the largest group; it is not a proof that there
//! is no larger one.

use std::collections::BTreeSet;

use crate::balance::balance;
use crate::form::{MAX_COMPARED_REGIONS, Offer};
use crate::pool::{Pool, Slot};
use crate::queue::Queue;
use crate::rules::oldest_wait;
use crate::ticket::Ticket;

use super::{Group, Refused};

/// Most runs of neighbours gathered from, each beginning further below the ticket's number.
const MAX_RUNS: usize = 12;
/// Most sizes below a full match for which a whole group is looked for.
const MAX_SIZES: usize = 8;
/// Most groups divided into teams for one size.
const MAX_JUDGED: usize = 12;

impl Pool {
    /// The largest group of `slot` among `others`; and the largest that makes a match, where the first makes none.
    pub(super) fn gather(
        &self,
        slot: Slot,
        others: &[Slot],
        now_ms: u64,
        offers: &[Offer],
    ) -> (Option<Group>, Option<Group>) {
        let search = Search::new(self, slot, others, now_ms, offers);
        let full = self.queue.sizes.first().copied().unwrap_or_default();
        let best = search.best(full);
        let Some(found) = best.as_ref().filter(|best| !best.is_match()) else { return (best, None) };
        let smaller = self.queue.sizes.iter().skip(1).filter(|size| **size <= found.players).take(MAX_SIZES);
        let mut whole: Option<Group> = None;
        for size in smaller {
            let Some(group) = search.best(*size).filter(|group| group.players == *size) else { continue };
            if group.is_match() {
                return (best, Some(group));
            }
            if !found.is_whole && whole.is_none() {
                whole = Some(group);
            }
        }
        (best, whole)
    }
}

impl Group {
    /// Whether it is a match, but for a server.
    pub fn is_match(&self) -> bool {
        self.is_whole && self.refused.is_none()
    }
}

struct Search<'a> {
    pool: &'a Pool,
    slot: Slot,
    now_ms: u64,
    /// The regions it may play in.
    offers: Vec<&'a Offer>,
    /// The others it takes and that take it, in each order in which they are gathered.
    orders: Vec<Vec<Slot>>,
}

impl<'a> Search<'a> {
    fn new(pool: &'a Pool, slot: Slot, others: &[Slot], now_ms: u64, offers: &'a [Offer]) -> Self {
        let own = &pool.entry(slot).ticket;
        let mut offers: Vec<&Offer> = offers.iter().collect();
        offers.sort_by_key(|offer| (offer.capacity == 0, own.latency(&offer.region)));
        offers.truncate(MAX_COMPARED_REGIONS);
        let nearest: Vec<Slot> =
            others.iter().copied().filter(|other| own.accepts(&pool.entry(*other).ticket)).collect();
        let sorted = |key: &dyn Fn(&Slot) -> (usize, u64)| {
            let mut order = nearest.clone();
            order.sort_by_key(|slot| (key(slot), *slot));
            order
        };
        let entered_ms = |slot: &Slot| pool.entry(*slot).ticket.entered_ms;
        let oldest = sorted(&|slot| (0, entered_ms(slot)));
        let largest = sorted(&|slot| (usize::MAX - pool.entry(*slot).ticket.players.len(), entered_ms(slot)));
        let mut by_number = nearest.clone();
        by_number.sort_by_key(|slot| (pool.entry(*slot).near, *slot));
        let here = (pool.entry(slot).near, slot);
        let at = by_number.partition_point(|slot| (pool.entry(*slot).near, *slot) < here);
        let runs = (at.saturating_sub(MAX_RUNS)..=at).map(|first| by_number[first..].to_vec());
        let mut orders = vec![nearest, oldest, largest];
        orders.extend(runs);
        Self { pool, slot, now_ms, offers, orders }
    }

    /// The best group of at most `most` players: a match before what is refused, and that before what is not whole
    /// but as large; of those that are the same, where there is room and quality.
    fn best(&self, most: usize) -> Option<Group> {
        let mut seen = BTreeSet::new();
        let mut groups = Vec::new();
        for (region, offer) in self.offers.iter().enumerate() {
            for order in &self.orders {
                let Some(members) = self.fill(order, &offer.region, most) else { continue };
                if seen.insert((region, members.clone())) {
                    let tickets = self.tickets(&members);
                    let players: usize = tickets.iter().map(|ticket| ticket.players.len()).sum();
                    let quality = self.pool.queue.quality(&tickets, &offer.region, self.now_ms);
                    groups.push((players, offer, quality, members));
                }
            }
        }
        groups.sort_by(|(players, offer, quality, members), (others, other, less, rest)| {
            let by_room = (other.capacity > 0).cmp(&(offer.capacity > 0));
            let by_size = others.cmp(players).then(by_room);
            by_size.then(less.total_cmp(quality)).then(members.cmp(rest))
        });
        let mut best: Option<Group> = None;
        for (players, offer, quality, members) in groups.into_iter().take(MAX_JUDGED) {
            if best.as_ref().is_some_and(|best| players < best.players) {
                break;
            }
            let group = self.judge(&members, players, offer, quality);
            let is_match = group.is_match();
            if best.is_none() || is_match {
                best = Some(group);
            }
            if is_match {
                break;
            }
        }
        best
    }

    /// The ticket and as many of `order` as go with it and each other in a region, up to `most` players; `None` if it
    /// cannot play there itself.
    fn fill(&self, order: &[Slot], region: &str, most: usize) -> Option<Vec<Slot>> {
        let mut members = vec![self.slot];
        let mut tickets = self.tickets(&members);
        let mut left = most.checked_sub(tickets[0].players.len())?;
        for slot in order {
            if left == 0 {
                break;
            }
            let ticket = &self.pool.entry(*slot).ticket;
            let goes = ticket.players.len() <= left && tickets[1..].iter().all(|other| other.accepts(ticket));
            if !goes {
                continue;
            }
            tickets.push(ticket);
            if self.hold(&tickets, region) {
                left -= ticket.players.len();
                members.push(*slot);
            } else {
                tickets.pop();
            }
        }
        members.sort_unstable();
        (tickets.len() > 1 || self.hold(&tickets, region)).then_some(members)
    }

    /// Whether every rule may hold with others, as far as it does not ask for teams.
    fn hold(&self, tickets: &[&Ticket], region: &str) -> bool {
        let queue = &self.pool.queue;
        let teams = if queue.teams.len() == 1 { vec![0; tickets.len()] } else { Vec::new() };
        let wait_ms = oldest_wait(tickets, self.now_ms);
        queue.rules.iter().all(|rule| queue.may_hold(rule, tickets, &teams, region, wait_ms))
    }

    fn judge(&self, members: &[Slot], players: usize, offer: &Offer, quality: f64) -> Group {
        let queue = &self.pool.queue;
        let tickets = self.tickets(members);
        let is_whole = queue.sizes.contains(&players);
        let mut placements = u32::MAX;
        let refused = is_whole.then(|| match balance(queue, &tickets, self.now_ms, &mut placements).teams {
            None => Some(Refused::Teams { rules: about_teams(queue) }),
            Some(teams) => {
                let allowed = queue.allows(&tickets, &teams, &offer.region, self.now_ms);
                allowed.err().map(Refused::By)
            }
        });
        Group {
            region: offer.region.clone(),
            has_room: offer.capacity > 0,
            tickets: tickets.iter().map(|ticket| ticket.key).collect(),
            players,
            is_whole,
            quality: is_whole.then_some(quality),
            refused: refused.flatten(),
        }
    }

    fn tickets(&self, slots: &[Slot]) -> Vec<&'a Ticket> {
        slots.iter().map(|slot| &self.pool.entry(*slot).ticket).collect()
    }
}

/// The rules that decide about divisions into teams, by name.
fn about_teams(queue: &Queue) -> Vec<String> {
    queue.rules.iter().filter(|rule| rule.asks.is_of_teams()).map(|rule| rule.name.clone()).collect()
}
