//! Latency beacons: an answer is as long as its request, and is never answered itself.

use muster_protocol::beacon::{answer_in_place, decode_answer, encode_request};

pub(crate) fn run(bytes: &[u8]) {
    let mut packet = bytes.to_vec();
    if !answer_in_place(&mut packet) {
        assert_eq!(packet, bytes, "what is no request is left alone");
        return;
    }
    assert_eq!(packet.len(), bytes.len());
    let nonce = decode_answer(&packet).expect("it was made an answer");
    assert_eq!(encode_request(nonce), bytes);
    let mut again = packet.clone();
    assert!(!answer_in_place(&mut again), "two edges would answer each other forever");
}
