//! The preface: how a client proves its seat before its game's first byte (token modes `preface` and `claim`).
//!
//! On UDP the preface is one datagram from the socket the game will use; on TCP it is the first bytes
//! of the connection, behind a two-byte big-endian length. Where an engine hides its UDP socket, a claim comes
//! from another one of the same address: within ten seconds the next socket of that address whose packets come
//! to the port is the seat's. Answers have the same six bytes' shape:
//!
//! ```text
//! preface: "MSTR" 0x01 0x01 <token text>
//! claim:   "MSTR" 0x01 0x04 <token text>
//! answer:  "MSTR" 0x01 <0x02 accepted | 0x03 refused> , refused only: <reason u8>
//! ```
//! An answer is never longer than what it answers, so the edge cannot be made an amplifier.
//! A UDP client repeats its preface or claim (every 200 ms is a good pace) until it is answered; a preface on
//! a flow that stands is answered again and renews it.

use crate::token::{MAX_TOKEN_BYTES, TokenError};

/// What every preface and answer begins with. No game protocol in use does (`ENet`'s first bytes are a
/// peer id with its top bits set by command flags; 0x4D53 would be peer 0xD53 with flags no client sends first).
pub const MAGIC: [u8; 4] = *b"MSTR";
/// Version of this format.
pub const VERSION: u8 = 1;

const KIND_PREFACE: u8 = 1;
const KIND_ACCEPTED: u8 = 2;
const KIND_REFUSED: u8 = 3;
const KIND_CLAIM: u8 = 4;
const HEADER_BYTES: usize = 6;

/// Longest preface, in bytes, without TCP's length.
pub const MAX_PREFACE_BYTES: usize = HEADER_BYTES + MAX_TOKEN_BYTES;
/// Longest answer, in bytes.
pub const MAX_ANSWER_BYTES: usize = HEADER_BYTES + 1;

/// Why a token is refused, as the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// Not a session token at all.
    Malformed = 1,
    /// Not signed by this installation.
    Untrusted = 2,
    /// Its time is over; ask for the match again.
    Expired = 3,
    /// For another server or port.
    WrongPort = 4,
    /// The edge cannot take the flow now.
    Unavailable = 5,
}

impl Refusal {
    /// Stable name, for metrics, logs and SDKs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::Untrusted => "token_untrusted",
            Self::Expired => "token_expired",
            Self::WrongPort => "token_wrong_port",
            Self::Unavailable => "unavailable",
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Malformed, Self::Untrusted, Self::Expired, Self::WrongPort, Self::Unavailable]
            .into_iter()
            .find(|refusal| *refusal as u8 == byte)
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Malformed => Self::Malformed,
            TokenError::UnknownKey | TokenError::BadSignature => Self::Untrusted,
            TokenError::Expired | TokenError::NotYetValid => Self::Expired,
        }
    }
}

/// What the edge says to a preface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The flow stands.
    Accepted,
    /// It does not.
    Refused(Refusal),
}

/// The preface for `token`.
pub fn encode_preface(token: &str) -> Vec<u8> {
    encode_token(KIND_PREFACE, token)
}

/// The claim for `token`.
pub fn encode_claim(token: &str) -> Vec<u8> {
    encode_token(KIND_CLAIM, token)
}

fn encode_token(kind: u8, token: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + token.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, kind]);
    out.extend_from_slice(token.as_bytes());
    out
}

/// The preface for `token` as TCP carries it: behind its length.
///
/// # Panics
/// Never for a token within [`MAX_TOKEN_BYTES`], which every signer keeps; a longer one is cut off
/// by the edge, not here, so its length saturates.
pub fn encode_tcp_preface(token: &str) -> Vec<u8> {
    let preface = encode_preface(token);
    let length = u16::try_from(preface.len()).unwrap_or(u16::MAX);
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(&preface);
    out
}

/// The token, if `bytes` is a preface; `None` for anything else, such as a game's own packet.
pub fn decode_preface(bytes: &[u8]) -> Option<&str> {
    decode_token(bytes, KIND_PREFACE)
}

/// The token, if `bytes` is a claim; `None` for anything else.
pub fn decode_claim(bytes: &[u8]) -> Option<&str> {
    decode_token(bytes, KIND_CLAIM)
}

fn decode_token(bytes: &[u8], kind: u8) -> Option<&str> {
    let token = body(bytes, kind)?;
    if token.is_empty() || token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    std::str::from_utf8(token).ok()
}

/// The bytes of `answer`.
pub fn encode_answer(answer: Answer) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAX_ANSWER_BYTES);
    out.extend_from_slice(&MAGIC);
    match answer {
        Answer::Accepted => out.extend_from_slice(&[VERSION, KIND_ACCEPTED]),
        Answer::Refused(refusal) => out.extend_from_slice(&[VERSION, KIND_REFUSED, refusal as u8]),
    }
    out
}

/// The answer, if `bytes` is one.
pub fn decode_answer(bytes: &[u8]) -> Option<Answer> {
    if body(bytes, KIND_ACCEPTED).is_some_and(<[u8]>::is_empty) {
        return Some(Answer::Accepted);
    }
    match body(bytes, KIND_REFUSED)? {
        [reason] => Refusal::from_byte(*reason).map(Answer::Refused),
        _ => None,
    }
}

fn body(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    bytes.strip_prefix(&MAGIC)?.strip_prefix(&[VERSION, kind])
}
