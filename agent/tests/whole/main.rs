//! The agent as a whole, through its public interface: real Docker, real QUIC, an orchestrator and an
//! edge that are the tests' own. They need a Docker engine and a Linux `rustc` with a static libc.

#![cfg(target_os = "linux")]

mod authority;
mod game;
mod node;
mod orchestrator;
mod world;

mod engine;
mod hostile_edge;
mod images;
mod lifecycle;
mod restart;
mod sdk;
mod streams;
mod tunnel;
mod tunnel_thread;
