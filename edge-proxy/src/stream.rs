//! TCP and WebSocket: from a client's connection to a tunnel stream, and back.
//!
//! `listener` accepts within bounds; `tcp` and `websocket` take a client's proof, each in its protocol's
//! way, and `proof` checks it; `splice` then carries bytes both ways until both have ended, at the pace that `throttle`
//! allows. Of WebSocket frames only the lengths are looked at (`frames`): the game server speaks WebSocket itself.

mod connection;
mod frames;
pub(crate) mod fuzzing;
mod http_head;
mod limits;
mod listener;
mod proof;
mod proxy_protocol;
mod splice;
mod tcp;
mod throttle;
mod websocket;

pub(crate) use limits::ConnectionLimits;
pub(crate) use listener::{StreamListener, StreamSetup};
pub(crate) use proof::Proofs;
pub(crate) use throttle::Throttle;
