//! The edge's end of the tunnels: QUIC connections to agents, kept up as long as a route leads there.
//!
//! Each agent has two from an edge, so that a bulk transfer cannot hold up a game packet: `datagrams`, which a UDP
//! worker drives by itself (`dialled`), and `streams`, which quinn does. Both are dialled by `dialer`. What is in
//! the packets is not looked at here.

mod agents;
mod datagrams;
mod dialer;
mod dialled;
mod streams;

pub(crate) use agents::Agents;
pub(crate) use datagrams::Condition;
pub(crate) use dialer::{Connect, DIAL_TIMEOUT, Dialer, client_endpoint};
pub(crate) use dialled::{Caller, DatagramTunnels, Look, Reached, TunnelId};
pub(crate) use streams::{OpenError, StreamTunnels, TunnelStream};
