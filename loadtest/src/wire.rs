//! The arena's messages, as its README describes them: what bots send and what they get.
//!
//! Written from the description, as any studio's client would be, and not shared with the server.

use serde::{Deserialize, Serialize};

/// What a player says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Name.
    pub player: String,
    /// Seat, if one was sold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seat: Option<String>,
    /// Counts up from 1.
    pub seq: u32,
    /// Differs for every player and message.
    pub nonce: u32,
    /// Step for the next tick.
    #[serde(rename = "move")]
    pub step: [i8; 2],
    /// Makes the message longer; comes back.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pad: String,
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The name this peer first gave.
    pub player: String,
    /// Of the move answered.
    pub seq: u32,
    /// Of the move answered.
    pub nonce: u32,
    /// The world's time.
    pub tick: u64,
    /// Messages of this peer so far.
    pub count: u64,
    /// Who the server thinks the peer is.
    pub peer: String,
    /// Of the move answered.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pad: String,
}

impl Move {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always make JSON")
    }
}

impl State {
    /// The answer, if `bytes` is one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}
