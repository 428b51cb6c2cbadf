//! Parts of large packets: in any order, doubled, cut and contradictory. What is whole is made of one flow's
//! parts, and what is held is bounded.
//!
//! A step is eight bytes: flow, packet (2), index, count, length (2), milliseconds. Each part is filled with its
//! flow's number.

use std::time::{Duration, Instant};

use muster_protocol::flow::FlowId;
use muster_protocol::fragment::{
    MAX_PACKET_BYTES, MAX_PARTIAL_BYTES, MAX_PARTIAL_PACKETS, Rejoined, Rejoiner,
};
use muster_protocol::tunnel::Fragment;

/// Longest part, in bytes.
const MAX_PART_BYTES: usize = 4_096;

pub(crate) fn run(bytes: &[u8]) {
    let (mut rejoiner, mut now) = (Rejoiner::default(), Instant::now());
    let (steps, _) = bytes.as_chunks::<8>();
    let (mut begun, mut whole) = (0, 0);
    for [flow, packet, packet_low, index, count, length, length_low, millis] in steps {
        now += Duration::from_millis(u64::from(*millis));
        let part =
            Fragment { packet: u16::from_be_bytes([*packet, *packet_low]), index: *index, count: *count };
        let length = usize::from(u16::from_be_bytes([*length, *length_low])) % MAX_PART_BYTES;
        begun += 1;
        match rejoiner.push(now, FlowId(u64::from(*flow)), part, &vec![*flow; length]) {
            Rejoined::Whole(packet) => {
                whole += 1;
                assert!(packet.len() <= MAX_PACKET_BYTES);
                assert!(packet.iter().all(|byte| byte == flow), "parts of another flow");
            }
            Rejoined::Waiting | Rejoined::Misfit => {}
        }
        assert!(rejoiner.held_bytes() <= MAX_PARTIAL_BYTES + MAX_PART_BYTES);
        assert!(rejoiner.held_bytes() <= MAX_PARTIAL_PACKETS * MAX_PACKET_BYTES);
    }
    rejoiner.expire(now + Duration::from_secs(2));
    assert_eq!(rejoiner.held_bytes(), 0, "nothing waits for longer than it may");
    assert!(rejoiner.take_given_up().packets + whole <= begun, "each packet is given up once or whole once");
}
