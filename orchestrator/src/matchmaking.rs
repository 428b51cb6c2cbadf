//! Matchmaking: tickets of a queue become matches, matches get servers.
//!
//! Who plays with whom, and where, is decided by `muster-matchmaker`, which is pure. [`memory`] keeps a queue's
//! tickets as the store has them. [`commit`] writes one match in one transaction, tickets, match and server together,
//! so that of two matchmakers that race one loses cleanly. [`waiting`] serves matches that found no warm server.
//! [`runner`] is the loop of one queue, [`supervisor`] keeps one for every queue whose workflow is at home in this
//! process. A queue that grows too large for one is cut into parts ([`parting`]), each with a loop of its own.

mod acceptance;
#[cfg(test)]
mod acceptance_tests;
#[cfg(test)]
mod backfill_tests;
mod candidate;
mod commit;
mod compiled;
mod memory;
mod opening;
mod outlook;
mod parting;
#[cfg(test)]
mod parts_tests;
#[cfg(test)]
mod rules_tests;
mod runner;
mod supervisor;
#[cfg(test)]
mod tests;
mod waiting;
mod waits;

pub use acceptance::Answer;
pub(crate) use acceptance::{answer, lapse};
pub(crate) use candidate::candidate;
pub use commit::MATCH_WAIT_MS;
pub(crate) use compiled::compile;
pub(crate) use opening::opening;
pub(crate) use outlook::{of_fleet as outlook_of_fleet, offers};
#[cfg(test)]
pub(crate) use runner::{Matchmaker, Pass};
pub(crate) use supervisor::{MAX_MATCHMAKERS, Shards, run};
pub(crate) use waiting::{Fate, Served, dissolve, serve_waiting};
