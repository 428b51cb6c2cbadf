//! The HTTP API over real HTTP: an orchestrator on a real embedded store, its listener, its loops.
//!
//! Where a server has to run, machines stand in that speak the links' protocol and start nothing.

mod access;
mod document;
mod edge_limits;
mod installation;
mod lobbies;
mod machines;
mod matches;
mod pushes;
mod requests;
mod specs;
mod support;
mod tickets;
mod workflows;
