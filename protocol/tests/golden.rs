//! Golden vectors: the fixed formats, byte for byte, as the SDKs' tests read them too.
//!
//! `vectors/*.json` is the contract with other languages. `MUSTER_WRITE_VECTORS=1` writes it anew
//! from the code, which is right only when a format gets a new version; without it the code is held
//! to the files.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use muster_protocol::flow::{FlowId, FlowKey, FlowOwner, flow_id};
use muster_protocol::id::{SeatId, ServerId};
use muster_protocol::preface::{self, Answer, Refusal};
use muster_protocol::token::{SessionClaims, TokenError, TokenSigner, TokenVerifier};
use muster_protocol::tunnel::{Fragment, Header, OpenTarget, RefuseReason};
use muster_protocol::{beacon, framing, join};
use serde_json::{Value, json};

/// The key of the PASETO specification's own v4.public vectors.
const SECRET: &str = "b4cbfb43df4ce210727d953e4a713307fa19bb7d9f85041438d9e11b942a3774\
                      1eb9dbbbbc047c03fd70604e0071f0987e16b28b757225c11f00415d0e20b1a2";
const KEY_ID: &str = "key-1";
const NOW_MS: u64 = 1_800_000_000_000;

fn server() -> ServerId {
    "srv_01h455vb4pex5vsknk084sn02q".parse().expect("a server id")
}

fn seat() -> SeatId {
    "seat_01h455vb4pex5vsknk084sn02r".parse().expect("a seat id")
}

fn signer() -> TokenSigner {
    TokenSigner::new(KEY_ID, &unhex(SECRET)).expect("an Ed25519 key")
}

fn claims(expires_at_ms: u64) -> SessionClaims {
    SessionClaims {
        namespace: "arena/prod".into(),
        server: server(),
        port: "game".into(),
        seat: seat(),
        player: "player-7".into(),
        issued_at_ms: NOW_MS,
        expires_at_ms,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hex")).collect()
}

/// Compares `actual` with `vectors/{name}.json`, or writes it there if asked.
fn hold(name: &str, actual: Value) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors").join(format!("{name}.json"));
    if std::env::var_os("MUSTER_WRITE_VECTORS").is_some() {
        let text = serde_json::to_string_pretty(&actual).expect("JSON");
        std::fs::write(&path, text + "\n").expect("vectors/ can be written");
    }
    let golden: Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("vector file")).expect("JSON");
    assert_eq!(actual, golden, "{} no longer matches the code", path.display());
}

#[test]
fn session_tokens() {
    let signer = signer();
    let good = signer.sign(&claims(NOW_MS + 60_000)).expect("fits");
    let expired = signer.sign(&claims(NOW_MS - 1_000)).expect("fits");
    let mut tampered = good.clone().into_bytes();
    tampered[20] = if tampered[20] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).expect("base64 stays text");
    let other_key = TokenSigner::new("key-2", &unhex(SECRET)).expect("a key");
    let unknown = other_key.sign(&claims(NOW_MS + 60_000)).expect("fits");

    let public = signer.public_key();
    let verifier = TokenVerifier::new([(KEY_ID, public.as_slice())]).expect("a key");
    assert_eq!(verifier.verify(&good, NOW_MS), Ok(claims(NOW_MS + 60_000)));
    assert_eq!(verifier.verify(&expired, NOW_MS), Err(TokenError::Expired));
    assert!(verifier.verify(&tampered, NOW_MS).is_err());
    assert_eq!(verifier.verify(&unknown, NOW_MS), Err(TokenError::UnknownKey));
    assert_eq!(verifier.verify(&good, NOW_MS - 3_600_000), Err(TokenError::NotYetValid));
    assert_eq!(verifier.verify("v4.public.AAAA", NOW_MS), Err(TokenError::Malformed));

    hold(
        "session_token",
        json!({
            "public_key": hex(&public),
            "key_id": KEY_ID,
            "now_ms": NOW_MS,
            "cases": [
                { "token": good, "outcome": "valid", "server": server().to_string(), "port": "game",
                  "seat": seat().to_string(), "player": "player-7", "namespace": "arena/prod",
                  "expires_at_ms": NOW_MS + 60_000 },
                { "token": expired, "outcome": "expired" },
                { "token": tampered, "outcome": "untrusted" },
                { "token": unknown, "outcome": "unknown_key" },
            ],
        }),
    );
}

#[test]
fn tunnel_headers() {
    let flow = FlowId(0x0102_0304_0506_0708);
    let target = OpenTarget { server: server(), port_index: 3, client: None };
    let open = Some(target);
    let of = |client: &str| Some(OpenTarget { client: Some(client.parse().expect("an address")), ..target });
    let (v4, v6) = (of("198.51.100.7:50000"), of("[2001:db8::7]:50000"));
    let fragment = Some(Fragment { packet: 0xbeef, index: 1, count: 4 });
    let cases = [
        ("data", Header::Data { flow, open: None, fragment: None }),
        ("data_open", Header::Data { flow, open, fragment: None }),
        ("data_open_client_v4", Header::Data { flow, open: v4, fragment: None }),
        ("data_open_client_v6", Header::Data { flow, open: v6, fragment: None }),
        ("data_open_client_fragment", Header::Data { flow, open: v4, fragment }),
        ("data_fragment", Header::Data { flow, open: None, fragment }),
        ("data_open_fragment", Header::Data { flow, open, fragment }),
        ("opened", Header::Opened(flow)),
        ("unknown", Header::Unknown(flow)),
        ("refused", Header::Refused(flow, RefuseReason::TooManyFlows)),
        ("close", Header::Close(flow)),
    ];
    let mut golden = serde_json::Map::new();
    for (name, header) in cases {
        let mut wire = BytesMut::new();
        header.encode(&mut wire);
        assert_eq!(wire.len(), header.encoded_len(), "{name}");
        let mut back = wire.clone().freeze();
        assert_eq!(Header::decode(&mut back), Ok(header), "{name}");
        golden.insert(name.into(), hex(&wire).into());
    }
    hold("tunnel_header", Value::Object(golden));
}

#[test]
fn flow_ids() {
    let key: FlowKey = *b"muster flow key!";
    let v4 = "192.0.2.7:40000".parse().expect("an address");
    let v6 = "[2001:db8::7]:40000".parse().expect("an address");
    hold(
        "flow_id",
        json!({
            "key": hex(&key),
            "server": server().to_string(),
            "port_index": 1,
            "seat": format!("{:016x}", flow_id(&key, &server(), 1, FlowOwner::Seat(seat())).0),
            "ipv4": format!("{:016x}", flow_id(&key, &server(), 1, FlowOwner::Address(v4)).0),
            "ipv6": format!("{:016x}", flow_id(&key, &server(), 1, FlowOwner::Address(v6)).0),
        }),
    );
}

#[test]
fn prefaces_and_beacons() {
    let mut beacon = beacon::encode_request(b"nonce-01");
    let request = hex(&beacon);
    assert!(beacon::answer_in_place(&mut beacon));
    assert_eq!(beacon::decode_answer(&beacon), Some(b"nonce-01".as_slice()));
    hold(
        "preface",
        json!({
            "token": "v4.public.example",
            "udp_preface": hex(&preface::encode_preface("v4.public.example")),
            "udp_claim": hex(&preface::encode_claim("v4.public.example")),
            "tcp_preface": hex(&preface::encode_tcp_preface("v4.public.example")),
            "accepted": hex(&preface::encode_answer(Answer::Accepted)),
            "refused_malformed": hex(&preface::encode_answer(Answer::Refused(Refusal::Malformed))),
            "refused_untrusted": hex(&preface::encode_answer(Answer::Refused(Refusal::Untrusted))),
            "refused_expired": hex(&preface::encode_answer(Answer::Refused(Refusal::Expired))),
            "refused_wrong_port": hex(&preface::encode_answer(Answer::Refused(Refusal::WrongPort))),
            "refused_unavailable": hex(&preface::encode_answer(Answer::Refused(Refusal::Unavailable))),
            "beacon_request": request,
            "beacon_answer": hex(&beacon),
        }),
    );
}

#[test]
fn frames() {
    let message = join::JoinRefused { code: "join_token_used".into(), detail: "made once".into() };
    let mut wire = BytesMut::new();
    framing::encode(&message, &mut wire).expect("small");
    hold("frame", json!({ "code": "join_token_used", "detail": "made once", "frame": hex(&wire) }));
    let payload: Bytes = wire.freeze().slice(framing::PREFIX_BYTES..);
    assert_eq!(framing::decode::<join::JoinRefused>(payload).expect("whole"), message);
}
