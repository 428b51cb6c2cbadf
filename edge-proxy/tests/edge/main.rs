//! An edge on real sockets, between clients, a fake agent and a fake orchestrator.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod agent;
mod authority;
mod hostile;
mod hostile_agent;
mod link;
mod orchestrator;
mod stream_limits;
mod tcp;
mod udp;
#[cfg(unix)]
mod upgrade;
mod websocket;
mod world;
