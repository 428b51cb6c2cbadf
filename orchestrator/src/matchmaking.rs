//! Matchmaking: tickets of a queue become matches, matches get servers.
//!
//! [`former`] is pure: who plays with whom, and where. [`commit`] writes one match in one transaction,
//! tickets, match and server together, so that of two matchmakers that race one loses cleanly. [`waiting`]
//! serves matches that found no warm server. [`runner`] is the loop of one queue, [`supervisor`] keeps
//! one for every queue whose workflow is at home in this process.

mod commit;
pub mod former;
mod outlook;
mod runner;
mod supervisor;
#[cfg(test)]
mod tests;
mod waiting;

pub use commit::MATCH_WAIT_MS;
#[cfg(test)]
pub(crate) use runner::{Pass, pass};
pub(crate) use supervisor::{MAX_MATCHMAKERS, Shards, run};
pub(crate) use waiting::{Fate, Served, dissolve, serve_waiting};
