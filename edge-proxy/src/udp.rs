//! UDP: from a client's packet to the tunnel, and back.
//!
//! A worker is one thread that owns its sockets, its tunnel connections and its table of flows, so that
//! nothing is shared on a packet's way but what addresses have used of their limits. `hot_loop` is that way, top to bottom;
//! `forward` decides and does no I/O; `turns` is the thread, `worker` what it is told,
//! and `workers` are all of them, as the rest of the edge has them.

mod admission;
mod by_id;
mod by_port;
mod claims;
mod dealt;
mod flows;
mod forward;
#[cfg(test)]
mod forward_tests;
pub(crate) mod fuzzing;
mod hot_loop;
mod kept;
mod kept_file;
mod outgoing;
mod port;
mod turns;
mod worker;
mod workers;

pub(crate) use admission::{Admission, Admit, source_network};
pub(crate) use port::players_socket;
pub(crate) use worker::WorkerSetup;
pub(crate) use workers::UdpWorkers;
