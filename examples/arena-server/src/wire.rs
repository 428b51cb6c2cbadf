//! The game's messages: one JSON object per datagram, TCP frame or WebSocket message.
//!
//! JSON so that any engine and a browser's console can speak it; at these rates a socket call costs
//! more than the parsing.

use serde::{Deserialize, Serialize};

/// Longest player name and seat taken, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Longest message, in bytes: what one UDP datagram can carry.
pub(crate) const MAX_MESSAGE_BYTES: usize = 65_507;

/// What a player says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    /// The player's name.
    pub(crate) player: String,
    /// The player's seat, so that the server can tell Muster who is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seat: Option<String>,
    /// The player's own numbering.
    pub(crate) seq: u32,
    /// Any number; comes back.
    #[serde(default)]
    pub(crate) nonce: u32,
    /// Step to take on the next tick, in cells east and north.
    #[serde(default, rename = "move")]
    pub(crate) step: [i8; 2],
    /// Any text; comes back. Makes messages as long as a test wants them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) pad: String,
}

/// What the server answers to every [`Move`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The player this peer is known as: the name it said FIRST. Another's name means mixed sessions.
    pub(crate) player: String,
    /// Of the move answered.
    pub(crate) seq: u32,
    /// Of the move answered.
    pub(crate) nonce: u32,
    /// The world's time, in ticks.
    pub(crate) tick: u64,
    /// Messages of this peer so far, this one included. It starts again if the session was lost.
    pub(crate) count: u64,
    /// Who the server thinks the peer is: a hash of transport and address, 16 hexadecimal digits.
    pub(crate) peer: String,
    /// Where the player stands, in cells east and north of where they joined.
    pub(crate) position: [i32; 2],
    /// Of the move answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) pad: String,
}

/// The move, if `bytes` is one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Move> {
    let message: Move = serde_json::from_slice(bytes).ok()?;
    let named = !message.player.is_empty() && message.player.len() <= MAX_NAME_BYTES;
    let seated = message.seat.as_ref().is_none_or(|seat| seat.len() <= MAX_NAME_BYTES);
    (named && seated).then_some(message)
}

/// The bytes of `state`.
pub(crate) fn encode(state: &State) -> Vec<u8> {
    serde_json::to_vec(state).expect("strings and numbers always make JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_is_read() {
        let text = br#"{"player":"ann","seq":3,"nonce":9,"move":[1,-1]}"#;
        let message = decode(text).expect("a move");
        assert_eq!((message.player.as_str(), message.seq, message.step), ("ann", 3, [1, -1]));
    }

    #[test]
    fn what_is_no_move_is_left_unanswered() {
        let long = format!(r#"{{"player":"{}","seq":1}}"#, "x".repeat(MAX_NAME_BYTES + 1));
        for bytes in [b"".as_slice(), b"hello", b"{}", br#"{"player":"","seq":1}"#, long.as_bytes(), b"\xff"]
        {
            assert_eq!(decode(bytes), None);
        }
    }
}
