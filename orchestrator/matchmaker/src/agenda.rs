//! Whose turn it is: which tickets lead, and when.
//!
//! A ticket leads when it comes, when something relaxes for it, when a region has room again that had none when it
//! led, and, if not all of its neighbours could be looked at, after a while. Work follows these events and not the
//! number of those who wait. A ticket that is led elsewhere waits for none of this. What leading means is not known
//! here.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::near::MAX_REGIONS;
use crate::pool::Slot;
use muster_protocol::api::Priority;

/// How soon room is looked for again while tickets wait for some, in milliseconds.
pub(crate) const NO_ROOM_RETRY_MS: u64 = 500;

/// Who leads first of those whose turn it is: by priority, then by age.
type Turn = (Reverse<Priority>, u64, Slot);

/// What a ticket waits for.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    priority: Priority,
    entered_ms: u64,
    due_ms: Option<u64>,
    is_ready: bool,
    has_led: bool,
    /// Its turns are another's, but for those that it is given.
    is_led_elsewhere: bool,
    /// Regions, one bit each, in which it could not look for a match since they had no room.
    missed: u64,
}

/// The turns of a pool's tickets.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// By slot; that of a free slot waits for nothing.
    waiting: Vec<Waiting>,
    /// Turns that come with time.
    due: BTreeSet<(u64, Slot)>,
    /// Turns that have come.
    ready: BTreeSet<Turn>,
    /// By region, turns that come with room.
    missed: Vec<BTreeSet<Turn>>,
    /// When turns were last taken, and the regions that had room left then.
    now_ms: u64,
    open: u64,
}

impl Agenda {
    pub(crate) fn new() -> Self {
        let missed = (0..MAX_REGIONS).map(|_| BTreeSet::new()).collect();
        Self { waiting: Vec::new(), due: BTreeSet::new(), ready: BTreeSet::new(), missed, now_ms: 0, open: 0 }
    }

    /// A ticket came that is led elsewhere.
    pub(crate) fn insert_led_elsewhere(&mut self, slot: Slot, priority: Priority, entered_ms: u64) {
        self.insert(slot, priority, entered_ms);
        self.remove(slot);
        self.waiting[slot as usize].is_led_elsewhere = true;
    }

    /// A ticket came; it leads at once, which is when it came.
    pub(crate) fn insert(&mut self, slot: Slot, priority: Priority, entered_ms: u64) {
        let at = slot as usize;
        if self.waiting.len() <= at {
            self.waiting.resize_with(at + 1, Waiting::default);
        }
        let due_ms = Some(entered_ms);
        self.waiting[at] = Waiting { priority, entered_ms, due_ms, ..Waiting::default() };
        self.due.insert((entered_ms, slot));
    }

    /// A ticket left, or its turn is taken: it waits for nothing.
    pub(crate) fn remove(&mut self, slot: Slot) {
        let turn = self.turn(slot);
        let waiting = &mut self.waiting[slot as usize];
        if let Some(due_ms) = waiting.due_ms.take() {
            self.due.remove(&(due_ms, slot));
        }
        if std::mem::take(&mut waiting.is_ready) {
            self.ready.remove(&turn);
        }
        for region in bits(std::mem::take(&mut waiting.missed)) {
            self.missed[region].remove(&turn);
        }
    }

    /// The ticket that leads next at `now_ms`, whose turn is taken thereby; `open` are the regions with room, one bit
    /// each.
    pub(crate) fn next(&mut self, now_ms: u64, open: u64) -> Option<Slot> {
        self.note(now_ms, open);
        while let Some((_, slot)) = self.due.first().copied().filter(|(due_ms, _)| *due_ms <= now_ms) {
            self.due.pop_first();
            self.ready.insert(self.turn(slot));
            let waiting = &mut self.waiting[slot as usize];
            (waiting.due_ms, waiting.is_ready) = (None, true);
        }
        let missed = bits(open).filter_map(|region| self.missed[region].first());
        let (.., slot) = missed.chain(self.ready.first()).min().copied()?;
        self.remove(slot);
        self.waiting[slot as usize].has_led = true;
        Some(slot)
    }

    /// Notes when turns were taken, and which regions have room left.
    pub(crate) fn note(&mut self, now_ms: u64, open: u64) {
        (self.now_ms, self.open) = (now_ms, open);
    }

    /// When turns were last taken, Unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Gives a ticket that is led elsewhere one turn.
    pub(crate) fn once(&mut self, slot: Slot) {
        self.remove(slot);
        let waiting = &mut self.waiting[slot as usize];
        waiting.due_ms = Some(waiting.entered_ms);
        self.due.insert((waiting.entered_ms, slot));
    }

    /// A ticket that led in vain leads again at `due_ms`, and when one of the regions `missed` has room; unless it is led
    /// elsewhere.
    pub(crate) fn again(&mut self, slot: Slot, due_ms: Option<u64>, missed: u64) {
        self.remove(slot);
        if self.waiting[slot as usize].is_led_elsewhere {
            return;
        }
        let turn = self.turn(slot);
        let waiting = &mut self.waiting[slot as usize];
        (waiting.due_ms, waiting.missed) = (due_ms, missed);
        self.due.extend(due_ms.map(|due_ms| (due_ms, slot)));
        for region in bits(missed) {
            self.missed[region].insert(turn);
        }
    }

    /// A region is new: one that led before leads again when it has room.
    pub(crate) fn opens(&mut self, region: usize, slot: Slot) {
        let turn = self.turn(slot);
        let waiting = &mut self.waiting[slot as usize];
        if waiting.has_led && !waiting.is_ready && !waiting.is_led_elsewhere {
            waiting.missed |= 1 << region;
            self.missed[region].insert(turn);
        }
    }

    /// A region is gone: nobody waits for it.
    pub(crate) fn closes(&mut self, region: usize) {
        for (.., slot) in std::mem::take(&mut self.missed[region]) {
            self.waiting[slot as usize].missed &= !(1 << region);
        }
    }

    /// When somebody leads next, or room is to be looked for again, Unix milliseconds.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let is_missed = self.missed.iter().any(|turns| !turns.is_empty());
        let room_ms = is_missed.then_some(self.now_ms + NO_ROOM_RETRY_MS);
        self.next_turn_ms().into_iter().chain(room_ms).min()
    }

    /// When somebody leads next, as long as no region has room that has none now, Unix milliseconds.
    pub(crate) fn next_turn_ms(&self) -> Option<u64> {
        let is_ready =
            !self.ready.is_empty() || bits(self.open).any(|region| !self.missed[region].is_empty());
        let ready_ms = is_ready.then_some(self.now_ms);
        self.due.first().map(|(due_ms, _)| *due_ms).into_iter().chain(ready_ms).min()
    }

    fn turn(&self, slot: Slot) -> Turn {
        let waiting = self.waiting[slot as usize];
        (Reverse(waiting.priority), waiting.entered_ms, slot)
    }
}

/// The positions of the bits that are set.
pub(crate) fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_led_elsewhere_has_only_the_turn_it_is_given() {
        let mut agenda = Agenda::new();
        agenda.insert_led_elsewhere(0, Priority::Normal, 10);
        assert_eq!((agenda.next(20, 0b1), agenda.next_due_ms()), (None, None));
        agenda.once(0);
        assert_eq!((agenda.next_due_ms(), agenda.next(20, 0b1)), (Some(10), Some(0)));
        agenda.again(0, Some(30), 0b10);
        agenda.opens(1, 0);
        assert_eq!((agenda.next(40, 0b10), agenda.next_due_ms()), (None, None));
        // What it was is forgotten with it.
        agenda.remove(0);
        agenda.insert(0, Priority::Normal, 50);
        assert_eq!(agenda.next(50, 0), Some(0));
    }

    #[test]
    fn of_those_due_the_highest_priority_leads_first_and_then_the_oldest() {
        let mut agenda = Agenda::new();
        for (slot, priority, entered_ms) in [
            (0, Priority::Low, 10),
            (1, Priority::Normal, 30),
            (2, Priority::Normal, 20),
            (3, Priority::High, 40),
            (4, Priority::High, 60),
        ] {
            agenda.insert(slot, priority, entered_ms);
        }
        let order: Vec<Slot> = std::iter::from_fn(|| agenda.next(50, 0)).collect();
        assert_eq!(order, [3, 2, 1, 0], "the last is not due yet");
        assert_eq!((agenda.next_due_ms(), agenda.next(60, 0)), (Some(60), Some(4)));
        assert_eq!(agenda.next_due_ms(), None);
    }

    #[test]
    fn who_waits_for_room_leads_when_there_is_some_and_not_before() {
        let mut agenda = Agenda::new();
        for slot in 0..3 {
            agenda.insert(slot, Priority::Normal, u64::from(slot));
            assert_eq!(agenda.next(10, 0), Some(slot));
            agenda.again(slot, Some(1_000), 0b110);
        }
        assert_eq!(agenda.next_due_ms(), Some(10 + NO_ROOM_RETRY_MS));
        assert_eq!((agenda.next(20, 0b001), agenda.next(20, 0b010)), (None, Some(0)));
        agenda.remove(1);
        agenda.closes(1);
        assert_eq!((agenda.next(20, 0b010), agenda.next(20, 0b100)), (None, Some(2)));
        agenda.again(2, None, 0);
        agenda.opens(5, 2);
        assert_eq!((agenda.next(30, 1 << 5), agenda.next_due_ms()), (Some(2), None));
    }
}
