//! Session tokens: whatever the text, nothing is believed that the key did not sign. The fuzzer has no key.

use std::sync::LazyLock;

use muster_protocol::id::id_from_bytes;
use muster_protocol::token::{SessionClaims, TokenSigner, TokenVerifier};

/// The first key pair of RFC 8032's test vectors: seed and public key.
const SECRET: [u8; 64] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, //
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60, //
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, //
    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
const ISSUED_AT_MS: u64 = 1_800_000_000_000;

struct Known {
    verifier: TokenVerifier,
    token: String,
    claims: SessionClaims,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let signer = TokenSigner::new("k", &SECRET).expect("an Ed25519 key");
    let key = signer.public_key();
    let claims = SessionClaims {
        namespace: "arena/prod".into(),
        server: id_from_bytes([1; 16]),
        port: "game".into(),
        seat: id_from_bytes([2; 16]),
        player: "ann".into(),
        issued_at_ms: ISSUED_AT_MS,
        expires_at_ms: ISSUED_AT_MS + 60_000,
    };
    Known {
        verifier: TokenVerifier::new([("k", &key[..])]).expect("an Ed25519 key"),
        token: signer.sign(&claims).expect("it fits"),
        claims,
    }
});

/// The bytes are a token; or, behind a 0, a good token with pieces of it changed: each two bytes say where and to what.
pub(crate) fn run(bytes: &[u8]) {
    let text = match bytes.split_first() {
        Some((0, changes)) => {
            let mut token = KNOWN.token.clone().into_bytes();
            let (changes, _) = changes.as_chunks::<2>();
            for [at, to] in changes {
                let at = usize::from(*at) * token.len() / 256;
                token[at] ^= to;
            }
            String::from_utf8(token)
        }
        _ => String::from_utf8(bytes.to_vec()),
    };
    let Ok(text) = text else { return };
    if let Ok(claims) = KNOWN.verifier.verify(&text, ISSUED_AT_MS) {
        assert_eq!(claims, KNOWN.claims, "nobody signed that");
    }
}
