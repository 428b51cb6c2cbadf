//! Splitting and rejoining of UDP packets that are larger than one DATAGRAM frame of the tunnel.
//!
//! Both ends of the tunnel do it, each in both directions; here is the logic without sockets or clock.
//! A part that is lost loses its packet, as IP fragmentation would: nothing is asked for again. What is
//! kept for packets not yet whole is bounded in number, bytes and time, and the oldest goes first.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::flow::FlowId;
use crate::tunnel::Fragment;

/// Largest UDP payload there is, in bytes.
pub const MAX_PACKET_BYTES: usize = 65_507;
/// How long parts wait for the rest of their packet.
pub const PART_LIFETIME: Duration = Duration::from_secs(1);
/// Packets of one connection that may be incomplete at once.
pub const MAX_PARTIAL_PACKETS: usize = 256;
/// Bytes of one connection's incomplete packets, at most.
pub const MAX_PARTIAL_BYTES: usize = 8 * 1024 * 1024;
/// Packets given up of which it is told whose they were, at most, each time that is asked.
pub const MAX_GIVEN_UP_NAMED: usize = 1_024;

/// The parts of `packet`, in order and as equal in size as can be, each of at most `max_part` bytes.
///
/// `None` if it would take more than 255 parts, or if `max_part` is 0. A packet that fits is one part.
pub fn split(packet: &[u8], max_part: usize) -> Option<std::slice::Chunks<'_, u8>> {
    if max_part == 0 {
        return None;
    }
    let count = packet.len().div_ceil(max_part).max(1);
    u8::try_from(count).ok()?;
    Some(packet.chunks(packet.len().div_ceil(count).max(1)))
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejoined {
    /// It was the last one missing: the packet.
    Whole(Bytes),
    /// Others are still missing.
    Waiting,
    /// It fits no packet: its count contradicts its siblings', it came before, or the packet would be
    /// over [`MAX_PACKET_BYTES`]. It is dropped, and with a contradiction its packet too.
    Misfit,
}

/// Packets that never became whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// How many.
    pub packets: u64,
    /// Whose they were, of the first [`MAX_GIVEN_UP_NAMED`] of them.
    pub flows: Vec<FlowId>,
}

/// Parts of packets that are not whole yet, of one connection in one direction.
#[derive(Default)]
pub struct Rejoiner {
    partial: HashMap<(FlowId, u16), Partial>,
    // Keys by age; a key whose packet is gone, or was begun again later, is passed over.
    by_age: VecDeque<((FlowId, u16), Instant)>,
    bytes: usize,
    given_up: GivenUp,
}

struct Partial {
    begun: Instant,
    parts: Vec<Option<Box<[u8]>>>,
    missing: u8,
    bytes: usize,
}

impl Rejoiner {
    /// Takes one part that arrived at `now`.
    pub fn push(&mut self, now: Instant, flow: FlowId, part: Fragment, payload: &[u8]) -> Rejoined {
        self.expire(now);
        let key = (flow, part.packet);
        if part.index >= part.count {
            return Rejoined::Misfit;
        }
        if !self.partial.contains_key(&key) {
            self.begin(now, key, part.count);
        }
        let Some(partial) = self.partial.get_mut(&key) else { return Rejoined::Misfit };
        if partial.parts.len() != usize::from(part.count) || partial.bytes + payload.len() > MAX_PACKET_BYTES
        {
            self.drop_packet(key);
            return Rejoined::Misfit;
        }
        let place = &mut partial.parts[usize::from(part.index)];
        if place.is_some() {
            return Rejoined::Misfit;
        }
        *place = Some(payload.into());
        partial.missing -= 1;
        partial.bytes += payload.len();
        self.bytes += payload.len();
        if partial.missing == 0 { self.finish(key) } else { self.bound_bytes(key) }
    }

    /// Drops what has waited for longer than [`PART_LIFETIME`].
    pub fn expire(&mut self, now: Instant) {
        while let Some(&(key, begun)) = self.by_age.front() {
            let standing = self.partial.get(&key).is_some_and(|partial| partial.begun == begun);
            if standing && now.saturating_duration_since(begun) < PART_LIFETIME {
                return;
            }
            self.by_age.pop_front();
            if standing {
                self.drop_packet(key);
            }
        }
    }

    /// Packets given up since the last call: late, contradictory, or over a bound.
    pub fn take_given_up(&mut self) -> GivenUp {
        std::mem::take(&mut self.given_up)
    }

    /// Gives up all that is not whole: the rest will not come.
    pub fn give_up_all(&mut self) {
        while let Some((key, _)) = self.by_age.pop_front() {
            self.drop_packet(key);
        }
    }

    /// Bytes held now.
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }

    fn begin(&mut self, now: Instant, key: (FlowId, u16), count: u8) {
        while self.partial.len() >= MAX_PARTIAL_PACKETS || self.by_age.len() >= 2 * MAX_PARTIAL_PACKETS {
            self.drop_oldest();
        }
        let parts = (0..count).map(|_| None).collect();
        self.partial.insert(key, Partial { begun: now, parts, missing: count, bytes: 0 });
        self.by_age.push_back((key, now));
    }

    fn finish(&mut self, key: (FlowId, u16)) -> Rejoined {
        let Some(partial) = self.partial.remove(&key) else { return Rejoined::Misfit };
        self.bytes -= partial.bytes;
        let mut packet = BytesMut::with_capacity(partial.bytes);
        partial.parts.iter().flatten().for_each(|part| packet.extend_from_slice(part));
        Rejoined::Whole(packet.freeze())
    }

    fn bound_bytes(&mut self, newest: (FlowId, u16)) -> Rejoined {
        while self.bytes > MAX_PARTIAL_BYTES {
            self.drop_oldest();
        }
        if self.partial.contains_key(&newest) { Rejoined::Waiting } else { Rejoined::Misfit }
    }

    fn drop_oldest(&mut self) {
        if let Some((key, begun)) = self.by_age.pop_front()
            && self.partial.get(&key).is_some_and(|partial| partial.begun == begun)
        {
            self.drop_packet(key);
        }
    }

    fn drop_packet(&mut self, key: (FlowId, u16)) {
        if let Some(partial) = self.partial.remove(&key) {
            self.bytes -= partial.bytes;
            self.given_up.packets += 1;
            if self.given_up.flows.len() < MAX_GIVEN_UP_NAMED {
                self.given_up.flows.push(key.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLOW: FlowId = FlowId(7);

    fn parts(packet: &[u8], max_part: usize, number: u16) -> Vec<(Fragment, Vec<u8>)> {
        let chunks: Vec<_> = split(packet, max_part).expect("at most 255 parts").collect();
        let count = chunks.len() as u8;
        chunks
            .into_iter()
            .enumerate()
            .map(|(index, part)| (Fragment { packet: number, index: index as u8, count }, part.to_vec()))
            .collect()
    }

    #[test]
    fn the_largest_packet_passes_a_minimal_tunnel() {
        let packet: Vec<u8> = (0..MAX_PACKET_BYTES).map(|i| i as u8).collect();
        let (mut rejoiner, now) = (Rejoiner::default(), Instant::now());
        let mut whole = None;
        for (part, payload) in parts(&packet, 1_100, 0) {
            assert!(payload.len() <= 1_100);
            if let Rejoined::Whole(bytes) = rejoiner.push(now, FLOW, part, &payload) {
                whole = Some(bytes);
            }
        }
        assert_eq!(whole.expect("all parts were pushed"), packet);
        assert_eq!(rejoiner.held_bytes(), 0);
    }

    #[test]
    fn what_cannot_be_split_is_refused() {
        assert!(split(&[0; 1_000], 0).is_none());
        assert!(split(&[0; 1_000], 3).is_none());
        assert_eq!(split(&[0; 1_000], 4).map(Iterator::count), Some(250));
    }

    #[test]
    fn a_packet_waits_a_second_and_no_longer() {
        let (mut rejoiner, now) = (Rejoiner::default(), Instant::now());
        let both = parts(&[1; 200], 100, 9);
        assert_eq!(rejoiner.push(now, FLOW, both[0].0, &both[0].1), Rejoined::Waiting);
        assert_eq!(rejoiner.push(now + PART_LIFETIME, FLOW, both[1].0, &both[1].1), Rejoined::Waiting);
        let given_up = GivenUp { packets: 1, flows: vec![FLOW] };
        assert_eq!((rejoiner.take_given_up(), rejoiner.held_bytes()), (given_up, 100));
    }

    #[test]
    fn what_is_given_up_is_counted_and_its_flows_are_named_as_far_as_there_is_room() {
        let (mut rejoiner, now) = (Rejoiner::default(), Instant::now());
        let most = MAX_GIVEN_UP_NAMED as u16;
        for number in 0..most + 7 {
            let part = Fragment { packet: number, index: 0, count: 2 };
            assert_eq!(rejoiner.push(now, FlowId(number.into()), part, b"half"), Rejoined::Waiting);
        }
        rejoiner.give_up_all();
        let GivenUp { packets, flows } = rejoiner.take_given_up();
        assert_eq!((packets, flows.len()), (u64::from(most) + 7, MAX_GIVEN_UP_NAMED));
        assert!(flows.iter().map(|flow| flow.0).eq(0..u64::from(most)), "the oldest go first");
        assert_eq!((rejoiner.take_given_up(), rejoiner.held_bytes()), (GivenUp::default(), 0));
        let rest = Fragment { packet: 0, index: 1, count: 2 };
        assert_eq!(rejoiner.push(now, FlowId(0), rest, b"half"), Rejoined::Waiting, "its first half is gone");
    }

    #[test]
    fn a_flood_of_first_parts_stays_bounded_and_the_oldest_goes() {
        let (mut rejoiner, now) = (Rejoiner::default(), Instant::now());
        let big = vec![0; 60_000];
        for number in 0..2_000 {
            let part = Fragment { packet: number, index: 0, count: 2 };
            rejoiner.push(now, FlowId(u64::from(number)), part, &big);
            assert!(rejoiner.held_bytes() <= MAX_PARTIAL_BYTES);
            assert!(rejoiner.partial.len() <= MAX_PARTIAL_PACKETS);
        }
        let last = Fragment { packet: 1_999, index: 1, count: 2 };
        assert!(matches!(rejoiner.push(now, FlowId(1_999), last, b"end"), Rejoined::Whole(_)));
        let first = Fragment { packet: 0, index: 1, count: 2 };
        assert_eq!(rejoiner.push(now, FlowId(0), first, b"end"), Rejoined::Waiting);
    }

    #[test]
    fn contradictions_are_misfits() {
        let (mut rejoiner, now) = (Rejoiner::default(), Instant::now());
        let part = |index, count| Fragment { packet: 1, index, count };
        assert_eq!(rejoiner.push(now, FLOW, part(0, 3), b"a"), Rejoined::Waiting);
        assert_eq!(rejoiner.push(now, FLOW, part(0, 3), b"a"), Rejoined::Misfit);
        assert_eq!(rejoiner.push(now, FLOW, part(1, 4), b"b"), Rejoined::Misfit);
        assert_eq!(rejoiner.held_bytes(), 0);
    }

    proptest! {
        #[test]
        fn any_order_and_any_mix_of_flows_rejoins(
            packets in proptest::collection::vec((0u64..4, proptest::collection::vec(any::<u8>(), 2..600)), 1..12),
            max_part in 20usize..200,
            order in any::<u64>(),
        ) {
            let (mut rejoiner, now) = (Rejoiner::default(), Instant::now());
            let mut wire = Vec::new();
            for (number, (flow, packet)) in packets.iter().enumerate() {
                if packet.len() > max_part {
                    wire.extend(parts(packet, max_part, number as u16).into_iter().map(|p| (FlowId(*flow), p)));
                }
            }
            let mut shuffled = order;
            for i in (1..wire.len()).rev() {
                shuffled = shuffled.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                wire.swap(i, (shuffled >> 33) as usize % (i + 1));
            }
            let mut whole = 0;
            for (flow, (part, payload)) in wire {
                if let Rejoined::Whole(bytes) = rejoiner.push(now, flow, part, &payload) {
                    let (sent_flow, sent) = &packets[usize::from(part.packet)];
                    prop_assert_eq!(FlowId(*sent_flow), flow);
                    prop_assert_eq!(&bytes[..], &sent[..]);
                    whole += 1;
                }
            }
            prop_assert_eq!(whole, packets.iter().filter(|(_, packet)| packet.len() > max_part).count());
            prop_assert_eq!(rejoiner.held_bytes(), 0);
        }

        #[test]
        fn any_parts_stay_bounded(
            parts in proptest::collection::vec((0u64..3, 0u16..4, any::<u8>(), any::<u8>(), 0usize..70_000), 0..64),
        ) {
            let (mut rejoiner, now) = (Rejoiner::default(), Instant::now());
            for (flow, packet, index, count, length) in parts {
                let payload = vec![0; length];
                if let Rejoined::Whole(bytes) =
                    rejoiner.push(now, FlowId(flow), Fragment { packet, index, count }, &payload)
                {
                    prop_assert!(bytes.len() <= MAX_PACKET_BYTES);
                }
                prop_assert!(rejoiner.held_bytes() <= MAX_PARTIAL_BYTES);
            }
            rejoiner.expire(now + PART_LIFETIME);
            prop_assert_eq!(rejoiner.held_bytes(), 0);
        }
    }
}
