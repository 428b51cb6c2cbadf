//! The latency beacon: a UDP echo on every edge, by which a client learns its round trip to a region.
//!
//! ```text
//! request: "MSTB" 0x01 <4 to 59 bytes of the client's choice>
//! answer:  "MSTB" 0x02 <the same bytes>
//! ```
//! The answer is exactly as long as the request. Anything else gets no answer at all.

/// What requests and answers begin with.
pub const MAGIC: [u8; 4] = *b"MSTB";
const KIND_REQUEST: u8 = 1;
const KIND_ANSWER: u8 = 2;
/// Shortest request, in bytes.
pub const MIN_BYTES: usize = 9;
/// Longest request, in bytes.
pub const MAX_BYTES: usize = 64;

/// A request that carries `nonce`; nonces of 4 to 59 bytes are answered.
pub fn encode_request(nonce: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(KIND_REQUEST);
    out.extend_from_slice(nonce);
    out
}

/// Turns a request into its answer in place; false if `packet` is no request and gets none.
pub fn answer_in_place(packet: &mut [u8]) -> bool {
    let is_request = (MIN_BYTES..=MAX_BYTES).contains(&packet.len())
        && packet.starts_with(&MAGIC)
        && packet[MAGIC.len()] == KIND_REQUEST;
    if is_request {
        packet[MAGIC.len()] = KIND_ANSWER;
    }
    is_request
}

/// The nonce of an answer; `None` if `packet` is none.
pub fn decode_answer(packet: &[u8]) -> Option<&[u8]> {
    packet.strip_prefix(&MAGIC)?.strip_prefix(&[KIND_ANSWER])
}
