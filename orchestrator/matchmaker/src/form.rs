//! Forming matches: a ticket leads, and of those near to it the best match that contains it is made.
//!
//! Looked at are runs of neighbours by number, those who wait longest, and the largest parties first; the most
//! promising of these are divided into teams and held against every rule.

use std::collections::BTreeSet;

use crate::balance::balance;
use crate::pool::{Pool, Slot};
use crate::queue::Asks;
use crate::ticket::{Ticket, TicketKey};

/// Most groups divided into teams for one leader in one region and size.
const MAX_TRIES: usize = 6;
/// Most regions tried for one leader: those nearest to it.
const MAX_REGIONS: usize = 4;
/// When a leader tries again that found no region with room, in milliseconds.
const NO_ROOM_RETRY_MS: u64 = 500;

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

/// A match.
#[derive(Clone, Debug, PartialEq)]
pub struct Formed {
    /// Where it is to be played.
    pub region: String,
    /// Its tickets and their teams.
    pub members: Vec<(TicketKey, usize)>,
    /// How good it is, from 0 to 1.
    pub quality: f64,
}

/// A match that could be made.
struct Proposal {
    region: usize,
    members: Vec<Slot>,
    teams: Vec<usize>,
    quality: f64,
}

impl Pool {
    /// Forms at most `limit` matches of tickets that are due at `now_ms`, within what `offers` have room for. Those
    /// matched leave the pool.
    pub fn form(&mut self, now_ms: u64, offers: &[Offer], limit: usize) -> Vec<Formed> {
        let (mut offers, mut formed) = (offers.to_vec(), Vec::new());
        while formed.len() < limit {
            let Some(leader) = self.next_leader(now_ms) else { break };
            let Some(found) = self.led_by(leader, now_ms, &offers) else {
                let again_ms = self.leads_again(leader, now_ms, &offers);
                self.schedule(leader, again_ms);
                continue;
            };
            let offer = &mut offers[found.region];
            offer.capacity -= 1;
            offer.warm = offer.warm.saturating_sub(1);
            let keys: Vec<TicketKey> =
                found.members.iter().map(|slot| self.entry(*slot).ticket.key).collect();
            for key in &keys {
                self.remove(*key);
            }
            let members = keys.into_iter().zip(found.teams).collect();
            formed.push(Formed { region: offer.region.clone(), members, quality: found.quality });
        }
        formed
    }

    /// When a ticket that found no match may find one by itself.
    fn leads_again(&self, leader: Slot, now_ms: u64, offers: &[Offer]) -> Option<u64> {
        let entered_ms = self.entry(leader).ticket.entered_ms;
        let wait_ms = now_ms.saturating_sub(entered_ms);
        let relaxed_ms = self.queue.next_relaxation(wait_ms).map(|wait_ms| entered_ms + wait_ms);
        let has_room = offers.iter().all(|offer| offer.capacity > 0) && !offers.is_empty();
        let room_ms = (!has_room).then_some(now_ms + NO_ROOM_RETRY_MS);
        [relaxed_ms, room_ms].into_iter().flatten().min()
    }

    fn led_by(&self, leader: Slot, now_ms: u64, offers: &[Offer]) -> Option<Proposal> {
        let near = self.neighbours(leader, now_ms);
        let ticket = &self.entry(leader).ticket;
        let mut regions: Vec<usize> = (0..offers.len()).filter(|at| offers[*at].capacity > 0).collect();
        regions.sort_by_key(|at| (ticket.latency(&offers[*at].region), offers[*at].warm == 0, *at));
        let mut best: Option<Proposal> = None;
        for region in regions.into_iter().take(MAX_REGIONS) {
            if let Some(found) = self.in_region(leader, &near, (region, offers), now_ms) {
                let is_better = best.as_ref().is_none_or(|best| {
                    let warmer = |at: usize| offers[at].warm > 0;
                    (found.quality, warmer(found.region)) > (best.quality, warmer(best.region))
                });
                if is_better {
                    best = Some(found);
                }
            }
        }
        best
    }

    /// The best match of `near` that contains the leader, in a region.
    fn in_region(
        &self,
        leader: Slot,
        near: &[Slot],
        (region, offers): (usize, &[Offer]),
        now_ms: u64,
    ) -> Option<Proposal> {
        let name = offers[region].region.as_str();
        let wait = |slot: &Slot| now_ms.saturating_sub(self.entry(*slot).ticket.entered_ms);
        let own = wait(&leader);
        let oldest = near.iter().map(wait).max().unwrap_or(own);
        let mut waits = vec![own, oldest];
        waits.dedup();
        for wait_ms in waits {
            let able: Vec<Slot> =
                near.iter().copied().filter(|slot| self.reaches(*slot, name, wait_ms)).collect();
            if !able.contains(&leader) {
                continue;
            }
            let is_patient = wait_ms < self.queue.fill_wait_ms;
            for size in self.queue.sizes.iter().take(if is_patient { 1 } else { usize::MAX }) {
                let players: usize = able.iter().map(|slot| self.entry(*slot).ticket.players.len()).sum();
                if players < *size {
                    continue;
                }
                let mut groups = self.groups(leader, &able, *size, self.reach(wait_ms));
                let rank = |group: &Vec<Slot>| self.queue.quality(&self.tickets(group), name, now_ms);
                groups.sort_by(|one, other| rank(other).total_cmp(&rank(one)).then(one.cmp(other)));
                let found = groups.into_iter().take(MAX_TRIES).find_map(|members| {
                    let tickets = self.tickets(&members);
                    let teams = balance(&self.queue, &tickets)?.teams;
                    self.queue.allows(&tickets, &teams, name, now_ms).ok()?;
                    let quality = self.queue.quality(&tickets, name, now_ms);
                    Some(Proposal { region, members, teams, quality })
                });
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    fn tickets(&self, slots: &[Slot]) -> Vec<&Ticket> {
        slots.iter().map(|slot| &self.entry(*slot).ticket).collect()
    }

    /// Whether a ticket can play in a region after a wait of the oldest.
    fn reaches(&self, slot: Slot, region: &str, wait_ms: u64) -> bool {
        let latency = f64::from(self.entry(slot).ticket.latency(region));
        self.queue.rules.iter().all(|rule| match &rule.asks {
            Asks::Latency { most } => latency <= most.at(wait_ms),
            _ => true,
        })
    }

    /// Groups of `size` players around the leader whose numbers are at most `reach` apart.
    fn groups(&self, leader: Slot, able: &[Slot], size: usize, reach: f64) -> Vec<Vec<Slot>> {
        let number = |slot: &Slot| self.entry(*slot).near.0;
        let at = able.iter().position(|slot| *slot == leader).unwrap_or_default();
        let mut groups = BTreeSet::new();
        for first in 0..=at {
            if number(&leader) - number(&able[first]) > reach {
                continue;
            }
            let run = able[first..].iter().take_while(|slot| number(slot) - number(&able[first]) <= reach);
            groups.extend(self.fill(leader, run.copied(), size, f64::INFINITY));
        }
        let mut window: Vec<Slot> =
            able.iter().copied().filter(|slot| (number(slot) - number(&leader)).abs() <= reach).collect();
        let age = |slot: &Slot| {
            let ticket = &self.entry(*slot).ticket;
            (std::cmp::Reverse(ticket.priority), ticket.entered_ms, *slot)
        };
        window.sort_by_key(age);
        groups.extend(self.fill(leader, window.iter().copied(), size, reach));
        window.sort_by_key(|slot| (std::cmp::Reverse(self.entry(*slot).ticket.players.len()), age(slot)));
        groups.extend(self.fill(leader, window.into_iter(), size, reach));
        groups.into_iter().collect()
    }

    /// The leader and as many of `from`, in their order, as make `size` players, all willing and at most `reach` apart.
    fn fill(
        &self,
        leader: Slot,
        from: impl Iterator<Item = Slot>,
        size: usize,
        reach: f64,
    ) -> Option<Vec<Slot>> {
        let mut members = vec![leader];
        let mut left = size.checked_sub(self.entry(leader).ticket.players.len())?;
        let (mut least, mut most) = (self.entry(leader).near.0, self.entry(leader).near.0);
        for slot in from.filter(|slot| *slot != leader) {
            if left == 0 {
                break;
            }
            let entry = self.entry(slot);
            let (low, high) = (least.min(entry.near.0), most.max(entry.near.0));
            let fits = entry.ticket.players.len() <= left && high - low <= reach;
            if fits && members.iter().all(|member| self.entry(*member).ticket.accepts(&entry.ticket)) {
                left -= entry.ticket.players.len();
                (least, most) = (low, high);
                members.push(slot);
            }
        }
        members.sort_unstable();
        (left == 0).then_some(members)
    }
}
