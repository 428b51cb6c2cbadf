//! Every decoder takes any bytes: it answers with a value or an error, and what it accepts it writes back the same.

use bytes::{Bytes, BytesMut};
use muster_protocol::beacon;
use muster_protocol::flow::FlowId;
use muster_protocol::preface::{self, MAX_ANSWER_BYTES, MAX_PREFACE_BYTES};
use muster_protocol::token::TokenVerifier;
use muster_protocol::tunnel::Header;
use proptest::prelude::*;

/// Bytes that are mostly noise, but often begin as something of ours does.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let noise = || proptest::collection::vec(any::<u8>(), 0..128);
    prop_oneof![
        noise(),
        (any::<u8>(), noise())
            .prop_map(|(kind, rest)| [vec![b'M', b'S', b'T', b'R', 1, kind % 5], rest].concat()),
        (any::<u8>(), noise())
            .prop_map(|(kind, rest)| [vec![b'M', b'S', b'T', b'B', kind % 4], rest].concat()),
        (0u8..0x40, noise()).prop_map(|(kind, rest)| [vec![kind], rest].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn tunnel_header(input in bytes()) {
        let mut rest = Bytes::from(input.clone());
        if let Ok(header) = Header::decode(&mut rest) {
            let mut again = BytesMut::new();
            header.encode(&mut again);
            again.extend_from_slice(&rest);
            prop_assert_eq!(again.to_vec(), input);
        }
    }

    #[test]
    fn truncated_headers_are_refused(flow in any::<u64>(), cut in 0usize..9) {
        let mut wire = BytesMut::new();
        Header::Opened(FlowId(flow)).encode(&mut wire);
        let mut short = wire.freeze().slice(..cut);
        prop_assert!(Header::decode(&mut short).is_err());
    }

    #[test]
    fn preface_and_answer(input in bytes()) {
        if let Some(token) = preface::decode_preface(&input) {
            prop_assert_eq!(preface::encode_preface(token), input.clone());
            prop_assert!(input.len() <= MAX_PREFACE_BYTES);
        }
        if let Some(answer) = preface::decode_answer(&input) {
            prop_assert_eq!(preface::encode_answer(answer), input.clone());
            prop_assert!(input.len() <= MAX_ANSWER_BYTES);
        }
    }

    #[test]
    fn beacon_answers_are_never_longer(input in bytes()) {
        let mut packet = input.clone();
        let answered = beacon::answer_in_place(&mut packet);
        prop_assert_eq!(packet.len(), input.len());
        prop_assert_eq!(answered, packet != input);
        let _ = beacon::decode_answer(&input);
    }

    #[test]
    fn token_text(input in "(v4\\.public\\.)?[-_A-Za-z0-9.]{0,300}") {
        prop_assert!(TokenVerifier::default().verify(&input, 0).is_err());
    }
}
