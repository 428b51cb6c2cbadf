//! Prefaces, claims and their answers: none is taken for another, and what is read is written the same. And prefaces as
//! TCP has them, behind their length.

use muster_protocol::preface::{
    MAX_ANSWER_BYTES, MAX_PREFACE_BYTES, decode_answer, decode_claim, decode_preface, encode_answer,
    encode_claim, encode_preface,
};

pub(crate) fn run(bytes: &[u8]) {
    muster_edge_proxy::fuzzing::tcp_preface(bytes);
    let (preface, claim, answer) = (decode_preface(bytes), decode_claim(bytes), decode_answer(bytes));
    let read = [preface.is_some(), claim.is_some(), answer.is_some()];
    assert!(read.into_iter().filter(|is| *is).count() <= 1);
    if let Some(token) = preface {
        assert_eq!(encode_preface(token), bytes);
    }
    if let Some(token) = claim {
        assert_eq!(encode_claim(token), bytes);
    }
    if preface.or(claim).is_some() {
        assert!(bytes.len() <= MAX_PREFACE_BYTES);
    }
    if let Some(answer) = answer {
        assert_eq!(encode_answer(answer), bytes);
        assert!(bytes.len() <= MAX_ANSWER_BYTES);
    }
}
