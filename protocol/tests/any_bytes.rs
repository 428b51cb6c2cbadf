//! Every decoder takes any bytes: it answers with a value or an error, and what it accepts it writes back the same.

use bytes::{Bytes, BytesMut};
use muster_protocol::beacon;
use muster_protocol::flow::FlowId;
use muster_protocol::id::{SeatId, ServerId};
use muster_protocol::preface::{self, MAX_ANSWER_BYTES, MAX_PREFACE_BYTES};
use muster_protocol::token::{SessionClaims, TokenError, TokenSigner, TokenVerifier};
use muster_protocol::tunnel::Header;
use pasetors::keys::AsymmetricSecretKey;
use pasetors::version4::{PublicToken, V4};
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
        if let Some(token) = preface::decode_claim(&input) {
            prop_assert_eq!(preface::encode_claim(token), input.clone());
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
        prop_assert!(verifier().verify(&input, 0).is_err());
    }

    #[test]
    fn a_changed_token_says_the_same_or_is_refused(at in 0usize..400, to in any::<u8>()) {
        let claims = claims();
        let mut token = signer().sign(&claims).expect("it fits").into_bytes();
        let at = at % token.len();
        token[at] = to;
        if let Ok(changed) = String::from_utf8(token)
            && let Ok(read) = verifier().verify(&changed, claims.issued_at_ms)
        {
            // Only the unused bits of base64 may differ.
            prop_assert_eq!(read, claims);
        }
    }

    #[test]
    fn signed_claims_that_are_not_ours_are_refused(message in ".{1,200}") {
        let secret = AsymmetricSecretKey::<V4>::from(&SECRET).expect("an Ed25519 key");
        let token = PublicToken::sign(&secret, message.as_bytes(), Some(br#"{"kid":"k"}"#), None);
        let refused = verifier().verify(&token.expect("it is signed"), 0);
        prop_assert_eq!(refused, Err(TokenError::Malformed));
    }
}

/// The first key pair of RFC 8032's test vectors: seed and public key.
const SECRET: [u8; 64] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, //
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60, //
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, //
    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

fn signer() -> TokenSigner {
    TokenSigner::new("k", &SECRET).expect("an Ed25519 key")
}

fn verifier() -> TokenVerifier {
    TokenVerifier::new([("k", signer().public_key().as_slice())]).expect("an Ed25519 key")
}

fn claims() -> SessionClaims {
    SessionClaims {
        namespace: "arena/prod".into(),
        server: ServerId::from_uuid(uuid::Uuid::nil()),
        port: "game".into(),
        seat: SeatId::from_uuid(uuid::Uuid::nil()),
        player: "ann".into(),
        issued_at_ms: 1_800_000_000_000,
        expires_at_ms: 1_800_000_060_000,
    }
}
