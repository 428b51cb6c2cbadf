//! Muster's orchestrator: keeps what is wanted, and makes agents and edges do it.
//!
//! The store is the truth. Loops, links and the API are level-triggered and speak to each other only
//! through records and the revisions that are watched; in memory there is only what connections are.
//! So `kill -9` at any moment loses nothing that was acknowledged, and games go on meanwhile.
//!
//! [`start`] runs one orchestrator in the calling runtime; it is what `muster orchestrator` and
//! `muster dev` do. Reading configuration files and installing loggers and recorders is the caller's.

mod api;
mod authority;
mod blobs;
mod clock;
pub mod config;
pub mod keyspace;
mod links;
mod metrics;
pub mod records;
pub mod state;

pub use config::Config;
