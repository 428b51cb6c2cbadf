//! The edge's end of the tunnels: QUIC connections to agents, kept up as long as a route leads there.
//!
//! Each agent has two from an edge, so that a bulk transfer cannot hold up a game packet: `datagrams`,
//! which lives on the UDP worker's own thread, and `streams`. Both are dialled by `dialer`. What is in
//! the packets is not looked at here.

mod agents;
mod datagrams;
mod dialer;
mod streams;

pub(crate) use agents::Agents;
pub(crate) use datagrams::DatagramTunnel;
pub(crate) use dialer::{Dialer, client_endpoint};
pub(crate) use streams::{OpenError, StreamTunnels, TunnelStream};
