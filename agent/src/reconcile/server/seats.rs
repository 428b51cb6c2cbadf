//! The seats of one server: who it says is there, whom it has given up, and which it was told of and is no longer.

use std::collections::BTreeSet;

use muster_protocol::agent::{Allocation, ServerReport};
use muster_protocol::id::SeatId;

/// Seats a server may say are connected, and that it may have given up without an answer yet.
const MAX_SEATS: usize = 4_096;
/// Seats remembered that are no more; of those that were before, a session token still opens the door.
const MAX_GONE: usize = 4_096;

/// A server's seats. Ids are never used again, so one that is gone stays gone.
#[derive(Debug, Default)]
pub(super) struct Seats {
    connected: BTreeSet<SeatId>,
    /// Given up by the server; until the orchestrator has it so, too.
    released: BTreeSet<SeatId>,
    /// Were in the allocation, and are no longer.
    gone: BTreeSet<SeatId>,
}

impl Seats {
    /// As an earlier run of the agent reported them.
    pub(super) fn restore(report: &ServerReport) -> Self {
        let of = |seats: &[String]| seats.iter().filter_map(|seat| seat.parse().ok()).collect();
        Self {
            connected: of(&report.connected_seats),
            released: of(&report.released_seats),
            gone: BTreeSet::new(),
        }
    }

    /// Its player is there.
    pub(super) fn connect(&mut self, seat: SeatId) {
        if self.connected.len() < MAX_SEATS && !self.released.contains(&seat) && !self.gone.contains(&seat) {
            self.connected.insert(seat);
        }
    }

    /// Its player is gone.
    pub(super) fn disconnect(&mut self, seat: SeatId) {
        self.connected.remove(&seat);
    }

    /// Its player is gone and will not be back.
    pub(super) fn release(&mut self, seat: SeatId) {
        self.connected.remove(&seat);
        if self.released.len() < MAX_SEATS && !self.gone.contains(&seat) {
            self.released.insert(seat);
        }
    }

    /// The allocation is another than it was.
    pub(super) fn told(&mut self, old: Option<&Allocation>, new: Option<&Allocation>) {
        let now = ids(new);
        let gone: BTreeSet<SeatId> = ids(old).into_iter().filter(|seat| !now.contains(seat)).collect();
        self.released.retain(|seat| !gone.contains(seat));
        self.gone.extend(gone);
        while self.gone.len() > MAX_GONE {
            // Ids sort by the time they were made, so this is the one whose token is oldest.
            self.gone.pop_first();
        }
    }

    /// Those whose players are there, as text.
    pub(super) fn connected(&self) -> Vec<String> {
        self.connected.iter().map(ToString::to_string).collect()
    }

    /// Those given up that the orchestrator has yet to free, as text.
    pub(super) fn released(&self) -> Vec<String> {
        self.released.iter().map(ToString::to_string).collect()
    }

    /// Those that nobody may sit in again.
    pub(super) fn closed(&self) -> Vec<SeatId> {
        self.released.union(&self.gone).copied().collect()
    }
}

fn ids(allocation: Option<&Allocation>) -> BTreeSet<SeatId> {
    let seats = allocation.map(|allocation| allocation.seats.as_slice()).unwrap_or_default();
    seats.iter().filter_map(|seat| seat.seat_id.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use muster_protocol::agent::AllocatedSeat;

    use super::*;

    fn allocation(seats: &[SeatId]) -> Allocation {
        let seat = |seat: &SeatId| AllocatedSeat { seat_id: seat.to_string(), ..Default::default() };
        Allocation { seats: seats.iter().map(seat).collect(), ..Default::default() }
    }

    #[test]
    fn a_seat_given_up_is_said_until_it_is_free_and_never_taken_again() {
        let (ann, bob) = (SeatId::new(), SeatId::new());
        let mut seats = Seats::default();
        seats.told(None, Some(&allocation(&[ann, bob])));
        seats.connect(ann);
        seats.connect(bob);
        seats.release(bob);
        assert_eq!((seats.connected(), seats.released()), (vec![ann.to_string()], vec![bob.to_string()]));
        // An agent that starts anew says it again.
        let report = ServerReport {
            connected_seats: seats.connected(),
            released_seats: seats.released(),
            ..Default::default()
        };
        let mut seats = Seats::restore(&report);
        seats.told(Some(&allocation(&[ann, bob])), Some(&allocation(&[ann])));
        assert!(seats.released().is_empty());
        assert_eq!(seats.closed(), [bob]);
        seats.connect(bob);
        seats.release(bob);
        assert_eq!((seats.connected(), seats.released()), (vec![ann.to_string()], vec![]));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut seats = Seats::default();
        let all: Vec<SeatId> = (0..=MAX_GONE).map(|_| SeatId::new()).collect();
        for seat in &all {
            seats.connect(*seat);
            seats.release(*seat);
        }
        assert_eq!(seats.released().len(), MAX_SEATS);
        seats.told(Some(&allocation(&all)), None);
        assert_eq!(seats.closed().len(), MAX_GONE);
    }
}
