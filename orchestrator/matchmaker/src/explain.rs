//! Why a ticket is not matched: what its wait allows, whom it could play with, what keeps the others from it, and the
//! best group it has so far.
//!
//! It is for the people who ask, players' support and designers, and is made when they ask. It forms nothing, and
//! what it looks at is bounded, so that in a large pool it is about the tickets nearest to this one. Forming looks
//! again by itself; an explanation that says a group could be matched may be a moment ahead of it.

mod gather;
mod openings;
mod pair;
#[cfg(test)]
mod tests;
mod words;

use crate::form::Offer;
use crate::pool::{Pool, Slot};
use crate::queue::{Asks, Queue, Rule};
use crate::rules::{Refusal, common};
use crate::ticket::{FAR, Player, Ticket, TicketError, TicketKey};
use muster_protocol::api::Within;
pub use openings::{MAX_OPENINGS_LOOKED_AT, OpeningsNow};
use pair::Pairing;

/// Most other tickets that one explanation looks at.
pub const MAX_LOOKED_AT: usize = 256;

/// Why a ticket is not matched, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// How long it has searched, in milliseconds.
    pub waited_ms: u64,
    /// Players of its party.
    pub players: usize,
    /// Why it can never be matched, whoever comes; empty for nearly all.
    pub never: Vec<Never>,
    /// Every rule with a limit, in the definition's order.
    pub limits: Vec<LimitNow>,
    /// For so many milliseconds more it is matched into full matches only, unless with somebody who has waited
    /// longer; `None` once smaller ones will do, or if there are none.
    pub only_full_for_ms: Option<u64>,
    /// Other tickets looked at; at most [`MAX_LOOKED_AT`].
    pub looked_at: usize,
    /// Other tickets there are.
    pub others: usize,
    /// Of those looked at, how many each thing excludes: each is counted once, under the first that excludes it.
    /// Filters and blocks come first, then the rules in the definition's order, then the teams.
    pub excluded: Vec<Excluded>,
    /// Those looked at that nothing excludes, as far as this ticket and they alone tell.
    pub candidates: usize,
    /// Players of the smallest match.
    pub smallest: usize,
    /// Players of a full match.
    pub full: usize,
    /// Players missing for the smallest match, beyond the best group's.
    pub missing_for_smallest: usize,
    /// Players missing for a full match, beyond the best group's.
    pub missing_for_full: usize,
    /// The best group it has so far; `None` if it could itself play in no offered region now.
    pub best: Option<Group>,
    /// The largest group that has as many players as some match, where the best has not, or is refused.
    pub whole: Option<Group>,
    /// Running matches with free seats.
    pub openings: OpeningsNow,
    /// Every offered region, in the offers' order.
    pub regions: Vec<RegionNow>,
}

/// Why a ticket can never be matched.
#[derive(Clone, Debug, PartialEq)]
pub enum Never {
    /// Its players differ in a text that everybody in a match has in common.
    Differs {
        /// The rule.
        rule: String,
        /// The attribute.
        attribute: String,
    },
    /// Its players have fewer tags in common than a match ever needs.
    TooFewInCommon {
        /// The rule.
        rule: String,
        /// The attribute.
        attribute: String,
        /// Tags they have in common.
        has: usize,
        /// Tags that the rule needs in the end.
        needs: f64,
    },
    /// Its players are further apart, or from their average, than a party ever may be.
    ApartInside {
        /// The rule.
        rule: String,
        /// The attribute.
        attribute: String,
        /// How far they are.
        has: f64,
        /// How far the rule lets them be in the end.
        needs: f64,
    },
    /// No region that is offered is ever near enough.
    TooFar,
    /// There is no division of any match into teams in which the party has room.
    Sizes,
    /// Wherever the party fits, the players of a role no longer do.
    Roles,
}

/// A rule's limit for a ticket.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitNow {
    /// The rule.
    pub rule: String,
    /// What it limits.
    pub of: LimitOf,
    /// The wait that the limit is for, in milliseconds: this ticket's. With somebody who has waited longer, theirs
    /// counts.
    pub wait_ms: u64,
    /// The limit, in the unit of what it limits.
    pub now: f64,
    /// When it relaxes next; `None`: never.
    pub next: Option<NextLimit>,
    /// Whether the party by itself is within the limit now; for a latency, in an offered region.
    pub is_met_alone: bool,
}

/// What a rule limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitOf {
    /// How far apart the numbers of an attribute are, of a match or of a team.
    Spread(String),
    /// How far apart the numbers of an attribute are that the players of one party have.
    SpreadInside(String),
    /// How far from the average the numbers of an attribute are, of a match or of a team.
    Deviation(String),
    /// How far from their average the numbers of an attribute are that the players of one party have.
    DeviationInside(String),
    /// How far apart the teams' averages of an attribute are.
    Gap(String),
    /// How many tags of an attribute everybody has at least.
    Common(String),
    /// Everybody's round trip to the region, in milliseconds.
    Latency,
}

/// What a limit relaxes to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NextLimit {
    /// In so many milliseconds.
    pub in_ms: u64,
    /// The limit from then on.
    pub to: f64,
}

/// What keeps another ticket from a match with this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// This ticket's filter.
    OwnFilter,
    /// The other ticket's filter.
    TheirFilter,
    /// A player of one is on the other's block list.
    Block,
    /// A player is in both, who asked twice.
    SamePlayer,
    /// A rule, by name; of a latency: no offered region suits both.
    Rule(String),
    /// The parties fit into no match together.
    Sizes,
    /// With both in a match, the players of a role no longer fit.
    Roles,
}

/// How many others something excludes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// What.
    pub by: Exclusion,
    /// How many tickets, or openings; at least 1.
    pub tickets: usize,
}

/// The largest group that a ticket was found to be in.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Where it would play.
    pub region: String,
    /// Whether the region has room for a match.
    pub has_room: bool,
    /// Its tickets, this one included, by key.
    pub tickets: Vec<TicketKey>,
    /// Its players.
    pub players: usize,
    /// Whether so many players make a match.
    pub is_whole: bool,
    /// Of a whole group, how good a match it would be, from 0 to 1.
    pub quality: Option<f64>,
    /// Of a whole group, what refuses it; `None` if nothing does.
    pub refused: Option<Refused>,
}

/// Why a whole group is no match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It cannot be divided into teams as their sizes and roles, and the rules about teams, ask.
    Teams {
        /// Those rules, by name.
        rules: Vec<String>,
    },
    /// As the queue says of the division whose teams are nearest to each other.
    By(Refusal),
}

/// An offered region, for a ticket.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionNow {
    /// Its name.
    pub region: String,
    /// The party's round trip, in milliseconds; `None` if it did not say.
    pub latency_ms: Option<u32>,
    /// The longest round trip now, in milliseconds; `None` where no rule says one.
    pub limit_ms: Option<f64>,
    /// Whether it is within the limit now.
    pub is_near_now: bool,
    /// Whether it is within the limit in the end.
    pub is_near_ever: bool,
    /// Whether it has room for a match.
    pub has_room: bool,
}

impl Pool {
    /// Why a ticket is not matched at `now_ms`, if `offers` are the regions; `None` if it is not in the pool.
    pub fn explain(&self, key: TicketKey, now_ms: u64, offers: &[Offer]) -> Option<Explanation> {
        let slot = self.slot(key)?;
        let (queue, ticket) = (&self.queue, &self.entry(slot).ticket);
        let waited_ms = now_ms.saturating_sub(ticket.entered_ms);
        let regions: Vec<RegionNow> =
            offers.iter().map(|offer| region_now(queue, ticket, offer, waited_ms)).collect();
        let others = self.others(slot, MAX_LOOKED_AT);
        let (excluded, candidates) = self.excluded(ticket, &others, now_ms, offers);
        let (best, whole) = self.gather(slot, &others, now_ms, offers);
        let found = best.as_ref().map_or(ticket.players.len(), |best| best.players);
        let full = queue.sizes.first().copied().unwrap_or_default();
        let smallest = queue.sizes.last().copied().unwrap_or_default();
        let patience_ms = queue.fill_wait_ms.saturating_sub(waited_ms);
        Some(Explanation {
            waited_ms,
            players: ticket.players.len(),
            never: never(queue, ticket, &regions),
            limits: queue
                .rules
                .iter()
                .filter_map(|rule| limit_now(queue, rule, ticket, waited_ms, &regions))
                .collect(),
            only_full_for_ms: (patience_ms > 0 && smallest < full).then_some(patience_ms),
            looked_at: others.len(),
            others: self.len() - 1,
            excluded,
            candidates,
            smallest,
            full,
            missing_for_smallest: smallest.saturating_sub(found),
            missing_for_full: full.saturating_sub(found),
            best,
            whole,
            openings: self.openings_for(ticket, now_ms, offers),
            regions,
        })
    }

    /// How many of `others` each thing excludes, and how many nothing does.
    fn excluded(
        &self,
        ticket: &Ticket,
        others: &[Slot],
        now_ms: u64,
        offers: &[Offer],
    ) -> (Vec<Excluded>, usize) {
        let pairing = Pairing::new(&self.queue, now_ms, offers);
        let mut counts: Vec<Excluded> =
            pairing.everything().into_iter().map(|by| Excluded { by, tickets: 0 }).collect();
        let mut candidates = 0;
        for slot in others {
            match pairing.exclusion(ticket, &self.entry(*slot).ticket) {
                Some(at) => counts[at].tickets += 1,
                None => candidates += 1,
            }
        }
        counts.retain(|excluded| excluded.tickets > 0);
        (counts, candidates)
    }
}

fn region_now(queue: &Queue, ticket: &Ticket, offer: &Offer, wait_ms: u64) -> RegionNow {
    let latency = ticket.latency(&offer.region);
    let caps = || {
        queue.rules.iter().filter_map(|rule| match &rule.asks {
            Asks::Latency { most } => Some(most),
            _ => None,
        })
    };
    RegionNow {
        region: offer.region.clone(),
        latency_ms: Some(latency).filter(|ms| *ms != FAR && !ticket.latencies_ms.is_empty()),
        limit_ms: caps().map(|most| most.at(wait_ms)).min_by(f64::total_cmp),
        is_near_now: caps().all(|most| f64::from(latency) <= most.at(wait_ms)),
        is_near_ever: caps().all(|most| f64::from(latency) <= most.last()),
        has_room: offer.capacity > 0,
    }
}

fn limit_now(
    queue: &Queue,
    rule: &Rule,
    ticket: &Ticket,
    wait_ms: u64,
    regions: &[RegionNow],
) -> Option<LimitNow> {
    let limit = rule.asks.limit()?;
    let now = limit.at(wait_ms);
    let (of, is_met_alone) = match &rule.asks {
        Asks::Spread { attribute, within, .. } | Asks::Deviation { attribute, within, .. } => {
            let attribute = queue.attribute_name(*attribute);
            let of = match (&rule.asks, within) {
                (Asks::Spread { .. }, Within::Party) => LimitOf::SpreadInside(attribute),
                (Asks::Spread { .. }, _) => LimitOf::Spread(attribute),
                (_, Within::Party) => LimitOf::DeviationInside(attribute),
                _ => LimitOf::Deviation(attribute),
            };
            // Else a party counts as one number, which is not apart from itself.
            let is_met = !rule.asks.is_of_parties() || queue.measure(rule, &[ticket], &[], "") <= now;
            (of, is_met)
        }
        Asks::Gap { attribute, .. } => (LimitOf::Gap(queue.attribute_name(*attribute)), true),
        Asks::Common { attribute, .. } => {
            let is_met = common(&[ticket], *attribute) as f64 >= now;
            (LimitOf::Common(queue.attribute_name(*attribute)), is_met)
        }
        Asks::Latency { .. } => {
            let is_met = regions.iter().any(|region| f64::from(ticket.latency(&region.region)) <= now);
            (LimitOf::Latency, is_met)
        }
        Asks::Same { .. } | Asks::Apart { .. } => return None,
    };
    let next = limit.next_after(wait_ms);
    let next = next.map(|after_ms| NextLimit { in_ms: after_ms - wait_ms, to: limit.at(after_ms) });
    Some(LimitNow { rule: rule.name.clone(), of, wait_ms, now, next, is_met_alone })
}

fn never(queue: &Queue, ticket: &Ticket, regions: &[RegionNow]) -> Vec<Never> {
    let mut never = Vec::new();
    for rule in &queue.rules {
        match &rule.asks {
            Asks::Same { attribute }
                if ticket.texts(*attribute).any(|text| Some(text) != ticket.texts(*attribute).next()) =>
            {
                let attribute = queue.attribute_name(*attribute);
                never.push(Never::Differs { rule: rule.name.clone(), attribute });
            }
            Asks::Common { attribute, at_least } => {
                let (has, needs) = (common(&[ticket], *attribute), at_least.last());
                if (has as f64) < needs {
                    let attribute = queue.attribute_name(*attribute);
                    never.push(Never::TooFewInCommon { rule: rule.name.clone(), attribute, has, needs });
                }
            }
            Asks::Spread { attribute, most, .. } | Asks::Deviation { attribute, most, .. }
                if rule.asks.is_of_parties() =>
            {
                let (has, needs) = (queue.measure(rule, &[ticket], &[], ""), most.last());
                if has > needs {
                    let attribute = queue.attribute_name(*attribute);
                    never.push(Never::ApartInside { rule: rule.name.clone(), attribute, has, needs });
                }
            }
            _ => {}
        }
    }
    if !regions.is_empty() && !regions.iter().any(|region| region.is_near_ever) {
        never.push(Never::TooFar);
    }
    never.extend(match pair::room(queue, &[ticket]) {
        pair::Room::Fits => None,
        pair::Room::NoTeams => Some(Never::Sizes),
        pair::Room::NoRoles => Some(Never::Roles),
    });
    never
}

impl Queue {
    /// Whether a party of these players can be matched, whoever comes and however long it waits.
    ///
    /// # Errors
    /// [`TicketError::Never`], as far as they tell by themselves.
    pub fn admits_players(&self, players: Vec<Player>) -> Result<(), TicketError> {
        let ticket = Ticket::new(0, players, 0);
        self.admits(&ticket)?;
        match never(self, &ticket, &[]).first() {
            None => Ok(()),
            Some(never) => Err(TicketError::Never(words::why_never(never))),
        }
    }

    /// The name of the attribute at a position.
    fn attribute_name(&self, attribute: usize) -> String {
        let named = self.schema.iter().find(|(_, (at, _))| *at == attribute);
        named.map(|(name, _)| name.clone()).unwrap_or_default()
    }
}
