//! Putting packets that came in parts together again. Pure: the time is told.
//!
//! Bounded in time, per flow and in all, because parts that never become a packet are what a lossy
//! path, or somebody unkind, leaves behind.

use std::collections::{HashMap, VecDeque};

use muster_protocol::flow::FlowId;
use muster_protocol::tunnel::Fragment;

/// How long a packet has to become whole, in milliseconds.
const TIMEOUT_MS: u64 = 1_000;
/// Bytes held of one flow: four packets of the largest size.
const MAX_FLOW_BYTES: usize = 256 * 1024;
/// Bytes held of all flows.
const MAX_TOTAL_BYTES: usize = 16 * 1024 * 1024;
/// Bytes a part counts for beyond its payload.
const PART_OVERHEAD: usize = 64;
/// Largest UDP payload over IPv4, in bytes.
const MAX_PACKET_BYTES: usize = 65_507;

type Key = (FlowId, u16);

/// Packets under way.
#[derive(Default)]
pub(super) struct Rejoin {
    packets: HashMap<Key, Partial>,
    /// Keys with the time they are given up, oldest first; may name packets that are gone.
    deadlines: VecDeque<(u64, Key)>,
    per_flow: HashMap<FlowId, usize>,
    total: usize,
}

struct Partial {
    parts: Vec<Option<Box<[u8]>>>,
    missing: usize,
    held: usize,
    deadline_ms: u64,
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// It was the last one missing: the packet.
    Whole(Vec<u8>),
    /// It waits for others, or was there already.
    Waiting,
    /// There is no room, or its packet would be larger than a packet can be.
    Dropped,
}

impl Rejoin {
    /// Takes a part in.
    pub(super) fn add(&mut self, flow: FlowId, part: Fragment, payload: &[u8], now_ms: u64) -> Joined {
        self.expire(now_ms);
        let key = (flow, part.packet);
        let count = usize::from(part.count);
        // Packet numbers wrap: one with another count is a newer packet.
        if self.packets.get(&key).is_some_and(|partial| partial.parts.len() != count) {
            self.drop_packet(key);
        }
        let cost = payload.len() + PART_OVERHEAD;
        let of_flow = self.per_flow.get(&flow).copied().unwrap_or_default();
        if self.total + cost > MAX_TOTAL_BYTES || of_flow + cost > MAX_FLOW_BYTES {
            return Joined::Dropped;
        }
        let deadline_ms = now_ms + TIMEOUT_MS;
        let partial = self.packets.entry(key).or_insert_with(|| {
            self.deadlines.push_back((deadline_ms, key));
            Partial { parts: vec![None; count], missing: count, held: 0, deadline_ms }
        });
        let Some(place) = partial.parts.get_mut(usize::from(part.index)) else { return Joined::Dropped };
        if place.is_some() {
            return Joined::Waiting;
        }
        *place = Some(payload.into());
        partial.missing -= 1;
        partial.held += cost;
        self.total += cost;
        *self.per_flow.entry(flow).or_default() += cost;
        if partial.missing > 0 {
            return Joined::Waiting;
        }
        match self.drop_packet(key) {
            Some(whole) if whole.len() <= MAX_PACKET_BYTES => Joined::Whole(whole),
            _ => Joined::Dropped,
        }
    }

    /// Gives up what has waited too long; answers how many packets that were.
    pub(super) fn expire(&mut self, now_ms: u64) -> usize {
        let mut given_up = 0;
        while let Some(&(deadline_ms, key)) = self.deadlines.front() {
            if deadline_ms > now_ms {
                break;
            }
            self.deadlines.pop_front();
            // The same number may by now stand for a newer packet with a deadline of its own.
            if self.packets.get(&key).is_some_and(|partial| partial.deadline_ms == deadline_ms) {
                self.drop_packet(key);
                given_up += 1;
            }
        }
        given_up
    }

    /// Takes a packet out; answers with its parts, one behind the other.
    fn drop_packet(&mut self, key: Key) -> Option<Vec<u8>> {
        let partial = self.packets.remove(&key)?;
        self.total -= partial.held;
        if let Some(of_flow) = self.per_flow.get_mut(&key.0) {
            *of_flow -= partial.held;
            if *of_flow == 0 {
                self.per_flow.remove(&key.0);
            }
        }
        Some(partial.parts.into_iter().flatten().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::split;
    use bytes::Bytes;
    use muster_protocol::tunnel::Header;
    use proptest::prelude::*;

    const FLOW: FlowId = FlowId(7);

    fn part(packet: u16, index: u8, count: u8) -> Fragment {
        Fragment { packet, index, count }
    }

    #[test]
    fn unfinished_packets_are_given_up_in_time() {
        let mut rejoin = Rejoin::default();
        assert_eq!(rejoin.add(FLOW, part(1, 0, 2), b"a", 0), Joined::Waiting);
        assert_eq!(rejoin.expire(TIMEOUT_MS - 1), 0);
        assert_eq!(rejoin.expire(TIMEOUT_MS), 1);
        assert_eq!(rejoin.add(FLOW, part(1, 1, 2), b"b", TIMEOUT_MS), Joined::Waiting);
        assert_eq!((rejoin.total, rejoin.per_flow.len()), (1 + PART_OVERHEAD, 1));
    }

    #[test]
    fn one_flow_cannot_take_the_room_of_others() {
        let mut rejoin = Rejoin::default();
        let piece = [0; 1_000];
        let taken = (0..=u16::MAX)
            .take_while(|&packet| rejoin.add(FLOW, part(packet, 0, 2), &piece, 0) == Joined::Waiting)
            .count();
        assert!(taken * piece.len() <= MAX_FLOW_BYTES && taken > 200, "{taken}");
        assert_eq!(rejoin.add(FlowId(8), part(0, 0, 2), &piece, 0), Joined::Waiting);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_split_is_joined_in_any_order(
            payload in proptest::collection::vec(any::<u8>(), 1..65_507),
            limit in 400usize..1_500,
            order in any::<u64>(),
        ) {
            let parts = split::parts(&payload, limit, FLOW, 3).expect("fits 255 parts");
            let mut parts: Vec<Bytes> = parts;
            prop_assert!(parts.iter().all(|part| part.len() <= limit));
            // A deterministic shuffle.
            parts.sort_by_key(|part| part.iter().fold(order, |h, &b| h.wrapping_mul(31).wrapping_add(u64::from(b))));
            let mut rejoin = Rejoin::default();
            let mut whole = None;
            for mut datagram in parts {
                let Ok(Header::Data { fragment: Some(part), .. }) = Header::decode(&mut datagram) else {
                    return Err(TestCaseError::fail("not a part"));
                };
                match rejoin.add(FLOW, part, &datagram, 0) {
                    Joined::Whole(packet) => whole = Some(packet),
                    Joined::Waiting => {}
                    Joined::Dropped => return Err(TestCaseError::fail("no room")),
                }
            }
            prop_assert_eq!(whole, Some(payload));
            prop_assert_eq!((rejoin.total, rejoin.packets.len(), rejoin.per_flow.len()), (0, 0, 0));
        }

        #[test]
        fn any_parts_keep_the_books_straight(
            parts in proptest::collection::vec((0u64..3, 0u16..4, 0u8..5, 2u8..5, 0usize..70_000, 0u64..900), 0..200)
        ) {
            let mut rejoin = Rejoin::default();
            let mut now = 0;
            for (flow, packet, index, count, length, wait) in parts {
                now += wait;
                let part = Fragment { packet, index: index % count, count };
                rejoin.add(FlowId(flow), part, &vec![0; length], now);
                prop_assert!(rejoin.total <= MAX_TOTAL_BYTES);
                prop_assert!(rejoin.per_flow.values().all(|&held| held <= MAX_FLOW_BYTES));
                prop_assert_eq!(rejoin.per_flow.values().sum::<usize>(), rejoin.total);
            }
            rejoin.expire(now + TIMEOUT_MS);
            prop_assert_eq!((rejoin.total, rejoin.packets.len(), rejoin.deadlines.len()), (0, 0, 0));
        }
    }
}
