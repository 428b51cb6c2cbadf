//! Muster's orchestrator: keeps what is wanted, and makes agents and edges do it.
//!
//! The store is the truth. Loops, links and the API are level-triggered and speak to each other only
//! through records and the revisions that are watched; in memory there is only what connections are.
//! So `kill -9` at any moment loses nothing that was acknowledged, and games go on meanwhile.
//!
//! [`start`] runs one orchestrator in the calling runtime; it is what `muster orchestrator` and
//! `muster dev` do. Reading configuration files and installing loggers and recorders is the caller's.

pub mod agents;
pub mod allocate;
#[cfg(test)]
mod allocate_tests;
pub mod api;
pub mod app;
pub mod asker;
pub mod authority;
pub mod backup;
pub mod blobs;
pub mod check;
pub mod clock;
pub mod config;
pub mod edges;
#[cfg(test)]
mod golden_tests;
pub mod installation;
pub mod join;
pub mod keyspace;
pub mod lifecycle;
pub mod links;
mod listener;
pub mod lobbies;
pub mod matchmaking;
pub mod metrics;
pub mod placement;
mod random;
pub mod reconcile;
pub mod records;
mod replicas;
pub mod run;
mod seats;
#[cfg(test)]
mod seats_tests;
#[cfg(test)]
mod simulation;
pub mod state;
#[cfg(test)]
mod testing;
pub mod tickets;
mod wake;
mod workflows;
#[cfg(test)]
mod world;

pub use config::Config;
pub use muster_store::{Bytes, Database, OpenError, OpenOptions, StoreLocation};
pub use run::{Orchestrator, StartError, start};
