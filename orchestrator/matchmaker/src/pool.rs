//! The tickets that search, sorted so that those near to each other are found without looking at the others.
//!
//! Tickets that must have the same texts (rules `same`) share a bucket, and in a bucket they are sorted by the number
//! that matters most to the queue. Whose turn it is to lead is the agenda's; what is made of a turn is in `form`.

mod others;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::agenda::Agenda;
use crate::form::Offer;
use crate::levels::Levels;
use crate::near::{Hot, MAX_REGIONS, Near};
use crate::needs::{Need, needs_of};
use crate::opening::{Opening, OpeningKey};
use crate::openings::Openings;
use crate::parts::Parts;
use crate::quality::Worth;
use crate::queue::{Asks, Queue};
use crate::search::Spare;
use crate::ticket::{Ticket, TicketError, TicketKey};
use muster_protocol::api::Priority;

/// Position of a ticket in its pool.
pub(crate) type Slot = u32;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) ticket: Ticket,
    pub(crate) near: Near,
    pub(crate) bucket: usize,
    /// How often it led in vain though not everything could be looked at.
    pub(crate) fruitless: u32,
    /// How often it let others have a better match first.
    pub(crate) yielded: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Bucket {
    texts: Vec<String>,
    pub(crate) near: BTreeMap<(Near, Slot), Hot>,
}

/// The tickets of one queue that search, and the running matches that they may join.
#[derive(Debug)]
pub struct Pool {
    pub(crate) queue: Queue,
    pub(crate) levels: Levels,
    pub(crate) worth: Worth,
    pub(crate) needs: Vec<Need>,
    /// Positions of the rules that more members can only break, other than the primary one.
    pub(crate) breaking: Vec<usize>,
    /// Positions of the rules that only a whole match decides, but not its division into teams.
    pub(crate) settling: Vec<usize>,
    pub(crate) agenda: Agenda,
    pub(crate) openings: Openings,
    /// The parts of the queue, and which of them leads here.
    parts: Parts,
    part: usize,
    /// Regions last offered, at the positions by which tickets know them.
    pub(crate) regions: Vec<Option<String>>,
    entries: Vec<Option<Entry>>,
    free: Vec<Slot>,
    // Never iterated: its order is none.
    by_key: HashMap<TicketKey, Slot>,
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) spare: Spare,
    free_buckets: Vec<usize>,
    by_texts: BTreeMap<Vec<String>, usize>,
}

impl Pool {
    /// An empty pool.
    pub fn new(queue: Queue) -> Self {
        Self {
            levels: Levels::of_queue(&queue),
            worth: Worth::of_queue(&queue),
            needs: needs_of(&queue),
            breaking: queue.breaking(),
            settling: queue.settling(),
            queue,
            agenda: Agenda::new(),
            openings: Openings::default(),
            parts: Parts::default(),
            part: 0,
            regions: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::new(),
            buckets: Vec::new(),
            spare: Spare::default(),
            free_buckets: Vec::new(),
            by_texts: BTreeMap::new(),
        }
    }

    /// The queue it is of.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// How many tickets search.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Takes a ticket in. One that is there already stays as it is.
    ///
    /// # Errors
    /// [`TicketError`] if it can never be matched here.
    pub fn insert(&mut self, ticket: Ticket) -> Result<(), TicketError> {
        self.queue.admits(&ticket)?;
        if self.by_key.contains_key(&ticket.key) {
            return Ok(());
        }
        let primary = self.queue.primary();
        // Without a number to be near by, those who came at about the same time are near.
        let near = primary.map_or(ticket.entered_ms as f64, |(at, party)| ticket.number(at, party));
        let (near, bucket) = (Near(near), self.bucket_of(&ticket));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as Slot
        });
        let mut hot = Hot::of_ticket(&ticket);
        let cap_ms = self.levels.cap_ms(self.levels.last());
        for (region, name) in self.regions.iter().enumerate() {
            hot.note(region, name.as_ref().map(|name| ticket.latency(name)), cap_ms);
        }
        self.by_key.insert(ticket.key, slot);
        self.buckets[bucket].near.insert((near, slot), hot);
        let is_led_here = self.schedule(slot, &ticket);
        self.entries[slot as usize] = Some(Entry { ticket, near, bucket, fruitless: 0, yielded: 0 });
        if is_led_here && !self.openings.is_empty() {
            self.wake_near(slot, cap_ms);
        }
        Ok(())
    }

    /// As [`Pool::insert`], for one that was in a match that is not: it leads once, even if it is led elsewhere, for those
    /// who led here meanwhile did not see it.
    ///
    /// # Errors
    /// [`TicketError`] if it can never be matched here.
    pub fn put_back(&mut self, ticket: Ticket) -> Result<(), TicketError> {
        let key = ticket.key;
        self.insert(ticket)?;
        if let Some(slot) = self.by_key.get(&key) {
            self.agenda.once(*slot);
        }
        Ok(())
    }

    /// Lets only the tickets and openings of `part` take turns from now on, where the queue is in `parts`.
    pub fn lead(&mut self, parts: Parts, part: usize) {
        let (parts_before, part_before) = (std::mem::replace(&mut self.parts, parts), self.part);
        self.part = part;
        for slot in 0..self.entries.len() as Slot {
            let Some(entry) = self.entries[slot as usize].take() else { continue };
            let led_before = parts_before.of(&self.queue, &entry.ticket) == part_before;
            if led_before != (self.parts.of(&self.queue, &entry.ticket) == part) {
                self.agenda.remove(slot);
                self.schedule(slot, &entry.ticket);
            }
            self.entries[slot as usize] = Some(entry);
        }
        for opening in std::mem::take(&mut self.openings).into_all() {
            self.open(opening);
        }
    }

    /// Gives a ticket that came its turn, if it is led here. Returns whether it is.
    fn schedule(&mut self, slot: Slot, ticket: &Ticket) -> bool {
        let is_led_here = self.parts.of(&self.queue, ticket) == self.part;
        if is_led_here {
            self.agenda.insert(slot, ticket.priority, ticket.entered_ms);
        } else {
            self.agenda.insert_led_elsewhere(slot, ticket.priority, ticket.entered_ms);
        }
        is_led_here
    }

    /// Takes an opening in, in the place of what was known of it. Returns whether anybody can join it: one without
    /// players or seats, or with a team that the queue has not, is not kept.
    pub fn open(&mut self, opening: Opening) -> bool {
        let is_filled_here = self.parts.of_opening(&self.queue, &opening) == self.part;
        self.openings.insert(&self.queue, opening, is_filled_here)
    }

    /// Takes an opening out; `None` if it is not there.
    pub fn close(&mut self, key: OpeningKey) -> Option<Opening> {
        self.openings.remove(key)
    }

    /// How many openings there are.
    pub fn openings(&self) -> usize {
        self.openings.len()
    }

    /// Has openings of high priority near a ticket take their turn: they are before new matches.
    fn wake_near(&mut self, slot: Slot, cap_ms: f64) {
        let (Entry { ticket, near, .. }, texts) = (self.entry(slot), self.texts(slot));
        let regions = self.openings.regions(texts);
        let regions = regions.filter(|region| f64::from(ticket.latency(region)) <= cap_ms);
        let near = regions.flat_map(|region| self.openings.near(texts, region, *near));
        let high = near.filter(|open| open.opening.priority == Priority::High);
        let keys: Vec<OpeningKey> = high.map(|open| open.opening.key).collect();
        for key in keys {
            self.openings.wake(key);
        }
    }

    /// Takes a ticket out; `None` if it is not there.
    pub fn remove(&mut self, key: TicketKey) -> Option<Ticket> {
        let slot = self.by_key.remove(&key)?;
        self.agenda.remove(slot);
        let entry = self.entries[slot as usize].take()?;
        let bucket = &mut self.buckets[entry.bucket];
        bucket.near.remove(&(entry.near, slot));
        if bucket.near.is_empty() {
            // Texts may be of any number over time; the buckets are as many as there are now.
            self.by_texts.remove(&std::mem::take(bucket).texts);
            self.free_buckets.push(entry.bucket);
        }
        self.free.push(slot);
        Some(entry.ticket)
    }

    /// When the pool has something to do next, or room is to be looked for again, Unix milliseconds.
    pub fn next_due_ms(&self) -> Option<u64> {
        let of_openings_ms = self.openings.next_due_ms(self.agenda.now_ms());
        self.agenda.next_due_ms().into_iter().chain(of_openings_ms).min()
    }

    pub(crate) fn entry(&self, slot: Slot) -> &Entry {
        self.entries[slot as usize].as_ref().expect("a slot in an index holds a ticket")
    }

    pub(crate) fn entry_mut(&mut self, slot: Slot) -> &mut Entry {
        self.entries[slot as usize].as_mut().expect("a slot in an index holds a ticket")
    }

    /// What those have in common that share its bucket.
    pub(crate) fn texts(&self, slot: Slot) -> &[String] {
        &self.buckets[self.entry(slot).bucket].texts
    }

    /// Those with texts in common, by their number.
    pub(crate) fn bucket_with(&self, texts: &[String]) -> Option<&Bucket> {
        self.by_texts.get(texts).map(|bucket| &self.buckets[*bucket])
    }

    fn bucket_of(&mut self, ticket: &Ticket) -> usize {
        let texts = self.queue.texts_of(std::iter::once(ticket));
        if let Some(bucket) = self.by_texts.get(&texts) {
            return *bucket;
        }
        let bucket = self.free_buckets.pop().unwrap_or_else(|| {
            self.buckets.push(Bucket::default());
            self.buckets.len() - 1
        });
        self.buckets[bucket].texts.clone_from(&texts);
        self.by_texts.insert(texts, bucket);
        bucket
    }

    /// The position of the region of each of `offers`, of which there are at most [`MAX_REGIONS`]. What changed since
    /// they were last offered is noted for every ticket, once: regions come and go seldom.
    pub(crate) fn meet_regions(&mut self, offers: &[Offer]) -> Vec<usize> {
        let offers = &offers[..offers.len().min(MAX_REGIONS)];
        let mut changed = Vec::new();
        for (at, region) in self.regions.iter_mut().enumerate() {
            let is_gone = |name: &String| offers.iter().all(|offer| offer.region != *name);
            if region.as_ref().is_some_and(is_gone) {
                *region = None;
                self.agenda.closes(at);
                changed.push(at);
            }
        }
        let mut positions = Vec::with_capacity(offers.len());
        for Offer { region: name, .. } in offers {
            let known = self.regions.iter().position(|region| region.as_ref() == Some(name));
            positions.push(known.unwrap_or_else(|| {
                let at = self.regions.iter().position(Option::is_none).unwrap_or_else(|| {
                    self.regions.push(None);
                    self.regions.len() - 1
                });
                self.regions[at] = Some(name.clone());
                changed.push(at);
                at
            }));
        }
        if !changed.is_empty() {
            self.note_regions(&changed);
            for name in changed.iter().filter_map(|at| self.regions[*at].as_deref()) {
                self.openings.wake_region(name);
            }
        }
        positions
    }

    /// Notes of every ticket whether it can play in the regions at `changed`; one that can in a new one leads again.
    fn note_regions(&mut self, changed: &[usize]) {
        let cap_ms = self.levels.cap_ms(self.levels.last());
        for bucket in &mut self.buckets {
            for ((_, slot), hot) in &mut bucket.near {
                let entry = self.entries[*slot as usize].as_ref().expect("a slot in an index holds a ticket");
                for region in changed {
                    let name = self.regions[*region].as_ref();
                    hot.note(*region, name.map(|name| entry.ticket.latency(name)), cap_ms);
                    if hot.regions >> region & 1 == 1 {
                        self.agenda.opens(*region, *slot);
                    }
                }
            }
        }
    }
}

impl Queue {
    /// The texts that tickets share with all of a match, by the rules that ask for the same.
    pub(crate) fn texts_of<'a>(&self, tickets: impl Iterator<Item = &'a Ticket> + Clone) -> Vec<String> {
        let mut texts = Vec::new();
        for rule in &self.rules {
            if let Asks::Same { attribute } = rule.asks {
                // Those who differ among themselves have more texts than others, and so are in nobody's way.
                let own: BTreeSet<&str> =
                    tickets.clone().flat_map(|ticket| ticket.texts(attribute)).collect();
                texts.extend(own.into_iter().map(str::to_owned));
            }
        }
        texts
    }
}
